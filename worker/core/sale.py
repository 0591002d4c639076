"""An order that raises the cash for a withdrawal: its statuses, and how it is recognised.

Pure, like all of the core. What follows from how an order fares is decided in `selling`, and that
the cash is withdrawn afterwards in `steps`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import uuid5

from worker.core.answers import NO_TRACE, Conflicted, Denied, NotNow, Refused, Throttled, Unclear
from worker.core.withdrawal import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.core.answers import Trace
    from worker.core.withdrawal import Reason, Withdrawal

#: Of its own: no message id makes a withdrawal's key that is an order's. Upvest hears both bare.
_NAMESPACE: Final = uuid5(NAMESPACE, "sale")
#: A provider's clock may be off, and a date without an hour may be in any time zone.
_TIME_SLACK: Final = timedelta(days=1)


class SaleStatus(StrEnum):
    """Where an order stands; the word also stands in the events."""

    #: Not at the provider, as is known for certain.
    PLANNED = "planned"
    #: A call to place it may have left, and nobody knows what came of it.
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    #: Sold, and the proceeds cannot be withdrawn yet.
    UNSETTLED = "unsettled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    #: The provider said no when it was to be placed.
    REFUSED = "refused"
    #: It was not placed, and will not be: the sale was given up before its turn.
    NOT_PLACED = "not_placed"


#: Resting at the provider: it may still be filled, and can be cancelled.
OPEN: Final = frozenset({SaleStatus.OPEN, SaleStatus.PARTIAL})
#: At the provider, and something more is to happen there before the cash can be withdrawn.
AWAITED: Final = OPEN | {SaleStatus.UNSETTLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One order that raises cash, as it stands. Change is `replace`.

    `key` is its own idempotency key and its `client_order_id`; `body` are the exact bytes that
    every attempt sends. `quantity`, `cash_amount` (what is to be raised, where it is that and no
    quantity that is sold), `filled_quantity` and `average_price` are decimal texts.
    `reason` is why the provider refused it: for good, or (while it is unknown) held until the
    provider's list has spoken. `first_attempt_at` is when a call first left of which is not known
    for certain that nothing came of it, `last_attempt_at` when the newest call was intended.
    `looked_up_at` is the newest of its `empty_lookups`. `sold_at` is since when the provider says
    that it is sold, while its proceeds cannot be withdrawn.
    """

    key: str
    body: bytes = field(default=b"", repr=False)
    symbol: str = ""
    quantity: str | None = "0"
    cash_amount: str | None = None
    status: SaleStatus = SaleStatus.PLANNED
    order_id: str | None = None
    provider_status: str | None = None
    filled_quantity: str = "0"
    average_price: str | None = None
    reason: Reason | None = None
    attempts: int = 0
    first_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    empty_lookups: int = 0
    looked_up_at: datetime | None = None
    sold_at: datetime | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether it is at the provider, and on its way to the cash."""
        return self.status in AWAITED

    @property
    def is_filled(self) -> bool:
        """Whether all of it is sold, and the proceeds are there."""
        return self.status is SaleStatus.FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """The provider holds this order, in this state.

    `status` is None when the provider used a word that nobody documented: it is counted and looked
    at again, never guessed at. What the provider does not show is None.
    """

    order_id: str
    status: SaleStatus | None
    provider_status: str | None = None
    client_order_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    quantity: str | None = None
    cash_amount: str | None = None
    filled_quantity: str | None = None
    average_price: str | None = None
    created_at: datetime | None = None
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class OrdersListed:
    """One look through the provider's list of a party's orders, complete."""

    orders: tuple[OrderReport, ...]


#: What may be answered to placing an order, to a look at one, and to a call to cancel it.
OrderAnswer = OrderReport | Refused | NotNow | Conflicted | Unclear | Throttled | Denied
#: What a look through the list of orders may be answered with.
OrdersAnswer = OrdersListed | Refused | Unclear | Throttled | Denied


@dataclass(frozen=True, slots=True)
class Found:
    """Orders of the list that can be the one in doubt.

    `ours` carry our `client_order_id`. `lookalikes` carry none and cannot be ruled out.
    """

    ours: tuple[OrderReport, ...] = ()
    lookalikes: tuple[OrderReport, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """The provider's ids of all of them."""
        return frozenset(order.order_id for order in (*self.ours, *self.lookalikes))


