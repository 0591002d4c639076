"""What follows from where a sale stands, and from what the provider just said about its orders.

Pure: `sale_step` tells what may be done, the decisions what an answer means. Neither does anything.

The rule that everything here serves: shares are never sold on a guess. Bluum may not honour the key
of an order, so placing one again is not harmless, as it is with a withdrawal. A place call may go
out only with a `SalePermit`; a permit exists only for an order that is known not to be at the
provider, between the commit of its intent and the call. After an unclear answer nothing but the
provider's list tells what came of it. A refusal that follows one is not final before that either:
too few shares may be left because the silent call sold them."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypedDict, assert_never

from worker.core.answers import Conflicted, Denied, NotNow, Refused, Throttled, Unclear
from worker.core.decide import (
    EMPTY_LOOKUPS_NEEDED,
    FRESH_ATTEMPTS_END_AFTER,
    LOOKUPS_GIVEN_UP_AFTER,
    LOOKUPS_IN_VAIN_MAX,
    Cause,
    Decision,
    Held,
    is_too_late,
    move,
    park,
)
from worker.core.sale import (
    AWAITED,
    OPEN,
    OrderReport,
    OrdersListed,
    SaleStatus,
    is_over,
    more_filled,
)
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.sale import Found, OrderAnswer, OrdersAnswer, Sale
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal

#: A market that stays closed is tried for so long where the request says nothing else: more than
#: a long weekend.
CLOSED_MARKET_WAITED_FOR: Final = timedelta(days=4)


class Timing(TypedDict):
    """What every decision about a sale takes besides what it is about; as for `decide`."""

    now: datetime
    patience: Patience
    chance: float


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


@dataclass(frozen=True, slots=True)
class SalePermit:
    """The right to place one order once, until `valid_until`. Made by `sale_permit` alone.

    It carries all that the call may use: the key and the exact bytes that were committed. It ends
    with the `tenure` in which they were: a worker that was taken for dead since must not use it.
    """

    key: str
    party_id: str
    body: bytes = field(repr=False)
    tenure: int
    valid_until: datetime
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        """Refuse a permit that did not come from `sale_permit`."""
        if made_by is not _SALE_MARK:
            message = "a permit to sell is made by worker.core.selling.sale_permit alone"
            raise TypeError(message)


_SALE_MARK: Final = object()


def sale_step(withdrawal: Withdrawal, *, now: datetime) -> SaleStep:
    """Tell what may be done next for a sale that is not over; the only source of `Place`.

    What is in doubt is looked up first: to place or cancel anything else before would be to act on
    half of what happened.
    """
    sales = withdrawal.sales
    doubtful = _those(sales, SaleStatus.UNKNOWN)
    if doubtful:
        return LookUp(doubtful[0])
    resting = _those(sales, *OPEN)
    if why_given_up(withdrawal, now=now) is not None:
        return Cancel(resting) if resting else End()
    planned = _those(sales, SaleStatus.PLANNED)
    return Place(planned[0]) if planned else Read(_those(sales, *AWAITED))


def why_given_up(withdrawal: Withdrawal, *, now: datetime) -> Reason | None:
    """Say why no more cash is to be raised; None while it is, or once it has been.

    A request that is too late is given up although its orders may still be filled: the cash would
    be withdrawn by nobody.
    """
    if withdrawal.cancel_wanted:
        return Reason(ReasonCode.CANCELLED_ON_REQUEST)
    sales = withdrawal.sales
    for index in _those(sales, SaleStatus.REFUSED):
        refusal = sales[index].reason
        return Reason(ReasonCode.SALE_REFUSED, None if refusal is None else refusal.provider_code)
    if _those(sales, SaleStatus.FAILED):
        return Reason(ReasonCode.SALE_ENDED)
    if is_too_late(withdrawal, now=now) and not is_over(sales):
        return Reason(ReasonCode.EXPIRED)
    # Last, since we cancel orders ourselves for each of the reasons above.
    return Reason(ReasonCode.SALE_ENDED) if _those(sales, SaleStatus.CANCELLED) else None


def intend_sale(withdrawal: Withdrawal, index: int, *, now: datetime) -> Decision:
    """Mark that the call to place an order is about to leave; committed before it does."""
    sale = withdrawal.sales[index]
    called = replace(sale, attempts=sale.attempts + 1, last_attempt_at=now)
    return Decision(_with(withdrawal, index, _doubted(called, None, now=now)))


def sale_permit(
    before: Held, intended: Held, *, now: datetime, patience: Patience
) -> SalePermit | None:
    """Give the right to place an order, or None when it must not be placed (any more).

    `before` is the withdrawal as it was held, `intended` what the ledger made of it by committing
    the intent. Only who made that very commit holds both: for whoever finds an intent, it is a
    doubt. The right ends a settling delay after the intent: later, others may look into the list
    for what it did not do yet.
    """
    step = sale_step(before.withdrawal, now=now)
    party_id = before.withdrawal.order.party_id
    if not isinstance(step, Place) or party_id is None:
        return None
    sale = intended.withdrawal.sales[step.index]
    intended_at = sale.last_attempt_at
    if intended_at is None or not intended_at <= now < intended_at + patience.settling:
        return None
    intent = intend_sale(before.withdrawal, step.index, now=intended_at).withdrawal
    if (intended.row, intended.version) != (before.row, before.version + 1):
        return None
    if intended.withdrawal != intent:
        return None
    valid_until = intended_at + patience.settling
    not_after = before.withdrawal.order.not_after
    if not_after is not None:
        valid_until = min(valid_until, not_after)
    return SalePermit(sale.key, party_id, sale.body, intended.tenure, valid_until, _SALE_MARK)


def decide_placed(
    withdrawal: Withdrawal,
    index: int,
    answer: OrderAnswer,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from the answer to a place call.

    `withdrawal` is as it was before the intent: an order with a `first_attempt_at` was called for
    before, without its outcome being known for certain.
    """
    sale = withdrawal.sales[index]
    called = replace(sale, attempts=sale.attempts + 1, last_attempt_at=now)
    timing: Timing = {"now": now, "patience": patience, "chance": chance}
    match answer:
        case OrderReport():
            return _go_on(_with(withdrawal, index, _reported(called, answer)), **timing)
        case Throttled() | Denied():
            # It did not leave, or was turned away at the door.
            return _later(_with(withdrawal, index, called), _asked_for(answer, patience), now=now)
        case NotNow():
            return _market_closed(withdrawal, index, answer, **timing)
        case Refused(reason=reason):
            return _refused(_with(withdrawal, index, called), index, reason, **timing)
        case Conflicted(trace=trace):
            reason = Reason(ReasonCode.OUTCOME_UNKNOWN, trace.provider_code)
            doubted = _doubted(called, reason, now=now)
            wait = patience.settling
        case Unclear():
            doubted = _doubted(called, None, now=now)
            wait = patience.retries.delay(sale.attempts, chance=chance)
            wait = max(wait, _asked_for(answer, patience))
        case _:  # pragma: no cover
            assert_never(answer)
    return _later(_with(withdrawal, index, doubted), wait, now=now)


