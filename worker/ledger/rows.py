"""How a withdrawal becomes a row and a row a withdrawal. Pure; no statements here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.core.change import Held
from worker.core.events import event
from worker.core.withdrawal import Errand, Order, Reason, ReasonCode, Status, Withdrawal
from worker.ledger import sales

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.answers import Attempt
    from worker.core.change import Change

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HUNDREDTH: Final = Decimal("0.01")

Row = dict[str, Any]


def micros(moment: datetime | None) -> int | None:
    """Return whole microseconds since 1970, or None for None."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(stored: int | None) -> datetime | None:
    """Return the time of whole microseconds since 1970, or None for None."""
    return None if stored is None else at(stored)


def at(stored: int) -> datetime:
    """Return the time of whole microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=stored)


def minor(amount: Decimal | None) -> int | None:
    """Return whole hundredths of an amount, or None for None; ValueError for more decimals."""
    if amount is None:
        return None
    hundredths = amount * 100
    if hundredths != int(hundredths):
        raise ValueError("an amount with more than two decimals cannot be stored")
    return int(hundredths)


def amount(stored: int | None) -> Decimal | None:
    """Return the amount of whole hundredths, or None for None."""
    return None if stored is None else stored * _HUNDREDTH


def order_row(order: Order, fingerprint: bytes) -> Row:
    """Return the columns that are written once."""
    return {
        "message_id": order.message_id,
        "fingerprint": fingerprint,
        "idempotency_key": order.idempotency_key,
        "provider": order.provider,
        "party_id": order.party_id,
        "target_id": order.target_id,
        "amount_minor": minor(order.amount),
        "currency": order.currency,
        "method": order.method,
        "body": order.body,
        "request": order.request,
        "metadata": json.dumps(dict(order.metadata)) if order.metadata else "{}",
        "correlation_id": order.correlation_id,
        "reply_to": order.reply_to,
        "traceparent": order.traceparent,
        "not_after": micros(order.not_after),
        "wait_for_funds_until": micros(order.wait_for_funds_until),
        "taken_at": micros(order.taken_at),
    }


def state_row(withdrawal: Withdrawal) -> Row:
    """Return the columns that are written with every change, except version and owner."""
    reason, held = withdrawal.reason, withdrawal.held_refusal
    return {
        "status": withdrawal.status.value,
        "sequence": withdrawal.sequence,
        "withdrawal_id": withdrawal.withdrawal_id,
        "provider_status": withdrawal.provider_status,
        "reason_code": None if reason is None else reason.code.value,
        "reason_provider_code": None if reason is None else reason.provider_code,
        "reason_detail": None if reason is None else reason.detail,
        "held_refusal_code": None if held is None else held.code.value,
        "held_refusal_provider_code": None if held is None else held.provider_code,
        "held_refusal_detail": None if held is None else held.detail,
        "in_doubt": withdrawal.in_doubt,
        "attempts": withdrawal.attempts,
        "first_attempt_at": micros(withdrawal.first_attempt_at),
        "empty_lookups": withdrawal.empty_lookups,
        "looks": withdrawal.looks,
        "changed_at": micros(withdrawal.changed_at),
        "finished_at": micros(withdrawal.changed_at) if withdrawal.is_finished else None,
        "due_at": micros(withdrawal.due_at),
        "errand": withdrawal.errand.value,
        "sales": sales.written(withdrawal.sales),
    }


def held(row: Mapping[Any, Any]) -> Held:
    """Read one row of `withdrawals` back, exactly as it was written."""
    withdrawal = Withdrawal(
        order=_order(row),
        status=Status(row["status"]),
        sequence=row["sequence"],
        withdrawal_id=row["withdrawal_id"],
        provider_status=row["provider_status"],
        reason=_reason(row["reason_code"], row["reason_provider_code"], row["reason_detail"]),
        held_refusal=_reason(
            row["held_refusal_code"],
            row["held_refusal_provider_code"],
            row["held_refusal_detail"],
        ),
        in_doubt=row["in_doubt"],
        attempts=row["attempts"],
        first_attempt_at=moment(row["first_attempt_at"]),
        empty_lookups=row["empty_lookups"],
        looks=row["looks"],
        changed_at=at(row["changed_at"]),
        due_at=moment(row["due_at"]),
        sales=sales.read(row["sales"]),
        is_expected=row["errand"] == Errand.LOOK_EXPECTED,
        cancel_wanted=row["cancel_wanted"],
    )
    return Held(row["id"], row["version"], withdrawal, woken_at=moment(row["woken_at"]))


def transition_row(row: int, change: Change) -> Row:
    """Return the history's row for a change of the withdrawal in `row`."""
    reason = change.reason
    return {
        "withdrawal": row,
        "sequence": change.sequence,
        "status": change.status.value,
        "previous_status": None if change.previous is None else change.previous.value,
        "provider_status": change.provider_status,
        "reason_code": None if reason is None else reason.code.value,
        "reason_provider_code": None if reason is None else reason.provider_code,
        "reversal": change.reversal,
        "cause": change.cause.value,
        "at": micros(change.at),
        "operator": change.operator,
        "note": change.note,
    }


def event_row(row: int, withdrawal: Withdrawal, change: Change) -> Row:
    """Return the outgoing event for a change of the withdrawal in `row`."""
    told = event(withdrawal, change)
    return {
        "withdrawal": row,
        "sequence": told.sequence,
        "event_id": told.event_id,
        "type": told.type,
        "body": told.body,
        "created_at": micros(change.at),
        "published_at": None,
    }


def attempt_row(row: int, attempt: Attempt) -> Row:
    """Return the row of one create call of the withdrawal in `row`."""
    return {
        "withdrawal": row,
        "number": attempt.number,
        "started_at": micros(attempt.started_at),
        "ended_at": micros(attempt.ended_at),
        "outcome": attempt.outcome,
        "http_status": attempt.trace.http_status,
        "provider_code": attempt.trace.provider_code,
        "request_id": attempt.trace.request_id,
        "provider_text": attempt.trace.text,
    }


def _order(row: Mapping[Any, Any]) -> Order:
    return Order(
        message_id=row["message_id"],
        idempotency_key=row["idempotency_key"],
        provider=row["provider"],
        party_id=row["party_id"],
        amount=amount(row["amount_minor"]),
        currency=row["currency"],
        method=row["method"],
        target_id=row["target_id"],
        body=row["body"],
        request=row["request"],
        metadata=json.loads(row["metadata"]),
        correlation_id=row["correlation_id"],
        reply_to=row["reply_to"],
        traceparent=row["traceparent"],
        not_after=moment(row["not_after"]),
        wait_for_funds_until=moment(row["wait_for_funds_until"]),
        taken_at=at(row["taken_at"]),
    )


def _reason(code: str | None, provider_code: str | None, detail: str | None) -> Reason | None:
    return None if code is None else Reason(ReasonCode(code), provider_code, detail)
