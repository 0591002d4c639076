"""What a person may rule about a withdrawal that is `unresolved`, and what follows from it.

Pure, and no way round the horizon: a ruling makes no permit. It ends the doubt at the most, and the
create call of the fresh attempt has to ask for its `permit` like every other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from worker.core.answers import (
    Conflicted,
    Denied,
    Entry,
    Listed,
    NotNow,
    Refused,
    Throttled,
    Unclear,
)
from worker.core.change import Cause, Decision, move, why_ended
from worker.core.limits import is_too_late
from worker.core.lookup import carries_reference, contradiction
from worker.core.sale import OrderReport, OrdersListed, SaleStatus
from worker.core.sale import contradiction as contradicts_sale
from worker.core.sale_steps import why_given_up
from worker.core.selling import adopted_order, settled_order, unplaced_order
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.answers import EntryAnswer, ListAnswer
    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class Adopt:
    """`operator` rules that this withdrawal at the provider is the one that was asked for."""

    withdrawal_id: str
    operator: str
    note: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotCreated:
    """`operator` rules that the provider never made the withdrawal: a fresh attempt may begin."""

    operator: str
    note: str = field(repr=False)


Ruling = Adopt | NotCreated


@dataclass(frozen=True, slots=True)
class Inadmissible:
    """The ruling cannot stand, and nothing was changed; `why` is a sentence for the person."""

    why: str


_SECOND: Final = timedelta(seconds=1)
_NOT_UNRESOLVED: Final = "it is {status}: only an unresolved withdrawal can be settled"
_OURS: Final = (
    "the provider holds {ids}, which carries the reference of this request: it was created, and "
    "has to be adopted"
)
_SIBLING: Final = "{id} is another order of this same request"
_SOLD: Final = (
    "{id} is sold: adopt it once its proceeds are there; to give the request up, cancel it first,"
    " and rule so again"
)


def decide_adoption(
    withdrawal: Withdrawal,
    ruling: Adopt,
    answer: EntryAnswer,
    *,
    is_anothers: bool,
    now: datetime,
) -> Decision | Inadmissible:
    """Take over the withdrawal that a person points to, if nothing speaks against it.

    `answer` is what the provider says of it, `is_anothers` whether another request owns it. It is
    due at once, so that the worker looks at it, and tells of the ruling, without delay. A status in
    a word that nobody documented leaves it `received`, known to the provider, to be followed.
    """
    if withdrawal.status is not Status.UNRESOLVED:
        return Inadmissible(_NOT_UNRESOLVED.format(status=withdrawal.status))
    if not isinstance(answer, Entry):
        return Inadmissible(f"{ruling.withdrawal_id} could not be read: {unread(answer)}")
    if is_anothers:
        return Inadmissible(f"{ruling.withdrawal_id} belongs to another request")
    against = contradiction(withdrawal.order, answer)
    if answer.party_id not in {None, withdrawal.order.party_id}:
        against = "it belongs to another party"
    if against is not None:
        return Inadmissible(f"{ruling.withdrawal_id} cannot be this request's: {against}")
    reported = answer.reported
    status = reported.status or Status.RECEIVED
    adopted = replace(
        _without_doubt(withdrawal, now=now),
        status=status,
        withdrawal_id=reported.withdrawal_id,
        provider_status=reported.provider_status,
        reason=why_ended(status, reported),
    )
    return _ruled(withdrawal, adopted, ruling, now=now)


def decide_not_created(
    withdrawal: Withdrawal,
    ruling: NotCreated,
    answer: ListAnswer,
    *,
    owned: frozenset[str],
    last_call_at: datetime | None,
    now: datetime,
    patience: Patience,
) -> Decision | Inadmissible:
    """Begin a fresh attempt on a person's word, unless the provider's list says otherwise.

    `owned` are the ids of marked entries that belong to other requests; `last_call_at` is when the
    newest create call ended (or began, where nobody saw its end). A call may execute late: the word
    of a person who looked too early is not taken. What is too late to be sent is rejected instead.

    The age of the key stays, whatever a person says. While the provider surely remembers it, the
    fresh attempt leaves at once and is answered with what an earlier one made, since it has the
    same key; after that it waits until the key is forgotten for certain.
    """
    if withdrawal.status is not Status.UNRESOLVED:
        return Inadmissible(_NOT_UNRESOLVED.format(status=withdrawal.status))
    early = _too_early(last_call_at, now=now, patience=patience)
    if early is not None:
        return early
    if not isinstance(answer, Listed):
        return Inadmissible(f"the provider's list could not be read: {unread(answer)}")
    ours = [
        entry.reported.withdrawal_id
        for entry in answer.entries
        if carries_reference(withdrawal.order, entry) and entry.reported.withdrawal_id not in owned
    ]
    if ours:
        return Inadmissible(_OURS.format(ids=", ".join(ours)))
    fresh = replace(
        _without_doubt(withdrawal, now=now),
        status=Status.RECEIVED,
        reason=None,
    )
    if is_too_late(withdrawal, now=now):
        expired = Reason(ReasonCode.EXPIRED)
        fresh = replace(fresh, status=Status.REJECTED, reason=expired)
    return _ruled(withdrawal, fresh, ruling, now=now)


def decide_order_adoption(
    withdrawal: Withdrawal,
    index: int,
    ruling: Adopt,
    answer: OrderAnswer,
    *,
    is_anothers: bool,
    now: datetime,
) -> Decision | Inadmissible:
    """Take over the order that a person points to for the one in doubt, if nothing contradicts.

    Of one that is sold already it is ruled that its proceeds are there. Should they not be, the
    provider refuses the withdrawal, which then waits for funds.

    `answer` is what the provider says of it, `is_anothers` whether another request owns it. The
    sale goes on from there.
    """
    order_id = ruling.withdrawal_id
    others = (*withdrawal.sales[:index], *withdrawal.sales[index + 1 :])
    if withdrawal.status is not Status.UNRESOLVED:
        return Inadmissible(_NOT_UNRESOLVED.format(status=withdrawal.status))
    if not isinstance(answer, OrderReport):
        return Inadmissible(f"{order_id} could not be read: {unread(answer)}")
    if is_anothers:
        return Inadmissible(f"{order_id} belongs to another request")
    if order_id in {other.order_id for other in others}:
        return Inadmissible(_SIBLING.format(id=order_id))
    sale = withdrawal.sales[index]
    against = contradicts_sale(sale, answer, taken_at=withdrawal.order.taken_at)
    if against is not None:
        return Inadmissible(f"{order_id} cannot be this request's: {against}")
    again = _sale_again(withdrawal, now=now)
    if sale.status is not SaleStatus.UNSETTLED:
        adopted = adopted_order(again, index, answer, now=now)
    elif order_id == sale.order_id:
        adopted = settled_order(again, index, answer, now=now)
    else:
        return Inadmissible(f"the order is {sale.order_id}, and only its proceeds are missing")
    return _ruled(withdrawal, adopted, ruling, now=now)


def decide_order_not_placed(
    withdrawal: Withdrawal,
    index: int,
    ruling: NotCreated,
    answer: OrdersAnswer,
    *,
    now: datetime,
    patience: Patience,
) -> Decision | Inadmissible:
    """Let an order in doubt be placed again on a person's word, unless the list says otherwise.

    As `decide_not_created`; what is too late by now is given up by the sale's next step. So is one
    that is sold, where the request is cancelled or too late: its proceeds are waited for no longer.
    """
    if withdrawal.status is not Status.UNRESOLVED:
        return Inadmissible(_NOT_UNRESOLVED.format(status=withdrawal.status))
    sale = withdrawal.sales[index]
    if sale.status is SaleStatus.UNSETTLED:
        if why_given_up(withdrawal, now=now) is None:
            return Inadmissible(_SOLD.format(id=sale.order_id))
        return _ruled(withdrawal, _sale_again(withdrawal, now=now), ruling, now=now)
    early = _too_early(sale.last_attempt_at, now=now, patience=patience)
    if early is not None:
        return early
    if not isinstance(answer, OrdersListed):
        return Inadmissible(f"the provider's list could not be read: {unread(answer)}")
    ours = [order.order_id for order in answer.orders if order.client_order_id == sale.key]
    if ours:
        return Inadmissible(_OURS.format(ids=", ".join(ours)))
    fresh = unplaced_order(_sale_again(withdrawal, now=now), index)
    return _ruled(withdrawal, fresh, ruling, now=now)


def unread(answer: Refused | NotNow | Conflicted | Unclear | Throttled | Denied) -> str:
    """Say why something could not be read at the provider, in words for people."""
    match answer:
        case Refused(reason=Reason(code=ReasonCode.NOT_FOUND)):
            return "the provider does not know it"
        case Refused(reason=reason):
            return f"the provider does not show it ({reason.provider_code or reason.code})"
        case NotNow():
            return "the provider does not show it at this hour"
        case Conflicted():
            return "the provider answered with a conflict"
        case Unclear(why=why):
            return f"no usable answer ({why}), try again later"
        case Throttled():
            return "the provider is asked too often at this moment, try again later"
        case Denied():
            return "the provider does not accept the credentials"
        case _:  # pragma: no cover
            assert_never(answer)


def _too_early(
    last_call_at: datetime | None, *, now: datetime, patience: Patience
) -> Inadmissible | None:
    """Say that a person looked before the last call was certainly over."""
    if last_call_at is None or now >= last_call_at + patience.settling:
        return None
    seconds = -((now - last_call_at - patience.settling) // _SECOND)
    return Inadmissible(f"the last call may still execute: wait for {seconds} more seconds")


def _sale_again(withdrawal: Withdrawal, *, now: datetime) -> Withdrawal:
    # The create call has not been intended yet: of the withdrawal itself nothing is in doubt.
    return replace(withdrawal, status=Status.RECEIVED, reason=None, looks=0, due_at=now)


def _without_doubt(withdrawal: Withdrawal, *, now: datetime) -> Withdrawal:
    return replace(
        withdrawal, in_doubt=False, held_refusal=None, empty_lookups=0, looks=0, due_at=now
    )


def _ruled(before: Withdrawal, after: Withdrawal, ruling: Ruling, *, now: datetime) -> Decision:
    return move(
        before, after, cause=Cause.RULING, now=now, operator=ruling.operator, note=ruling.note
    )