def decide_found(
    withdrawal: Withdrawal,
    index: int,
    answer: OrdersAnswer,
    found: Found,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from a look through the list for an order in doubt.

    `found` are the orders that can be it. One that carries our `client_order_id` is adopted;
    likeness alone, or several, need a person. None counts only when it was none three times, a
    settling delay apart, however often it was looked for in between. A refused or failed look-up is
    never final, but left to a person when it will be so for ever (as in `decide_lookup`).
    """
    timing: Timing = {"now": now, "patience": patience, "chance": chance}
    if not isinstance(answer, OrdersListed):
        return _list_unread(withdrawal, index, answer, **timing)
    if len(found.ours) == 1:
        adopted = _reported(withdrawal.sales[index], found.ours[0])
        return _go_on(_with(withdrawal, index, adopted), **timing)
    if found.ids:
        reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    return _found_nothing(withdrawal, index, **timing)


def decide_seen(
    withdrawal: Withdrawal,
    answers: Mapping[int, OrderAnswer],
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from reading orders that are at the provider, cancelled or not.

    `answers` are by the order's index. Only the provider's word about its state moves an order;
    everything else is looked at again on the growing schedule.
    """
    seen = withdrawal
    for index, answer in answers.items():
        sale = withdrawal.sales[index]
        # A word about another order says nothing about this one.
        if isinstance(answer, OrderReport) and answer.order_id == sale.order_id:
            seen = _with(seen, index, _reported(sale, answer))
    is_new = seen.sales != withdrawal.sales
    was_given_up = why_given_up(withdrawal, now=now) is not None
    awaited = OPEN if was_given_up else AWAITED
    if (is_new and not was_given_up) or not _those(seen.sales, *awaited):
        return _go_on(seen, now=now, patience=patience, chance=chance)
    turn = 0 if is_new else seen.looks
    wait = patience.looks.delay(turn, chance=chance)
    wait = max((wait, *(_asked_for(answer, patience) for answer in answers.values())))
    return _raising(replace(seen, looks=turn + 1, due_at=now + wait), now=now)


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
        sales=tuple(
            replace(sale, status=SaleStatus.NOT_PLACED)
            if sale.status is SaleStatus.PLANNED
            else sale
            for sale in withdrawal.sales
        ),
    )
    return move(withdrawal, ended, cause=Cause.SALE, now=now)


