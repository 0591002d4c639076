"""What follows from where a withdrawal stands, and from what the provider just said about it.

Pure: `next_step` tells what may be done, `decide` what an answer means. Neither does anything.

The rule that everything here serves: money is never sent on a guess. A create call may go out only
with a `Permit`; a permit exists only for a withdrawal whose intent is committed and whose key the
provider still remembers (or which is known never to have reached it). Silence is not failure, and a
refusal that follows silence is not final either: the silent attempt may have succeeded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    TERMINAL,
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    is_reversal,
)

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from worker.core.answers import ListAnswer
    from worker.core.lookup import Candidates
    from worker.core.schedule import Patience

#: How many look-ups in a row, a settling delay apart, must find nothing before it counts as nothing.
EMPTY_LOOKUPS_NEEDED: Final = 2

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


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to a withdrawal and has to be told: it becomes one event."""

    sequence: int
    status: Status
    previous: Status | None
    reversal: bool
    reason: Reason | None
    provider_status: str | None
    cause: Cause
    at: datetime


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

    Only a ledger makes these. Holding one is the proof that what it says is durable.
    """

    row: int
    version: int
    withdrawal: Withdrawal


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to send one create call, until `valid_until`. Made by `permit` alone.

    It carries all that the call may use: the key and the exact bytes that were committed.
    """

    idempotency_key: str
    party_id: str
    body: bytes = field(repr=False)
    valid_until: datetime
    _made_by: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a permit that did not come from `permit`."""
        if self._made_by is not _PERMITS:
            message = "a permit to create is made by worker.core.decide.permit alone"
            raise TypeError(message)


_PERMITS: Final = object()


def take_in(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Begin the life of a request: `received`, with its first create call intended at `now`."""
    return _move(
        replace(_intended(withdrawal, now=now), due_at=now),
        Status.RECEIVED,
        cause=Cause.INTAKE,
        now=now,
    )


def refuse_at_the_door(withdrawal: Withdrawal, reason: Reason, *, now: datetime) -> Decision:
    """Begin and end the life of an invalid request: `rejected`, and nothing is ever sent."""
    return _end(withdrawal, reason, cause=Cause.INTAKE, now=now)


