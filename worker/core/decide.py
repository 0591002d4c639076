"""What follows from where a withdrawal stands, and from what the provider just said about it.

Pure: `next_step` tells what may be done, `decide` what an answer means. Neither does anything.

The rule that everything here serves: money is never sent on a guess. A create call may go out only
with a `Permit`; a permit exists only for a withdrawal whose intent is committed and whose key the
provider still remembers (or which is known never to have reached it). Silence is not failure, and a
refusal that follows silence is not final either: the silent attempt may have succeeded."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict, assert_never

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
from worker.core.sale import is_over as is_sold
from worker.core.schedule import next_look, next_reversal_look
from worker.core.withdrawal import (
    MOVES,
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    is_reversal,
)

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from worker.core.answers import ListAnswer
    from worker.core.lookup import Candidates
    from worker.core.schedule import Outlook, Patience

#: So many look-ups in a row, a settling delay apart, must find nothing before it counts as nothing.
#: The first may come right after the last call left: one delay is for that call still to execute,
#: another for the list to show it.
EMPTY_LOOKUPS_NEEDED: Final = 3
#: A list that could not be read so often in a row, and still cannot be so long after the provider
#: has forgotten the key, is left to a person. Both: a worker that was off for days begins to look.
LOOKUPS_IN_VAIN_MAX: Final = 20
LOOKUPS_GIVEN_UP_AFTER: Final = timedelta(hours=24)
#: A request without a time limit of its own is not begun anew by itself when it is older: about ten
#: rounds of calls, in none of which the provider did what it was asked or said why not.
FRESH_ATTEMPTS_END_AFTER: Final = timedelta(days=10)
#: What was sold may not be withdrawable at once. A request that says nothing else waits so long for
#: its proceeds: a settlement over a long weekend.
PROCEEDS_WAITED_FOR: Final = timedelta(days=5)
#: Every so many turns the provider is asked although the wallet seems too small: it decides.
WALLET_BELIEVED: Final = 4

#: The last word of the type of the event that answers a cancellation which changed nothing.
CANCEL_REFUSED: Final = "cancel_refused"

_WHY_ENDED: Final = {
    Status.FAILED: ReasonCode.FAILED_AT_PROVIDER,
    Status.CANCELLED: ReasonCode.CANCELLED_AT_PROVIDER,
}


class _Timing(TypedDict):
    now: datetime
    patience: Patience
    chance: float
    outlook: Outlook | None


class Cause(StrEnum):
    """Which step of ours made a change; kept in the history."""

    INTAKE = "intake"
    CREATE = "create"
    LOOK = "look"
    LOOKUP = "lookup"
    EXPIRY = "expiry"
    CANCELLATION = "cancellation"
    SALE = "sale"
    RULING = "ruling"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to a withdrawal and has to be told: it becomes one event.

    `operator` is the person who ruled so, if one did, and `note` are that person's words. They may
    hold personal data: they stay in the ledger and are in no event.
    """

    sequence: int
    status: Status
    previous: Status | None
    reversal: bool
    reason: Reason | None
    provider_status: str | None
    cause: Cause
    at: datetime
    #: The last word of the event's type, where it is not the status.
    word: str | None = None
    operator: str | None = None
    note: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The withdrawal as it stands from now on, and what has to be told of it, in order."""

    withdrawal: Withdrawal
    changes: tuple[Change, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Held:
    """A withdrawal as the ledger committed it: its row, and the version that a change builds on.

    Only a ledger makes these. Holding one is the proof that what it says is durable. `tenure` is
    the worker's, at the time of the commit: a number that changes when others may have taken the
    worker for dead, and the withdrawal from it (0: nobody's).
    """

    row: int
    version: int
    withdrawal: Withdrawal
    #: A matter of the worker, not of what the ledger holds.
    tenure: int = field(default=0, compare=False)
    #: When somebody asked from outside to take it up at once, if that is why it was.
    woken_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one create call, until `valid_until`. Made by `permit` alone.

    A provider may send it again when the answer was that it was not carried out, and no other.
    It carries all that the call may use: the key and the exact bytes that were committed. It ends
    with the `tenure` in which they were: a worker that was taken for dead since must not use it.
    """

    idempotency_key: str
    party_id: str
    body: bytes = field(repr=False)
    tenure: int
    valid_until: datetime
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        """Refuse a permit that did not come from `permit`, be it a changed copy of one that did."""
        if made_by is not _PERMITS:
            message = "a permit to create is made by worker.core.decide.permit alone"
            raise TypeError(message)


_PERMITS: Final = object()


def take_in(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Begin the life of a request: `received`, with its first create call intended at `now`.

    Where cash is to be raised first, no call is intended: it is due at once for that.
    """
    if withdrawal.sales:
        return move(withdrawal, replace(withdrawal, due_at=now), cause=Cause.INTAKE, now=now)
    begun = replace(_intended(withdrawal), first_attempt_at=now, due_at=now)
    return move(withdrawal, begun, cause=Cause.INTAKE, now=now)


def refuse_at_the_door(withdrawal: Withdrawal, reason: Reason, *, now: datetime) -> Decision:
    """Begin and end the life of an invalid request: `rejected`, and nothing is ever sent."""
    return _end(withdrawal, reason, cause=Cause.INTAKE, now=now)


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
    remembered = _is_remembered(withdrawal, now=now, patience=patience)
    if withdrawal.in_doubt:
        is_over = too_late or withdrawal.cancel_wanted or withdrawal.held_refusal is not None
        return Step.CREATE if remembered and not is_over else Step.LOOKUP
    if withdrawal.cancel_wanted:
        return Step.ABANDON
    if too_late or _has_waited_enough(withdrawal, now=now):
        return Step.EXPIRE
    is_between = not remembered and now < _forgotten_at(withdrawal, now=now, patience=patience)
    return Step.WAIT if is_between else Step.CREATE


def intend(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    """Mark that one more create call is about to leave; committed before it does (contract P4).

    The key's age counts from the first call since it was last forgotten for certain, also when that
    call was refused: whether a provider's memory begins anew with each is not documented.
    """
    intended = _intended(withdrawal)
    first_at = withdrawal.first_attempt_at
    if not withdrawal.in_doubt and not _is_remembered(withdrawal, now=now, patience=patience):
        first_at = now
    return Decision(replace(intended, first_attempt_at=first_at))


def permit(held: Held, *, now: datetime, patience: Patience) -> Permit | None:
    """Give the right to call create, or None when it must not be called (any more).

    `held` must be the committed intent: in doubt, with the time of its first attempt. There is no
    way round the horizon of the provider's memory, since a provider's `create` takes a `Permit` and
    nothing else makes one.
    """
    withdrawal = held.withdrawal
    order, first_at = withdrawal.order, withdrawal.first_attempt_at
    if not withdrawal.in_doubt or first_at is None or order.party_id is None:
        return None
    if next_step(withdrawal, now=now, patience=patience) is not Step.CREATE:
        return None
    valid_until = first_at + patience.window_of(order.provider)
    if order.not_after is not None:
        valid_until = min(valid_until, order.not_after)
    return Permit(
        order.idempotency_key, order.party_id, order.body, held.tenure, valid_until, _PERMITS
    )


def expire(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """End a request whose time is over before anything was withdrawn: `not_after`, or the wait."""
    reason = Reason(ReasonCode.EXPIRED)
    if not is_too_late(withdrawal, now=now) and withdrawal.reason is not None:
        reason = withdrawal.reason
    return _end(withdrawal, reason, cause=Cause.EXPIRY, now=now)


def wait_until_forgotten(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    """Put a fresh attempt off until the provider has forgotten the key of earlier, refused ones.

    Its memory of them may end at any moment between the window and then; a call in between that
    remained without an answer could not be repeated safely. Where the time of the request is over
    before that, it is told then.
    """
    forgotten_at = _forgotten_at(withdrawal, now=now, patience=patience)
    ends = (withdrawal.order.not_after, _funds_awaited_until(withdrawal))
    due_at = min(at for at in (forgotten_at, *ends) if at is not None)
    return Decision(replace(withdrawal, due_at=due_at))


def abandon(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Cancel a request of which the provider knows nothing: it never hears of it."""
    reason = Reason(ReasonCode.CANCELLED_ON_REQUEST)
    cancelled = replace(withdrawal, status=Status.CANCELLED, reason=reason)
    return move(withdrawal, cancelled, cause=Cause.CANCELLATION, now=now)


def answer_cancellation(
    withdrawal: Withdrawal, *, now: datetime, provider_code: str | None = None
) -> Decision:
    """Tell that a cancellation changed nothing: `cancel_refused`, and the status stays."""
    answered = replace(withdrawal, sequence=withdrawal.sequence + 1, cancel_wanted=False)
    change = Change(
        sequence=answered.sequence,
        status=withdrawal.status,
        previous=withdrawal.status,
        reversal=False,
        reason=Reason(ReasonCode.CANCEL_TOO_LATE, provider_code),
        provider_status=withdrawal.provider_status,
        cause=Cause.CANCELLATION,
        at=now,
        word=CANCEL_REFUSED,
    )
    return Decision(answered, (change,))


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


def decide_wallet(
    withdrawal: Withdrawal,
    available: Decimal | None,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision | None:
    """Say whether a withdrawal that waits for funds has to wait on; None when it may be tried.

    `available` is the most that the wallet may give, None when that could not be read. A wallet is
    advisory: every so often the provider itself is asked.
    """
    amount = withdrawal.order.amount
    if available is None or amount is None or available >= amount:
        return None
    if withdrawal.looks % WALLET_BELIEVED == 0:
        return None
    return _wait_for_funds(withdrawal, withdrawal.reason, now=now, patience=patience, chance=chance)


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
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Say what follows from a look through the provider's list for a withdrawal in doubt.

    `found` are the entries that can be this withdrawal and belong to no other row. Exactly one is
    adopted, several (or likeness alone) need a person, none counts only when it was none three
    times, a settling delay apart. A refused or failed look-up is never final; but one that is still
    refused when the key is forgotten will be so for ever, and one that stays silent long after that
    perhaps too: a person has to be told. Our credentials are no reason: those have to be mended.
    """
    remembered = _is_remembered(withdrawal, now=now, patience=patience)
    if isinstance(answer, Refused) and not remembered:
        reason = Reason(ReasonCode.OUTCOME_UNKNOWN, answer.reason.provider_code)
        return park(withdrawal, reason, cause=Cause.LOOKUP, now=now)
    if not isinstance(answer, Listed):
        again = _look_again(withdrawal, answer, now=now, patience=patience, chance=chance)
        in_vain = _is_in_vain(again.withdrawal, now=now, patience=patience)
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
    return _found_nothing(withdrawal, now=now, patience=patience, chance=chance)


def park(withdrawal: Withdrawal, reason: Reason, *, cause: Cause, now: datetime) -> Decision:
    """Leave a withdrawal to a person: `unresolved`, and nothing more is done by itself."""
    parked = replace(withdrawal, status=Status.UNRESOLVED, reason=reason)
    return move(withdrawal, parked, cause=cause, now=now)


def move(
    before: Withdrawal,
    after: Withdrawal,
    *,
    cause: Cause,
    now: datetime,
    operator: str | None = None,
    note: str | None = None,
) -> Decision:
    """Take a step that the table allows, and say so under the next sequence number.

    A move that the table does not allow moves nothing. `operator` and `note` are those of the
    person who ruled so, if one did.
    """
    is_first = before.sequence == 0
    if not is_first and after.status not in MOVES[before.status]:
        return Decision(before)
    due_at = None if after.is_at_rest and not _is_reversible(after) else after.due_at
    # Whoever asked for the cancellation is answered by this very move.
    is_as_wished = after.cancel_wanted and after.status is Status.CANCELLED
    moved = replace(
        after,
        sequence=before.sequence + 1,
        changed_at=now,
        due_at=due_at,
        reason=Reason(ReasonCode.CANCELLED_ON_REQUEST) if is_as_wished else after.reason,
        cancel_wanted=after.cancel_wanted and not is_as_wished,
    )
    change = Change(
        sequence=moved.sequence,
        status=moved.status,
        previous=None if is_first else before.status,
        reversal=not is_first and is_reversal(before.status, moved.status),
        reason=moved.reason,
        provider_status=moved.provider_status,
        cause=cause,
        at=now,
        operator=operator,
        note=note,
    )
    if not (moved.cancel_wanted and moved.is_finished):
        return Decision(moved, (change,))
    answer = answer_cancellation(moved, now=now)
    return Decision(answer.withdrawal, (change, *answer.changes))


def why_ended(status: Status, reported: Reported) -> Reason | None:
    """Say why a status at the provider ended a withdrawal badly; None when it did not."""
    code = _WHY_ENDED.get(status)
    if code is not None and reported.reason is not None:
        code = reported.reason
    return None if code is None else Reason(code, reported.trace.provider_code)


def is_too_late(withdrawal: Withdrawal, *, now: datetime) -> bool:
    """Tell whether the request's own time limit has passed."""
    not_after = withdrawal.order.not_after
    return not_after is not None and now > not_after


def _step_at_rest(withdrawal: Withdrawal) -> Step:
    """Tell what to do with one that was woken at rest: a webhook, a cancellation, a daily look."""
    if not withdrawal.is_finished:
        return Step.REST
    if withdrawal.cancel_wanted:
        return Step.ANSWER
    return Step.LOOK if _is_reversible(withdrawal) else Step.REST


def _is_reversible(withdrawal: Withdrawal) -> bool:
    is_ended = withdrawal.is_finished and withdrawal.status is not Status.REJECTED
    return is_ended and withdrawal.withdrawal_id is not None


def _found_nothing(
    withdrawal: Withdrawal, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    due_at = withdrawal.due_at
    if withdrawal.empty_lookups and due_at is not None and now < due_at:
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
        return _end(seen, Reason(ReasonCode.EXPIRED), cause=Cause.LOOKUP, now=now)
    order = seen.order
    if order.not_after is None and now >= order.taken_at + FRESH_ATTEMPTS_END_AFTER:
        return park(seen, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    # It never arrived, and the provider has forgotten the key: a fresh attempt begins at once.
    return Decision(replace(seen, in_doubt=False, first_attempt_at=None, due_at=now))


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
    if not is_short or not _may_wait(withdrawal, now=now):
        return _end(withdrawal, reason, cause=cause, now=now)
    return _wait_for_funds(
        withdrawal, reason, cause=cause, now=now, patience=patience, chance=chance
    )


def _wait_for_funds(
    withdrawal: Withdrawal,
    reason: Reason | None,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    cause: Cause = Cause.CREATE,
) -> Decision:
    """Try again later; that it waits is told once."""
    is_new = withdrawal.status is not Status.AWAITING_FUNDS
    turn = 0 if is_new else withdrawal.looks
    due_at = now + patience.looks.delay(turn, chance=chance)
    until = _funds_awaited_until(withdrawal)
    if until is not None:
        due_at = min(due_at, until)
    waiting = replace(
        withdrawal,
        status=Status.AWAITING_FUNDS,
        reason=reason,
        looks=turn + 1,
        due_at=due_at,
    )
    return move(withdrawal, waiting, cause=cause, now=now) if is_new else Decision(waiting)


def _may_wait(withdrawal: Withdrawal, *, now: datetime) -> bool:
    until = _funds_awaited_until(withdrawal)
    # Right after a sale the proceeds are only just on their way.
    is_sold = until is None and bool(withdrawal.sales)
    return is_sold or (until is not None and now < until)


def _has_waited_enough(withdrawal: Withdrawal, *, now: datetime) -> bool:
    until = _funds_awaited_until(withdrawal)
    is_waiting = withdrawal.status is Status.AWAITING_FUNDS
    return is_waiting and until is not None and now >= until


def _funds_awaited_until(withdrawal: Withdrawal) -> datetime | None:
    if withdrawal.order.wait_for_funds_until is not None:
        return withdrawal.order.wait_for_funds_until
    if withdrawal.sales and withdrawal.status is Status.AWAITING_FUNDS:
        return withdrawal.changed_at + PROCEEDS_WAITED_FOR
    return None


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
        return Decision(replace(looked, due_at=again_at if _is_reversible(looked) else None))
    due_at, is_expected = next_look(
        withdrawal.looks, now=now, patience=patience, chance=chance, outlook=outlook
    )
    due_at = max(due_at, now + _asked_for(answer, patience))
    return Decision(replace(looked, due_at=due_at, is_expected=is_expected))


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


def _end(withdrawal: Withdrawal, reason: Reason, *, cause: Cause, now: datetime) -> Decision:
    ended = replace(
        withdrawal, status=Status.REJECTED, reason=reason, in_doubt=False, held_refusal=None
    )
    return move(withdrawal, ended, cause=cause, now=now)


def _later(withdrawal: Withdrawal, wait: timedelta, *, now: datetime) -> Decision:
    return Decision(replace(withdrawal, due_at=None if withdrawal.is_at_rest else now + wait))


def _intended(withdrawal: Withdrawal) -> Withdrawal:
    # An empty look-up from before this call says nothing about this call.
    return replace(withdrawal, attempts=withdrawal.attempts + 1, empty_lookups=0, in_doubt=True)


def _is_in_vain(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the list could not be read so often, and for so long, that it will not be."""
    first_at = withdrawal.first_attempt_at or withdrawal.order.taken_at
    window = patience.window_of(withdrawal.order.provider)
    given_up_at = first_at + window + LOOKUPS_GIVEN_UP_AFTER
    return withdrawal.looks >= LOOKUPS_IN_VAIN_MAX and now >= given_up_at


def _forgotten_at(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> datetime:
    """Return when the key was or will be forgotten for certain; `now` when it was never used."""
    first_at = withdrawal.first_attempt_at
    return now if first_at is None else first_at + patience.forgotten


def _is_remembered(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the provider still remembers the key, should it ever have heard it."""
    first_at = withdrawal.first_attempt_at
    if first_at is None or now < first_at - patience.settling:
        # A clock that went back would make an old key look young: its age is unknown.
        return False
    return now < first_at + patience.window_of(withdrawal.order.provider)
