"""What travels on the wire, and how a message becomes a request, or a dead letter with its reason.

Pure: bytes in, values out. No broker types, and no provider's words but the names of providers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.core.requests import Request, is_printable, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT: Final = 64 * 1024
MESSAGE_ID_LIMIT: Final = 255
DEPTH_LIMIT: Final = 16

_JSON: Final = "application/json"
_STRUCTURED: Final = "application/cloudevents+json"
#: The two prefixes under which CloudEvents' AMQP binding carries its attributes.
_CLOUD_PREFIXES: Final = ("cloudEvents:", "cloudEvents_")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]+)"?', re.IGNORECASE)


class DeadReason(StrEnum):
    """Why a message lies in the dead-letter queue (contract section 4)."""

    MALFORMED = "malformed"
    MISSING_MESSAGE_ID = "missing_message_id"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    MESSAGE_ID_REUSED = "message_id_reused"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNKNOWN_PROVIDER = "unknown_provider"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message as it came, free of the broker's types.

    `headers` holds only headers whose value is a text. `redelivered` is the broker's flag.
    """

    body: bytes = field(repr=False)
    message_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    redelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What accompanies a message besides its content, cleaned so that it can be stored."""

    message_id: str | None
    correlation_id: str | None = None
    reply_to: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A message that asks for something we can do."""

    message_id: str
    provider: str
    request: Request
    document: str = field(repr=False)
    fingerprint: bytes = field(repr=False)
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """A message that cannot be carried out. Its producer acts next.

    `context.message_id` is None when it has none that can be used; then it is only dead-lettered.
    """

    reason: DeadReason
    detail: str
    fingerprint: bytes = field(repr=False)
    context: Context


