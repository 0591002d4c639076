"""Looking at withdrawals that the provider holds: one by one, or many of one party at once.

A look moves what the provider's own word moves; everything else only makes it due again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.answers import Answer, Denied, ListAnswer, Listed, Reported
from worker.core.decide import decide_look
from worker.core.lookup import days_to_read
from worker.core.steps import Step
from worker.flows.commit import commit, log_unknown_status
from worker.flows.journey import UNTRACED
from worker.flows.ports import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import date

    from worker.core.change import Decision, Held
    from worker.core.schedule import Outlook, Patience
    from worker.core.withdrawal import Order, Withdrawal
    from worker.flows.journey import Journeys
    from worker.flows.ports import Announcer, Now, Observer

#: A page of a provider's list shows about so many: reading it costs a call for each of them.
_PAGE: Final = 100


class CrowdLedger(Recorder, Protocol):
    """Knows how many withdrawals a party has."""

    async def crowd(self, provider: str, party_id: str, *, since: datetime, limit: int) -> int:
        """Count the requests of a party since then, up to `limit`."""
        ...


class Looker(Protocol):
    """Reads withdrawals at the provider."""

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read one; silence is an answer too."""
        ...

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all of a party over some days."""
        ...


class Looking:
    """Looks at withdrawals; `outlook` tells when one like this usually ends.

    `denied` is told the provider whose credentials were refused, `journeys` of each step of those
    that are looked at together.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Looker],
        ledger: CrowdLedger,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        chance: Callable[[], float],
        denied: Callable[[str], None],
        outlook: Callable[[Withdrawal], Outlook | None] = lambda _withdrawal: None,
        journeys: Journeys = UNTRACED,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._commit = partial(commit, ledger=ledger, observer=observer, announcer=announcer)
        self._observer = observer
        self._now = now
        self._patience = patience
        self._chance = chance
        self._denied = denied
        self._outlook = outlook
        self._journeys = journeys

    async def run(self, held: Held) -> None:
        """Look at one withdrawal, and commit what follows."""
        order = held.withdrawal.order
        provider = self._providers[order.provider or ""]
        answer = await provider.look(order.party_id or "", held.withdrawal.withdrawal_id or "")
        await self._decide(held, answer)

    async def run_together(self, group: Sequence[Held]) -> None:
        """Look at several withdrawals of one party by one read of its list.

        One that the list does not show (it may lag behind) is looked at by itself; so are all,
        where the list is so long that reading it takes more calls.
        """
        order = group[0].withdrawal.order
        window, now = self._patience.window_of(order.provider), self._now()
        days = [days_to_read(held.withdrawal, now=now, window=window) for held in group]
        since, until = min(first for first, _ in days), max(last for _, last in days)
        if await self._is_too_long(order, since, len(group)):
            await _all(self._step(held) for held in group)
            return
        answer = await self._providers[order.provider or ""].survey(
            order.party_id or "", since, until
        )
        if not isinstance(answer, Listed):
            await _all(self._step(held, answer) for held in group)
            return
        listed = {entry.reported.withdrawal_id: entry.reported for entry in answer.entries}
        await _all(
            self._step(held, listed.get(held.withdrawal.withdrawal_id or "")) for held in group
        )

    async def _step(self, held: Held, answer: Answer | None = None) -> None:
        """Go on with one of several by itself, with an answer that told of all or without."""
        with self._journeys.step(held.withdrawal, Step.LOOK):
            await (self.run(held) if answer is None else self._decide(held, answer))

    async def _is_too_long(self, order: Order, since: date, looks: int) -> bool:
        limit = looks * _PAGE
        begins_at = datetime.combine(since, time.min, UTC)
        crowd = await self._ledger.crowd(
            order.provider or "", order.party_id or "", since=begins_at, limit=limit
        )
        return crowd >= limit

    async def _decide(self, held: Held, answer: Answer) -> None:
        provider = held.withdrawal.order.provider or ""
        if isinstance(answer, Denied):
            self._denied(provider)
        if isinstance(answer, Reported) and answer.status is None:
            log_unknown_status(held.withdrawal, answer)
            self._observer.unknown_status(provider)
        decision = decide_look(
            held.withdrawal,
            answer,
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
            outlook=self._outlook(held.withdrawal),
        )
        if held.woken_at is not None:
            decision = _once_more(decision, at=self._now() + self._patience.settling)
        await self._commit(held, decision)


def _once_more(decision: Decision, *, at: datetime) -> Decision:
    """Look soon again at an end of which a webhook may have told more than can be read yet."""
    withdrawal = decision.withdrawal
    if not withdrawal.is_finished:
        return decision
    due_at = at if withdrawal.due_at is None else min(withdrawal.due_at, at)
    return replace(decision, withdrawal=replace(withdrawal, due_at=due_at))


async def _all(works: Iterable[Awaitable[None]]) -> None:
    """Do everything, also where something fails; then raise the first failure."""
    done = await asyncio.gather(*works, return_exceptions=True)
    for failed in done:
        if failed is not None:
            raise failed