def next_step(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Step:
    """Tell what may be done next with a withdrawal; the only source of `Step.CREATE`."""
    if withdrawal.is_finished or withdrawal.status is Status.UNRESOLVED:
        return Step.REST
    if withdrawal.withdrawal_id is not None:
        return Step.LOOK
    too_late = withdrawal.order.not_after is not None and now > withdrawal.order.not_after
    if not withdrawal.in_doubt:
        return Step.EXPIRE if too_late else Step.CREATE
    if too_late or withdrawal.held_refusal is not None:
        return Step.LOOKUP
    return Step.CREATE if now < _forgotten_at(withdrawal, patience.window) else Step.LOOKUP


def intend(withdrawal: Withdrawal, *, now: datetime) -> Decision:
    """Mark that one more create call is about to leave; committed before it does (contract P4)."""
    return Decision(_intended(withdrawal, now=now))


def permit(held: Held, *, now: datetime, patience: Patience) -> Permit | None:
    """Give the right to call create, or None when it must not be called (any more).

    `held` must be the committed intent: in doubt, with the time of its first attempt. This is the
    one place where the horizon of the provider's memory is checked; there is no way round it,
    since a provider's `create` takes a `Permit` and nothing else makes one.
    """
    withdrawal = held.withdrawal
    order = withdrawal.order
    if not withdrawal.in_doubt or withdrawal.first_attempt_at is None or order.party_id is None:
        return None
    if next_step(withdrawal, now=now, patience=patience) is not Step.CREATE:
        return None
    # A clock that went back must not make an old key look young.
    if now < withdrawal.first_attempt_at - patience.settling:
        return None
    valid_until = _forgotten_at(withdrawal, patience.window)
    if order.not_after is not None:
        valid_until = min(valid_until, order.not_after)
    return Permit(order.idempotency_key, order.party_id, order.body, valid_until, _PERMITS)


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
            held = replace(withdrawal, held_refusal=reason, empty_lookups=0)
            return _later(held, patience.settling, now=now)
        case Conflicted():
            held = replace(
                withdrawal, in_doubt=True, held_refusal=_conflict(answer), empty_lookups=0
            )
            return _later(held, patience.settling, now=now)
        case Unclear(retry_after=retry_after):
            # The turn counts attempts, so a withdrawal that is tried for hours is tried rarely.
            wait = patience.retries.delay(withdrawal.attempts - 1, chance=chance)
            return _later(replace(withdrawal, in_doubt=True), _longer(wait, retry_after), now=now)
        case Throttled(retry_after=retry_after):
            return _later(withdrawal, _longer(patience.throttled, retry_after), now=now)
        case Denied():
            return _later(withdrawal, patience.denied, now=now)
        case _:  # pragma: no cover
            assert_never(answer)


def decide_look(
    withdrawal: Withdrawal, answer: Answer, *, now: datetime, patience: Patience, chance: float
) -> Decision:
    """Say what follows from the answer to a look (get) at a withdrawal that has an id.

    Only the provider's word about its state moves it. A refused or failed look says nothing about
    the money: it is repeated on the same growing schedule.
    """
    match answer:
        case Reported():
            return _follow(
                withdrawal, answer, Cause.LOOK, now=now, patience=patience, chance=chance
            )
        case Refused() | Conflicted():
            retry_after = None
        case Unclear(retry_after=retry_after):
            pass
        case Throttled(retry_after=retry_after):
            retry_after = _longer(patience.throttled, retry_after)
        case Denied():
            retry_after = patience.denied
        case _:  # pragma: no cover
            assert_never(answer)
    wait = patience.looks.delay(withdrawal.looks, chance=chance)
    looked = replace(withdrawal, looks=withdrawal.looks + 1)
    return _later(looked, _longer(wait, retry_after), now=now)


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
    adopted, several (or likeness alone) need a person, none counts only when it was none twice, a
    settling delay apart. A refused or failed look-up is never final.
    """
    match answer:
        case Listed():
            pass
        case Refused() | Unclear() | Throttled() | Denied():
            wait = patience.looks.delay(withdrawal.looks, chance=chance)
            looked = replace(withdrawal, looks=withdrawal.looks + 1)
            return _later(looked, _longer(wait, getattr(answer, "retry_after", None)), now=now)
        case _:  # pragma: no cover
            assert_never(answer)
    if len(found.ours) == 1:
        ours = replace(withdrawal, empty_lookups=0)
        return _follow(ours, found.ours[0], Cause.LOOKUP, now=now, patience=patience, chance=chance)
    if found.ids:
        return park(withdrawal, Reason(ReasonCode.SEVERAL_CANDIDATES), now=now)
    return _found_nothing(withdrawal, now=now, patience=patience)


def park(withdrawal: Withdrawal, reason: Reason, *, now: datetime) -> Decision:
    """Leave a withdrawal to a person: `unresolved`, and nothing more is done by itself."""
    parked = replace(withdrawal, reason=reason, due_at=None)
    return _move(parked, Status.UNRESOLVED, cause=Cause.LOOKUP, now=now)


def _found_nothing(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> Decision:
    seen = replace(withdrawal, empty_lookups=withdrawal.empty_lookups + 1)
    if seen.empty_lookups < EMPTY_LOOKUPS_NEEDED:
        return _later(seen, patience.settling, now=now)
    too_late = seen.order.not_after is not None and now > seen.order.not_after
    if seen.held_refusal is not None and seen.held_refusal.code is ReasonCode.OUTCOME_UNKNOWN:
        # The provider says that it knows the key, yet lists nothing: only a person can tell.
        return park(seen, seen.held_refusal, now=now)
    if seen.held_refusal is not None:
        return _end(seen, seen.held_refusal, cause=Cause.LOOKUP, now=now)
    if too_late:
        return _end(seen, Reason(ReasonCode.EXPIRED), cause=Cause.LOOKUP, now=now)
    # It never arrived, and the provider has forgotten the key: a fresh attempt begins.
    fresh = replace(seen, in_doubt=False, first_attempt_at=None, empty_lookups=0)
    return _later(fresh, patience.settling * 0, now=now)


def _follow(
    withdrawal: Withdrawal,
    reported: Reported,
    cause: Cause,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision:
    known = replace(
        withdrawal,
        withdrawal_id=reported.withdrawal_id,
        provider_status=reported.provider_status,
        in_doubt=False,
        held_refusal=None,
    )
    status = reported.status
    moves = status is not None and status in MOVES[withdrawal.status]
    looks = 0 if moves or cause is not Cause.LOOK else withdrawal.looks
    wait = patience.looks.delay(looks, chance=chance)
    known = replace(known, looks=looks + 1, due_at=now + wait)
    if status is None or not moves:
        return Decision(known)
    return _move(replace(known, reason=_reason_of(status, reported)), status, cause=cause, now=now)


def _reason_of(status: Status, reported: Reported) -> Reason | None:
    code = _WHY_ENDED.get(status)
    return None if code is None else Reason(code, reported.trace.provider_code)


def _conflict(answer: Conflicted) -> Reason:
    return Reason(ReasonCode.OUTCOME_UNKNOWN, answer.trace.provider_code)


def _move(withdrawal: Withdrawal, status: Status, *, cause: Cause, now: datetime) -> Decision:
    """Move to `status` (which the table allows) and say so under the next sequence number."""
    first = withdrawal.sequence == 0
    moved = replace(withdrawal, status=status, sequence=withdrawal.sequence + 1, changed_at=now)
    if status in TERMINAL:
        moved = replace(moved, due_at=None)
    change = Change(
        sequence=moved.sequence,
        status=status,
        previous=None if first else withdrawal.status,
        reversal=not first and is_reversal(withdrawal.status, status),
        reason=moved.reason,
        provider_status=moved.provider_status,
        cause=cause,
        at=now,
    )
    return Decision(moved, (change,))


def _end(withdrawal: Withdrawal, reason: Reason, *, cause: Cause, now: datetime) -> Decision:
    ended = replace(withdrawal, reason=reason, in_doubt=False, held_refusal=None)
    return _move(ended, Status.REJECTED, cause=cause, now=now)


def _intended(withdrawal: Withdrawal, *, now: datetime) -> Withdrawal:
    begun = replace(withdrawal, attempts=withdrawal.attempts + 1)
    if withdrawal.in_doubt:
        return begun
    return replace(begun, in_doubt=True, first_attempt_at=now)


def _later(withdrawal: Withdrawal, wait: timedelta, *, now: datetime) -> Decision:
    return Decision(replace(withdrawal, due_at=now + wait))


def _longer(wait: timedelta, retry_after: timedelta | None) -> timedelta:
    return wait if retry_after is None else max(wait, retry_after)


def _forgotten_at(withdrawal: Withdrawal, window: timedelta) -> datetime:
    # In doubt without a first attempt cannot be; treat it as long forgotten rather than as new.
    first = withdrawal.first_attempt_at
    return withdrawal.order.taken_at if first is None else first + window
