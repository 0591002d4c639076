"""What the provider's answers about its orders mean for a sale.

Pure: a withdrawal and an answer in, a decision out. What may be asked of the provider stands in
`sale_steps`, and the right to place an order in `sale_permit`.

Two rules keep shares from being sold on a guess. After an unclear answer nothing but the provider's
list of orders tells what came of it. A refusal that follows one is not final before that either:
too few shares may be left because the silent call sold them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypedDict, assert_never

from worker.core.answers import Conflicted, Denied, NotNow, Refused, Throttled, Unclear
from worker.core.change import Cause, Decision, move, park
from worker.core.limits import (
    EMPTY_LOOKUPS_NEEDED,
    FRESH_ATTEMPTS_END_AFTER,
    LOOKUPS_GIVEN_UP_AFTER,
    LOOKUPS_IN_VAIN_MAX,
    SETTLEMENT_WAITED_FOR,
)
from worker.core.sale import (
    AWAITED,
    OPEN,
    OrderReport,
    OrdersListed,
    SaleStatus,
    indexes_of,
    is_over,
    more_filled,
    put_in_doubt,
    with_sale,
)
from worker.core.sale_steps import End, Read, end_sale, sale_step, why_given_up
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
_NO_PROCEEDS: Final = (
    "an order is sold, and for {days} days the provider has not shown that its proceeds can be"
    " withdrawn"
)


class Timing(TypedDict):
    """What every decision about a sale takes besides what it is about; as for `decide`."""

    now: datetime
    patience: Patience
    chance: float


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
            return _go_on(
                with_sale(withdrawal, index, _reported(called, answer, now=now)), **timing
            )
        case Throttled() | Denied():
            # It did not leave, or was turned away at the door.
            return _later(
                with_sale(withdrawal, index, called), _asked_for(answer, patience), now=now
            )
        case NotNow():
            return _market_closed(withdrawal, index, answer, **timing)
        case Refused(reason=reason):
            return _refused(with_sale(withdrawal, index, called), index, reason, **timing)
        case Conflicted(trace=trace):
            reason = Reason(ReasonCode.OUTCOME_UNKNOWN, trace.provider_code)
            doubted = put_in_doubt(called, reason, now=now)
            wait = patience.settling
        case Unclear():
            doubted = put_in_doubt(called, None, now=now)
            wait = patience.retries.delay(sale.attempts, chance=chance)
            wait = max(wait, _asked_for(answer, patience))
        case _:  # pragma: no cover
            assert_never(answer)
    return _later(with_sale(withdrawal, index, doubted), wait, now=now)


def decide_found(
    withdrawal: Withdrawal,
    index: int,
    answer: OrdersAnswer,
    found: Found,
    *,
    asked_at: datetime,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from a look through the list for an order in doubt.

    `found` are the orders that can be it. One that carries our `client_order_id` is adopted;
    likeness alone, or several, need a person. None counts only when it was none three times, a
    settling delay apart, however often it was looked for in between, and however long the answer to
    what was asked for at `asked_at` took. A refused or failed look-up is never final, but left to a
    person when it will be so for ever (as in `decide_lookup`).
    """
    timing: Timing = {"now": now, "patience": patience, "chance": chance}
    if not isinstance(answer, OrdersListed):
        return _list_unread(withdrawal, index, answer, **timing)
    if len(found.ours) == 1:
        adopted = _reported(withdrawal.sales[index], found.ours[0], now=now)
        return _go_on(with_sale(withdrawal, index, adopted), **timing)
    if found.ids:
        reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    return _found_nothing(withdrawal, index, asked_at=asked_at, **timing)


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
    everything else is looked at again on the growing schedule. One that is sold for long, and still
    is no more than that by the provider's own word, is left to a person; but not before the time
    for which the request waits for funds, nor where it ends by a time limit of its own.
    """
    seen = withdrawal
    for index, answer in answers.items():
        sale = withdrawal.sales[index]
        # A word about another order says nothing about this one.
        if isinstance(answer, OrderReport) and answer.order_id == sale.order_id:
            seen = with_sale(seen, index, _reported(sale, answer, now=now))
    is_new = seen.sales != withdrawal.sales
    was_given_up = why_given_up(withdrawal, now=now) is not None
    awaited = OPEN if was_given_up else AWAITED
    if (is_new and not was_given_up) or not indexes_of(seen.sales, *awaited):
        return _go_on(seen, now=now, patience=patience, chance=chance)
    unpaid = None if was_given_up else _unpaid_since(seen, answers)
    if unpaid is not None and _has_waited_enough(seen, unpaid, now=now):
        detail = _NO_PROCEEDS.format(days=(now - unpaid).days)
        reason = Reason(ReasonCode.OUTCOME_UNKNOWN, detail=detail)
        return park(seen, reason, cause=Cause.SALE, now=now)
    turn = 0 if is_new else seen.looks
    wait = patience.looks.delay(turn, chance=chance)
    wait = max((wait, *(_asked_for(answer, patience) for answer in answers.values())))
    return _raising(replace(seen, looks=turn + 1, due_at=now + wait), now=now)


def adopted_order(
    withdrawal: Withdrawal, index: int, report: OrderReport, *, now: datetime
) -> Withdrawal:
    """Take an order of the provider's for the one in doubt, because a person says so."""
    return with_sale(withdrawal, index, _reported(withdrawal.sales[index], report, now=now))


