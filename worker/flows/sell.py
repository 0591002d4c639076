"""Raising cash: orders placed one after the other, followed until each has ended, or given up.

Where the order is the meaning: the intent to place an order is committed before the call, and its
outcome before the next order's. What may be done, and what an answer means, is decided in the
core."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, assert_never

from worker.core.answers import Denied, Throttled, Unclear
from worker.core.change import Cause, Held, park
from worker.core.sale import Found, OrderReport, OrdersListed, find, is_over
from worker.core.sale_permit import intend_sale, sale_permit
from worker.core.sale_steps import Cancel, End, LookUp, Place, Read, end_sale, sale_step
from worker.core.selling import decide_found, decide_placed, decide_seen
from worker.core.withdrawal import Reason, ReasonCode
from worker.flows.commit import tell
from worker.flows.journey import ids_of
from worker.flows.ports import Recorder, StepRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import datetime

    from worker.core.change import Decision
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit
    from worker.core.schedule import Patience
    from worker.core.selling import Timing
    from worker.flows.ports import Announcer, Now, Observer

_log = logging.getLogger(__name__)


class Seller(Protocol):
    """Sells at the provider."""

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Place one order; silence is an answer too."""
        ...

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Read one order."""
        ...

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """Read all orders of a party among which this one would be."""
        ...

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Ask for an order's cancellation."""
        ...


