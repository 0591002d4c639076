"""What is written is read back equal, whatever it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.builders import FINGERPRINT, NOW
from worker.core.change import Decision
from worker.core.sale import Sale, SaleStatus
from worker.core.withdrawal import Order, Reason, ReasonCode, Status, Withdrawal

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

# What every database can store; that the rest is refused stands in the tests of group commit.
_TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_ZONES: Final = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
_TIMES: Final = st.datetimes(
    min_value=datetime(1970, 1, 3),  # noqa: DTZ001 - the zone is drawn with it
    max_value=datetime(9999, 12, 1),  # noqa: DTZ001
    timezones=_ZONES | st.just(UTC),
)
_COUNTS: Final = st.integers(0, 2**31 - 1)
_REASONS: Final = st.builds(
    Reason, st.sampled_from(ReasonCode), st.none() | _TEXTS, st.none() | _TEXTS
)
_ORDERS: Final = st.builds(
    Order,
    message_id=_TEXTS,
    idempotency_key=_TEXTS,
    provider=st.none() | _TEXTS,
    party_id=st.none() | _TEXTS,
    amount=st.none() | st.integers(0, 2**63 - 1).map(lambda minor: Decimal(minor) / 100),
    currency=st.none() | _TEXTS,
    method=st.none() | _TEXTS,
    target_id=st.none() | _TEXTS,
    body=st.binary(),
    request=_TEXTS,
    metadata=st.dictionaries(_TEXTS, _TEXTS),
    correlation_id=st.none() | _TEXTS,
    reply_to=st.none() | _TEXTS,
    traceparent=st.none() | _TEXTS,
    not_after=st.none() | _TIMES,
    taken_at=_TIMES,
)
_SALES: Final = st.builds(
    Sale,
    key=_TEXTS,
    body=_TEXTS.map(str.encode),
    symbol=_TEXTS,
    quantity=_TEXTS,
    status=st.sampled_from(SaleStatus),
    provider_status=st.none() | _TEXTS,
    filled_quantity=_TEXTS,
    average_price=st.none() | _TEXTS,
    reason=st.none() | _REASONS,
    attempts=_COUNTS,
    first_attempt_at=st.none() | _TIMES,
    last_attempt_at=st.none() | _TIMES,
    empty_lookups=_COUNTS,
    looked_up_at=st.none() | _TIMES,
)
_WITHDRAWALS: Final = st.builds(
    Withdrawal,
    order=_ORDERS,
    status=st.sampled_from(Status),
    sequence=_COUNTS,
    withdrawal_id=st.none() | _TEXTS,
    provider_status=st.none() | _TEXTS,
    reason=st.none() | _REASONS,
    held_refusal=st.none() | _REASONS,
    in_doubt=st.booleans(),
    attempts=_COUNTS,
    first_attempt_at=st.none() | _TIMES,
    empty_lookups=_COUNTS,
    looks=_COUNTS,
    changed_at=_TIMES,
    due_at=st.none() | _TIMES,
    sales=st.lists(_SALES, max_size=2).map(tuple),
)

_NUMBERS: Final = count()


# One ledger serves all examples of a test: each brings ids of its own.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_WITHDRAWALS, then=_WITHDRAWALS)
async def test_every_field_survives(ledger: Ledger, first: Withdrawal, then: Withdrawal) -> None:
    """
    A withdrawal is found as it was taken, as it was recorded after that, and as it is claimed.
    """
    number = next(_NUMBERS)
    order = replace(first.order, message_id=f"{number}/{first.order.message_id}")
    first = replace(first, order=order, withdrawal_id=_own(first.withdrawal_id, number))
    then = replace(then, order=order, withdrawal_id=_own(then.withdrawal_id, number))

    taken = await ledger.take(Decision(first), FINGERPRINT)
    as_taken = await ledger.history(order.message_id)
    recorded = await ledger.record(taken.held, Decision(then))
    again = await ledger.take(Decision(first), FINGERPRINT)
    assert recorded is not None
    freed = await ledger.record(recorded, Decision(replace(then, due_at=NOW)))
    claimed = await ledger.claim_due(10, busy=())
    await ledger.record(claimed[0], Decision(replace(then, due_at=None)))

    assert as_taken is not None
    assert taken.held == as_taken.held
    assert first == as_taken.held.withdrawal
    assert recorded == again.held
    assert then == again.held.withdrawal
    assert freed is not None
    assert [freed.withdrawal] == [held.withdrawal for held in claimed]


def _own(text: str | None, number: int) -> str | None:
    return None if text is None else f"{number}/{text}"