def doubtful(withdrawal: Withdrawal) -> int | None:
    """Return which order nobody knows about, None where there is none."""
    indexes = _those(withdrawal.sales, SaleStatus.UNKNOWN)
    return indexes[0] if indexes else None


def adopted_order(withdrawal: Withdrawal, index: int, report: OrderReport) -> Withdrawal:
    """Take an order of the provider's for the one in doubt, because a person says so."""
    return _with(withdrawal, index, _reported(withdrawal.sales[index], report))


def unplaced_order(withdrawal: Withdrawal, index: int) -> Withdrawal:
    """Take an order in doubt for one that never reached the provider: a person says so."""
    return _with(withdrawal, index, _planned_again(withdrawal.sales[index]))


def _go_on(withdrawal: Withdrawal, *, now: datetime, patience: Patience, chance: float) -> Decision:
    """Say what a change of the orders leads to: the next of them, a wait for fills, or the end."""
    step = sale_step(withdrawal, now=now)
    if isinstance(step, End):
        return end_sale(withdrawal, now=now)
    if isinstance(step, Read) and step.indexes:
        wait = patience.looks.delay(0, chance=chance)
        return _raising(replace(withdrawal, looks=1, due_at=now + wait), now=now)
    return _raising(replace(withdrawal, looks=0, due_at=now), now=now)


