"""What may be done next for a sale that raises the cash, and how one ends that is given up.

Pure: `sale_step` tells and does nothing. To place an order takes a `sale_permit` as well; what the
answers to the steps mean stands in `selling`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.core.change import Cause, Decision, move
from worker.core.limits import is_too_late
from worker.core.sale import AWAITED, OPEN, SaleStatus, indexes_of, is_over
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class Place:
    """Place this order: it is known not to be at the provider."""

    index: int


@dataclass(frozen=True, slots=True)
class LookUp:
    """Look for this order in the provider's list: nobody knows whether it is there."""

    index: int


@dataclass(frozen=True, slots=True)
class Read:
    """Read these orders: they are not over yet at the provider."""

    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel these orders, and read them: the sale is given up."""

    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class End:
    """End the withdrawal: the sale is given up, and nothing of it is at the provider any more."""


SaleStep = Place | LookUp | Read | Cancel | End


def sale_step(withdrawal: Withdrawal, *, now: datetime) -> SaleStep:
    """Tell what may be done next for a sale that is not over; the only source of `Place`.

    What is in doubt is looked up first: to place or cancel anything else before would be to act on
    half of what happened.
    """
    sales = withdrawal.sales
    doubtful = indexes_of(sales, SaleStatus.UNKNOWN)
    if doubtful:
        return LookUp(doubtful[0])
    resting = indexes_of(sales, *OPEN)
    if why_given_up(withdrawal, now=now) is not None:
        return Cancel(resting) if resting else End()
    planned = indexes_of(sales, SaleStatus.PLANNED)
    return Place(planned[0]) if planned else Read(indexes_of(sales, *AWAITED))


def why_given_up(withdrawal: Withdrawal, *, now: datetime) -> Reason | None:
    """Say why no more cash is to be raised; None while it is, or once it has been.

    A request that is too late is given up although its orders may still be filled: the cash would
    be withdrawn by nobody.
    """
    if withdrawal.cancel_wanted:
        return Reason(ReasonCode.CANCELLED_ON_REQUEST)
    sales = withdrawal.sales
    for index in indexes_of(sales, SaleStatus.REFUSED):
        refusal = sales[index].reason
        return Reason(ReasonCode.SALE_REFUSED, None if refusal is None else refusal.provider_code)
    if indexes_of(sales, SaleStatus.FAILED):
        return Reason(ReasonCode.SALE_ENDED)
    if is_too_late(withdrawal, now=now) and not is_over(sales):
        return Reason(ReasonCode.EXPIRED)
    # Last, since we cancel orders ourselves for each of the reasons above.
    return Reason(ReasonCode.SALE_ENDED) if indexes_of(sales, SaleStatus.CANCELLED) else None


def doubtful(withdrawal: Withdrawal, order_id: str | None = None) -> int | None:
    """Return which order a person has to rule on, None where there is none.

    One that nobody knows about; else, where that is why it rests, one whose proceeds never came:
    that with this `order_id`, or the one that has waited for them longest.
    """
    sales = withdrawal.sales
    unknown = indexes_of(sales, SaleStatus.UNKNOWN)
    if unknown:
        return unknown[0]
    if withdrawal.status is not Status.UNRESOLVED:
        return None

    def precedence(index: int) -> tuple[bool, bool, float]:
        sold_at = sales[index].sold_at
        since = 0.0 if sold_at is None else sold_at.timestamp()
        return sales[index].order_id != order_id, sold_at is None, since

    return min(indexes_of(sales, SaleStatus.UNSETTLED), key=precedence, default=None)


def end_sale(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """End a withdrawal whose sale is given up: `cancelled` where that was wanted, or `rejected`.

    What was sold by then stays in the orders. A sale that is not given up is left as it is.
    """
    reason = why_given_up(withdrawal, now=now)
    if reason is None:
        return Decision(withdrawal)
    is_wanted = reason.code is ReasonCode.CANCELLED_ON_REQUEST
    ended = replace(
        withdrawal,
        status=Status.CANCELLED if is_wanted else Status.REJECTED,
        reason=reason,
        # Without all of the cash nothing was withdrawn, whatever was feared.
        in_doubt=False,
        sales=tuple(
            replace(sale, status=SaleStatus.NOT_PLACED)
            if sale.status is SaleStatus.PLANNED
            else sale
            for sale in withdrawal.sales
        ),
    )
    return move(withdrawal, ended, cause=Cause.SALE, now=now)
