"""The simulated market: sell orders, their fills, and the cash they raise.

Pure, like the bank beside it: the time is an argument, and what happens by itself is on the agenda.
It buys nothing, its price stands still, and its only closing hours are those of a magic symbol
(`bluum_terms` lists them). Shares need no registration: every investor holds some of each asset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import TYPE_CHECKING, Final

from worker.simulator import bluum_notices as notices
from worker.simulator.bluum_ground import (
    refusal_of_cancel,
    refusal_of_currency,
    refusal_of_customer,
    refusal_of_investor,
)
from worker.simulator.bluum_journal import Effect, Kind
from worker.simulator.bluum_keys import Remembered
from worker.simulator.bluum_order import UNFINISHED, Fill, Order, OrderStatus
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import (
    CLOSED,
    CUT,
    HALTED,
    LAPSED,
    NO_ASSET,
    PARTIAL,
    RESTING,
    SCARCE,
    SCARCE_SHARES,
    UNSOLD,
    CancelRule,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.simulator.bluum_ground import Ground
    from worker.simulator.bluum_order import OrderFilters, Ticket

#: Shares are counted to this part.
SMALLEST_SHARE: Final = Decimal("0.000000001")
#: Free text, invented like a withdrawal's.
FAILURE_REASON: Final = "The order was rejected by the venue."

_REFUSED_SYMBOLS: Final[Mapping[str, Refusal]] = {
    NO_ASSET: Refusal(Code.UNKNOWN_ASSET, "There is no such asset.", "symbol"),
    CLOSED: Refusal(Code.MARKET_CLOSED, "The market is closed.", "symbol"),
    HALTED: Refusal(Code.NOT_TRADABLE, "The asset is not tradable.", "symbol"),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """The order was executed: the shares are set aside."""

    order: Order


@dataclass(frozen=True, slots=True)
class PlacedBefore:
    """The key is known: nothing was executed. The order is as it was when placed."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A part of a list, newest first, and whether more of it follows."""

    orders: tuple[Order, ...]
    has_more: bool


