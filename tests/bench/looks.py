"""What following a withdrawal costs the provider in requests, and how late its news is known.

    make bench-looks
    .venv/bin/python -m tests.bench.looks --withdrawals 100 --seed 7

A simulated run: time is virtual, chance is seeded, nothing sleeps, so the figures are the same each
time. Real are the flows, all decisions and schedules, and the ledger (SQLite); settings are the
defaults. Calls and commits take no time; the worker asks the ledger for what is due every half
second. The provider is a stand-in that moves at the moments drawn below, and tells of it by webhook
as Bluum does: of beginning and end, and of nothing in between."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final

from config.settings import Settings
from tests.flows.fakes import FakeProvider, VirtualClock
from tests.flows.flaky import FlakyLedger
from tests.flows.house import House
from worker.app.parts import patience_of
from worker.core.usual import after_business_time
from worker.core.withdrawal import Status, idempotency_key
from worker.flows.courses import Courses
from worker.flows.follow import TICK
from worker.flows.hearing import Notice
from worker.ledger.migrate import migrate
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.flows.fakes import Paid
    from worker.core.usual import Course

#: A Monday. All are asked for on it or on the day after, between 8 and 20 o'clock.
_MONDAY: Final = datetime(2026, 6, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_OPEN: Final = (timedelta(hours=8), timedelta(hours=20))
#: Those of one investor that are in flight at once are asked for within this time.
_TOGETHER: Final = (timedelta(0), timedelta(hours=1))
_PROCESSING_AFTER: Final = (timedelta(hours=1), timedelta(hours=12))
#: ACH over 3 business days: the end comes in the course of the third.
_ENDS_AFTER: Final = (2 * _DAY, 3 * _DAY)
#: From a change at the provider to the arrival of its webhook.
_WEBHOOK_TAKES: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: how many of an investor are in flight at once, and who tells."""

    title: str
    at_once: int
    webhooks: bool


CASES: Final = (
    Case("alone", 1, webhooks=False),
    Case("alone", 1, webhooks=True),
    Case("one of 10 of an investor", 10, webhooks=False),
    Case("one of 10 of an investor", 10, webhooks=True),
)