def sale_key(message_id: str, index: int) -> str:
    """Derive the key of a request's order: the same in every process and release.

    >>> sale_key("demo", 0)
    'sell-cba1aab2-2906-5576-81dd-85f2e4996ba8'
    """
    return f"sell-{uuid5(_NAMESPACE, f'{index}/{message_id}')}"


def is_over(sales: Iterable[Sale]) -> bool:
    """Tell whether nothing is left to be sold: every order is filled, or there is none."""
    return all(sale.is_filled for sale in sales)


def find(
    sale: Sale, orders: Iterable[OrderReport], *, taken_at: datetime, owned: frozenset[str]
) -> Found:
    """Find the orders that can be the one in doubt.

    `owned` are the provider's ids that belong to other sales, `taken_at` is when the request came.
    Our own `client_order_id` is never explained away, whoever seems to own it.
    """
    by_id = {order.order_id: order for order in orders}.values()
    return Found(
        tuple(order for order in by_id if order.client_order_id == sale.key),
        tuple(
            order
            for order in by_id
            if order.client_order_id is None
            and order.order_id not in owned
            and contradiction(sale, order, taken_at=taken_at) is None
        ),
    )


def contradiction(sale: Sale, order: OrderReport, *, taken_at: datetime) -> str | None:
    """Say what speaks clearly against an order, in words for people; None when nothing does."""
    if order.client_order_id not in {None, sale.key}:
        return "it carries the client_order_id of another order"
    if order.side is not None and order.side.lower() != "sell":
        return "it is no sale"
    if order.symbol is not None and order.symbol.upper() != sale.symbol.upper():
        return "it sells something else"
    if _differ(order.quantity, sale.quantity):
        return "it has another quantity"
    if _differ(order.cash_amount, sale.cash_amount):
        return "it raises another amount"
    if order.created_at is not None and order.created_at < taken_at - _TIME_SLACK:
        return "it was placed before the request was taken in"
    return None


def more_filled(one: str, other: str | None) -> str:
    """Return the larger of two filled quantities: what was sold is not taken back."""
    known, heard = _decimal(one), _decimal(other)
    if other is None or heard is None or (known is not None and heard <= known):
        return one
    return other


def indexes_of(sales: tuple[Sale, ...], *statuses: SaleStatus) -> tuple[int, ...]:
    """Return the indexes of the orders that have one of these statuses."""
    return tuple(index for index, sale in enumerate(sales) if sale.status in statuses)


def with_sale(withdrawal: Withdrawal, index: int, sale: Sale) -> Withdrawal:
    """Return the withdrawal with this order in the place of the one at `index`."""
    sales = withdrawal.sales
    return replace(withdrawal, sales=(*sales[:index], sale, *sales[index + 1 :]))


def put_in_doubt(sale: Sale, reason: Reason | None, *, now: datetime) -> Sale:
    """Mark that nobody knows what came of a call; `reason` is held until the list has spoken."""
    return replace(
        sale,
        status=SaleStatus.UNKNOWN,
        reason=reason,
        first_attempt_at=sale.first_attempt_at or now,
        empty_lookups=0,
        looked_up_at=None,
    )


def _differ(shown: str | None, wanted: str | None) -> bool:
    """Tell whether two numbers are different ones. What only one side tells is no difference."""
    one, other = _decimal(shown), _decimal(wanted)
    return None not in {one, other} and one != other


def _decimal(text: str | None) -> Decimal | None:
    """Read a quantity; None when it is missing or cannot be read as a number."""
    try:
        quantity = Decimal(text or "")
    except InvalidOperation:
        return None
    return quantity if quantity.is_finite() else None
