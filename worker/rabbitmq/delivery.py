"""One message as the broker handed it over, and the channel on which it has to be settled.

Nothing here knows what a message means."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from worker.core.messages import Envelope
from worker.rabbitmq import failures
from worker.rabbitmq.properties import NotProperties, Properties, take_apart
from worker.rabbitmq.tolerance import original_properties

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage

#: Of a content header's frame, what is not properties: frame header and end, class, weight, size.
_FRAME_OVERHEAD: Final = 20
_UNLIMITED: Final = 2**31


class Delivery:
    """A message that has to be settled once, on the channel by which it came."""

    def __init__(self, message: DeliveredMessage) -> None:
        self.body = message.body
        self.properties = original_properties(message.header)
        self.routing_key = message.routing_key or ""
        self._message = message
        self._channel = message.channel

    @property
    def is_stale(self) -> bool:
        """Whether the channel is gone, so that the broker delivers the message again."""
        return self._channel.is_closed

    @property
    def room(self) -> int:
        """How many bytes of properties this broker takes with one message."""
        frame_max = self._channel.connection.connection_tune.frame_max
        return (frame_max or _UNLIMITED) - _FRAME_OVERHEAD

    def read(self) -> Envelope | None:
        """Free the message of the broker's types; None when its properties cannot be read.

        Headers that are not texts are left out.
        """
        properties = self._read()
        if properties is None:
            return None
        return Envelope(
            body=self.body,
            message_id=properties.text("message_id"),
            content_type=properties.text("content_type"),
            content_encoding=properties.text("content_encoding"),
            correlation_id=properties.text("correlation_id"),
            reply_to=properties.text("reply_to"),
            headers=properties.header_texts(),
            redelivered=bool(self._message.redelivered),
        )

    def without_properties(self) -> Envelope:
        """Free the message of the broker's types when nothing but its body can be read."""
        return Envelope(body=self.body, redelivered=bool(self._message.redelivered))

    @property
    def identity(self) -> bytes:
        """What is the same when this message is delivered again, and differs from other messages'.

        The message id where there is one, else the content: the broker numbers its deliveries anew.
        """
        properties = self._read()
        message_id = properties.fields.get("message_id") if properties else None
        return message_id or hashlib.sha256(self.body).digest()

    async def accept(self) -> None:
        """Acknowledge the message. Raises one of `failures.AWAY` when that comes too late."""
        with failures.cancellations_told_apart():
            await self._channel.basic_ack(self._tag)

    async def give_back(self) -> None:
        """Put the message back into its queue. Raises one of `failures.AWAY` as `accept` does."""
        with failures.cancellations_told_apart():
            await self._channel.basic_nack(self._tag, requeue=True)

    @property
    def _tag(self) -> int:
        return self._message.delivery_tag or 0

    def _read(self) -> Properties | None:
        try:
            return take_apart(self.properties)
        except NotProperties:
            return None
