"""Messages as they look, for the AsyncAPI document: what may be sent, and what is heard of it.

The events are written by what writes the worker's own. No schema stands here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.core.change import CANCEL_REFUSED, Cause, Change
from worker.core.events import event
from worker.core.sale import Sale, SaleStatus, sale_key
from worker.core.withdrawal import (
    Order,
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    idempotency_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_AT: Final = datetime(2026, 6, 2, 9, tzinfo=UTC)
_MESSAGE_ID: Final = "req-1"

_BLUUM: Final[dict[str, Any]] = {
    "provider": "bluum",
    "investor_id": "inv_01",
    "amount": "500.00",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_01",
}
_UPVEST: Final[dict[str, Any]] = {
    "provider": "upvest",
    "account_group_id": "0b8f6d0e-58f1-4b7b-8a53-6f2f0f7a2c22",
    "reference_account_id": "7c1e0d52-95a7-4c0b-8a4e-0d1f5be1a1b3",
    "user_id": "5d0a7f64-2b6e-4f0c-9a57-6a7d6f1f5f11",
    "amount": "200.00",
    "currency": "EUR",
}

#: Bodies of requests, by provider and by what is special about them.
REQUESTS: Final[Mapping[str, Mapping[str, dict[str, Any]]]] = {
    "bluum": {
        "plain": {**_BLUUM, "description": "Monthly withdrawal", "metadata": {"tier": "gold"}},
        "sellingFirst": {
            **_BLUUM,
            "sell": [{"symbol": "AAPL", "quantity": "3", "type": "limit", "limit_price": "187.20"}],
            "wait_for_funds_until": "2026-06-05T17:00:00Z",
            "not_after": "2026-06-09T17:00:00Z",
        },
    },
    "bluum_accounts": {
        "byAch": {
            "provider": "bluum_accounts",
            "account_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
            "amount": "500.00",
            "currency": "USD",
            "method": "ach_plaid",
            "plaid_options": {"item_id": "item_1", "account_id": "acc_1"},
        },
    },
    "upvest": {
        "plain": {
            **_UPVEST,
            "remittance_information": "Withdrawal",
            "purpose_code": "OTHR",
        },
        "sellingFirst": {
            **_UPVEST,
            "sell": [
                {
                    "account_id": "a2f1c0de-6f0b-4a51-9a54-0c6f5a3d9b77",
                    "instrument_id": "US0378331005",
                    "cash_amount": "200.00",
                }
            ],
        },
    },
}

#: Bodies of cancellations, by how they name what is to be cancelled.
CANCELLATIONS: Final[Mapping[str, dict[str, Any]]] = {
    "byRequest": {"request_message_id": _MESSAGE_ID, "reason": "asked for twice"},
    "byWithdrawal": {"provider": "bluum", "withdrawal_id": "wd_01"},
}


class _Told(NamedTuple):
    """What one event tells: the number of it, the statuses, ours and the provider's, and why."""

    sequence: int
    status: Status
    previous: Status | None = None
    provider_status: str | None = None
    reason: Reason | None = None


_TOLD: Final[Mapping[str, _Told]] = {
    Status.RECEIVED: _Told(1, Status.RECEIVED),
    Status.RAISING_CASH: _Told(2, Status.RAISING_CASH, Status.RECEIVED),
    Status.AWAITING_FUNDS: _Told(
        2,
        Status.AWAITING_FUNDS,
        Status.RECEIVED,
        reason=Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"),
    ),
    Status.PENDING: _Told(2, Status.PENDING, Status.RECEIVED, "pending"),
    Status.PROCESSING: _Told(3, Status.PROCESSING, Status.PENDING, "processing"),
    Status.SUBMITTED: _Told(4, Status.SUBMITTED, Status.PROCESSING, "submitted"),
    Status.COMPLETED: _Told(5, Status.COMPLETED, Status.SUBMITTED, "completed"),
    Status.CANCELLED: _Told(
        3,
        Status.CANCELLED,
        Status.PENDING,
        "canceled",
        Reason(ReasonCode.CANCELLED_AT_PROVIDER),
    ),
    Status.FAILED: _Told(
        4, Status.FAILED, Status.PROCESSING, "failed", Reason(ReasonCode.FAILED_AT_PROVIDER)
    ),
    Status.REJECTED: _Told(
        2,
        Status.REJECTED,
        Status.RECEIVED,
        reason=Reason(ReasonCode.NOT_PERMITTED, "BLUM-403-002"),
    ),
    Status.UNRESOLVED: _Told(
        2, Status.UNRESOLVED, Status.RECEIVED, reason=Reason(ReasonCode.OUTCOME_UNKNOWN)
    ),
    CANCEL_REFUSED: _Told(
        4,
        Status.PROCESSING,
        Status.PROCESSING,
        "processing",
        Reason(ReasonCode.CANCEL_TOO_LATE),
    ),
}

_SALES: Final = (
    Sale(
        key=sale_key(_MESSAGE_ID, 0),
        symbol="AAPL",
        quantity="3",
        status=SaleStatus.OPEN,
        order_id="ord_01",
    ),
)


def an_event(word: str) -> dict[str, Any]:
    """Return the event whose type ends in a word: a status, or the answer to a cancellation."""
    told = _TOLD[word]
    withdrawal = Withdrawal(
        order=Order(
            message_id=_MESSAGE_ID,
            idempotency_key=idempotency_key(_MESSAGE_ID),
            provider="bluum",
            party_id="inv_01",
            amount=Decimal("500.00"),
            currency="USD",
            method="ach",
            metadata={"tier": "gold"},
            taken_at=_AT,
        ),
        status=told.status,
        withdrawal_id=told.provider_status and "wd_01",
        changed_at=_AT,
        sales=_SALES if told.status is Status.RAISING_CASH else (),
    )
    change = Change(
        sequence=told.sequence,
        status=told.status,
        previous=told.previous,
        reversal=False,
        reason=told.reason,
        provider_status=told.provider_status,
        cause=Cause.LOOK,
        at=_AT,
        word=word,
    )
    document: dict[str, Any] = json.loads(event(withdrawal, change).body)
    return document