class _NotUnderstood(Exception):  # noqa: N818 - it names what happened, not who failed
    """Carries a reason and a detail from where it was seen to `read`, and no further."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read(
    envelope: Envelope,
    *,
    shapes: Mapping[str, type[Request]],
    default_provider: str,
    own_queues: frozenset[str] = frozenset(),
) -> Understood | Misread:
    """Turn a message into what it asks for, or say why it cannot be.

    `shapes` maps each enabled provider to its request shape, `own_queues` are the queues that a
    reply must not be sent to. Never raises, whatever the message holds.
    """
    cloud = _cloud_attributes(envelope.headers)
    context = _context(envelope, cloud)
    fingerprint = hashlib.sha256(envelope.body).digest()
    try:
        _check_envelope(envelope, cloud, own_queues)
        document, context = _document(envelope, context)
        fingerprint = _fingerprint(document)
        if context.message_id is None:
            detail = "message_id: expected 1 to 255 characters without control characters"
            raise _NotUnderstood(DeadReason.MISSING_MESSAGE_ID, detail)
        provider = _provider(document, shapes, default_provider)
        request = read_request(shapes[provider], {**document, "provider": provider})
        if isinstance(request, str):
            raise _NotUnderstood(DeadReason.INVALID, request)
    except _NotUnderstood as refusal:
        return Misread(
            reason=refusal.reason,
            detail=refusal.detail,
            fingerprint=fingerprint,
            context=context,
        )
    return Understood(
        message_id=context.message_id,
        provider=provider,
        request=request,
        document=_canonical(document),
        fingerprint=fingerprint,
        context=context,
    )


def _check_envelope(
    envelope: Envelope, cloud: Mapping[str, str], own_queues: frozenset[str]
) -> None:
    if len(envelope.body) > BODY_LIMIT:
        detail = f"body: expected at most {BODY_LIMIT} bytes, got {len(envelope.body)}"
        raise _NotUnderstood(DeadReason.TOO_LARGE, detail)
    if envelope.content_encoding not in {None, "", "identity", "utf-8", "UTF-8"}:
        detail = "content_encoding: expected none"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    kind = _media_type(envelope.content_type)
    if kind not in {"", _JSON, _STRUCTURED}:
        detail = f"content_type: expected {_JSON} or {_STRUCTURED}"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    charset = _CHARSET.search(envelope.content_type or "")
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        detail = "content_type: expected the character set utf-8"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    if cloud and cloud.get("specversion") != "1.0":
        detail = "cloudEvents:specversion: expected 1.0"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    for name in ("correlation_id", "reply_to"):
        value = getattr(envelope, name)
        if value is not None and _storable(value) is None:
            detail = f"{name}: expected at most 255 characters without control characters"
            raise _NotUnderstood(DeadReason.INVALID, detail)
    if envelope.reply_to in own_queues:
        detail = "reply_to: expected a queue that is not one of the worker's own"
        raise _NotUnderstood(DeadReason.INVALID, detail)


def _document(envelope: Envelope, context: Context) -> tuple[dict[str, Any], Context]:
    document = _json_object(envelope.body, "body")
    if _media_type(envelope.content_type) != _STRUCTURED:
        return document, context
    if document.get("specversion") != "1.0":
        detail = "specversion: expected 1.0"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    context = Context(
        message_id=context.message_id or _storable(document.get("id")),
        correlation_id=context.correlation_id,
        reply_to=context.reply_to,
        traceparent=context.traceparent or _traceparent(document.get("traceparent")),
    )
    kind = document.get("datacontenttype", _JSON)
    if not isinstance(kind, str) or _media_type(kind) != _JSON:
        detail = f"datacontenttype: expected {_JSON}"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    return _cloud_data(document), context


def _cloud_data(document: Mapping[str, Any]) -> dict[str, Any]:
    if "data_base64" in document:
        text = document["data_base64"]
        try:
            data = base64.b64decode(text if isinstance(text, str) else "!", validate=True)
        except (binascii.Error, ValueError):
            detail = "data_base64: expected base64"
            raise _NotUnderstood(DeadReason.MALFORMED, detail) from None
        return _json_object(data, "data_base64")
    data = document.get("data")
    if not isinstance(data, dict):
        detail = "data: expected a JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    return data


def _json_object(body: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
        deep = isinstance(document, dict) and _deeper_than(document, DEPTH_LIMIT)
    except _NotUnderstood:
        raise
    except UnicodeDecodeError:
        detail = f"{where}: expected UTF-8"
        raise _NotUnderstood(DeadReason.MALFORMED, detail) from None
    except (ValueError, RecursionError):
        # Besides bad syntax: a number of thousands of digits, or brackets a thousand deep.
        detail = f"{where}: expected one JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail) from None
    if not isinstance(document, dict):
        detail = f"{where}: expected a JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    if deep:
        detail = f"{where}: expected at most {DEPTH_LIMIT} levels"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        # Which of the two amounts was meant? Parsers disagree, so nobody may guess.
        detail = "body: expected each field once"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    return document


def _no_constant(_name: str) -> None:
    detail = "body: expected JSON without NaN and Infinity"
    raise _NotUnderstood(DeadReason.MALFORMED, detail)


def _deeper_than(value: object, limit: int) -> bool:
    layer = [value]
    for _ in range(limit):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return any(isinstance(value, dict | list) for value in layer)


def _provider(
    document: Mapping[str, Any], shapes: Mapping[str, type[Request]], default_provider: str
) -> str:
    provider = document.get("provider", default_provider)
    if not isinstance(provider, str) or provider not in shapes:
        detail = f"provider: expected one that is enabled here: {', '.join(sorted(shapes))}"
        raise _NotUnderstood(DeadReason.UNKNOWN_PROVIDER, detail)
    return provider


def _context(envelope: Envelope, cloud: Mapping[str, str]) -> Context:
    given = envelope.message_id or cloud.get("id")
    return Context(
        message_id=_storable(given),
        correlation_id=_storable(envelope.correlation_id),
        reply_to=_storable(envelope.reply_to),
        traceparent=_traceparent(envelope.headers.get("traceparent"))
        or _traceparent(cloud.get("traceparent")),
    )


def _cloud_attributes(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(prefix) :]: value
        for prefix in _CLOUD_PREFIXES
        for name, value in headers.items()
        if name.startswith(prefix)
    }


def _storable(value: object) -> str | None:
    """Return a text that may serve as an id, or None."""
    if not isinstance(value, str) or not value.strip() or len(value) > MESSAGE_ID_LIMIT:
        return None
    return value if is_printable(value) else None


def _traceparent(value: object) -> str | None:
    # A broken trace header must not stop a payout: it is left out.
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _fingerprint(document: Mapping[str, Any]) -> bytes:
    # Of the content, not of the bytes: the same request in other white space is the same request.
    return hashlib.sha256(_canonical(document).encode()).digest()
