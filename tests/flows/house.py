"""The real flows over a real ledger, with stand-ins for everything outside.

A house may be opened again on the same ledger: that is the worker after a crash."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.flows.fakes import Counted, FakeProvider, Told, VirtualClock
from tests.flows.flaky import FlakyLedger
from tests.ledger import second
from worker.core.messages import Envelope
from worker.core.schedule import Patience, Schedule
from worker.flows.announce import Announce
from worker.flows.cancel import Cancelling
from worker.flows.cancellation import Cancellation
from worker.flows.follow import Follow
from worker.flows.in_hand import InHand
from worker.flows.intake import Intake
from worker.flows.look import Looking
from worker.flows.resolve import Resolution
from worker.flows.sell import Selling
from worker.flows.submit import Submission
from worker.flows.suspicion import Suspicion
from worker.ledger.store import Ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.flows.fakes import FakeOutbox
    from worker.core.schedule import Outlook
    from worker.core.withdrawal import Status, Withdrawal
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
GRACE: Final = timedelta(hours=1)
_CONCURRENCY: Final = 4


@dataclass(slots=True, kw_only=True)
class House:
    """One worker's flows, and the stand-ins around them.

    `line` is what the flows have of the ledger; `slept` are the pauses between tries. `outlook`
    tells when a withdrawal usually ends.
    """

    url: str
    ledger: Ledger
    line: FlakyLedger
    clock: VirtualClock
    bank: FakeProvider
    providers: dict[str, FakeProvider]
    told: Told = field(default_factory=Told)
    counted: Counted = field(default_factory=Counted)
    in_hand: InHand = field(default_factory=InHand)
    slept: list[float] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    beats: int = 0
    may_call: bool = True
    out: set[str] = field(default_factory=set)
    trial: set[str] = field(default_factory=set)
    cancels: Counter[str] = field(default_factory=Counter)
    patience: Patience = PATIENCE
    chance: Callable[[], float] = lambda: 0.5
    outlook: Callable[[Withdrawal], Outlook | None] = lambda _withdrawal: None
    submission: Submission = field(init=False)
    resolution: Resolution = field(init=False)
    intake: Intake = field(init=False)
    cancellation: Cancellation = field(init=False)
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
        choosing: dict[str, Any] = {
            "patience": self.patience,
            "chance": self.chance,
            "denied": self.denied.append,
        }
        self.submission = Submission(
            **shared,
            **choosing,
            tries=TRIES,
            may_call=lambda provider: provider not in self.out,
            sleep=self._sleep,
        )
        self.resolution = Resolution(**shared, **choosing)
        reading: dict[str, Any] = {
            "suspicion": Suspicion(self.line, sleep=self._sleep),
            "default_provider": "bank",
            "own_queues": frozenset({"withdrawals.requests"}),
        }
        self.intake = Intake(**shared, **reading, submission=self.submission, in_hand=self.in_hand)
        self.cancellation = Cancellation(
            **reading,
            ledger=self.line,
            announcer=self.told,
            counted=lambda result: self.cancels.update([result]),
            now=self.ledger.now,
            grace=GRACE,
            providers=self.providers,
        )
        self.follow = Follow(
            **shared,
            **{name: choosing[name] for name in ("patience", "chance")},
            submission=self.submission,
            resolution=self.resolution,
            looking=Looking(**shared, **choosing, outlook=self.outlook),
            cancelling=Cancelling(**shared, **choosing, sleep=self._sleep),
            selling=Selling(
                **shared, **choosing, may_call=lambda provider: provider not in self.out
            ),
            in_hand=self.in_hand,
            concurrency=_CONCURRENCY,
            may_call=lambda: self.may_call,
            beat=self._beat,
            out=lambda: frozenset(self.out),
            trial=lambda: frozenset(self.trial),
        )

    def announcer(self, outbox: FakeOutbox, *, pause_seconds: float = 0.1) -> Announce:
        """Another announcer over the same ledger, told of all that is committed here."""
        announce = Announce(
            self.line,
            outbox,
            now=self.ledger.now,
            counted=self.published.append,
            beat=self._beat,
            pause_seconds=pause_seconds,
        )
        self.told.others.append(announce.told)
        return announce

    async def deliver(self, message_id: str | None = "req-1", **changes: Any) -> Settlement:  # noqa: ANN401
        """Hand in a request; the changes are to its body."""
        return await self.intake(an_envelope(message_id, **changes))

    async def cancel(
        self,
        message_id: str | None = "cancel-1",
        *,
        redelivered: bool = False,
        reply_to: str | None = None,
        correlation_id: str | None = None,
        **body: Any,  # noqa: ANN401 - any field
    ) -> Settlement:
        """Hand in a cancellation, of the first request unless the body says otherwise."""
        return await self.cancellation(
            Envelope(
                body=json.dumps(body or {"request_message_id": "req-1"}).encode(),
                message_id=message_id,
                redelivered=redelivered,
                reply_to=reply_to,
                correlation_id=correlation_id,
            )
        )

    async def move(self, status: Status) -> None:
        """Let every withdrawal at the provider reach a status, and look at all of them."""
        for paid in self.bank.paid:
            paid.status = status
        self.clock.at += PATIENCE.looks.cap * 2
        await self.step()

    async def step(self) -> int:
        """Take up everything that is due at this moment, one step each; return how many."""
        due = await self.line.claim_due(100, busy=self.in_hand.ids)
        for held in due:
            await self.follow.take_step(held)
        return len(due)

    async def step_together(self) -> None:
        """Take up all that is due at this moment, as the worker does: some of it together."""
        await self.follow.take_up(100)
        await self.follow.finish()

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


def an_envelope(
    message_id: str | None = "req-1",
    *,
    reply_to: str | None = None,
    **changes: Any,  # noqa: ANN401 - any field
) -> Envelope:
    """A message as it came from the queue; the changes are to its body."""
    body = {"party": "inv_01", "target": "fs_01", "amount": "500.00", "currency": "USD"} | changes
    return Envelope(body=json.dumps(body).encode(), message_id=message_id, reply_to=reply_to)


async def die(house: House) -> None:
    """Let a house look to others as one whose process was killed: its signs of life are old."""
    named = f"id = '{house.ledger.replica}'"
    await second.write(house.url, f"UPDATE replicas SET seen_at = 0 WHERE {named}")  # noqa: S608