class BluumMarket:
    """Executes orders and answers for them. One tenant, any number of investors."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._orders: dict[str, Order] = {}
        self._of_investor: dict[str, list[str]] = {}
        self._client_ids: set[tuple[str, str]] = set()
        # Shares that were sold or are set aside for an order.
        self._committed: dict[tuple[str, str], Decimal] = {}

    def executed(self, order_id: str) -> Order:
        """Return an order as it is, whoever asks; KeyError when there is none."""
        return self._orders[order_id]

    def place(
        self, investor_id: str, ticket: Ticket, *, body: bytes, key: str | None, now: datetime
    ) -> Placed | PlacedBefore | Refusal:
        """Execute a sell order (ORD), once a key where the terms honour keys.

        Refusals: 404-001, 404-003, 403-002, 409-001, 409-002, 400-004, 422-002, 422-003, 422-004.
        """
        self._ground.agenda.run(now)
        if refusal := refusal_of_customer(investor_id):
            return refusal
        caller = ("order", investor_id)
        honoured = key if self._ground.terms.orders_honour_keys else None
        if honoured is not None:
            known = self._ground.keys.recall(honoured, caller=caller, body=body, now=now)
            if isinstance(known, Order):
                return PlacedBefore(known)
            if isinstance(known, Refusal):
                return known
        if refusal := self._refusal(investor_id, ticket):
            return refusal
        order = self._execute(investor_id, ticket, body=body, key=key, now=now)
        if honoured is not None:
            self._ground.keys.remember(honoured, Remembered(order, caller, body, now))
        return Placed(order)

    def cancel(self, investor_id: str, order_id: str, *, now: datetime) -> Order | Refusal:
        """Cancel what is left of an order (JO, ORC), as the investor's cancel rule says.

        The answer is the order as the provider tells it, which need not be how it stands.
        Refusals: 404-001, 409-003.
        """
        self._ground.agenda.run(now)
        found = self._found(investor_id, order_id, now)
        if isinstance(found, Refusal):
            return found
        rule = self._ground.terms.cancel_rule_for(investor_id)
        status = found.status(now)
        if refusal := refusal_of_cancel(rule, stands=status, may=status in UNFINISHED):
            return refusal
        match rule:
            case CancelRule.UNHEEDED:
                return found
            case CancelRule.UNTRUE:
                return replace(found, end=OrderStatus.CANCELLED, ended_at=now)
            case _:
                return self._end(found, OrderStatus.CANCELLED, now)

    def order(self, investor_id: str, order_id: str, *, now: datetime) -> Order | Refusal:
        """Return one order; 404-001 when the investor has none of that id, or not yet."""
        self._ground.agenda.run(now)
        return self._found(investor_id, order_id, self._ground.terms.seen_at(now))

    def orders(
        self, investor_id: str, filters: OrderFilters, *, now: datetime
    ) -> OrderPage | Refusal:
        """Return a page of an investor's orders, newest first (the order is undocumented)."""
        self._ground.agenda.run(now)
        if refusal := refusal_of_investor(investor_id):
            return refusal
        seen_at = self._ground.terms.seen_at(now)
        newest_first = (self._orders[i] for i in reversed(self._of_investor.get(investor_id, ())))
        matching = (
            found
            for found in newest_first
            if found.placed_at <= seen_at and filters.match(found, seen_at)
        )
        end = filters.offset + filters.limit
        # One more than asked for tells whether another page follows.
        page = tuple(islice(matching, filters.offset, end + 1))
        return OrderPage(page[: filters.limit], has_more=len(page) > filters.limit)

    def _found(self, investor_id: str, order_id: str, seen_at: datetime) -> Order | Refusal:
        found = self._orders.get(order_id)
        if found is None or found.investor_id != investor_id or found.placed_at > seen_at:
            return Refusal(Code.NOT_FOUND, "No such order.", "order_id")
        return found

    def _refusal(self, investor_id: str, ticket: Ticket) -> Refusal | None:
        for beginning, refusal in _REFUSED_SYMBOLS.items():
            if ticket.symbol.startswith(beginning):
                return refusal
        if refused := refusal_of_currency(ticket.currency):
            return refused
        is_known = (investor_id, ticket.client_order_id) in self._client_ids
        if is_known and self._ground.terms.client_order_ids_unique:
            return Refusal(Code.DUPLICATE, "client_order_id was used before.", "client_order_id")
        if ticket.quantity > self._held(investor_id, ticket.symbol):
            return Refusal(Code.TOO_FEW_SHARES, "The investor holds fewer shares.", "quantity")
        return None

    def _held(self, investor_id: str, symbol: str) -> Decimal:
        is_scarce = symbol.startswith(SCARCE)
        opening = SCARCE_SHARES if is_scarce else self._ground.terms.opening_shares
        return opening - self._committed.get((investor_id, symbol), Decimal(0))

    def _execute(
        self, investor_id: str, ticket: Ticket, *, body: bytes, key: str | None, now: datetime
    ) -> Order:
        ground = self._ground
        order = Order(
            id=ground.new_id("ord_", investor_id=investor_id, key=key, body=body),
            investor_id=investor_id,
            idempotency_key=key,
            ticket=ticket,
            placed_at=now,
            rests=self._rests(ticket),
        )
        self._orders[order.id] = order
        self._of_investor.setdefault(investor_id, []).append(order.id)
        if ticket.client_order_id is not None:
            self._client_ids.add((investor_id, ticket.client_order_id))
        self._commit(order, ticket.quantity)
        ground.journal.enter(Effect(Kind.ORDER, order.id, now))
        ground.journal.tell(notices.moved(order, at=now))
        self._plan(order)
        return order

    def _rests(self, ticket: Ticket) -> bool:
        price = self._ground.terms.share_price
        return ticket.symbol.startswith(RESTING) or not ticket.is_crossed(price)

    def _plan(self, order: Order) -> None:
        """Put the course of an order on the agenda: its fills, or its end without them."""
        symbol, whole = order.ticket.symbol, order.ticket.quantity
        half = (whole / 2).quantize(SMALLEST_SHARE, ROUND_DOWN)
        if order.rests:
            if order.ticket.time_in_force.is_at_once:
                self._plan_end(order, OrderStatus.CANCELLED, step=1)
        elif symbol.startswith(LAPSED):
            self._plan_end(order, OrderStatus.CANCELLED, step=1)
        elif symbol.startswith(UNSOLD):
            self._plan_end(order, OrderStatus.FAILED, step=1)
        elif symbol.startswith(PARTIAL):
            self._plan_fill(order, half, step=1)
            self._plan_fill(order, whole - half, step=2)
        elif symbol.startswith(CUT):
            self._plan_fill(order, half, step=1)
            self._plan_end(order, OrderStatus.CANCELLED, step=2)
        else:
            self._plan_fill(order, whole, step=1)

    def _plan_fill(self, order: Order, quantity: Decimal, *, step: int) -> None:
        """Sell some shares in a while, if the order still stands by then."""

        def fill(at: datetime) -> None:
            standing = self._orders[order.id]
            if standing.end is None and quantity:
                self._fill(standing, quantity, at)

        self._ground.agenda.plan(order.placed_at + step * self._ground.terms.fill_delay, fill)

    def _plan_end(self, order: Order, end: OrderStatus, *, step: int) -> None:
        """Let the market end the order in a while, if it still stands by then."""

        def finish(at: datetime) -> None:
            standing = self._orders[order.id]
            if standing.status(at) in UNFINISHED:
                self._end(standing, end, at)

        self._ground.agenda.plan(order.placed_at + step * self._ground.terms.fill_delay, finish)

    def _fill(self, order: Order, quantity: Decimal, at: datetime) -> None:
        fill = Fill(at, quantity, self._ground.terms.share_price)
        filled = replace(order, fills=(*order.fills, fill))
        self._orders[order.id] = filled
        self._ground.wallets.earn(order.investor_id, order.ticket.currency, fill.proceeds, now=at)
        self._ground.journal.enter(Effect(Kind.FILL, order.id, at, quantity))
        self._ground.journal.tell(notices.moved(filled, at=at))

    def _end(self, order: Order, end: OrderStatus, at: datetime) -> Order:
        """End an order; the shares that were not sold are free again."""
        reason = FAILURE_REASON if end is OrderStatus.FAILED else None
        ended = replace(order, end=end, ended_at=at, failure_reason=reason)
        self._orders[order.id] = ended
        self._commit(order, order.filled(at) - order.ticket.quantity)
        kind = Kind.ORDER_FAILURE if end is OrderStatus.FAILED else Kind.ORDER_CANCEL
        self._ground.journal.enter(Effect(kind, order.id, at))
        self._ground.journal.tell(notices.moved(ended, at=at))
        return ended

    def _commit(self, order: Order, quantity: Decimal) -> None:
        place = (order.investor_id, order.ticket.symbol)
        self._committed[place] = self._committed.get(place, Decimal(0)) + quantity
