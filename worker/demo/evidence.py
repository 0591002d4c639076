"""How what comes in becomes evidence: the provider's record, events, dead letters.

Pure: bytes and documents in, the audit's values out."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from worker.demo.audit import Buried, Executed, Heard

if TYPE_CHECKING:
    from collections.abc import Mapping


def content_of(body: bytes) -> str:
    """Return a short text that is the same for the same bytes only."""
    return sha256(body).hexdigest()


def read_record(record: Mapping[str, Any]) -> tuple[Executed, ...]:
    """Read what `GET /_simulator/record` answers: every withdrawal that was executed."""
    return tuple(
        Executed(effect["idempotency_key"], effect["id"])
        for effect in record["effects"]
        if effect["effect"] == "withdrawal"
    )


def read_event(body: bytes, *, event_id: str | None) -> Heard:
    """Read one event; `event_id` is the message id it came under, which consumers go by."""
    event = json.loads(body)
    return Heard(
        event_id=event_id or "",
        # Null in the answer to a cancellation that names no request.
        message_id=event["message_id"] or "",
        sequence=event["sequence"],
        status=event["type"].removeprefix("withdrawal."),
        withdrawal_id=event["withdrawal_id"],
        reversal=event["reversal"],
        content=content_of(body),
        reason=None if event["reason"] is None else event["reason"]["code"],
    )


def read_dead_letter(
    body: bytes, *, message_id: str | None, headers: Mapping[str, object]
) -> Buried:
    """Read one dead letter; its reason stands in a header."""
    return Buried(message_id, content_of(body), str(headers.get("x-reason")))
