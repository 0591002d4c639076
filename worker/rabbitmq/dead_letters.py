"""How a message becomes a dead letter: body and properties as they were, the reason in headers.

Three properties cannot stay where they were, because the broker would act on them again; their
values move into headers: `expiration` (the dead letter would vanish), `user_id` (the broker refuses
another user's) and the sender-selected routes `CC` and `BCC` (copies would go out again)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pamqp.commands import Basic

from worker.core.events import moment

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage
    from pamqp.common import FieldTable, FieldValue

    from worker.core.messages import DeadReason
    from worker.rabbitmq.publisher import Publisher

_DETAIL_LIMIT: Final = 1000
_ACTED_ON: Final = {"CC": "x-original-cc", "BCC": "x-original-bcc"}


async def dead_letter(
    publisher: Publisher,
    message: AbstractIncomingMessage,
    origin: str,
    reason: DeadReason,
    detail: str,
) -> None:
    """Put a copy of a delivery among the dead letters; returns once the broker has confirmed it.

    Raises PublishUnconfirmed or PublishUnroutable; then the original must not be acknowledged.
    """
    headers: FieldTable = {
        _ACTED_ON.get(name, name): _encodable(value) for name, value in message.headers.items()
    }
    headers |= {
        "x-reason": reason.value,
        "x-reason-detail": detail[:_DETAIL_LIMIT],
        "x-dead-lettered-at": moment(datetime.now(UTC)),
        "x-origin-queue": origin,
    }
    if isinstance(message.expiration, int | float):
        headers["x-original-expiration"] = str(round(message.expiration * 1000))
    if message.user_id:
        headers["x-original-user-id"] = message.user_id
    kind = Basic.Properties if message.message_id else _WithoutMessageId
    copy = kind(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=headers,
        delivery_mode=2,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        message_type=message.type,
        app_id=message.app_id,
    )
    await publisher.dead_letter(message.routing_key or origin, message.body, copy)


def _encodable(value: FieldValue) -> FieldValue:
    """Return a header's value so that it can be sent: the library reads bytes, but writes none."""
    match value:
        case bytes():
            return bytearray(value)
        case dict():
            return {name: _encodable(inner) for name, inner in value.items()}
        case list():
            return [_encodable(inner) for inner in value]
        case _:
            return value


class _WithoutMessageId(Basic.Properties):
    """Properties that go out without a message id, though the library insists on inventing one."""

    def marshal(self) -> bytes:
        invented, self.message_id = self.message_id, None
        try:
            return bytes(super().marshal())
        finally:
            self.message_id = invented
