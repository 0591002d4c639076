"""What is known of when withdrawals end, and whether webhooks tell of it: learned hour by hour.

Nothing about money depends on it. How it is computed stands in the core."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.schedule import Outlook
from worker.core.usual import documented, expected_window, learned
from worker.flows.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.usual import Course, Usual
    from worker.core.withdrawal import Withdrawal

_log = logging.getLogger(__name__)

EVERY: Final = timedelta(hours=1)
#: A provider that told us of something within this time is believed to tell us of more.
TOLD_WITHIN: Final = timedelta(hours=12)
#: How often the task shows that it is alive.
_TICK: Final = timedelta(seconds=30)


class History(Protocol):
    """Knows how withdrawals went."""

    async def courses(self) -> list[Course]:
        """Return how a bounded number of withdrawals of late went, from beginning to end."""
        ...

    async def heard_within(self, span: timedelta) -> frozenset[str]:
        """Return the providers of whose webhooks one was heard within that span."""
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
        self._heard: frozenset[str] = frozenset()

    def usual(self, provider: str, method: str | None) -> Usual:
        """Return the usual time: learned from the ledger, or documented where it knows too few."""
        return self._learned.get((provider, method or "")) or documented(method)

    def outlook(self, withdrawal: Withdrawal) -> Outlook:
        """Return when a withdrawal usually ends, and whether a webhook would tell us of it."""
        order = withdrawal.order
        provider = order.provider or ""
        window = expected_window(
            self.usual(provider, order.method), withdrawal.first_attempt_at or order.taken_at
        )
        return Outlook(*window, is_told=provider in self._heard)

    async def learn(self) -> None:
        """Read the ledger's history once; while it is away what was learned before stays."""
        try:
            self._learned = learned(await self._ledger.courses())
            self._heard = await self._ledger.heard_within(TOLD_WITHIN)
        except LedgerUnavailable as error:
            _log.warning("usual times not read", extra={"error": str(error)})

    async def run(self) -> None:
        """Learn now and every hour, until cancelled."""
        while True:
            await self.learn()
            for _ in range(EVERY // _TICK):
                self._beat()
                await self._sleep(_TICK.total_seconds())
