"""A person settles what could not be established: asking the provider once more, then the ruling.

Nothing is created here and no event is published: the worker that shares the ledger does both. What
a ruling leads to, and whether it can stand, is decided in the core."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from worker.core.answers import Entry, EntryAnswer, ListAnswer, Listed
from worker.core.lookup import carries_reference, days_to_read, possible
from worker.core.ruling import (
    Adopt,
    Inadmissible,
    NotCreated,
    Ruling,
    decide_adoption,
    decide_not_created,
    decide_order_adoption,
    decide_order_not_placed,
)
from worker.core.sale import OrdersListed, find
from worker.core.sale_steps import doubtful
from worker.flows.commit import log_change
from worker.flows.journey import ids_of
from worker.flows.ports import StepRefused

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date, datetime

    from worker.core.change import Decision, Held
    from worker.core.sale import OrderAnswer, OrderReport, OrdersAnswer, Sale
    from worker.core.schedule import Patience
    from worker.flows.ports import Now

_log = logging.getLogger(__name__)

_OVERTAKEN: Final = Inadmissible(
    "it was changed by somebody else in this very moment: look at it once more"
)
_TAKEN: Final = Inadmissible("the withdrawal was adopted by another request in this very moment")


class Asked(Protocol):
    """Reads at the provider."""

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all withdrawals of a party over some days."""
        ...

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """Read one withdrawal with all by which it is recognised."""
        ...

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Read one order."""
        ...

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """Read all orders of a party among which this one would be."""
        ...


class RulingLedger(Protocol):
    """Keeps what was ruled."""

    async def record(self, held: Held, decision: Decision) -> Held | None:
        """Commit a decision; None when somebody else changed the withdrawal."""
        ...

    async def owned_by_others(
        self, provider: str, withdrawal_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the ids among these that belong to another row."""
        ...

    async def orders_of_others(
        self, provider: str, order_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the ids of orders among these that belong to another row."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry of the provider's list that is not clearly another's.

    `is_owned` tells whether another request of this ledger has it, `is_marked` whether it carries
    the reference of the request that is settled.
    """

    entry: Entry
    is_owned: bool
    is_marked: bool


@dataclass(frozen=True, slots=True)
class OrderCandidate:
    """An order of the provider's list that can be the one in doubt; flags as for `Candidate`.

    `is_siblings` tells whether another order of this same request is it.
    """

    order: OrderReport
    is_owned: bool
    is_siblings: bool
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """What the provider lists at this moment; without candidates where the list was not read.

    Where the doubt is about an order that raises the cash, orders are what is listed.
    """

    answer: ListAnswer | OrdersAnswer
    candidates: tuple[Candidate, ...] = ()
    orders: tuple[OrderCandidate, ...] = ()


class Rulings:
    """Settles unresolved withdrawals of one provider, as a person says."""

    def __init__(
        self, *, provider: Asked, ledger: RulingLedger, now: Now, patience: Patience
    ) -> None:
        self._provider = provider
        self._ledger = ledger
        self._now = now
        self._patience = patience

    async def find(self, held: Held) -> Findings:
        """Look for the withdrawal in the provider's list, for a person to judge."""
        order = held.withdrawal.order
        index = doubtful(held.withdrawal)
        if index is not None:
            return await self._find_order(held, index)
        answer = await self._list(held)
        if not isinstance(answer, Listed):
            return Findings(answer)
        entries = possible(order, answer.entries)
        owned = await self._owned(held, entries)
        return Findings(
            answer,
            tuple(
                Candidate(
                    entry,
                    is_owned=entry.reported.withdrawal_id in owned,
                    is_marked=carries_reference(order, entry),
                )
                for entry in entries
            ),
        )

    async def settle(
        self, held: Held, ruling: Ruling, *, last_call_at: datetime | None
    ) -> Held | Inadmissible:
        """Ask the provider again, and commit the ruling if it can stand.

        `last_call_at` is when the newest create call ended, or began where nobody saw its end.
        Raises LedgerUnavailable when it is not certain that it was committed.
        """
        decision = await self._decide(held, ruling, last_call_at)
        if isinstance(decision, Inadmissible):
            return decision
        try:
            recorded = await self._ledger.record(held, decision)
        except StepRefused:
            return _TAKEN
        if recorded is None:
            return _OVERTAKEN
        _log.info(
            "ruled",
            extra={**ids_of(recorded.withdrawal), "ruling": type(ruling).__name__.lower()},
        )
        for change in decision.changes:
            log_change(recorded.withdrawal, change)
        return recorded

    async def _decide(
        self, held: Held, ruling: Ruling, last_call_at: datetime | None
    ) -> Decision | Inadmissible:
        order = held.withdrawal.order
        named = ruling.withdrawal_id if isinstance(ruling, Adopt) else None
        index = doubtful(held.withdrawal, named)
        if index is not None:
            return await self._decide_order(held, index, ruling)
        match ruling:
            case Adopt(withdrawal_id=withdrawal_id):
                entry = await self._provider.entry(order.party_id or "", withdrawal_id)
                owned = await self._owned(held, [entry] if isinstance(entry, Entry) else [])
                is_anothers = bool(owned)
                return decide_adoption(
                    held.withdrawal, ruling, entry, is_anothers=is_anothers, now=self._now()
                )
            case NotCreated():
                answer = await self._list(held)
                entries = answer.entries if isinstance(answer, Listed) else ()
                marked = [entry for entry in entries if carries_reference(order, entry)]
                return decide_not_created(
                    held.withdrawal,
                    ruling,
                    answer,
                    owned=await self._owned(held, marked),
                    last_call_at=last_call_at,
                    now=self._now(),
                    patience=self._patience,
                )
            case _:  # pragma: no cover
                assert_never(ruling)

    async def _find_order(self, held: Held, index: int) -> Findings:
        order, sales = held.withdrawal.order, held.withdrawal.sales
        sale = sales[index]
        siblings = {other.order_id for other in (*sales[:index], *sales[index + 1 :])}
        answer = await self._provider.orders(order.party_id or "", sale)
        if not isinstance(answer, OrdersListed):
            return Findings(answer)
        found = find(sale, answer.orders, taken_at=order.taken_at, owned=frozenset())
        owned = await self._orders_owned(held, found.ids)
        return Findings(
            answer,
            orders=tuple(
                OrderCandidate(
                    report,
                    is_owned=report.order_id in owned,
                    is_siblings=report.order_id in siblings,
                    is_marked=report.client_order_id == sale.key,
                )
                for report in (*found.ours, *found.lookalikes)
            ),
        )

    async def _decide_order(
        self, held: Held, index: int, ruling: Ruling
    ) -> Decision | Inadmissible:
        """Rule on an order that raises the cash, where the doubt is about one."""
        withdrawal, party_id = held.withdrawal, held.withdrawal.order.party_id or ""
        match ruling:
            case Adopt(withdrawal_id=order_id):
                report = await self._provider.order(party_id, order_id)
                owned = await self._orders_owned(held, {order_id})
                is_anothers = bool(owned)
                return decide_order_adoption(
                    withdrawal, index, ruling, report, is_anothers=is_anothers, now=self._now()
                )
            case NotCreated():
                listed = await self._provider.orders(party_id, withdrawal.sales[index])
                now, patience = self._now(), self._patience
                return decide_order_not_placed(
                    withdrawal, index, ruling, listed, now=now, patience=patience
                )
            case _:  # pragma: no cover
                assert_never(ruling)

    async def _orders_owned(self, held: Held, order_ids: Collection[str]) -> frozenset[str]:
        provider = held.withdrawal.order.provider or ""
        return await self._ledger.orders_of_others(provider, order_ids, row=held.row)

    async def _list(self, held: Held) -> ListAnswer:
        order = held.withdrawal.order
        window = self._patience.window_of(order.provider)
        since, until = days_to_read(held.withdrawal, now=self._now(), window=window)
        return await self._provider.listed(order.party_id or "", since, until)

    async def _owned(self, held: Held, entries: Collection[Entry]) -> frozenset[str]:
        ids = [entry.reported.withdrawal_id for entry in entries]
        provider = held.withdrawal.order.provider or ""
        return await self._ledger.owned_by_others(provider, ids, row=held.row)