def settled_order(
    withdrawal: Withdrawal, index: int, report: OrderReport, *, now: datetime
) -> Withdrawal:
    """Take the proceeds of a sold order for withdrawable, because a person says so.

    Unless the provider says by now that they are, or that they never will be.
    """
    sale = _reported(withdrawal.sales[index], report, now=now)
    if sale.status is SaleStatus.UNSETTLED:
        sale = replace(sale, status=SaleStatus.FILLED, sold_at=None)
    return with_sale(withdrawal, index, sale)


def unplaced_order(withdrawal: Withdrawal, index: int) -> Withdrawal:
    """Take an order in doubt for one that never reached the provider: a person says so."""
    return with_sale(withdrawal, index, _planned_again(withdrawal.sales[index]))


def _go_on(withdrawal: Withdrawal, *, now: datetime, patience: Patience, chance: float) -> Decision:
    """Say what a change of the orders leads to: the next of them, a wait for fills, or the end."""
    step = sale_step(withdrawal, now=now)
    # In doubt: put back to an earlier moment, so that all sold may be all paid as well.
    is_perhaps_paid = withdrawal.in_doubt and is_over(withdrawal.sales)
    if isinstance(step, End) and not is_perhaps_paid:
        return end_sale(withdrawal, now=now)
    if isinstance(step, Read) and step.indexes:
        wait = patience.looks.delay(0, chance=chance)
        return _raising(replace(withdrawal, looks=1, due_at=now + wait), now=now)
    return _raising(replace(withdrawal, looks=0, due_at=now), now=now)


def _raising(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Tell that cash is being raised, once, when all orders are placed and none was given up."""
    is_placed = not indexes_of(withdrawal.sales, SaleStatus.PLANNED, SaleStatus.UNKNOWN)
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
        held_back = put_in_doubt(sale, reason, now=now)
        return _later(with_sale(withdrawal, index, held_back), patience.settling, now=now)
    refused = replace(sale, status=SaleStatus.REFUSED, reason=reason)
    return _go_on(with_sale(withdrawal, index, refused), now=now, patience=patience, chance=chance)


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
        called_for = with_sale(withdrawal, index, called)
        return _refused(called_for, index, reason, now=now, patience=patience, chance=chance)
    due_at = min(now + patience.looks.delay(withdrawal.looks, chance=chance), until)
    waiting = replace(withdrawal, looks=withdrawal.looks + 1, due_at=due_at)
    return Decision(with_sale(waiting, index, called))


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
    withdrawal: Withdrawal,
    index: int,
    *,
    asked_at: datetime,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    sale, order = withdrawal.sales[index], withdrawal.order
    if sale.looked_up_at is not None and asked_at < sale.looked_up_at + patience.settling:
        # Woken in between. The list had no time to show what it did not show before.
        return Decision(replace(withdrawal, due_at=sale.looked_up_at + patience.settling))
    looked_up = replace(sale, empty_lookups=sale.empty_lookups + 1, looked_up_at=now)
    seen = with_sale(withdrawal, index, looked_up)
    if looked_up.empty_lookups < EMPTY_LOOKUPS_NEEDED:
        return _later(seen, patience.settling, now=now)
    refusal = sale.reason
    if refusal is not None and refusal.code is ReasonCode.OUTCOME_UNKNOWN:
        # The provider says that it knows the key, yet lists nothing: only a person can tell.
        return park(seen, refusal, cause=Cause.LOOKUP, now=now)
    if refusal is not None:
        refused = replace(looked_up, status=SaleStatus.REFUSED)
        return _go_on(with_sale(seen, index, refused), now=now, patience=patience, chance=chance)
    is_old = order.not_after is None and now >= order.taken_at + FRESH_ATTEMPTS_END_AFTER
    if is_old and why_given_up(seen, now=now) is None:
        return park(seen, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    planned = with_sale(seen, index, _planned_again(looked_up))
    return _go_on(planned, now=now, patience=patience, chance=chance)


def _unpaid_since(withdrawal: Withdrawal, answers: Mapping[int, OrderAnswer]) -> datetime | None:
    """Return since when one is sold of which the provider says once more that it is no more."""
    sold_at = (
        withdrawal.sales[index].sold_at
        for index, answer in answers.items()
        if isinstance(answer, OrderReport) and answer.status is SaleStatus.UNSETTLED
    )
    return min((at for at in sold_at if at is not None), default=None)


def _has_waited_enough(withdrawal: Withdrawal, since: datetime, *, now: datetime) -> bool:
    """Tell whether proceeds that are due since then are to be left to a person."""
    order = withdrawal.order
    if order.not_after is not None:
        # It expires by itself, however long that takes.
        return False
    until = since + SETTLEMENT_WAITED_FOR
    return now >= max(until, order.wait_for_funds_until or until)


def _reported(sale: Sale, report: OrderReport, *, now: datetime) -> Sale:
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
        sold_at=(sale.sold_at or now) if status is SaleStatus.UNSETTLED else None,
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
