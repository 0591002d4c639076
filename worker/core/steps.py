"""What may be done with a withdrawal next, and what follows where the provider is not asked.

Pure: `next_step` tells and does nothing. To call create takes a `permit` as well; what the answers
to the other steps mean stands in `decide`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.core.change import Cause, Decision, is_reversible, move, reject
from worker.core.funds import awaited_until, has_waited_enough
from worker.core.limits import forgotten_at, is_remembered, is_too_late, next_call_at
from worker.core.sale import is_over as is_sold
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal


class Step(StrEnum):
    """What may be done with a withdrawal next."""

    CREATE = "create"
    LOOK = "look"
    LOOKUP = "lookup"
    EXPIRE = "expire"
    WAIT = "wait"
    CANCEL = "cancel"
    ABANDON = "abandon"
    ANSWER = "answer"
    SELL = "sell"
    REST = "rest"


def next_step(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Step:
    """Tell what may be done next with a withdrawal; the only source of `Step.CREATE`.

    A wanted cancellation goes before everything. What is in doubt is looked up first: to send it
    again in order to cancel it could execute what never arrived.
    """
    if withdrawal.is_at_rest:
        return _step_at_rest(withdrawal)
    if not is_sold(withdrawal.sales):
        return Step.SELL
    if withdrawal.withdrawal_id is not None:
        return Step.CANCEL if withdrawal.cancel_wanted else Step.LOOK
    too_late = is_too_late(withdrawal, now=now)
    if withdrawal.in_doubt:
        remembered = is_remembered(withdrawal, now=now, patience=patience)
        is_over = too_late or withdrawal.cancel_wanted or withdrawal.held_refusal is not None
        return Step.CREATE if remembered and not is_over else Step.LOOKUP
    if withdrawal.cancel_wanted:
        return Step.ABANDON
    if too_late or has_waited_enough(withdrawal, now=now):
        return Step.EXPIRE
    may_leave = now >= next_call_at(withdrawal, now=now, patience=patience)
    return Step.CREATE if may_leave else Step.WAIT


def refuse_at_the_door(withdrawal: Withdrawal, reason: Reason, *, now: datetime) -> Decision:
    """Begin and end the life of an invalid request: `rejected`, and nothing is ever sent."""
    return reject(withdrawal, reason, cause=Cause.INTAKE, now=now)


def expire(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """End a request whose time is over before anything was withdrawn: `not_after`, or the wait."""
    reason = Reason(ReasonCode.EXPIRED)
    if not is_too_late(withdrawal, now=now) and withdrawal.reason is not None:
        reason = withdrawal.reason
    return reject(withdrawal, reason, cause=Cause.EXPIRY, now=now)


def wait_until_forgotten(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    """Put a fresh attempt off until the provider has forgotten the key of all calls before it.

    Its memory of them may end at any moment between the window and then; a call in between that
    remained without an answer could not be repeated safely. Where the time of the request is over
    before that, it is told then.

    A first attempt that lies in the future, of a clock that went back, becomes one whose window has
    just ended: that makes no key young, and the wait ends although that clock never catches up.
    """
    forgotten = forgotten_at(withdrawal, now=now, patience=patience)
    first_at = withdrawal.first_attempt_at
    if first_at is not None:
        first_at = min(first_at, now - patience.window_of(withdrawal.order.provider))
    # The end of the wait for funds ends nothing that does not wait for them.
    is_waiting = withdrawal.status is Status.AWAITING_FUNDS
    not_after = withdrawal.order.not_after
    # At its very limit a request may still be sent: it is over a moment later.
    over_at = None if not_after is None else not_after + datetime.resolution
    ends = (over_at, awaited_until(withdrawal) if is_waiting else None)
    due_at = min(at for at in (forgotten, *ends) if at is not None)
    return Decision(replace(withdrawal, first_attempt_at=first_at, due_at=due_at))


def rests_until(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> datetime | None:
    """Return until when a fresh attempt waits for the key to be forgotten; None where none does."""
    if next_step(withdrawal, now=now, patience=patience) is not Step.WAIT:
        return None
    return next_call_at(withdrawal, now=now, patience=patience)


def abandon(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Cancel a request of which the provider knows nothing: it never hears of it."""
    reason = Reason(ReasonCode.CANCELLED_ON_REQUEST)
    cancelled = replace(withdrawal, status=Status.CANCELLED, reason=reason)
    return move(withdrawal, cancelled, cause=Cause.CANCELLATION, now=now)


def _step_at_rest(withdrawal: Withdrawal) -> Step:
    """Tell what to do with one that was woken at rest: a webhook, a cancellation, a daily look."""
    if not withdrawal.is_finished:
        return Step.REST
    if withdrawal.cancel_wanted:
        return Step.ANSWER
    return Step.LOOK if is_reversible(withdrawal) else Step.REST
