"""How a message becomes a dead letter: body and properties as they were, the reason in headers.

Some properties cannot stay where they were, because the broker would act on them again; their
values move into headers: `expiration` (the dead letter would vanish), `user_id` (the broker refuses
another user's) and the sender-selected routes `CC` and `BCC` (copies would go out again). The
broker's own count of deliveries goes. Of headers that leave no room for the reason, the largest are
left out and named. What the broker does not take even so goes as one header that holds the bytes of
the properties."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.core.events import moment
from worker.rabbitmq.properties import (
    Header,
    NotProperties,
    Properties,
    bytes_header,
    put_together,
    take_apart,
    text_header,
)
from worker.rabbitmq.publisher import PublishRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.messages import DeadReason
    from worker.rabbitmq.delivery import Delivery
    from worker.rabbitmq.publisher import Publisher

_log = logging.getLogger(__name__)

_DETAIL_LIMIT: Final = 1000
_KEY_LIMIT: Final = 255
_ACTED_ON_HEADERS: Final = {b"CC": b"x-original-cc", b"BCC": b"x-original-bcc"}
_ACTED_ON_FIELDS: Final = {
    "expiration": "x-original-expiration",
    "user_id": "x-original-user-id",
}
#: What a quorum queue counts with each delivery; the second one from RabbitMQ 4.3 on.
DELIVERY_COUNTS: Final = frozenset({b"x-delivery-count", b"x-acquired-count"})
_LEFT_OUT: Final = "x-left-out"
_ORIGINAL: Final = "x-original-properties"


async def dead_letter(
    publisher: Publisher, delivery: Delivery, origin: str, reason: DeadReason, detail: str
) -> None:
    """Put a copy of a delivery among the dead letters; returns once the broker has confirmed it.

    Raises PublishUnconfirmed or PublishUnroutable; then the original must not be acknowledged.
    """
    why = (
        text_header("x-reason", reason.value),
        text_header("x-reason-detail", detail[:_DETAIL_LIMIT]),
        text_header("x-dead-lettered-at", moment(datetime.now(UTC))),
        text_header("x-origin-queue", origin),
    )
    # Any key reaches the dead letters; one whose odd bytes were escaped may have grown too long.
    key = delivery.routing_key.encode()[:_KEY_LIMIT].decode(errors="ignore")
    try:
        copy = as_it_was(delivery.properties, why, room=delivery.room)
        await publisher.dead_letter(key, delivery.body, copy)
    except PublishRefused as refused:
        _log.warning("dead letter refused", extra={"error": str(refused)})
        copy = in_one_header(delivery.properties, why, room=delivery.room)
        await publisher.dead_letter(key, delivery.body, copy)


def as_it_was(original: bytes, why: tuple[Header, ...], *, room: int) -> bytes:
    """Return properties with `why` added to their headers, in at most `room` bytes."""
    try:
        properties = take_apart(original)
    except NotProperties:
        return in_one_header(original, why, room=room)
    fields = {n: content for n, content in properties.fields.items() if n not in _ACTED_ON_FIELDS}
    moved = tuple(
        text_header(name, properties.text(acted_on) or "")
        for acted_on, name in _ACTED_ON_FIELDS.items()
        if acted_on in properties.fields
    )
    own = (*why, *moved)
    kept = _kept(properties.headers or (), own)
    left_out: list[str] = []
    while True:
        named = (text_header(_LEFT_OUT, ", ".join(left_out)[:_DETAIL_LIMIT]),) if left_out else ()
        copy = put_together(Properties(fields, (*kept, *own, *named)))
        if len(copy) <= room:
            return copy
        if not kept:
            return in_one_header(original, why, room=room)
        largest = max(kept, key=lambda header: len(header.name) + len(header.value))
        kept.remove(largest)
        left_out.append(largest.name.decode(errors="backslashreplace"))


def in_one_header(original: bytes, why: tuple[Header, ...], *, room: int) -> bytes:
    """Return properties that hold nothing but `why` and, as far as there is room, the original."""
    left = room - len(put_together(Properties(headers=(*why, bytes_header(_ORIGINAL, b"")))))
    kept = bytes_header(_ORIGINAL, original[: max(0, left)])
    return put_together(Properties(headers=(*why, kept)))


def _kept(headers: Iterable[Header], own: Iterable[Header]) -> list[Header]:
    """Return the headers as they were, but for names on which the broker acts, its and our own."""
    dropped = {*DELIVERY_COUNTS, *(header.name for header in own)}
    renamed = [Header(_ACTED_ON_HEADERS.get(name, name), value) for name, value in headers]
    return [header for header in renamed if header.name not in dropped]
