"""What travels on the wire, and how a message becomes a request, or a dead letter with its reason.

Pure: bytes in, values out. No broker types, and no provider's words but the names of providers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.core.requests import NAME_LIMIT, Request, is_name, read_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

BODY_LIMIT: Final = 64 * 1024
DEPTH_LIMIT: Final = 16

_JSON: Final = "application/json"
_STRUCTURED: Final = "application/cloudevents+json"
#: The two prefixes under which CloudEvents' AMQP binding carries its attributes.
_CLOUD_PREFIXES: Final = ("cloudEvents:", "cloudEvents_")
#: As W3C's Trace Context has it: no version ff, and no id of zeros alone.
TRACEPARENT_PATTERN: Final = (
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_TRACEPARENT = re.compile(TRACEPARENT_PATTERN)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """A message whose wrapping is in order; what its document asks for was not looked at."""

    message_id: str
    document: Mapping[str, Any] = field(repr=False)
    fingerprint: bytes = field(repr=False)
    context: Context

    def misread(self, reason: DeadReason, detail: str) -> Misread:
        """Return the same message as one that cannot be carried out."""
        return Misread(
            reason=reason, detail=detail, fingerprint=self.fingerprint, context=self.context
        )


class _NotUnderstood(Exception):  # noqa: N818 - it names what happened, not who failed
    """Carries a reason and a detail from where it was seen to `unwrap`, and no further."""

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
    opened = unwrap(envelope, own_queues=own_queues)
    if isinstance(opened, Misread):
        return opened
    provider = provider_of(opened, shapes, default_provider)
    if isinstance(provider, Misread):
        return provider
    request = read_request(shapes[provider], {**opened.document, "provider": provider})
    if isinstance(request, str):
        return opened.misread(DeadReason.INVALID, request)
    return Understood(
        message_id=opened.message_id,
        provider=provider,
        request=request,
        document=_canonical(opened.document),
        fingerprint=opened.fingerprint,
        context=opened.context,
    )


def unwrap(envelope: Envelope, *, own_queues: frozenset[str] = frozenset()) -> Unwrapped | Misread:
    """Check all that does not depend on what a message asks for, and return its JSON document.

    `own_queues` as in `read`. Never raises, whatever the message holds.
    """
    attributes = _cloud_attributes(envelope.headers)
    context = _context(envelope, attributes, own_queues)
    fingerprint = hashlib.sha256(envelope.body).digest()
    try:
        _check_encoding(envelope)
        document = _json_object(envelope.body, "body")
        if _media_type(envelope.content_type) == _STRUCTURED:
            context = _context(envelope, document, own_queues)
            document = _cloud_data(document)
        elif attributes:
            _check_specversion(attributes)
        fingerprint = _fingerprint(document)
        message_id = _message_id(context)
        _check_replies(envelope, own_queues)
    except _NotUnderstood as refusal:
        return Misread(
            reason=refusal.reason,
            detail=refusal.detail,
            fingerprint=fingerprint,
            context=context,
        )
    return Unwrapped(
        message_id=message_id, document=document, fingerprint=fingerprint, context=context
    )


def provider_of(
    opened: Unwrapped, enabled: Collection[str], default_provider: str
) -> str | Misread:
    """Return the provider that a message names, or the default one; it has to be enabled."""
    provider = opened.document.get("provider", default_provider)
    if not isinstance(provider, str) or provider not in enabled:
        detail = f"provider: expected one that is enabled here: {', '.join(sorted(enabled))}"
        return opened.misread(DeadReason.UNKNOWN_PROVIDER, detail)
    return provider


def traceparent(value: object) -> str | None:
    """Return a trace header as it came, None where it is none: it must not stop a payout."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _check_encoding(envelope: Envelope) -> None:
    if len(envelope.body) > BODY_LIMIT:
        detail = f"body: expected at most {BODY_LIMIT} bytes, got {len(envelope.body)}"
        raise _NotUnderstood(DeadReason.TOO_LARGE, detail)
    if (envelope.content_encoding or "").lower() not in {"", "identity", "utf-8"}:
        detail = "content_encoding: expected none"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    if _media_type(envelope.content_type) not in {"", _JSON, _STRUCTURED}:
        detail = f"content_type: expected {_JSON} or {_STRUCTURED}"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    charset = _CHARSET.search(envelope.content_type or "")
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        detail = "content_type: expected the character set utf-8"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)


