"""Reconciliation in the background: a slow round through the ledger, again and again.

One replica at a time goes through a round; how far it has got is in the ledger, so that a restart,
or another replica, goes on from there. What is compared, and how, stands in `reconcile`."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from worker.core.reconciliation import Kind
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from worker.core.reconciliation import Completed, Counts, Finding, Round
    from worker.flows.ports import Now
    from worker.flows.reconcile import Compared, Found, Reconciliation

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: How often it is asked whether a round is due, and shown that this is alive.
TICK: Final = timedelta(seconds=20)
#: For so long a round is held without a sign of whoever goes through it.
HELD_FOR: Final = timedelta(minutes=5)
#: The longest pause between two parties: what is read, payouts do without.
PAUSE: Final = timedelta(seconds=2)
#: A round is to be over by this share of the time from one to the next.
_SHARE: Final = 0.5
#: Of a short time from one round to the next, this is the longest that one begins late.
_TICK_SHARE: Final = 0.25


class RoundsLedger(Protocol):
    """Keeps the round that is under way."""

    async def take_round(
        self, *, every: timedelta, period: timedelta, held_for: timedelta
    ) -> Round | None:
        """Go on with the round that nobody holds, or begin one that is due; None for neither."""
        ...

    async def keep_round(self, of: Round, *, held_for: timedelta, is_over: bool = False) -> bool:
        """Remember how far a round has got; False when another replica has it by now."""
        ...

    async def completed_round(self) -> Completed | None:
        """Return what the last round found that came to its end."""
        ...


class Reconciler:
    """Goes through a round every `every`, over what is younger than `period`; `run` it as a task.

    `may_call` tells whether a provider is to be called at all, `denied` is told the provider whose
    credentials were refused, `told` hears what the last completed round had found, `beat` is called
    while the task is alive, every `tick` (by itself, often enough).
    """

    def __init__(
        self,
        reconciliation: Reconciliation,
        ledger: RoundsLedger,
        *,
        every: timedelta,
        period: timedelta,
        now: Now,
        may_call: Callable[[str], bool],
        denied: Callable[[str], None],
        told: Callable[[Completed], None],
        beat: Callable[[], None],
        tick: timedelta | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._reconciliation = reconciliation
        self._ledger = ledger
        self._every = every
        self._period = period
        self._now = now
        self._may_call = may_call
        self._denied = denied
        self._told = told
        self._beat = beat
        self._tick = (tick or min(TICK, every * _TICK_SHARE)).total_seconds()
        self._sleep = sleep

    async def run(self) -> None:
        """Go through rounds when they are due, until cancelled."""
        while True:
            try:
                await self.take_turn()
            except (LedgerUnavailable, StepRefused) as error:
                # The round is held on for a while, and then gone on with.
                _log.warning("reconciliation interrupted", extra={"error": str(error)})
            self._beat()
            await self._sleep(self._tick)

    async def take_turn(self) -> None:
        """Go through a round if it is this replica's to do, and show what the last one found."""
        if (last := await self._ledger.completed_round()) is not None:
            self._told(last)
        if not all(map(self._may_call, self._reconciliation.providers)):
            return
        begun = await self._ledger.take_round(
            every=self._every, period=self._period, held_for=HELD_FOR
        )
        if begun is not None and await self._go_through(begun):
            completed = await self._ledger.completed_round()
            if completed is not None:
                self._told(completed)

    async def _go_through(self, current: Round) -> bool:
        """Go through the rest of a round; False when it was broken off."""
        _log.info("reconciliation goes on", extra={"place": current.place, "last": current.last})
        walk = self._reconciliation.walk(current.period, after=current.place, last=current.last)
        while (compared := await self._alive(current, _next(walk))) is not None:
            if compared.is_denied:
                # Everybody else's list would be refused too: it is gone on with once they work.
                self._denied(compared.provider)
                return False
            for found in compared.found:
                tell(found)
            current = replace(
                current, place=compared.place, found=_counted(current.found, compared)
            )
            if not await self._ledger.keep_round(current, held_for=HELD_FOR):
                _log.info("reconciliation is gone on with by another")
                return False
            if not self._may_call(compared.provider):
                return False
            await self._sleep(self._pause(current).total_seconds())
        return await self._ledger.keep_round(current, held_for=HELD_FOR, is_over=True)

    async def _alive(self, current: Round, work: Coroutine[None, None, _T]) -> _T:
        """Wait for work that takes as long as the rate limit lets it, holding the round on."""
        task = asyncio.create_task(work, name="reconcile party")
        try:
            while not task.done():
                self._beat()
                await asyncio.wait({task}, timeout=self._tick)
                if not task.done():
                    await self._ledger.keep_round(current, held_for=HELD_FOR)
        finally:
            task.cancel()
        return await task

    def _pause(self, current: Round) -> timedelta:
        """Return the pause before the next party: slow, but done in time if there are many."""
        left = current.last - current.place
        until = current.began_at + self._every * _SHARE
        rest = max(until - self._now(), timedelta(0))
        return min(PAUSE, rest / max(1, left))


def tell(found: Found) -> None:
    """Log a finding, by ids alone: neither amounts nor anybody's text."""
    finding = found.finding
    severity = {Kind.STATUS_DRIFT: logging.INFO, Kind.MARKED_UNEXPLAINED: logging.ERROR}
    _log.log(severity.get(finding.kind, logging.WARNING), "reconciliation found", extra=_who(found))


def _who(found: Found) -> dict[str, str | None]:
    finding: Finding = found.finding
    return {
        "kind": finding.kind.value,
        "provider": finding.provider,
        "party_id": finding.party_id,
        "message_id": finding.message_id,
        "withdrawal_id": finding.withdrawal_id,
        "why": finding.why,
        "repair": found.repair.value,
    }


def _counted(counts: Counts, compared: Compared) -> Counts:
    summed = dict(counts)
    for found in compared.found:
        key = (compared.provider, found.finding.kind)
        summed[key] = summed.get(key, 0) + 1
    return summed


async def _next(walk: AsyncIterator[Compared]) -> Compared | None:
    return await anext(walk, None)
