"""What the properties of a dead letter say, and how they become again those of the first time.

Pure: bytes in, bytes out; the reverse of `dead_letters`. Some properties stay where burying put
them: `expiration` (the message would vanish), `CC` and `BCC` (copies would go out again), and
`user_id` unless it is our own user's (the broker refuses any other)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.core.events import moment
from worker.core.replay import BY_THE_BROKER, Asks, Letter
from worker.rabbitmq.dead_letters import DELIVERY_COUNTS
from worker.rabbitmq.properties import (
    Header,
    NotProperties,
    Properties,
    put_together,
    take_apart,
    text_header,
)
from worker.rabbitmq.topology import CANCEL_KEY, CANCELLATIONS, REQUEST_KEY, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_ID_DIGITS: Final = 12
_REPLAYED_AT: Final = "x-replayed-at"
_ORIGINAL: Final = b"x-original-properties"
_ORIGINAL_USER: Final = b"x-original-user-id"
_CLOUD_IDS: Final = ("cloudEvents:id", "cloudEvents_id")
#: What burying adds, here and at the broker.
_ADDED: Final = DELIVERY_COUNTS | {
    b"x-reason",
    b"x-reason-detail",
    b"x-dead-lettered-at",
    b"x-origin-queue",
    b"x-left-out",
    b"x-death",
    b"x-first-death-exchange",
    b"x-first-death-queue",
    b"x-first-death-reason",
    b"x-last-death-exchange",
    b"x-last-death-queue",
    b"x-last-death-reason",
    _REPLAYED_AT.encode(),
}
_ROUTES: Final = {b"CC": b"x-original-cc", b"BCC": b"x-original-bcc"}
_ASKS: Final = {
    REQUESTS: Asks.REQUEST,
    CANCELLATIONS: Asks.CANCELLATION,
    REQUEST_KEY: Asks.REQUEST,
    CANCEL_KEY: Asks.CANCELLATION,
}


def letter_of(properties: bytes, body: bytes, routing_key: str) -> Letter:
    """Read what a dead letter says of itself; nothing in it can make this fail."""
    try:
        read = take_apart(properties)
    except NotProperties:
        read = Properties()
    texts = read.header_texts()
    reason, detail = texts.get("x-reason"), texts.get("x-reason-detail", "")
    if reason is None:
        reason, detail = BY_THE_BROKER, texts.get("x-first-death-reason", "")
    origin = texts.get("x-origin-queue") or texts.get("x-first-death-queue")
    return Letter(
        id=_identity(properties, body),
        message_id=_message_id(read, texts),
        reason=reason,
        detail=detail,
        buried_at=_time(texts.get("x-dead-lettered-at")),
        origin=origin,
        size=len(body),
        asks=_ASKS.get(origin or routing_key),
    )


def restored(encoded: bytes, *, user: str, at: datetime | None = None) -> bytes:
    """Return the properties with which a dead letter goes out again.

    `user` is who publishes. With `at`, a header tells the time of this replay; nobody reads it, but
    it makes the next dead letter of this message another one.
    """
    try:
        properties = take_apart(encoded)
    except NotProperties:
        return encoded
    kept = next((h.value[5:] for h in properties.headers or () if h.name == _ORIGINAL), None)
    if kept is not None:
        try:
            properties = take_apart(kept)
        except NotProperties:
            return kept
    headers = list(_headers(properties, user))
    fields = dict(properties.fields)
    if (expiration := fields.pop("expiration", None)) is not None:
        headers.append(text_header("x-original-expiration", expiration.decode(errors="replace")))
    if fields.get("user_id", user.encode()) != user.encode():
        headers.append(
            text_header(_ORIGINAL_USER.decode(), fields.pop("user_id").decode(errors="replace"))
        )
    elif _is_from(user, properties):
        fields["user_id"] = user.encode()
    if at is not None:
        headers.append(text_header(_REPLAYED_AT, moment(at)))
    return put_together(replace(properties, fields=fields, headers=tuple(headers) or None))


def _headers(properties: Properties, user: str) -> Iterator[Header]:
    dropped = _ADDED | ({_ORIGINAL_USER} if _is_from(user, properties) else set())
    for header in properties.headers or ():
        if header.name not in dropped:
            yield Header(_ROUTES.get(header.name, header.name), header.value)


def _is_from(user: str, properties: Properties) -> bool:
    """Tell whether the message was published by the user that publishes it again."""
    return any(h.name == _ORIGINAL_USER and h.text == user for h in properties.headers or ())


def _identity(properties: bytes, body: bytes) -> str:
    """Return some digits that are the same whenever this letter is read."""
    try:
        read = take_apart(properties)
        kept = tuple(header for header in read.headers or () if header.name not in DELIVERY_COUNTS)
        # A quorum queue adds its count even to a message that has no headers.
        properties = put_together(replace(read, headers=kept))
    except NotProperties:
        pass
    digest = hashlib.sha256(len(properties).to_bytes(8) + properties + body)
    return digest.hexdigest()[:_ID_DIGITS]


def _message_id(properties: Properties, texts: dict[str, str]) -> str | None:
    cloud = next((texts[name] for name in _CLOUD_IDS if name in texts), None)
    return properties.text("message_id") or cloud


def _time(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
