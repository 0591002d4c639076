"""How a withdrawal changes: what a change builds on, what follows from it, and what is told of it.

Pure. `move` is the one way to another status, and the table in `withdrawal` allows it or not. What
a provider's answer means stands in `decide`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import MOVES, Reason, ReasonCode, Status, is_reversal

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from worker.core.answers import Reported
    from worker.core.withdrawal import Withdrawal

#: The last word of the type of the event that answers a cancellation which changed nothing.
CANCEL_REFUSED: Final = "cancel_refused"
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
    CANCELLATION = "cancellation"
    SALE = "sale"
    RULING = "ruling"


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
    """The withdrawal as it stands from now on, and what has to be told of it, in order.

    `submitted_after` is how long the way to the provider took, from the commit of the request to
    the provider's first word that it has the withdrawal; it is told once, with that word. It is
    None else, and where it waited for a sale, for funds or for a person's ruling.
    """

    withdrawal: Withdrawal
    changes: tuple[Change, ...] = ()
    submitted_after: timedelta | None = None


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
    due_at = None if after.is_at_rest and not is_reversible(after) else after.due_at
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


def put_off(withdrawal: Withdrawal, *, until: datetime) -> Withdrawal:
    """Let it be due then, and no sooner than its next look-up in the list may count.

    Of what is in doubt the due time holds empty look-ups apart (`limits.EMPTY_LOOKUPS_NEEDED`):
    whatever happens between two of them may move it back, and never forward.
    """
    counts_at = withdrawal.due_at
    if withdrawal.in_doubt and withdrawal.empty_lookups and counts_at is not None:
        until = max(until, counts_at)
    return replace(withdrawal, due_at=until)


def park(withdrawal: Withdrawal, reason: Reason, *, cause: Cause, now: datetime) -> Decision:
    """Leave a withdrawal to a person: `unresolved`, and nothing more is done by itself."""
    parked = replace(withdrawal, status=Status.UNRESOLVED, reason=reason)
    return move(withdrawal, parked, cause=cause, now=now)


def reject(withdrawal: Withdrawal, reason: Reason, *, cause: Cause, now: datetime) -> Decision:
    """End a withdrawal that moved no money: `rejected`, and nothing of it is in doubt any more."""
    ended = replace(
        withdrawal, status=Status.REJECTED, reason=reason, in_doubt=False, held_refusal=None
    )
    return move(withdrawal, ended, cause=cause, now=now)


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


def why_ended(status: Status, reported: Reported) -> Reason | None:
    """Say why a status at the provider ended a withdrawal badly; None when it did not."""
    code = _WHY_ENDED.get(status)
    if code is not None and reported.reason is not None:
        code = reported.reason
    return None if code is None else Reason(code, reported.trace.provider_code)


def is_reversible(withdrawal: Withdrawal) -> bool:
    """Tell whether it ended at the provider, so that the bank could still take the end back."""
    is_ended = withdrawal.is_finished and withdrawal.status is not Status.REJECTED
    return is_ended and withdrawal.withdrawal_id is not None
