"""Values for the core's tests: each builder gives a plain one, a test changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from worker.core.answers import Answer, Entry, ListAnswer, Listed, Refused, Reported, Trace
from worker.core.change import Decision, Held
from worker.core.decide import decide_create, decide_look, decide_lookup
from worker.core.lookup import Candidates
from worker.core.permit import take_in
from worker.core.schedule import Patience, Schedule
from worker.core.withdrawal import (
    Order,
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    idempotency_key,
    reference_token,
)

NOW: Final = datetime(2026, 6, 1, 10, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)

PATIENCE: Final = Patience(
    looks=Schedule(
        first_delay=timedelta(seconds=15), growth=2.0, cap=timedelta(minutes=30), jitter=0.1
    ),
    retries=Schedule(
        first_delay=timedelta(seconds=0.5), growth=2.0, cap=timedelta(minutes=5), jitter=0.5
    ),
    window=timedelta(hours=23),
    settling=timedelta(minutes=5),
    throttled=timedelta(seconds=1),
    denied=timedelta(seconds=15),
)
#: Half way: a delay is spread by nothing.
EVEN: Final = 0.5

INSUFFICIENT: Final = Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001")


def an_order(message_id: str = "req-1", **changes: Any) -> Order:  # noqa: ANN401 - any field
    """An order whose body carries the reference token."""
    key = idempotency_key(message_id)
    plain = Order(
        message_id=message_id,
        idempotency_key=key,
        provider="bluum",
        party_id="inv_01",
        amount=Decimal("500.00"),
        currency="USD",
        method="ach",
        target_id="fs_01",
        body=b'{"amount":"500.00","description":"rent %s"}' % reference_token(key).encode(),
        taken_at=NOW,
    )
    return replace(plain, **changes)


def a_withdrawal(order: Order | None = None, **changes: Any) -> Withdrawal:  # noqa: ANN401
    """A withdrawal that was taken in at NOW: its first create call is intended, none has left."""
    taken = take_in(Withdrawal(order=order or an_order(), changed_at=NOW), now=NOW).withdrawal
    return replace(taken, **changes)


def a_pending(**changes: Any) -> Withdrawal:  # noqa: ANN401
    """A withdrawal that the provider holds as `wd_01` and reported pending."""
    known: dict[str, Any] = {
        "status": Status.PENDING,
        "sequence": 2,
        "withdrawal_id": "wd_01",
        "provider_status": "pending",
        "in_doubt": False,
        "looks": 1,
    }
    return a_withdrawal(**(known | changes))


def held(withdrawal: Withdrawal) -> Held:
    """The withdrawal as a ledger would have committed it."""
    return Held(1, 1, withdrawal)


def reported(
    status: Status | None = Status.PENDING,
    *,
    withdrawal_id: str = "wd_01",
    word: str | None = None,
    code: str | None = None,
) -> Reported:
    """A provider's report; its own word is the status unless another is given."""
    said = word if word is not None else status and status.value
    return Reported(withdrawal_id, status, said, Trace(provider_code=code))


def refused(reason: Reason = INSUFFICIENT) -> Refused:
    """A provider's no."""
    return Refused(reason, Trace(http_status=422, provider_code=reason.provider_code))


def an_entry(order: Order | None = None, **changes: Any) -> Entry:  # noqa: ANN401
    """An entry of the provider's list that is this order's in every respect."""
    order = order or an_order()
    plain = Entry(
        reported=reported(),
        amount="500.00",
        currency=order.currency,
        method=order.method,
        target_id=order.target_id,
        text=f"rent {reference_token(order.idempotency_key)}",
        created_on=date(2026, 6, 1),
        text_name="description",
    )
    return replace(plain, **changes)


def create(withdrawal: Withdrawal, answer: Answer, *, now: datetime = NOW) -> Decision:
    """Decide on the answer to a create call, by even chance."""
    return decide_create(withdrawal, answer, now=now, patience=PATIENCE, chance=EVEN)


def look(withdrawal: Withdrawal, answer: Answer, *, now: datetime = NOW) -> Decision:
    """Decide on the answer to a look, by even chance."""
    return decide_look(withdrawal, answer, now=now, patience=PATIENCE, chance=EVEN)


def look_up(
    withdrawal: Withdrawal,
    found: Candidates = Candidates(),  # noqa: B008 - it is frozen
    *,
    answer: ListAnswer = Listed(()),  # noqa: B008
    now: datetime = NOW,
    asked_at: datetime | None = None,
) -> Decision:
    """Decide on a look through the list that found these, by even chance; answered at once."""
    return decide_lookup(
        withdrawal,
        answer,
        found,
        asked_at=asked_at or now,
        now=now,
        patience=PATIENCE,
        chance=EVEN,
    )
