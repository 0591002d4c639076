"""An order in Upvest's words: what was asked for, and what became of it (OREF, OST, OEX, S26).

Values only. Executions and ends carry their moments and the status follows from them and the time,
so that an order can be told as it stood a while ago."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.simulator.route import Document

#: A part of a share has so many decimals at most; undocumented.
SMALLEST_SHARE: Final = Decimal("0.000001")
_CENT: Final = Decimal("0.01")
_NONE: Final = Decimal(0)


class OrderStatus(StrEnum):
    """Where an order stands (OST)."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"


class ExecutionStatus(StrEnum):
    """Where an execution stands (OEX)."""

    FILLED = "FILLED"
    SETTLED = "SETTLED"
    CANCELLED = "CANCELLED"


class OrderType(StrEnum):
    """How the price is found (S26)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


#: Why an order is cancelled (S19).
BY_CLIENT: Final = "CANCELLED_BY_CLIENT"
BY_PARTNER: Final = "CANCELLED_BY_TRADING_PARTNER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a sell order asks for, after validation: a number of shares, or an amount of money.

    `fields` is the request as it is told again.
    """

    account_id: str
    instrument_id: str
    order_type: OrderType
    quantity: Decimal | None
    cash_amount: Decimal | None
    currency: str
    client_reference: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    fields: Document = field(repr=False)

    def shares_at(self, price: Decimal) -> Decimal:
        """Return how many shares are to be sold at this price each."""
        if self.quantity is not None:
            return self.quantity
        return ((self.cash_amount or _NONE) / price).quantize(SMALLEST_SHARE, ROUND_DOWN)

    def is_crossed(self, price: Decimal) -> bool:
        """Tell whether a sale at this price is what was asked for."""
        reaches = self.limit_price is None or price >= self.limit_price
        return reaches and (self.stop_price is None or price <= self.stop_price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Shares that were sold at a price each; `settles_at` is when the cash may be withdrawn.

    A mistrade is cancelled at that moment instead.
    """

    id: str
    at: datetime
    quantity: Decimal
    price: Decimal
    settles_at: datetime
    is_mistrade: bool = False

    @property
    def proceeds(self) -> Decimal:
        """What the sale brought, to the cent."""
        return (self.quantity * self.price).quantize(_CENT, ROUND_HALF_EVEN)

    def status(self, now: datetime) -> ExecutionStatus:
        """Return where it stands at `now`."""
        if now < self.settles_at:
            return ExecutionStatus.FILLED
        return ExecutionStatus.CANCELLED if self.is_mistrade else ExecutionStatus.SETTLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order that was accepted, with what happened to it so far. `shares` are to be sold."""

    id: str
    idempotency_key: str
    ticket: Ticket
    shares: Decimal
    created_at: datetime
    processing_at: datetime | None
    executions: tuple[Execution, ...] = ()
    cancelled_at: datetime | None = None
    reason: str | None = None

    def as_accepted(self) -> Order:
        """Return it as it is told at first: NEW, however soon it goes on."""
        return replace(self, processing_at=None)

    def status(self, now: datetime) -> OrderStatus:
        """Return where the order stands at `now`."""
        if self.cancelled_at is not None and self.cancelled_at <= now:
            return OrderStatus.CANCELLED
        if self.filled(now) == self.shares:
            return OrderStatus.FILLED
        is_passed_on = self.processing_at is not None and self.processing_at <= now
        return OrderStatus.PROCESSING if is_passed_on else OrderStatus.NEW

    def executed(self, now: datetime) -> Iterator[Execution]:
        """Return the executions there were by `now`, cancelled ones too."""
        return (execution for execution in self.executions if execution.at <= now)

    def filled(self, now: datetime) -> Decimal:
        """Return how many shares were sold by `now`, mistrades counted."""
        return sum((execution.quantity for execution in self.executed(now)), _NONE)

    def kept(self, now: datetime) -> tuple[Decimal, Decimal]:
        """Return how many shares were sold by `now` and for how much, mistrades left out."""
        counted = [
            execution
            for execution in self.executed(now)
            if execution.status(now) is not ExecutionStatus.CANCELLED
        ]
        sold = sum((execution.quantity for execution in counted), _NONE)
        return sold, sum((execution.proceeds for execution in counted), _NONE)

    def updated_at(self, now: datetime) -> datetime:
        """Return when it last changed, as seen at `now`."""
        moments = [self.created_at, self.processing_at, self.cancelled_at]
        moments += [at for one in self.executions for at in (one.at, one.settles_at)]
        seen = max(now, self.created_at)
        return max(at for at in moments if at is not None and at <= seen)


def shares(quantity: Decimal) -> str:
    """Write a number of shares: `3`, `0.5`, `0`."""
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
