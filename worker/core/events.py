"""How a change becomes the bytes of an event (contract section 3).

Pure. The bytes are made once, stored with the state they tell of, and never made again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

from worker.core.withdrawal import event_id

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Change
    from worker.core.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to be stored and published. `type` is also its routing key."""

    event_id: str
    type: str
    sequence: int
    body: bytes = field(repr=False)


def event(withdrawal: Withdrawal, change: Change) -> Event:
    """Write down one change of a withdrawal as an event."""
    order = withdrawal.order
    identity = event_id(order.message_id, change.sequence)
    kind = f"withdrawal.{change.word or change.status}"
    document: dict[str, Any] = {
        "event_id": identity,
        "type": kind,
        "sequence": change.sequence,
        "occurred_at": moment(change.at),
        "message_id": order.message_id,
        "correlation_id": order.correlation_id or order.message_id,
        "provider": order.provider,
        "withdrawal_id": withdrawal.withdrawal_id,
        "idempotency_key": order.idempotency_key,
        "status": change.status.value,
        "previous_status": None if change.previous is None else change.previous.value,
        "provider_status": change.provider_status,
        "amount": None if order.amount is None else f"{order.amount:.2f}",
        "currency": order.currency,
        "method": order.method,
        "party_id": order.party_id,
        "reversal": change.reversal,
        "reason": _reason(change),
        "metadata": dict(order.metadata),
    }
    if withdrawal.sales:
        document["orders"] = orders(withdrawal)
    return Event(identity, kind, change.sequence, json.dumps(document).encode())


def moment(at: datetime) -> str:
    """Write a time as the contract does: UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def orders(withdrawal: Withdrawal) -> list[dict[str, Any]]:
    """Write down the orders that raise the cash, as far as they got."""
    return [
        {
            "index": index,
            "client_order_id": sale.key,
            "order_id": sale.order_id,
            "symbol": sale.symbol,
            "quantity": sale.quantity,
            "cash_amount": sale.cash_amount,
            "status": sale.status.value,
            "filled_quantity": sale.filled_quantity,
            "average_price": sale.average_price,
        }
        for index, sale in enumerate(withdrawal.sales)
    ]


def _reason(change: Change) -> dict[str, str | None] | None:
    if change.reason is None:
        return None
    return {
        "code": change.reason.code.value,
        "provider_code": change.reason.provider_code,
        "message": change.reason.message,
    }