class SaleLedger(Recorder, Protocol):
    """Knows which of the provider's orders belong to which request."""

    async def orders_of_others(
        self, provider: str, order_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the ids among these that belong to another row."""
        ...


class Selling:
    """Raises the cash of withdrawals; parameters as for `Submission`."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Seller],
        ledger: SaleLedger,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        chance: Callable[[], float],
        denied: Callable[[str], None],
        may_call: Callable[[str], bool] = lambda _provider: True,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._announcer = announcer
        self._observer = observer
        self._now = now
        self._patience = patience
        self._chance = chance
        self._denied = denied
        self._may_call = may_call

    async def run(self, held: Held) -> None:
        """Go on with a sale that is not over, as far as it gets without waiting."""
        going: Held | None = held
        while going is not None:
            going = await self._step(going)

    async def _step(self, held: Held) -> Held | None:
        """Do what is to be done next; return the withdrawal if there is more to do at once."""
        withdrawal, now = held.withdrawal, self._now()
        match sale_step(withdrawal, now=now):
            case Place(index=index):
                return await self._place(held, index)
            case LookUp(index=index):
                return await self._look_up(held, index)
            case Read(indexes=indexes):
                answers = await self._ask(held, indexes, self._read)
                return await self._commit(held, decide_seen(withdrawal, answers, **self._timing()))
            case Cancel(indexes=indexes):
                answers = await self._ask(held, indexes, self._cancel)
                return await self._commit(held, decide_seen(withdrawal, answers, **self._timing()))
            case End():
                return await self._commit(held, end_sale(withdrawal, now=now))
            case step:  # pragma: no cover
                assert_never(step)

    async def _place(self, held: Held, index: int) -> Held | None:
        intent = intend_sale(held.withdrawal, index, now=self._now())
        intended = await self._ledger.record(held, intent, keep=True)
        if intended is None:
            _log.warning("intent was overtaken by another", extra=ids_of(held.withdrawal))
            return None
        answer = await self._call(held, intended)
        self._heard(held, answer)
        if isinstance(answer, Unclear | Throttled):
            why = answer.why if isinstance(answer, Unclear) else "throttled"
            self._observer.retried(held.withdrawal.order.provider or "", why)
        # A cancellation that came in the meantime is neither lost nor answered by this.
        wanted = intended.withdrawal.cancel_wanted
        before = replace(held.withdrawal, cancel_wanted=wanted)
        decision = decide_placed(before, index, answer, **self._timing())
        _log.info(
            "order called for",
            extra={
                **ids_of(held.withdrawal),
                "index": index,
                "answer": type(answer).__name__.lower(),
                "request_id": answer.trace.request_id,
            },
        )
        return await self._commit(intended, decision)

    async def _call(self, before: Held, intended: Held) -> OrderAnswer:
        """Make the one call that the committed intent is for; what does not leave is put off."""
        provider = before.withdrawal.order.provider or ""
        granted = sale_permit(before, intended, now=self._now(), patience=self._patience)
        if granted is None or self._ledger.tenure != granted.tenure:
            return Throttled()
        if not self._may_call(provider):
            # The provider is out: what waits is taken up again once it is back.
            return Throttled()
        return await self._providers[provider].sell(granted)

    async def _look_up(self, held: Held, index: int) -> Held | None:
        withdrawal, order = held.withdrawal, held.withdrawal.order
        provider = order.provider or ""
        sale = withdrawal.sales[index]
        asked_at = self._now()
        answer = await self._providers[provider].orders(order.party_id or "", sale)
        if isinstance(answer, Denied):
            self._denied(provider)
        found = Found()
        if isinstance(answer, OrdersListed):
            found = find(
                sale,
                answer.orders,
                taken_at=order.taken_at,
                owned=await self._owned(held, answer.orders),
            )
        _log.info(
            "order looked up",
            extra={
                **ids_of(withdrawal),
                "index": index,
                "answer": type(answer).__name__.lower(),
                "found": len(found.ids),
            },
        )
        decision = decide_found(
            withdrawal, index, answer, found, asked_at=asked_at, **self._timing()
        )
        return await self._commit(held, decision)

    async def _owned(self, held: Held, orders: Collection[OrderReport]) -> frozenset[str]:
        """Tell which orders are other sales', of this request or of others."""
        own = {sale.order_id for sale in held.withdrawal.sales if sale.order_id is not None}
        ids = {order.order_id for order in orders if order.client_order_id is None}
        provider = held.withdrawal.order.provider or ""
        return frozenset(own) | await self._ledger.orders_of_others(provider, ids, row=held.row)

    async def _ask(
        self,
        held: Held,
        indexes: Collection[int],
        ask: Callable[[Seller, str, str], Awaitable[OrderAnswer]],
    ) -> dict[int, OrderAnswer]:
        """Ask about several orders, until one answer says that all calls have to wait."""
        order = held.withdrawal.order
        seller = self._providers[order.provider or ""]
        answers: dict[int, OrderAnswer] = {}
        for index in indexes:
            order_id = held.withdrawal.sales[index].order_id or ""
            answers[index] = await ask(seller, order.party_id or "", order_id)
            self._heard(held, answers[index])
            if isinstance(answers[index], Throttled | Denied):
                break
        return answers

    async def _read(self, seller: Seller, party_id: str, order_id: str) -> OrderAnswer:
        return await seller.order(party_id, order_id)

    async def _cancel(self, seller: Seller, party_id: str, order_id: str) -> OrderAnswer:
        """Ask for the cancellation, and believe what is read afterwards."""
        answer = await seller.cancel_order(party_id, order_id)
        if isinstance(answer, Throttled | Denied):
            return answer
        return await seller.order(party_id, order_id)

    def _heard(self, held: Held, answer: OrderAnswer) -> None:
        provider = held.withdrawal.order.provider or ""
        if isinstance(answer, Denied):
            self._denied(provider)
        if isinstance(answer, OrderReport) and answer.status is None:
            self._observer.unknown_status(provider)

    async def _commit(self, held: Held, decision: Decision) -> Held | None:
        """Commit a decision; return the withdrawal if it is to be gone on with at once."""
        keep = _goes_on(decision, now=self._now())
        try:
            recorded = await self._ledger.record(held, decision, keep=keep)
        except StepRefused:
            # The provider's id belongs to another request: two keys, one order.
            _log.exception("order id is taken", extra=ids_of(held.withdrawal))
            reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
            decision = park(held.withdrawal, reason, cause=Cause.SALE, now=self._now())
            keep = False
            recorded = await self._ledger.record(held, decision)
        if recorded is None:
            _log.warning("outcome was recorded by another", extra=ids_of(held.withdrawal))
            return None
        tell(recorded, decision, observer=self._observer, announcer=self._announcer)
        return recorded if keep else None

    def _timing(self) -> Timing:
        return {"now": self._now(), "patience": self._patience, "chance": self._chance()}


def _goes_on(decision: Decision, *, now: datetime) -> bool:
    after = decision.withdrawal
    is_due = after.due_at is not None and after.due_at <= now
    return is_due and not after.is_at_rest and not is_over(after.sales)
