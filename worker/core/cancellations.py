"""A message that asks to cancel a withdrawal: what it names, or why it cannot be carried out.

Pure: bytes in, values out. What becomes of the withdrawal that it names is decided in `decide`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid5

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from worker.core.change import CANCEL_REFUSED
from worker.core.events import Event, moment
from worker.core.messages import (
    Context,
    DeadReason,
    Envelope,
    Misread,
    Unwrapped,
    provider_of,
    unwrap,
)
from worker.core.requests import Description, Name, read_request
from worker.core.withdrawal import NAMESPACE, REASON_TEXTS, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

_EITHER: Final = "body: expected either request_message_id, or withdrawal_id with its provider"
_OWN_PROVIDER: Final = "provider: expected beside withdrawal_id alone"
_ITSELF: Final = "request_message_id: expected the id of a request, not of this message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """What a cancel message asks for, and what accompanies it.

    It names a request by `request_message_id`, or a withdrawal by `provider` and `withdrawal_id`;
    what it does not name by is None. `reason` is the asker's text, for people: it is in no event.
    """

    message_id: str
    request_message_id: str | None
    provider: str | None
    withdrawal_id: str | None
    reason: str | None = field(repr=False)
    fingerprint: bytes = field(repr=False)
    context: Context


def read_cancel(
    envelope: Envelope,
    *,
    providers: Collection[str],
    default_provider: str,
    own_queues: frozenset[str] = frozenset(),
) -> Cancel | Misread:
    """Turn a message into the cancellation that it asks for, or say why it cannot be.

    `providers` are those that are enabled; `own_queues` as in `messages.read`. Never raises,
    whatever the message holds.
    """
    opened = unwrap(envelope, own_queues=own_queues)
    if isinstance(opened, Misread):
        return opened
    body = read_request(CancelBody, opened.document)
    if isinstance(body, str):
        return opened.misread(DeadReason.INVALID, body)
    if (problem := _contradiction(body, opened)) is not None:
        return opened.misread(DeadReason.INVALID, problem)
    # Who names a request says nothing of a provider.
    named = None
    if body.withdrawal_id is not None:
        named = provider_of(opened, providers, default_provider)
    if isinstance(named, Misread):
        return named
    return Cancel(
        message_id=opened.message_id,
        request_message_id=body.request_message_id,
        provider=named,
        withdrawal_id=body.withdrawal_id,
        reason=body.reason,
        fingerprint=opened.fingerprint,
        context=opened.context,
    )


def unknown_request(cancel: Cancel, *, at: datetime) -> Event:
    """Answer a cancellation of something that has not come: `cancel_refused`, outside any sequence.

    It names what the message named. The same cancellation, given up at the same time, has the same
    event, byte by byte.
    """
    identity = str(uuid5(NAMESPACE, f"unknown_request/{cancel.message_id}"))
    kind = f"withdrawal.{CANCEL_REFUSED}"
    code = ReasonCode.UNKNOWN_REQUEST
    document: dict[str, Any] = {
        "event_id": identity,
        "type": kind,
        "sequence": 0,
        "occurred_at": moment(at),
        "message_id": cancel.request_message_id,
        "correlation_id": cancel.context.correlation_id or cancel.message_id,
        "provider": cancel.provider,
        "withdrawal_id": cancel.withdrawal_id,
        "idempotency_key": None,
        "status": None,
        "previous_status": None,
        "provider_status": None,
        "amount": None,
        "currency": None,
        "method": None,
        "party_id": None,
        "reversal": False,
        "reason": {"code": code.value, "provider_code": None, "message": REASON_TEXTS[code]},
        "metadata": {},
    }
    return Event(identity, kind, 0, json.dumps(document).encode())


class CancelBody(BaseModel):
    """What a cancel message may hold: a request's id, or a withdrawal's with its provider."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {
                        "request_message_id": {"type": "string"},
                        "withdrawal_id": {"type": "null"},
                    },
                    "required": ["request_message_id"],
                    "not": {"required": ["provider"]},
                },
                {
                    "properties": {
                        "withdrawal_id": {"type": "string"},
                        "request_message_id": {"type": "null"},
                    },
                    "required": ["withdrawal_id"],
                },
            ]
        },
    )

    request_message_id: Name = None
    # Looked at by `provider_of`, as in a request.
    provider: Annotated[Any, WithJsonSchema({"type": "string"})] = None
    withdrawal_id: Name = None
    reason: Description = None


def _contradiction(body: CancelBody, opened: Unwrapped) -> str | None:
    """Say what is wrong with fields that are fine each for itself."""
    if (body.request_message_id is None) is (body.withdrawal_id is None):
        return _EITHER
    if body.request_message_id is not None and "provider" in opened.document:
        return _OWN_PROVIDER
    return _ITSELF if body.request_message_id == opened.message_id else None
