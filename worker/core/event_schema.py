"""What an event looks like to whoever hears it, as JSON Schema, and when each kind is published.

Pure. The events themselves are written in `events` and `cancellations`; golden files and a test
hold both against this. Fields may be added: a consumer ignores what it does not know."""

from __future__ import annotations

from typing import Any, Final

from worker.core.change import CANCEL_REFUSED
from worker.core.sale import SaleStatus
from worker.core.withdrawal import ReasonCode, Status

#: When an event is published (contract section 3), by the last part of its type.
WHEN: Final[dict[str, str]] = {
    Status.RECEIVED: "durably taken in, nothing sent yet",
    Status.RAISING_CASH: "sell orders placed, waiting for their fill (or settlement)",
    Status.AWAITING_FUNDS: "the provider says that the funds are short; it is tried again",
    Status.PENDING: "the provider has it",
    Status.PROCESSING: "the provider works on it",
    Status.SUBMITTED: "the provider has handed it to the bank",
    Status.COMPLETED: "terminal at the provider: paid out",
    Status.CANCELLED: "terminal at the provider: cancelled",
    Status.FAILED: "terminal at the provider: failed",
    Status.REJECTED: "terminal: invalid, expired, or refused; nothing was withdrawn",
    Status.UNRESOLVED: (
        "nobody knows whether money moved, and a person must decide; not terminal, and never to be "
        "read as failed"
    ),
    CANCEL_REFUSED: "a cancellation was not possible; the status is unchanged",
}

_TEXT: Final = {"type": "string"}
_PERHAPS: Final = {"type": ["string", "null"]}
_STATUSES: Final = [status.value for status in Status]
_UUID: Final = {"type": "string", "format": "uuid"}

_ORDER: Final[dict[str, Any]] = {
    "index": {"type": "integer", "minimum": 0},
    "client_order_id": {**_TEXT, "description": "Our key of the order."},
    "order_id": {**_PERHAPS, "description": "The provider's id, once it is known."},
    "symbol": _TEXT,
    "quantity": _PERHAPS,
    "cash_amount": _PERHAPS,
    "status": {"enum": [status.value for status in SaleStatus]},
    "filled_quantity": _TEXT,
    "average_price": _PERHAPS,
}

_REASON: Final[dict[str, Any]] = {
    "code": {"enum": [code.value for code in ReasonCode]},
    "provider_code": _PERHAPS,
    "message": {**_TEXT, "description": "Our own text, for people."},
}

_FIELDS: Final[dict[str, Any]] = {
    "event_id": {**_UUID, "description": "The same each time: drop one that you have seen."},
    "type": {"enum": [f"withdrawal.{word}" for word in WHEN]},
    "sequence": {
        "type": "integer",
        "minimum": 0,
        "description": "Of one withdrawal from 1 without gaps; 0 outside of any sequence.",
    },
    "occurred_at": {**_TEXT, "format": "date-time"},
    "message_id": {**_PERHAPS, "description": "That of the request."},
    "correlation_id": {**_TEXT, "description": "The request's, or else its message_id."},
    "provider": {**_PERHAPS, "description": "Null where the request named none that is known."},
    "withdrawal_id": {**_PERHAPS, "description": "The provider's id, once it is known."},
    "idempotency_key": _PERHAPS,
    "status": {"enum": [*_STATUSES, None]},
    "previous_status": {"enum": [*_STATUSES, None]},
    "provider_status": {**_PERHAPS, "description": "The provider's own word."},
    "amount": {**_PERHAPS, "pattern": r"^[0-9]+\.[0-9]{2}$"},
    "currency": {**_PERHAPS, "pattern": "^[A-Z]{3}$"},
    "method": _PERHAPS,
    "party_id": {**_PERHAPS, "description": "Investor, account or account group."},
    "reversal": {"type": "boolean", "description": "The bank took back an end told before."},
    "reason": {
        "type": ["object", "null"],
        "properties": _REASON,
        "required": list(_REASON),
    },
    "metadata": {
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "That of the request.",
    },
}

#: Every event. `orders` is there where the request sells first.
EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **_FIELDS,
        "orders": {
            "type": "array",
            "items": {"type": "object", "properties": _ORDER, "required": list(_ORDER)},
        },
    },
    "required": list(_FIELDS),
}


def of_kind(word: str) -> dict[str, Any]:
    """Describe what the events of one kind have beside what every event has."""
    said: dict[str, Any] = {"type": {"const": f"withdrawal.{word}"}}
    if word != CANCEL_REFUSED:
        said["status"] = {"const": word}
    return {"properties": said}
