"""An order in Bluum's words: what was asked for, what became of it, how it is searched for.

Values only. Fills and ends carry their moments and the status follows from them and the time, so
that an order can be told as it stood a while ago."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_withdrawal import PAGE_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_CENT: Final = Decimal("0.01")
_NONE: Final = Decimal(0)


class OrderType(StrEnum):
    """How the price is found (ORD, CT)."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    """How long an order stands (ORD, CT)."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"

    @property
    def is_at_once(self) -> bool:
        """Whether what cannot be filled at once is cancelled."""
        return self in {TimeInForce.IOC, TimeInForce.FOK}


class OrderStatus(StrEnum):
    """The current words (CT). `open` rests until the market comes to it."""

    OPEN = "open"
    PENDING = "pending"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    FAILED = "failed"


#: The older words (PT, PW), which webhooks use; that they pair like this is inferred.
LEGACY_WORDS: Final[Mapping[OrderStatus, str]] = {
    OrderStatus.OPEN: "accepted",
    OrderStatus.PENDING: "accepted",
    OrderStatus.PARTIAL: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELLED: "canceled",
    OrderStatus.FAILED: "rejected",
}
#: An order that stands here goes on.
UNFINISHED: Final = frozenset({OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.PARTIAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a sell order asks for, after validation (ORD). Quantity and prices are positive."""

    symbol: str
    side: str
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    currency: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    client_order_id: str | None = None

    def is_crossed(self, price: Decimal) -> bool:
        """Tell whether a sale at this price is what was asked for."""
        match self.type:
            case OrderType.MARKET:
                return True
            case OrderType.TRAILING_STOP:
                # The price stands still here, so it never falls by the trail.
                return False
            case OrderType.LIMIT | OrderType.STOP | OrderType.STOP_LIMIT:
                reaches = self.limit_price is None or price >= self.limit_price
                return reaches and (self.stop_price is None or price <= self.stop_price)


@dataclass(frozen=True, slots=True)
class Fill:
    """Shares that were sold, at a price each, at a moment."""

    at: datetime
    quantity: Decimal
    price: Decimal

    @property
    def proceeds(self) -> Decimal:
        """What the sale brought, to the cent."""
        return (self.quantity * self.price).quantize(_CENT, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order that was executed, with what happened to it so far.

    `rests` tells one that waits for the market from one that waits for its fill. `end` is set when
    it was cancelled or has failed at `ended_at`, with or without fills.
    """

    id: str
    investor_id: str
    idempotency_key: str | None
    ticket: Ticket
    placed_at: datetime
    rests: bool = False
    fills: tuple[Fill, ...] = ()
    end: OrderStatus | None = None
    ended_at: datetime | None = None
    failure_reason: str | None = None

    def status(self, now: datetime) -> OrderStatus:
        """Return where the order stands at `now`."""
        if self.end is not None and self.ended_at is not None and self.ended_at <= now:
            return self.end
        filled = self.filled(now)
        if filled == self.ticket.quantity:
            return OrderStatus.FILLED
        if filled:
            return OrderStatus.PARTIAL
        return OrderStatus.OPEN if self.rests else OrderStatus.PENDING

    def filled(self, now: datetime) -> Decimal:
        """Return how many shares were sold by `now`."""
        return sum((fill.quantity for fill in self.fills if fill.at <= now), _NONE)

    def proceeds(self, now: datetime) -> Decimal:
        """Return what had been sold for by `now`."""
        return sum((fill.proceeds for fill in self.fills if fill.at <= now), _NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilters:
    """What a list call asks for (ORL). None leaves a field unfiltered."""

    statuses: frozenset[OrderStatus] | None = None
    symbol: str | None = None
    side: str | None = None
    limit: int = PAGE_DEFAULT
    offset: int = 0

    def match(self, order: Order, now: datetime) -> bool:
        """Tell whether the order, as it stands at `now`, was asked for."""
        return (
            (self.statuses is None or order.status(now) in self.statuses)
            and (self.symbol is None or self.symbol == order.ticket.symbol)
            and (self.side is None or self.side == order.ticket.side)
        )


def shares(quantity: Decimal) -> str:
    """Write a number of shares as Bluum's decimal string: `3`, `0.5`, `0`."""
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
