"""Looking at withdrawals that the provider holds: one by one, or many of one party at once.

A look moves what the provider's own word moves; everything else only makes it due again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.core.answers import Answer, Denied, ListAnswer, Listed, Reported
from worker.core.decide import decide_look
from worker.core.lookup import days_to_read
from worker.flows.commit import commit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from worker.core.decide import Held
    from worker.core.schedule import Outlook, Patience
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Announcer, Now, Observer, Recorder


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

    `denied` is told the provider whose credentials were refused.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Looker],
        ledger: Recorder,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        chance: Callable[[], float],
        denied: Callable[[str], None],
        outlook: Callable[[Withdrawal], Outlook | None] = lambda _withdrawal: None,
    ) -> None:
        self._providers = providers
        self._commit = partial(commit, ledger=ledger, observer=observer, announcer=announcer)
        self._observer = observer
        self._now = now
        self._patience = patience
        self._chance = chance
        self._denied = denied
        self._outlook = outlook

    async def run(self, held: Held) -> None:
        """Look at one withdrawal, and commit what follows."""
        order = held.withdrawal.order
        provider = self._providers[order.provider or ""]
        answer = await provider.look(order.party_id or "", held.withdrawal.withdrawal_id or "")
        await self._decide(held, answer)

    async def run_together(self, group: Sequence[Held]) -> None:
        """Look at several withdrawals of one party by one read of its list.

        One that the list does not show (it may lag behind) is looked at by itself.
        """
        order = group[0].withdrawal.order
        window, now = self._patience.window, self._now()
        days = [days_to_read(held.withdrawal, now=now, window=window) for held in group]
        answer = await self._providers[order.provider or ""].survey(
            order.party_id or "", min(since for since, _ in days), max(until for _, until in days)
        )
        if not isinstance(answer, Listed):
            for held in group:
                await self._decide(held, answer)
            return
        listed = {entry.reported.withdrawal_id: entry.reported for entry in answer.entries}
        for held in group:
            reported = listed.get(held.withdrawal.withdrawal_id or "")
            await (self.run(held) if reported is None else self._decide(held, reported))

    async def _decide(self, held: Held, answer: Answer) -> None:
        provider = held.withdrawal.order.provider or ""
        if isinstance(answer, Denied):
            self._denied(provider)
        if isinstance(answer, Reported) and answer.status is None:
            self._observer.unknown_status(provider)
        decision = decide_look(
            held.withdrawal,
            answer,
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
            outlook=self._outlook(held.withdrawal),
        )
        await self._commit(held, decision)
