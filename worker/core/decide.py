"""What the provider's answer means for a withdrawal.

Pure: a withdrawal and an answer in, a decision out. What may be asked of the provider stands in
`steps`, and the right to call create in `permit`.

Two rules keep money from being sent on a guess. Silence is not failure. A refusal that follows
silence is not final either: the silent attempt may have succeeded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict, assert_never

from worker.core.answers import (
    Answer,
    Conflicted,
    Denied,
    Listed,
    Refused,
    Reported,
    Throttled,
    Unclear,
)
from worker.core.change import (
    Cause,
    Decision,
    answer_cancellation,
    is_reversible,
    move,
    park,
    put_off,
    reject,
    why_ended,
)
from worker.core.funds import may_wait, wait_for_funds
from worker.core.limits import (
    EMPTY_LOOKUPS_NEEDED,
    FRESH_ATTEMPTS_END_AFTER,
    is_in_vain,
    is_remembered,
    is_too_late,
    next_call_at,
)
from worker.core.schedule import next_look, next_reversal_look
from worker.core.steps import abandon
from worker.core.withdrawal import MOVES, Reason, ReasonCode, Status

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.answers import ListAnswer
    from worker.core.lookup import Candidates
    from worker.core.schedule import Outlook, Patience
    from worker.core.withdrawal import Withdrawal


class _Timing(TypedDict):
    now: datetime
    patience: Patience
    chance: float
    outlook: Outlook | None


def decide_create(
    withdrawal: Withdrawal, answer: Answer, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    """Say what follows from the answer to a create call.

    `withdrawal.in_doubt` tells whether an *earlier* attempt may have reached the provider; this
    attempt's own doubt is what its answer decides. `chance` (0 to 1) spreads the next due time.
    """
    match answer:
        case Reported():
            return _follow(
                withdrawal, answer, Cause.CREATE, now=now, patience=patience, chance=chance
            )
        case Refused(reason=reason) if not withdrawal.in_doubt:
            return _refused(
                withdrawal, reason, Cause.CREATE, now=now, patience=patience, chance=chance
            )
        case Refused(reason=reason):
            # An earlier attempt may have succeeded: this refusal is kept until the list has spoken.
            return _later(replace(withdrawal, held_refusal=reason), patience.settling, now=now)
        case Conflicted(trace=trace):
            unknown = Reason(ReasonCode.OUTCOME_UNKNOWN, trace.provider_code)
            doubted = replace(withdrawal, in_doubt=True, held_refusal=unknown)
            return _later(doubted, patience.settling, now=now)
        case Unclear():
            # The turn counts attempts, so a withdrawal that is tried for hours is tried rarely.
            wait = patience.retries.delay(withdrawal.attempts - 1, chance=chance)
            wait = max(wait, _asked_for(answer, patience))
            return _later(replace(withdrawal, in_doubt=True), wait, now=now)
        case Throttled() | Denied():
            # Turned away at the door. The key's age goes on: earlier calls, refused for certain,
            # may have used it, and so may one that was sent just before under the same permit.
            return _later(withdrawal, _asked_for(answer, patience), now=now)
        case _:  # pragma: no cover
            assert_never(answer)


def decide_look(
    withdrawal: Withdrawal,
    answer: Answer,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    outlook: Outlook | None = None,
) -> Decision:
    """Say what follows from the answer to a look (get) at a withdrawal that has an id.

    Only the provider's word about its state moves it. A refused or failed look says nothing about
    the money: it is repeated on the same growing schedule. `outlook` is when it usually ends.
    """
    timing: _Timing = {"now": now, "patience": patience, "chance": chance, "outlook": outlook}
    if isinstance(answer, Reported):
        return _follow(withdrawal, answer, Cause.LOOK, **timing)
    return _look_again(withdrawal, answer, **timing)


def decide_lookup(
    withdrawal: Withdrawal,
    answer: ListAnswer,
    found: Candidates,
    *,
    asked_at: datetime,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from a look through the provider's list for a withdrawal in doubt.

    `found` are the entries that can be this withdrawal and belong to no other row. Exactly one is
    adopted, several (or likeness alone) need a person, none counts only when it was none three
    times, a settling delay apart, from the end of one to when the next was asked for (`asked_at`):
    an answer may take long. A refused or failed look-up is never final; but one that is still
    refused when the key is forgotten will be so for ever, and one that stays silent long after that
    perhaps too: a person has to be told. Our credentials are no reason: those have to be mended.
    """
    remembered = is_remembered(withdrawal, now=now, patience=patience)
    if isinstance(answer, Refused) and not remembered:
        reason = Reason(ReasonCode.OUTCOME_UNKNOWN, answer.reason.provider_code)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    if not isinstance(answer, Listed):
        again = _look_again(withdrawal, answer, now=now, patience=patience, chance=chance)
        in_vain = is_in_vain(again.withdrawal, now=now, patience=patience)
        if isinstance(answer, Denied) or not in_vain:
            return again
        reason = Reason(ReasonCode.OUTCOME_UNKNOWN)
        return park(again.withdrawal, reason, cause=Cause.LOOKUP, now=now)
    if len(found.ours) == 1:
        ours = found.ours[0]
        return _follow(withdrawal, ours, Cause.LOOKUP, now=now, patience=patience, chance=chance)
    if found.ids:
        reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    return _found_nothing(withdrawal, asked_at=asked_at, now=now, patience=patience, chance=chance)