def _check_specversion(attributes: Mapping[str, object]) -> None:
    if attributes.get("specversion") != "1.0":
        detail = "specversion: expected CloudEvents 1.0"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)


def _cloud_data(document: Mapping[str, Any]) -> dict[str, Any]:
    """Take the data out of a CloudEvent in structured mode."""
    _check_specversion(document)
    kind = document.get("datacontenttype", _JSON)
    if not isinstance(kind, str) or _media_type(kind) != _JSON:
        detail = f"datacontenttype: expected {_JSON}"
        raise _NotUnderstood(DeadReason.UNSUPPORTED_TYPE, detail)
    if ("data" in document) is ("data_base64" in document):
        detail = "data: expected either data or data_base64"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    if "data_base64" in document:
        return _json_object(_base64(document["data_base64"]), "data_base64")
    data = document["data"]
    if not isinstance(data, dict):
        detail = "data: expected a JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    return data


def _base64(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except ValueError:
        detail = "data_base64: expected base64"
        raise _NotUnderstood(DeadReason.MALFORMED, detail) from None


def _message_id(context: Context) -> str:
    if context.message_id is None:
        detail = f"message_id: expected 1 to {NAME_LIMIT} bytes of text without control characters"
        raise _NotUnderstood(DeadReason.MISSING_MESSAGE_ID, detail)
    return context.message_id


def _check_replies(envelope: Envelope, own_queues: frozenset[str]) -> None:
    """Refuse what could not be carried into the events."""
    for name, given in (
        ("correlation_id", envelope.correlation_id),
        ("reply_to", envelope.reply_to),
    ):
        if given and _storable(given) is None:
            detail = (
                f"{name}: expected at most {NAME_LIMIT} bytes of text without control characters"
            )
            raise _NotUnderstood(DeadReason.INVALID, detail)
    if envelope.reply_to in own_queues:
        detail = "reply_to: expected a queue that is not one of the worker's own"
        raise _NotUnderstood(DeadReason.INVALID, detail)


def _json_object(body: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        detail = f"{where}: expected UTF-8"
        raise _NotUnderstood(DeadReason.MALFORMED, detail) from None
    except (ValueError, RecursionError):
        # Besides bad syntax: a number of thousands of digits, or brackets thousands deep.
        detail = f"{where}: expected one JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail) from None
    if not isinstance(document, dict):
        detail = f"{where}: expected a JSON object"
        raise _NotUnderstood(DeadReason.MALFORMED, detail)
    if _is_deeper_than(DEPTH_LIMIT, document):
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


def _is_deeper_than(limit: int, document: object) -> bool:
    layer = [document]
    for _ in range(limit):
        layer = [inner for outer in layer for inner in _inside(outer)]
    return any(isinstance(inner, dict | list) for inner in layer)


def _inside(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


def _context(
    envelope: Envelope, attributes: Mapping[str, object], own_queues: frozenset[str]
) -> Context:
    """Gather what accompanies a message; CloudEvents attributes serve where AMQP's are absent.

    A queue of our own is no place for an answer, not even for one that says so.
    """
    reply_to = None if envelope.reply_to in own_queues else envelope.reply_to
    return Context(
        message_id=_storable(envelope.message_id or attributes.get("id")),
        correlation_id=_storable(envelope.correlation_id),
        reply_to=_storable(reply_to),
        traceparent=traceparent(envelope.headers.get("traceparent"))
        or traceparent(attributes.get("traceparent")),
    )


def _cloud_attributes(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name[len(prefix) :]: value
        for prefix in _CLOUD_PREFIXES
        for name, value in headers.items()
        if name.startswith(prefix)
    }


def _storable(value: object) -> str | None:
    """Return a text that may travel as an AMQP property, which counts bytes, or None."""
    return value if isinstance(value, str) and is_name(value) else None


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _fingerprint(document: Mapping[str, Any]) -> bytes:
    # Of the content, not of the bytes: the same request in other white space is the same request.
    return hashlib.sha256(_canonical(document).encode()).digest()
