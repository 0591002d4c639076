"""Values for the ledger's tests: a builder gives a plain one, a test changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.core.answers import Attempt
from worker.core.cancellations import Cancel
from worker.core.change import Cause, Change, Decision
from worker.core.messages import Context
from worker.core.permit import take_in
from worker.core.steps import refuse_at_the_door
from worker.core.withdrawal import (
    Order,
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    idempotency_key,
)

if TYPE_CHECKING:
    from worker.core.change import Held
    from worker.ledger.intake import Taken
    from worker.ledger.store import Ledger

NOW: Final = datetime(2026, 6, 1, 10, 0, 0, 123456, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
FINGERPRINT: Final = b"f" * 32


class Steady:
    """Seconds that pass only when a test lets them pass."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


def an_order(message_id: str = "req-1", **changes: Any) -> Order:  # noqa: ANN401 - any field
    """What was asked for, with every field that may be empty left empty or plain."""
    plain = Order(
        message_id=message_id,
        idempotency_key=idempotency_key(message_id),
        provider="bluum",
        party_id="inv_01",
        amount=Decimal("500.00"),
        currency="USD",
        method="ach",
        target_id="fs_01",
        body=b'{"amount":"500.00"}',
        taken_at=NOW,
    )
    return replace(plain, **changes)


def taken_in(order: Order | None = None, *, now: datetime = NOW) -> Decision:
    """The first decision about a request: received, with its first create call intended."""
    return take_in(Withdrawal(order=order or an_order(), changed_at=now), now=now)


def refused(message_id: str, *, now: datetime = NOW) -> Decision:
    """The decision about an invalid request: of what it asked for nothing is known."""
    order = an_order(
        message_id,
        provider=None,
        party_id=None,
        amount=None,
        currency=None,
        method=None,
        target_id=None,
        body=b"",
    )
    reason = Reason(ReasonCode.INVALID_REQUEST, detail="amount: expected to be present")
    return refuse_at_the_door(Withdrawal(order=order, changed_at=now), reason, now=now)


def moved(held: Held, status: Status, *, now: datetime = NOW, **changes: Any) -> Decision:  # noqa: ANN401
    """A decision that moves a withdrawal and tells of it."""
    before = held.withdrawal
    after = replace(before, status=status, sequence=before.sequence + 1, changed_at=now, **changes)
    change = Change(
        sequence=after.sequence,
        status=status,
        previous=before.status,
        reversal=False,
        reason=after.reason,
        provider_status=after.provider_status,
        cause=Cause.LOOK,
        at=now,
    )
    return Decision(after, (change,))


def due(held: Held, at: datetime | None) -> Decision:
    """A decision that changes nothing but the time it is due."""
    return Decision(replace(held.withdrawal, due_at=at))


def a_cancel(
    message_id: str = "cancel-1",
    *,
    of: str | tuple[str, str] = "req-1",
    reply_to: str | None = None,
    correlation_id: str | None = None,
    fingerprint: bytes = FINGERPRINT,
) -> Cancel:
    """A cancellation of a request, or of a withdrawal given as (provider, withdrawal_id)."""
    return Cancel(
        message_id=message_id,
        request_message_id=of if isinstance(of, str) else None,
        provider=None if isinstance(of, str) else of[0],
        withdrawal_id=None if isinstance(of, str) else of[1],
        reason="typo",
        fingerprint=fingerprint,
        context=Context(message_id=message_id, reply_to=reply_to, correlation_id=correlation_id),
    )


def answered(held: Held, word: str, status: Status, **changes: Any) -> Decision:  # noqa: ANN401
    """A decision that answers the cancellations of a withdrawal by an event."""
    decision = moved(held, status, cancel_wanted=False, **changes)
    (change,) = decision.changes
    return replace(decision, changes=(replace(change, word=word),))


def an_attempt(number: int = 1, **changes: Any) -> Attempt:  # noqa: ANN401
    """A create call that was begun at NOW."""
    return replace(Attempt(number=number, started_at=NOW), **changes)


async def take(ledger: Ledger, message_id: str, *, now: datetime = NOW) -> Held:
    """Take a new request in; it is this replica's then."""
    taken: Taken = await ledger.take(taken_in(an_order(message_id), now=now), FINGERPRINT)
    assert taken.is_new
    return taken.held


async def take_due(ledger: Ledger, message_id: str, at: datetime) -> Held:
    """Take a new request in that nobody owns and that is due at a time."""
    held = await take(ledger, message_id)
    freed = await ledger.record(held, due(held, at))
    assert freed is not None
    return freed
