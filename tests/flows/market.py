"""A market that executes the orders it is sent, as well or as badly as a test asks.

It does not honour keys, and it takes a `client_order_id` as often as it comes: the worst that the
real one's documentation leaves open."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from worker.core.answers import Conflicted, Refused
from worker.core.requests import Quantity, SellOrder, Symbol, orders
from worker.core.sale import OrderReport, OrdersListed, Sale, SaleStatus, sale_key
from worker.core.withdrawal import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.sale_permit import SalePermit


class Stock(SellOrder):
    """One order in a request to the fake provider."""

    symbol: Symbol
    quantity: Quantity


Stocks = Annotated[tuple[Stock, ...], BeforeValidator(orders)]


@dataclass(frozen=True, slots=True)
class Word:
    """What the market answers in place of the truth, and whether it executes all the same."""

    answer: OrderAnswer | Exception
    executes: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class Market:
    """Orders at the provider.

    It tells the truth unless `says` (to sell), `reads`, `lists` or `cancels` hold something else.
    A new order is as `becomes` says. `hidden` are ids that the list does not show, `nameless` tells
    whether it leaves the `client_order_id` out.
    """

    now: Callable[[], datetime]
    becomes: SaleStatus = SaleStatus.OPEN
    book: dict[str, OrderReport] = field(default_factory=dict)
    says: deque[Word] = field(default_factory=deque)
    reads: deque[OrderAnswer] = field(default_factory=deque)
    lists: deque[OrdersAnswer] = field(default_factory=deque)
    cancels: deque[OrderAnswer] = field(default_factory=deque)
    hidden: set[str] = field(default_factory=set)
    nameless: bool = False
    bodies: list[bytes] = field(default_factory=list)
    called: list[str] = field(default_factory=list)

    def compose(self, given: Iterable[SellOrder], message_id: str) -> tuple[Sale, ...]:
        """Write the body of each order."""
        sales = []
        for index, stock in enumerate(given):
            assert isinstance(stock, Stock)
            key = sale_key(message_id, index)
            document = {"symbol": stock.symbol, "quantity": stock.quantity, "client_order_id": key}
            body = json.dumps(document).encode()
            sales.append(Sale(key=key, body=body, symbol=stock.symbol, quantity=stock.quantity))
        return tuple(sales)

    def say(self, answer: OrderAnswer | Exception, *, executes: bool = False) -> None:
        """Give this answer to the next call to sell that has none yet."""
        self.says.append(Word(answer, executes))

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Execute an order, or do what a test asked for."""
        self.called.append("sell")
        self.bodies.append(permit.body)
        if not self.says:
            return self.execute(permit.body)
        word = self.says.popleft()
        if word.executes:
            self.execute(permit.body)
        if word.meanwhile is not None:
            await word.meanwhile()
        if isinstance(word.answer, Exception):
            raise word.answer
        return word.answer

    def execute(self, body: bytes) -> OrderReport:
        """Take an order into the book."""
        asked = json.loads(body)
        order = OrderReport(
            order_id=f"ord_{len(self.book) + 1}",
            status=SaleStatus.OPEN,
            provider_status="open",
            client_order_id=asked["client_order_id"],
            symbol=asked["symbol"],
            side="sell",
            quantity=asked["quantity"],
            filled_quantity="0",
            created_at=self.now(),
        )
        self.book[order.order_id] = order
        return self.move(order.order_id, self.becomes)

    def move(self, order_id: str, status: SaleStatus, filled: str | None = None) -> OrderReport:
        """Let an order get on; a filled one is filled whole."""
        order = self.book[order_id]
        if status is SaleStatus.FILLED:
            filled = order.quantity
        moved = replace(
            order,
            status=status,
            provider_status=status.value,
            filled_quantity=filled or order.filled_quantity,
            average_price="10.00" if filled else order.average_price,
        )
        self.book[order_id] = moved
        return moved

    def fill(self) -> None:
        """Fill all that rests."""
        for order in list(self.book.values()):
            if order.status in {SaleStatus.OPEN, SaleStatus.PARTIAL}:
                self.move(order.order_id, SaleStatus.FILLED)

    async def order(self, order_id: str) -> OrderAnswer:
        """Tell of one order."""
        self.called.append("order")
        if self.reads:
            return self.reads.popleft()
        return self.book.get(order_id) or Refused(Reason(ReasonCode.NOT_FOUND))

    async def orders(self) -> OrdersAnswer:
        """List all orders."""
        self.called.append("orders")
        if self.lists:
            return self.lists.popleft()
        shown = [order for order in self.book.values() if order.order_id not in self.hidden]
        if self.nameless:
            shown = [replace(order, client_order_id=None) for order in shown]
        return OrdersListed(tuple(shown))

    async def cancel(self, order_id: str) -> OrderAnswer:
        """Cancel what rests, unless a test wants another answer."""
        self.called.append("cancel")
        if self.cancels:
            return self.cancels.popleft()
        if self.book[order_id].status not in {SaleStatus.OPEN, SaleStatus.PARTIAL}:
            return Conflicted()
        return self.move(order_id, SaleStatus.CANCELLED)
