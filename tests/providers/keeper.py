"""A request budget that several paces share, in memory and in virtual time: as a ledger keeps it.

Answers take as long as a test wants, or do not come. Nothing is decided here."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.providers import virtual_time
from worker.core.budget import NONE, Budget, Calls, Rank, Reserved, Wish, allot, beyond, gap_of
from worker.flows.ports import LedgerUnavailable
from worker.providers.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

_FRESH = 1.0


class Keeper:
    """Keeps one budget for all its `replicas`, and writes down which calls left when.

    `latency` is how long the way there takes, and the way back. `doubt` is how uncertain the time
    is that it tells, in microseconds.
    """

    def __init__(self, rate: float, *, latency: Callable[[], float] = lambda: 0.0) -> None:
        self.gap = gap_of(rate)
        self.latency = latency
        self.is_away = False
        self.doubt = 0
        self.budget = Budget()
        self.questions = 0
        #: When which replica's call of which operation left.
        self.left: list[tuple[float, int, str]] = []
        self.waits: list[tuple[str, float]] = []
        self.granted: list[Rank] = []
        self._demands: dict[int, tuple[Calls, float]] = {}

    def replicas(self, number: int) -> list[Replica]:
        """Make some that share the budget."""
        return [Replica(self, name) for name in range(number)]

    async def reserve(self, name: int, wish: Wish) -> Reserved:
        """Reserve slots, as the ledger does."""
        self.questions += 1
        await asyncio.sleep(self.latency())
        if self.is_away:
            raise LedgerUnavailable("away")
        at = virtual_time.now()
        others = [calls for calls, told_at in self._others(name) if told_at > at - _FRESH]
        urgent, submissions, looks = map(sum, zip(NONE, *others, strict=True))
        now = round(at * 1e6)
        first, count, self.budget = allot(
            self.budget, wish, (urgent, submissions, looks), gap=self.gap, now=now
        )
        self._demands[name] = beyond(wish.wanted, count), at
        await asyncio.sleep(self.latency())
        now = round(virtual_time.now() * 1e6)
        age = now - round(at * 1e6)
        return Reserved(now, first, count, self.gap, self.budget, age=age, doubt=self.doubt)

    def _others(self, name: int) -> Iterator[tuple[Calls, float]]:
        return (demand for other, demand in self._demands.items() if other != name)


class Replica:
    """One that shares a budget: its pace, and calls that wait for their turn at it."""

    def __init__(self, keeper: Keeper, name: int) -> None:
        self.name = name
        self.pace = Pace(
            partial(keeper.reserve, name),
            waited=lambda operation, seconds: keeper.waits.append((operation, seconds)),
            granted=keeper.granted.append,
        )
        self._keeper = keeper

    async def call(self, operation: str = "create") -> timedelta | None:
        """Wait for a turn, and leave."""
        rest = await self.pace.take(operation)
        if rest is None:
            self._keeper.left.append((virtual_time.now(), self.name, operation))
        return rest

    def ask(self, operation: str = "create") -> asyncio.Task[timedelta | None]:
        """Ask for a turn, and go on meanwhile."""
        return asyncio.create_task(self.call(operation))

    async def crave(self, operation: str) -> None:
        """Call again and again."""
        while True:
            await self.call(operation)