def _raising(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Tell that cash is being raised, once, when all orders are placed and none was given up."""
    is_placed = not _those(withdrawal.sales, SaleStatus.PLANNED, SaleStatus.UNKNOWN)
    is_told = withdrawal.status is not Status.RECEIVED
    if is_told or not is_placed or why_given_up(withdrawal, now=now) is not None:
        return Decision(withdrawal)
    raising = replace(withdrawal, status=Status.RAISING_CASH)
    return move(withdrawal, raising, cause=Cause.SALE, now=now)


def _refused(
    withdrawal: Withdrawal,
    index: int,
    reason: Reason,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Give the sale up, unless an earlier, silent call may have sold the shares."""
    sale = withdrawal.sales[index]
    if sale.first_attempt_at is not None:
        held_back = _doubted(sale, reason, now=now)
        return _later(_with(withdrawal, index, held_back), patience.settling, now=now)
    refused = replace(sale, status=SaleStatus.REFUSED, reason=reason)
    return _go_on(_with(withdrawal, index, refused), now=now, patience=patience, chance=chance)


def _market_closed(
    withdrawal: Withdrawal,
    index: int,
    answer: NotNow,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Try again on the growing schedule, as long as the request has time for that."""
    sale = withdrawal.sales[index]
    called = replace(sale, attempts=sale.attempts + 1, last_attempt_at=now)
    order = withdrawal.order
    ends = [at for at in (order.not_after, order.wait_for_funds_until) if at is not None]
    until = min(ends, default=order.taken_at + CLOSED_MARKET_WAITED_FOR)
    if now >= until:
        reason = Reason(ReasonCode.SALE_REFUSED, answer.trace.provider_code)
        called_for = _with(withdrawal, index, called)
        return _refused(called_for, index, reason, now=now, patience=patience, chance=chance)
    due_at = min(now + patience.looks.delay(withdrawal.looks, chance=chance), until)
    waiting = replace(withdrawal, looks=withdrawal.looks + 1, due_at=due_at)
    return Decision(_with(waiting, index, called))


def _list_unread(
    withdrawal: Withdrawal,
    index: int,
    answer: Refused | Unclear | Throttled | Denied,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Look again later; a person is told when that will be in vain for ever."""
    first_at = withdrawal.sales[index].first_attempt_at or withdrawal.order.taken_at
    hopeless_at = first_at + patience.window_of(withdrawal.order.provider)
    if isinstance(answer, Refused) and now >= hopeless_at:
        reason = Reason(ReasonCode.OUTCOME_UNKNOWN, answer.reason.provider_code)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    looked = replace(withdrawal, looks=withdrawal.looks + 1)
    is_in_vain = looked.looks >= LOOKUPS_IN_VAIN_MAX and now >= hopeless_at + LOOKUPS_GIVEN_UP_AFTER
    # Our credentials are no reason: those have to be mended.
    if is_in_vain and not isinstance(answer, Denied):
        return park(looked, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    wait = patience.looks.delay(withdrawal.looks, chance=chance)
    due_at = now + max(wait, _asked_for(answer, patience))
    return Decision(replace(looked, due_at=due_at))


def _found_nothing(
    withdrawal: Withdrawal, index: int, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    sale, order = withdrawal.sales[index], withdrawal.order
    if sale.looked_up_at is not None and now < sale.looked_up_at + patience.settling:
        # Woken in between. The list had no time to show what it did not show before.
        return Decision(replace(withdrawal, due_at=sale.looked_up_at + patience.settling))
    looked_up = replace(sale, empty_lookups=sale.empty_lookups + 1, looked_up_at=now)
    seen = _with(withdrawal, index, looked_up)
    if looked_up.empty_lookups < EMPTY_LOOKUPS_NEEDED:
        return _later(seen, patience.settling, now=now)
    refusal = sale.reason
    if refusal is not None and refusal.code is ReasonCode.OUTCOME_UNKNOWN:
        # The provider says that it knows the key, yet lists nothing: only a person can tell.
        return park(seen, refusal, cause=Cause.LOOKUP, now=now)
    if refusal is not None:
        refused = replace(looked_up, status=SaleStatus.REFUSED)
        return _go_on(_with(seen, index, refused), now=now, patience=patience, chance=chance)
    is_old = order.not_after is None and now >= order.taken_at + FRESH_ATTEMPTS_END_AFTER
    if is_old and why_given_up(seen, now=now) is None:
        return park(seen, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    planned = _with(seen, index, _planned_again(looked_up))
    return _go_on(planned, now=now, patience=patience, chance=chance)


def _reported(sale: Sale, report: OrderReport) -> Sale:
    """Take over what the provider says of an order that it holds."""
    status = report.status
    if status is None:
        status = sale.status if sale.is_awaited else SaleStatus.OPEN
    filled = more_filled(sale.filled_quantity, report.filled_quantity)
    is_sold = status in {SaleStatus.UNSETTLED, SaleStatus.FILLED}
    if is_sold and report.filled_quantity is None:
        filled = sale.quantity or filled
    return replace(
        sale,
        status=status,
        order_id=report.order_id,
        provider_status=report.provider_status,
        filled_quantity=filled,
        average_price=report.average_price or sale.average_price,
        reason=None,
        empty_lookups=0,
        looked_up_at=None,
    )


def _doubted(sale: Sale, reason: Reason | None, *, now: datetime) -> Sale:
    """Nobody knows what came of the call; `reason` is held until the list has spoken."""
    return replace(
        sale,
        status=SaleStatus.UNKNOWN,
        reason=reason,
        first_attempt_at=sale.first_attempt_at or now,
        empty_lookups=0,
        looked_up_at=None,
    )


def _planned_again(sale: Sale) -> Sale:
    # That there was a doubt is kept, in `first_attempt_at`: it bears on every later refusal.
    return replace(sale, status=SaleStatus.PLANNED, reason=None, empty_lookups=0, looked_up_at=None)


def _asked_for(answer: OrderAnswer | OrdersAnswer, patience: Patience) -> timedelta:
    """Tell for how long an answer wants us to keep away."""
    match answer:
        case Unclear(retry_after=wait):
            return wait or timedelta(0)
        case Throttled(retry_after=wait):
            return max(patience.throttled, wait or timedelta(0))
        case Denied():
            return patience.denied
        case _:
            return timedelta(0)


def _later(withdrawal: Withdrawal, wait: timedelta, *, now: datetime) -> Decision:
    return Decision(replace(withdrawal, looks=0, due_at=now + wait))


def _with(withdrawal: Withdrawal, index: int, sale: Sale) -> Withdrawal:
    sales = withdrawal.sales
    return replace(withdrawal, sales=(*sales[:index], sale, *sales[index + 1 :]))


def _those(sales: tuple[Sale, ...], *statuses: SaleStatus) -> tuple[int, ...]:
    return tuple(index for index, sale in enumerate(sales) if sale.status in statuses)
