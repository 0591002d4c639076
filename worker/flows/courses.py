"""What is known of how long withdrawals take: documented at first, then learned, hour by hour.

Nothing about money depends on it. How it is computed stands in the core."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.usual import documented, learned
from worker.flows.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.usual import Course, Usual

_log = logging.getLogger(__name__)

EVERY: Final = timedelta(hours=1)
#: How often the task shows that it is alive.
_TICK: Final = timedelta(seconds=30)


class History(Protocol):
    """Knows how withdrawals went."""

    async def courses(self) -> list[Course]:
        """Return how a bounded number of withdrawals of late went, from beginning to end."""
        ...


class Courses:
    """The usual time of withdrawals, by provider and method; `run` it as a task to learn.

    `beat` is called while the task is alive.
    """

    def __init__(
        self,
        ledger: History,
        *,
        beat: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._beat = beat
        self._sleep = sleep
        self._learned: dict[tuple[str, str], Usual] = {}

    def usual(self, provider: str, method: str | None) -> Usual:
        """Return the usual time: learned from the ledger, or documented where it knows too few."""
        return self._learned.get((provider, method or "")) or documented(method)

    async def learn(self) -> None:
        """Read the ledger's history once; while it is away what was learned before stays."""
        try:
            self._learned = learned(await self._ledger.courses())
        except LedgerUnavailable as error:
            _log.warning("usual times not read", extra={"error": str(error)})

    async def run(self) -> None:
        """Learn now and every hour, until cancelled."""
        while True:
            await self.learn()
            for _ in range(EVERY // _TICK):
                self._beat()
                await self._sleep(_TICK.total_seconds())