def decide_cancel(
    withdrawal: Withdrawal,
    answer: Answer,
    seen: Answer,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from a cancel call: `answer` is its own, `seen` that of the look after it.

    The look alone moves the withdrawal. When it is still open and the provider clearly refused, the
    cancellation is over; without a clear word it is asked for again, which harms nobody. After a
    yes that the look does not show yet, only a settling delay later: asked at once, the provider
    could refuse what it has already done, while the look still shows it as open.
    """
    if isinstance(seen, Reported):
        moved = _follow(
            withdrawal, seen, Cause.CANCELLATION, now=now, patience=patience, chance=chance
        )
        if not moved.withdrawal.cancel_wanted:
            return moved
        if isinstance(answer, Refused | Conflicted):
            code = answer.trace.provider_code
            refused = answer_cancellation(moved.withdrawal, now=now, provider_code=code)
            return Decision(refused.withdrawal, (*moved.changes, *refused.changes))
        moved_on = moved
    else:
        moved_on = _look_again(withdrawal, seen, now=now, patience=patience, chance=chance)
    wait = patience.retries.delay(moved_on.withdrawal.looks, chance=chance)
    wait = max(wait, _asked_for(answer, patience), _asked_for(seen, patience))
    if says_cancelled(answer):
        wait = max(wait, patience.settling)
    return Decision(replace(moved_on.withdrawal, due_at=now + wait), moved_on.changes)


def says_cancelled(answer: Answer) -> bool:
    """Tell whether the answer to a cancel call says that it was done."""
    return isinstance(answer, Reported) and answer.status is Status.CANCELLED


def _follow(
    withdrawal: Withdrawal,
    reported: Reported,
    cause: Cause,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    outlook: Outlook | None = None,
) -> Decision:
    """Take over what the provider says of a withdrawal that it holds, and look again later."""
    timing: _Timing = {"now": now, "patience": patience, "chance": chance, "outlook": outlook}
    if withdrawal.withdrawal_id not in {None, reported.withdrawal_id}:
        # A word about another withdrawal says nothing about this one.
        return _look_again(withdrawal, reported, **timing)
    decision = _taken_over(withdrawal, reported, cause, **timing)
    return replace(decision, submitted_after=_way_that_ends(withdrawal, now=now))


def _way_that_ends(withdrawal: Withdrawal, *, now: datetime) -> timedelta | None:
    """Tell how long the way to the provider took when it says that it has the withdrawal.

    None where it had said so before, in whatever word, and for what took longer by its own wish or
    by a person's ruling: that has moved before.
    """
    is_known = withdrawal.withdrawal_id is not None
    has_waited = withdrawal.status is not Status.RECEIVED or withdrawal.sequence > 1
    if is_known or has_waited or withdrawal.sales:
        return None
    return now - withdrawal.order.taken_at


def _taken_over(
    withdrawal: Withdrawal,
    reported: Reported,
    cause: Cause,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    outlook: Outlook | None,
) -> Decision:
    timing: _Timing = {"now": now, "patience": patience, "chance": chance, "outlook": outlook}
    known = replace(
        withdrawal,
        withdrawal_id=reported.withdrawal_id,
        provider_status=reported.provider_status,
        in_doubt=False,
        held_refusal=None,
        empty_lookups=0,
    )
    status = reported.status
    if status is None or status not in MOVES[withdrawal.status]:
        return _look_again(known, reported, **timing)
    moved = replace(known, status=status, reason=why_ended(status, reported), looks=1)
    if known.cancel_wanted:
        # It waited for this clarity.
        due_at, is_expected = now, False
    else:
        due_at, is_expected = next_look(0, **timing)
    if moved.is_finished:
        ended = next_reversal_look(now, now=now, patience=patience, chance=chance)
        return move(withdrawal, replace(moved, due_at=ended), cause=cause, now=now)
    moved = replace(moved, due_at=due_at, is_expected=is_expected)
    return move(withdrawal, moved, cause=cause, now=now)


def _look_again(
    withdrawal: Withdrawal,
    answer: Answer,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    outlook: Outlook | None = None,
) -> Decision:
    """Nothing has happened: look again later, the later the more often it was in vain."""
    looked = replace(withdrawal, looks=withdrawal.looks + 1)
    if looked.is_at_rest:
        ended_at = looked.changed_at
        again_at = next_reversal_look(ended_at, now=now, patience=patience, chance=chance)
        return Decision(replace(looked, due_at=again_at if is_reversible(looked) else None))
    due_at, is_expected = next_look(
        withdrawal.looks, now=now, patience=patience, chance=chance, outlook=outlook
    )
    due_at = max(due_at, now + _asked_for(answer, patience))
    return Decision(replace(put_off(looked, until=due_at), is_expected=is_expected))


def _refused(
    withdrawal: Withdrawal,
    reason: Reason,
    cause: Cause,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """End a withdrawal that the provider refused for certain, or let it wait for funds."""
    is_short = reason.code is ReasonCode.INSUFFICIENT_FUNDS
    if not is_short or not may_wait(withdrawal, now=now):
        return reject(withdrawal, reason, cause=cause, now=now)
    return wait_for_funds(
        withdrawal, reason, cause=cause, now=now, patience=patience, chance=chance
    )


def _found_nothing(
    withdrawal: Withdrawal,
    *,
    asked_at: datetime,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    due_at = withdrawal.due_at
    if withdrawal.empty_lookups and due_at is not None and asked_at < due_at:
        # Woken before its time: too close to the look-up before to count beside it.
        return Decision(withdrawal)
    # The list was read: those that could not be read before it no longer count.
    seen = replace(withdrawal, empty_lookups=withdrawal.empty_lookups + 1, looks=0)
    if seen.empty_lookups < EMPTY_LOOKUPS_NEEDED or seen.is_at_rest:
        return _later(seen, patience.settling, now=now)
    refusal = seen.held_refusal
    if refusal is not None and refusal.code is ReasonCode.OUTCOME_UNKNOWN:
        # The provider says that it knows the key, yet lists nothing: only a person can tell.
        return park(seen, refusal, cause=Cause.LOOKUP, now=now)
    if seen.cancel_wanted:
        return abandon(replace(seen, in_doubt=False, held_refusal=None), now=now)
    if refusal is not None:
        return _refused(
            replace(seen, in_doubt=False, held_refusal=None),
            refusal,
            Cause.LOOKUP,
            now=now,
            patience=patience,
            chance=chance,
        )
    if is_too_late(seen, now=now):
        return reject(seen, Reason(ReasonCode.EXPIRED), cause=Cause.LOOKUP, now=now)
    order, begins_at = seen.order, next_call_at(seen, now=now, patience=patience)
    if order.not_after is None and begins_at >= order.taken_at + FRESH_ATTEMPTS_END_AFTER:
        return park(seen, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    # Nothing was made of it. Its calls may have been heard for all that, and failed: the age of the
    # key goes on, and the next step tells how long a fresh attempt has to wait.
    return Decision(replace(seen, in_doubt=False, due_at=now))


def _later(withdrawal: Withdrawal, wait: timedelta, *, now: datetime) -> Decision:
    return Decision(replace(withdrawal, due_at=None if withdrawal.is_at_rest else now + wait))


def _asked_for(answer: Answer, patience: Patience) -> timedelta:
    """Tell for how long an answer wants us to keep away."""
    match answer:
        case Unclear(retry_after=wait):
            return wait or timedelta(0)
        case Throttled(retry_after=wait):
            return max(patience.throttled, wait or timedelta(0))
        case Denied():
            return patience.denied
        case Reported() | Refused() | Conflicted():
            return timedelta(0)
        case _:  # pragma: no cover
            assert_never(answer)
