"""The real flows over a real ledger, with stand-ins for everything outside.

A house may be opened again on the same ledger: that is the worker after a crash."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.flows.fakes import Counted, FakeOutbox, FakeProvider, Told, VirtualClock
from tests.flows.flaky import FlakyLedger
from tests.ledger import second
from worker.core.messages import Envelope
from worker.core.schedule import Patience, Schedule
from worker.core.withdrawal import Status
from worker.flows.announce import Announce
from worker.flows.follow import Follow
from worker.flows.in_hand import InHand
from worker.flows.intake import Intake
from worker.flows.resolve import Resolution
from worker.flows.submit import Submission
from worker.ledger.store import Ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.flows.settlement import Settlement
    from worker.ledger.store import History

PATIENCE: Final = Patience(
    looks=Schedule(
        first_delay=timedelta(seconds=15), growth=2.0, cap=timedelta(minutes=30), jitter=0.1
    ),
    retries=Schedule(
        first_delay=timedelta(seconds=0.5), growth=2.0, cap=timedelta(minutes=5), jitter=0.5
    ),
    window=timedelta(hours=23),
    settling=timedelta(minutes=5),
    throttled=timedelta(seconds=1),
    denied=timedelta(seconds=15),
)
TRIES: Final = 3
_CONCURRENCY: Final = 4
#: More steps than any story here has.
_STEPS_MAX: Final = 50


@dataclass(slots=True, kw_only=True)
class House:
    """One worker's flows, and the stand-ins around them.

    `line` is what the flows have of the ledger; `slept` are the pauses between tries.
    """

    url: str
    ledger: Ledger
    line: FlakyLedger
    clock: VirtualClock
    bank: FakeProvider
    providers: dict[str, FakeProvider]
    outbox: FakeOutbox = field(default_factory=FakeOutbox)
    told: Told = field(default_factory=Told)
    counted: Counted = field(default_factory=Counted)
    in_hand: InHand = field(default_factory=InHand)
    slept: list[float] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    beats: int = 0
    may_call: bool = True
    submission: Submission = field(init=False)
    resolution: Resolution = field(init=False)
    intake: Intake = field(init=False)
    follow: Follow = field(init=False)

    def __post_init__(self) -> None:
        """Wire the flows as the application does."""
        shared: dict[str, Any] = {
            "providers": self.providers,
            "ledger": self.line,
            "announcer": self.told,
            "observer": self.counted,
            "now": self.ledger.now,
        }
        choosing = {"patience": PATIENCE, "chance": lambda: 0.5, "denied": self.denied.append}
        self.submission = Submission(**shared, **choosing, tries=TRIES, sleep=self._sleep)
        self.resolution = Resolution(**shared, **choosing)
        self.intake = Intake(
            **shared,
            submission=self.submission,
            in_hand=self.in_hand,
            default_provider="bank",
            own_queues=frozenset({"withdrawals.requests"}),
        )
        self.follow = Follow(
            **shared,
            **choosing,
            submission=self.submission,
            resolution=self.resolution,
            in_hand=self.in_hand,
            concurrency=_CONCURRENCY,
            may_call=lambda: self.may_call,
            beat=self._beat,
        )

    def announce(self, outbox: FakeOutbox | None = None) -> Announce:
        """Another announcer over the same ledger."""
        return Announce(
            self.ledger,
            outbox or self.outbox,
            now=self.ledger.now,
            counted=lambda _type: None,
            beat=self._beat,
        )

    async def deliver(self, message_id: str | None = "req-1", **changes: Any) -> Settlement:  # noqa: ANN401
        """Hand in a request; the changes are to its body."""
        return await self.intake(an_envelope(message_id, **changes))

    async def step(self) -> int:
        """Take up everything that is due at this moment, one step each; return how many."""
        due = await self.line.claim_due(100, busy=self.in_hand.ids)
        for held in due:
            await self.follow.take_step(held)
        return len(due)

    async def until_rest(self, *, passing: timedelta = timedelta(minutes=5)) -> None:
        """Let time pass and take up what is due until nothing is ever due again."""
        for _ in range(_STEPS_MAX):
            if not await second.read(self.url, "SELECT 1 FROM withdrawals WHERE due_at > 0"):
                return
            await self.step()
            self.clock.at += passing
        raise AssertionError("it never comes to rest")

    async def known(self, message_id: str = "req-1") -> History:
        """All that the ledger knows of a request."""
        history = await self.ledger.history(message_id)
        assert history is not None
        return history

    async def status(self, message_id: str = "req-1") -> Status:
        """Where a withdrawal stands."""
        return (await self.known(message_id)).held.withdrawal.status

    async def events(self, message_id: str = "req-1") -> list[str]:
        """The committed events of a withdrawal, without the part that all have."""
        return [
            str(event["type"]).removeprefix("withdrawal.")
            for event in (await self.known(message_id)).events
        ]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds=seconds)
        await asyncio.sleep(0)

    def _beat(self) -> None:
        self.beats += 1


@asynccontextmanager
async def open_house(
    url: str,
    *,
    clock: VirtualClock | None = None,
    bank: FakeProvider | None = None,
    more: Mapping[str, FakeProvider] | None = None,
) -> AsyncIterator[House]:
    """Open a house; `bank` and `clock` are shared with the one that was there before."""
    clock = clock or VirtualClock()
    async with (
        open_ledger(url, clock=clock) as ledger,
        house_over(ledger, url, clock, bank=bank, more=more) as house,
    ):
        yield house


@asynccontextmanager
async def house_over(
    ledger: Ledger,
    url: str,
    clock: VirtualClock,
    *,
    bank: FakeProvider | None = None,
    more: Mapping[str, FakeProvider] | None = None,
) -> AsyncIterator[House]:
    """Open a house over a ledger that is open already."""
    bank = bank or FakeProvider(clock.now)
    await ledger.heartbeat()
    yield House(
        url=url,
        ledger=ledger,
        line=FlakyLedger(ledger),
        clock=clock,
        bank=bank,
        providers={"bank": bank, **(more or {})},
    )


def an_envelope(message_id: str | None = "req-1", **changes: Any) -> Envelope:  # noqa: ANN401
    """A message as it came from the queue; the changes are to its body."""
    body = {"party": "inv_01", "target": "fs_01", "amount": "500.00", "currency": "USD"} | changes
    return Envelope(body=json.dumps(body).encode(), message_id=message_id)


async def die(house: House) -> None:
    """Let a house look to others as one whose process was killed: its signs of life are old."""
    await second.write(house.url, f"UPDATE replicas SET seen_at = 0 WHERE id = '{house.ledger.replica}'")  # noqa: S608, E501 - our own id