@dataclass(frozen=True, slots=True)
class Life:
    """One withdrawal: who asks for it and when, and when it moves at the provider."""

    message_id: str
    party: str
    asked_at: datetime
    processing_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to, per withdrawal: requests until its end is known, and later ones.

    The rest are the times from a change at the provider to the moment from which the worker knew.
    """

    requests: float
    requests_later: float
    processing: Sequence[timedelta]
    ends: Sequence[timedelta]


@dataclass(frozen=True, slots=True)
class Past:
    """What the worker knows of the past: no withdrawal, but whose webhooks come in."""

    heard: frozenset[str]

    async def courses(self) -> list[Course]:
        """Know of none, so that the documented times count."""
        return []

    async def heard_within(self, _span: timedelta) -> frozenset[str]:
        """Tell whose webhooks come in."""
        return self.heard


def main() -> None:
    """Run every case and print the table."""
    options = _options()
    print(
        "| A withdrawal by ACH, 3 business days | Webhooks | Requests from request to end "
        "| Its end is known after: median | worst | `processing` is known after: median | worst "
        "| Requests in the week after its end |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for case in CASES:
        random = Random(options.seed)  # noqa: S311 - chance that repeats itself
        lives = draw(random, options.withdrawals, case)
        figures = asyncio.run(measure(lives, case, random))
        print(_row(case, figures), flush=True)


def draw(random: Random, withdrawals: int, case: Case) -> list[Life]:
    """Draw so many lives, for as few investors as the case allows."""
    investors = range(-(-withdrawals // case.at_once))
    begun_at = [_MONDAY + random.randrange(2) * _DAY + _between(random, *_OPEN) for _ in investors]
    return [
        _life(random, number, f"inv_{number // case.at_once}", begun_at[number // case.at_once])
        for number in range(withdrawals)
    ]


async def measure(lives: list[Life], case: Case, random: Random) -> Figures:
    """Live through a run, until nothing is due any more."""
    with tempfile.TemporaryDirectory(prefix="withdrawals-") as folder:
        url = f"sqlite:///{folder}/ledger.db"
        await migrate(url)
        clock = VirtualClock(_MONDAY)
        bank = FakeProvider(clock.now)
        courses = Courses(Past(frozenset({bank.name} if case.webhooks else ())), beat=lambda: None)
        await courses.learn()
        async with open_ledger(url, clock=clock) as ledger:
            house = House(
                url=url,
                ledger=ledger,
                line=FlakyLedger(ledger),
                clock=clock,
                bank=bank,
                providers={bank.name: bank},
                patience=patience_of(Settings()),
                chance=random.random,
                outlook=courses.outlook,
            )
            with closing(sqlite3.connect(f"{folder}/ledger.db")) as books:
                return await Run(house, lives, books, webhooks=case.webhooks).figures()


class Run:
    """One run: the clock goes from one moment at which something happens to the next."""

    def __init__(
        self, house: House, lives: list[Life], books: sqlite3.Connection, *, webhooks: bool
    ) -> None:
        self._house = house
        self._lives = lives
        self._books = books
        self._webhooks = webhooks
        #: What happens by itself, and a number each, since happenings cannot be compared.
        self._agenda: list[tuple[datetime, int, Callable[[], Awaitable[None]]]] = []
        self._numbers = count()
        #: Withdrawals of which the worker knows that they have ended, and the looks at them.
        self._ended: set[str] = set()
        self._later = 0
        for life in lives:
            self._plan(life.asked_at, partial(self._ask, life))

    async def figures(self) -> Figures:
        """Let everything happen, and count."""
        clock, bank = self._house.clock, self._house.bank
        while (at := self._next_at()) is not None:
            clock.at = _at_tick(max(at, clock.at))
            while self._agenda and self._agenda[0][0] <= clock.at:
                _, _, happen = heappop(self._agenda)
                await happen()
            await self._work()
        requests = len(bank.calls) + len(bank.looked) + len(bank.listings)
        known = [await self._known(life.message_id) for life in self._lives]
        return Figures(
            (requests - self._later) / len(self._lives),
            self._later / len(self._lives),
            [
                at[Status.PROCESSING] - life.processing_at
                for at, life in zip(known, self._lives, strict=True)
                if Status.PROCESSING in at
            ],
            [
                at[Status.COMPLETED] - life.ended_at
                for at, life in zip(known, self._lives, strict=True)
            ],
        )

    def _next_at(self) -> datetime | None:
        """Return when something happens or is due, None when all is over."""
        moments = [self._agenda[0][0]] if self._agenda else []
        query = "SELECT min(coalesce(woken_at, due_at)) FROM withdrawals"
        ((due_at,),) = self._books.execute(query).fetchall()
        if due_at is not None:
            moments.append(_moment(due_at))
        return min(moments, default=None)

    async def _work(self) -> None:
        """Take up what is due: one step, or one read of a list, after the other."""
        bank, changes = self._house.bank, self._house.counted.changes
        looked, changed = len(bank.looked), len(changes)
        while (at := self._next_at()) is not None and at <= self._house.clock.at:
            assert await self._house.follow.take_up(1)
            await self._house.follow.finish()
            self._later += sum(name in self._ended for name in bank.looked[looked:])
            self._ended |= {
                self._paid(message_id).withdrawal_id
                for message_id, status in changes[changed:]
                if status == Status.COMPLETED
            }
            looked, changed = len(bank.looked), len(changes)

    async def _ask(self, life: Life) -> None:
        await self._house.ledger.heartbeat()
        await self._house.deliver(life.message_id, party=life.party)
        paid = self._paid(life.message_id)
        self._tell(paid, "transfer.withdrawal.initiated", at=life.asked_at)
        self._plan(life.processing_at, partial(self._move, paid, Status.PROCESSING))
        self._plan(life.ended_at, partial(self._move, paid, Status.COMPLETED))
        self._tell(paid, "transfer.withdrawal.completed", at=life.ended_at)

    async def _move(self, paid: Paid, status: Status) -> None:
        paid.status = status

    def _tell(self, paid: Paid, event: str, *, at: datetime) -> None:
        if self._webhooks:
            notice = Notice(f"{event} {paid.withdrawal_id}".encode(), event, (paid.withdrawal_id,))
            self._plan(at + _WEBHOOK_TAKES, partial(self._hear, notice))

    async def _hear(self, notice: Notice) -> None:
        await self._house.ledger.hear(self._house.bank.name, [notice])

    def _plan(self, at: datetime, happen: Callable[[], Awaitable[None]]) -> None:
        heappush(self._agenda, (at, next(self._numbers), happen))

    def _paid(self, message_id: str) -> Paid:
        key = idempotency_key(message_id)
        return next(paid for paid in self._house.bank.paid if paid.key == key)

    async def _known(self, message_id: str) -> dict[str, datetime]:
        """Return since when the worker has known each status of a withdrawal."""
        return {
            step["status"]: _moment(step["at"])
            for step in (await self._house.known(message_id)).transitions
        }


def _life(random: Random, number: int, party: str, begun_at: datetime) -> Life:
    asked_at = begun_at + _between(random, *_TOGETHER)
    return Life(
        message_id=f"req-{number}",
        party=party,
        asked_at=asked_at,
        processing_at=asked_at + _between(random, *_PROCESSING_AFTER),
        ended_at=after_business_time(asked_at, _between(random, *_ENDS_AFTER)),
    )


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def _at_tick(at: datetime) -> datetime:
    """Return when the worker asks next for what is due."""
    return at + (_MONDAY - at) % TICK


def _between(random: Random, least: timedelta, most: timedelta) -> timedelta:
    return least + (most - least) * random.random()


def _row(case: Case, figures: Figures) -> str:
    cells = (
        case.title,
        "yes" if case.webhooks else "no",
        f"{figures.requests:.1f}",
        _span(_middle(figures.ends)),
        _span(max(figures.ends)),
        _span(_middle(figures.processing)),
        _span(max(figures.processing)),
        f"{figures.requests_later:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _middle(spans: Sequence[timedelta]) -> timedelta:
    return timedelta(seconds=median(span.total_seconds() for span in spans))


def _span(span: timedelta) -> str:
    if span < timedelta(minutes=1):
        return f"{span.total_seconds():.1f} s"
    if span < timedelta(hours=1):
        return f"{span / timedelta(minutes=1):.0f} min"
    return f"{span / timedelta(hours=1):.1f} h"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--withdrawals", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
