"""How what comes in becomes evidence: the provider's record, events, dead letters.

Pure: bytes and documents in, the audit's values out."""

from __future__ import annotations

import json
import re
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from worker.demo.audit import Buried, Delivery, Effect, Executed, Heard, Ordered

if TYPE_CHECKING:
    from collections.abc import Mapping


_PREFIXES: Final = {"withdrawal": "wd-", "order": "sell-"}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def content_of(body: bytes) -> str:
    """Return a short text that is the same for the same bytes only."""
    return sha256(body).hexdigest()


def with_our_keys(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same record, with the keys of its effects as the worker's events write them."""
    effects = [
        effect
        if effect.get("idempotency_key") is None
        else {**effect, "idempotency_key": _key(effect)}
        for effect in record["effects"]
    ]
    return {**record, "effects": effects}


def read_record(record: Mapping[str, Any]) -> tuple[Executed, ...]:
    """Read what `GET /_simulator/record` answers: every withdrawal that was executed."""
    return tuple(
        Executed(_key(effect), effect["id"])
        for effect in record["effects"]
        if effect["effect"] == "withdrawal"
    )


def read_effects(record: Mapping[str, Any]) -> tuple[Effect, ...]:
    """Read from the same answer what else happened to money, and when the withdrawals were made.

    In the order of happening. What happened to a withdrawal or an order carries its key.
    """
    keys = {effect["id"]: _key(effect) for effect in reversed(record["effects"])}
    return tuple(
        Effect(effect["effect"], keys[effect["id"]], effect["id"]) for effect in record["effects"]
    )


def read_deliveries(record: Mapping[str, Any]) -> tuple[Delivery, ...]:
    """Read from the same answer every attempt to deliver a webhook."""
    return tuple(
        Delivery(attempt["event"], attempt["id"], attempt["outcome"])
        for attempt in record["webhooks"]
    )


def _key(effect: Mapping[str, Any]) -> str | None:
    """Return the key under which something was executed, as the worker's events write it.

    Upvest takes bare UUIDs, and knows by the call what each is for.
    """
    key: str | None = effect.get("idempotency_key")
    return f"{_PREFIXES[effect['effect']]}{key}" if key and _UUID.fullmatch(key) else key


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
        orders=tuple(
            Ordered(order["client_order_id"], order["filled_quantity"])
            for order in event.get("orders", ())
        ),
        at=datetime.fromisoformat(event["occurred_at"]),
    )


def read_dead_letter(
    body: bytes, *, message_id: str | None, headers: Mapping[str, object]
) -> Buried:
    """Read one dead letter; its reason stands in a header."""
    return Buried(message_id, content_of(body), str(headers.get("x-reason")))
