"""Cancelling a withdrawal that the provider holds: ask, then read it, and believe what was read.

The answer to a cancel call is in no documentation; what became of the money is what a look says."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.answers import Answer, Conflicted, Denied, Refused, Reported
from worker.core.decide import decide_cancel, says_cancelled
from worker.core.withdrawal import Status
from worker.flows.commit import commit, due, log_unknown_status
from worker.flows.journey import ids_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.core.change import Held
    from worker.core.schedule import Patience
    from worker.flows.ports import Announcer, Now, Observer, Recorder

_log = logging.getLogger(__name__)

#: What was cancelled may be shown as such a moment later (Upvest: SIM). So often, after pauses of
#: so many seconds, it is looked at before it is left to later.
_PAUSES: Final = (0.5, 1.0, 2.0)
_OPEN: Final = frozenset({Status.PENDING, Status.PROCESSING, Status.SUBMITTED})


class Canceller(Protocol):
    """Cancels withdrawals at the provider, and reads them."""

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Ask for a cancellation; silence is an answer too."""
        ...

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read it; silence is an answer too."""
        ...


class Cancelling:
    """Cancels withdrawals that the provider holds; `denied` is told of refused credentials."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Canceller],
        ledger: Recorder,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        chance: Callable[[], float],
        denied: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._providers = providers
        self._commit = partial(commit, ledger=ledger, observer=observer, announcer=announcer)
        self._observer = observer
        self._now = now
        self._patience = patience
        self._chance = chance
        self._denied = denied
        self._sleep = sleep

    async def run(self, held: Held) -> None:
        """Ask once for one withdrawal's cancellation, and commit what follows."""
        order = held.withdrawal.order
        name, party_id = order.provider or "", order.party_id or ""
        withdrawal_id = held.withdrawal.withdrawal_id or ""
        provider = self._providers[name]
        answer = await provider.cancel(party_id, withdrawal_id)
        seen = await provider.look(party_id, withdrawal_id)
        for pause in _PAUSES:
            if not _contradicts(seen, answer):
                break
            await self._sleep(pause)
            seen = await provider.look(party_id, withdrawal_id)
        if isinstance(answer, Denied) or isinstance(seen, Denied):
            self._denied(name)
        if isinstance(seen, Reported) and seen.status is None:
            log_unknown_status(held.withdrawal, seen)
            self._observer.unknown_status(name)
        decision = decide_cancel(
            held.withdrawal,
            answer,
            seen,
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
        )
        if not decision.changes:
            _log.info(
                "cancel call undecided",
                extra={
                    **ids_of(held.withdrawal),
                    "answer": type(answer).__name__.lower(),
                    "seen": type(seen).__name__.lower(),
                    **due(decision.withdrawal),
                },
            )
        await self._commit(held, decision)


def _contradicts(seen: Answer, answer: Answer) -> bool:
    """Tell whether a look does not show what the answer to the cancel call says.

    A yes that it does not show, or a no to what it shows as pending: perhaps an earlier call, whose
    answer nobody got, has cancelled it.
    """
    if not isinstance(seen, Reported):
        return False
    if isinstance(answer, Refused | Conflicted):
        return seen.status is Status.PENDING
    return says_cancelled(answer) and seen.status in _OPEN
