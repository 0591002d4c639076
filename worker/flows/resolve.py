"""An outcome that nobody knows: looking through the provider's list before anything is sent again.

Nothing is created here. What was found, and that nothing was, is decided in the core."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.core.answers import Denied, ListAnswer, Listed
from worker.core.change import Cause, Decision, Held, park
from worker.core.decide import decide_lookup
from worker.core.lookup import Candidates, candidates, days_to_read
from worker.core.withdrawal import Reason, ReasonCode
from worker.flows.commit import commit, due
from worker.flows.journey import ids_of
from worker.flows.ports import Recorder, StepRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import date

    from worker.core.schedule import Patience
    from worker.flows.ports import Announcer, Now, Observer

_log = logging.getLogger(__name__)


class Lister(Protocol):
    """Reads the provider's list."""

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all withdrawals of a party over some days."""
        ...


class OwnershipLedger(Recorder, Protocol):
    """Knows which of the provider's withdrawals belong to which request."""

    async def owned_by_others(
        self, provider: str, withdrawal_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the ids among these that belong to another row."""
        ...


class Resolution:
    """Looks up withdrawals in doubt."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Lister],
        ledger: OwnershipLedger,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        chance: Callable[[], float],
        denied: Callable[[str], None],
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._write = partial(commit, ledger=ledger, observer=observer, announcer=announcer)
        self._now = now
        self._patience = patience
        self._chance = chance
        self._denied = denied

    async def run(self, held: Held) -> None:
        """Look one withdrawal up, and commit what follows."""
        order = held.withdrawal.order
        provider = order.provider or ""
        window = self._patience.window_of(provider)
        asked_at = self._now()
        since, until = days_to_read(held.withdrawal, now=asked_at, window=window)
        answer = await self._providers[provider].listed(order.party_id or "", since, until)
        if isinstance(answer, Denied):
            self._denied(provider)
        found = Candidates()
        if isinstance(answer, Listed):
            found = candidates(held.withdrawal, answer.entries, window=window)
            owned = await self._ledger.owned_by_others(provider, found.ids, row=held.row)
            found = found.without(owned)
        decision = decide_lookup(
            held.withdrawal,
            answer,
            found,
            asked_at=asked_at,
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
        )
        _log.info(
            "looked up",
            extra={
                **ids_of(held.withdrawal),
                "answer": type(answer).__name__.lower(),
                "found": len(found.ids),
                "empty_lookups": decision.withdrawal.empty_lookups,
                **due(decision.withdrawal),
            },
        )
        await self._commit(held, decision)

    async def _commit(self, held: Held, decision: Decision) -> None:
        try:
            await self._write(held, decision)
        except StepRefused:
            # Another row took the same one in this very moment.
            reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
            parked = park(held.withdrawal, reason, cause=Cause.LOOKUP, now=self._now())
            await self._write(held, parked)
