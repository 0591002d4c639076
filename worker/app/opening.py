"""How the ledger is opened at the start: a file at once or not at all, a server once it is there.

A restart would mend no server, so the worker waits for it, alive and not ready; what is wrong with
a file of its own it does not outlive. No step of any story stands here."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from worker.app.budgets import BudgetOrAlone
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.flows.troubles import Troubles
from worker.ledger.engine import is_sqlite, place, sole_worker
from worker.ledger.failures import in_words, may_mend
from worker.ledger.migrate import SchemaOutdated, migrate, require_schema
from worker.ledger.store import HEARTBEAT, open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack, ExitStack
    from datetime import timedelta

    from worker.app.budgets import Budgets
    from worker.ledger.store import Ledger

_log = logging.getLogger(__name__)

_LEDGER = "ledger"


class LedgerNews:
    """Says whether the ledger is there: to the readiness always, to the log what is news."""

    def __init__(self, url: str, report: Callable[[bool, str], None]) -> None:
        self._place = place(url)
        self._report = report
        self._troubles = Troubles()

    def away(self, error: Exception) -> None:
        """Hear that it did not do what was asked, and why."""
        why = in_words(error)
        self._report(False, f"{self._place}: {why}")
        if self._troubles.has(_LEDGER, why):
            _log.error("ledger away", extra={"ledger": self._place, "reason": why})

    def there(self) -> None:
        """Hear that it did what was asked."""
        self._report(True, "answering")
        if self._troubles.ended(_LEDGER):
            _log.info("ledger reached", extra={"ledger": self._place})


async def make_ready(
    url: str, ledger: Ledger, held: ExitStack, *, news: LedgerNews, stop: asyncio.Event
) -> bool:
    """Bring the ledger to where this worker may use it; False when a stop came before that.

    `held` keeps a file for this worker alone. An embedded ledger is brought up to date right here;
    a shared one is migrated on purpose, by `withdrawals-worker migrate`, and waited for until it
    is. Raises LedgerLocked, LedgerFileUnfit and LedgerUnavailable for a file, for a server nothing.
    """
    if is_sqlite(url):
        held.enter_context(sole_worker(url))
        await migrate(url)
        await ledger.forget_replicas()
        await ledger.heartbeat()
        return True
    waiting = asyncio.create_task(_until_there(url, ledger, news), name="ledger awaited")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
            return True
        return False
    finally:
        stopped.cancel()
        waiting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await waiting


async def open_if_there(url: str, stack: AsyncExitStack) -> Budgets | None:
    """Open a ledger for its request budget, until `stack` closes it; None where there is none yet.

    That is one that cannot be reached too, or was not brought up to date: whoever asks does without
    its memory, and only paces its calls by it. One that takes no writes is done without as well, at
    a modest pace, once that shows.
    """
    try:
        await require_schema(url)
    except (SchemaOutdated, LedgerUnavailable):
        return None
    return BudgetOrAlone(await stack.enter_async_context(open_ledger(url)))


async def migrate_once_there(url: str, *, wait: timedelta) -> tuple[str | None, str]:
    """Migrate the ledger, waiting for a server that is away; return the revision before and after.

    It is waited for so long at the most, and told in the log; then what stood in the way is raised,
    LedgerUnavailable or StepRefused. A file is not waited for, nor is a URL that cannot be used,
    which no server mends. Raises LedgerFileUnfit as well.
    """
    news = LedgerNews(url, _nobody_asks)
    until = monotonic() + wait.total_seconds()
    while True:
        try:
            done = await migrate(url)
        except (LedgerUnavailable, StepRefused) as error:
            pause = min(HEARTBEAT.total_seconds(), until - monotonic())
            if pause <= 0 or is_sqlite(url) or not may_mend(error):
                raise
            news.away(error)
        else:
            news.there()
            return done
        await asyncio.sleep(pause)


def _nobody_asks(_holds: bool, _why: str) -> None:  # noqa: FBT001 - the form of a report
    """Hear of the readiness of what has no probes."""


async def _until_there(url: str, ledger: Ledger, news: LedgerNews) -> None:
    while True:
        try:
            await require_schema(url)
            await ledger.heartbeat()
        except (LedgerUnavailable, SchemaOutdated, StepRefused) as error:
            news.away(error)
        else:
            news.there()
            return
        await asyncio.sleep(HEARTBEAT.total_seconds())
