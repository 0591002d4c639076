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
from typing import TYPE_CHECKING, Final, assert_never

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

    from worker.core.answers import ListAnswer
    from worker.core.lookup import Candidates
    from worker.core.schedule import Patience

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

_WHY_ENDED: Final = {
    Status.FAILED: ReasonCode.FAILED_AT_PROVIDER,
    Status.CANCELLED: ReasonCode.CANCELLED_AT_PROVIDER,
}


class Cause(StrEnum):
    """Which step of ours made a change; kept in the history."""

    INTAKE = "intake"
    CREATE = "create"
    LOOK = "look"
    LOOKUP = "lookup"
    EXPIRY = "expiry"
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


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one create call, until `valid_until`. Made by `permit` alone.

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
    """Begin the life of a request: `received`, with its first create call intended at `now`."""
    begun = replace(_intended(withdrawal, now=now), due_at=now)
    return move(withdrawal, begun, cause=Cause.INTAKE, now=now)


def refuse_at_the_door(withdrawal: Withdrawal, reason: Reason, *, now: datetime) -> Decision:
    """Begin and end the life of an invalid request: `rejected`, and nothing is ever sent."""
    return _end(withdrawal, reason, cause=Cause.INTAKE, now=now)


def next_step(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Step:
    """Tell what may be done next with a withdrawal; the only source of `Step.CREATE`."""
    if withdrawal.is_at_rest:
        return Step.REST
    if withdrawal.withdrawal_id is not None:
        return Step.LOOK
    too_late = is_too_late(withdrawal, now=now)
    if not withdrawal.in_doubt:
        return Step.EXPIRE if too_late else Step.CREATE
    if too_late or withdrawal.held_refusal is not None:
        return Step.LOOKUP
    return Step.CREATE if _is_remembered(withdrawal, now=now, patience=patience) else Step.LOOKUP


def intend(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Mark that one more create call is about to leave; committed before it does (contract P4)."""
    return Decision(_intended(withdrawal, now=now))


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
    valid_until = first_at + patience.window
    if order.not_after is not None:
        valid_until = min(valid_until, order.not_after)
    return Permit(
        order.idempotency_key, order.party_id, order.body, held.tenure, valid_until, _PERMITS
    )


def expire(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """End a request whose `not_after` has passed before anything was sent."""
    return _end(withdrawal, Reason(ReasonCode.EXPIRED), cause=Cause.EXPIRY, now=now)


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
            return _end(withdrawal, reason, cause=Cause.CREATE, now=now)
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
            return _later(withdrawal, _asked_for(answer, patience), now=now)
        case _:  # pragma: no cover
            assert_never(answer)


def decide_look(
    withdrawal: Withdrawal, answer: Answer, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    """Say what follows from the answer to a look (get) at a withdrawal that has an id.

    Only the provider's word about its state moves it. A refused or failed look says nothing about
    the money: it is repeated on the same growing schedule.
    """
    if isinstance(answer, Reported):
        return _follow(withdrawal, answer, Cause.LOOK, now=now, patience=patience, chance=chance)
    return _look_again(withdrawal, answer, now=now, patience=patience, chance=chance)


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
    return _found_nothing(withdrawal, now=now, patience=patience)


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
    due_at = None if after.is_at_rest else after.due_at
    moved = replace(after, sequence=before.sequence + 1, changed_at=now, due_at=due_at)
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
    return Decision(moved, (change,))


def why_ended(status: Status, reported: Reported) -> Reason | None:
    """Say why a status at the provider ended a withdrawal badly; None when it did not."""
    code = _WHY_ENDED.get(status)
    return None if code is None else Reason(code, reported.trace.provider_code)


def is_too_late(withdrawal: Withdrawal, *, now: datetime) -> bool:
    """Tell whether the request's own time limit has passed."""
    not_after = withdrawal.order.not_after
    return not_after is not None and now > not_after


def _found_nothing(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    # The list was read: those that could not be read before it no longer count.
    seen = replace(withdrawal, empty_lookups=withdrawal.empty_lookups + 1, looks=0)
    if seen.empty_lookups < EMPTY_LOOKUPS_NEEDED or seen.is_at_rest:
        return _later(seen, patience.settling, now=now)
    refusal = seen.held_refusal
    if refusal is not None and refusal.code is ReasonCode.OUTCOME_UNKNOWN:
        # The provider says that it knows the key, yet lists nothing: only a person can tell.
        return park(seen, refusal, cause=Cause.LOOKUP, now=now)
    if refusal is not None:
        return _end(seen, refusal, cause=Cause.LOOKUP, now=now)
    if is_too_late(seen, now=now):
        return _end(seen, Reason(ReasonCode.EXPIRED), cause=Cause.LOOKUP, now=now)
    order = seen.order
    if order.not_after is None and now >= order.taken_at + FRESH_ATTEMPTS_END_AFTER:
        return park(seen, Reason(ReasonCode.OUTCOME_UNKNOWN), cause=Cause.LOOKUP, now=now)
    # It never arrived, and the provider has forgotten the key: a fresh attempt begins at once.
    return Decision(replace(seen, in_doubt=False, first_attempt_at=None, due_at=now))


def _follow(
    withdrawal: Withdrawal,
    reported: Reported,
    cause: Cause,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    """Take over what the provider says of a withdrawal that it holds, and look again later."""
    if withdrawal.withdrawal_id not in {None, reported.withdrawal_id}:
        # A word about another withdrawal says nothing about this one.
        return _look_again(withdrawal, reported, now=now, patience=patience, chance=chance)
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
        return _look_again(known, reported, now=now, patience=patience, chance=chance)
    moved = replace(
        known,
        status=status,
        reason=why_ended(status, reported),
        looks=1,
        due_at=now + patience.looks.delay(0, chance=chance),
    )
    return move(withdrawal, moved, cause=cause, now=now)


def _look_again(
    withdrawal: Withdrawal, answer: Answer, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    """Nothing has happened: look again later, the later the more often it was in vain."""
    wait = patience.looks.delay(withdrawal.looks, chance=chance)
    looked = replace(withdrawal, looks=withdrawal.looks + 1)
    return _later(looked, max(wait, _asked_for(answer, patience)), now=now)


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


def _intended(withdrawal: Withdrawal, *, now: datetime) -> Withdrawal:
    # An empty look-up from before this call says nothing about this call.
    begun = replace(withdrawal, attempts=withdrawal.attempts + 1, empty_lookups=0)
    if withdrawal.in_doubt:
        return begun
    return replace(begun, in_doubt=True, first_attempt_at=now)


def _is_in_vain(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the list could not be read so often, and for so long, that it will not be."""
    first_at = withdrawal.first_attempt_at or withdrawal.order.taken_at
    given_up_at = first_at + patience.window + LOOKUPS_GIVEN_UP_AFTER
    return withdrawal.looks >= LOOKUPS_IN_VAIN_MAX and now >= given_up_at


def _is_remembered(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the provider still remembers the key, should it ever have heard it."""
    first_at = withdrawal.first_attempt_at
    if first_at is None or now < first_at - patience.settling:
        # A clock that went back would make an old key look young: its age is unknown.
        return False
    return now < first_at + patience.window
