"""How a committed event becomes a message (contract section 3).

Only properties and headers are made here; the body is sent as it was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pamqp.commands import Basic

from worker.core.events import moment

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from worker.flows.ports import Outgoing
    from worker.rabbitmq.publisher import Publisher

#: CloudEvents' `source`: whoever publishes here is this worker.
SOURCE: Final = "/withdrawals-worker"
_PERSISTENT: Final = 2
_SHORT_LIMIT: Final = 255


class Outbox:
    """Publishes events through the publisher."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def announce(self, event: Outgoing) -> None:
        """Publish an event to the events exchange under its type."""
        await self._publisher.event(event.type, event.body, _properties(event))

    async def answer(self, event: Outgoing) -> None:
        """Send a copy of an event to the queue that the request named."""
        if event.reply_to is not None:
            await self._publisher.reply(event.reply_to, event.body, _properties(event))


def _properties(event: Outgoing) -> Basic.Properties:
    headers: FieldTable = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": event.event_id,
        "cloudEvents:type": event.type,
        "cloudEvents:source": SOURCE,
        "cloudEvents:subject": event.message_id,
        "cloudEvents:time": moment(event.created_at),
    }
    if event.traceparent is not None:
        headers["traceparent"] = event.traceparent
    return Basic.Properties(
        content_type="application/json",
        delivery_mode=_PERSISTENT,
        message_id=event.event_id,
        message_type=event.type,
        correlation_id=_short(event.correlation_id or event.message_id),
        timestamp=event.created_at,
        headers=headers,
        app_id="withdrawals-worker",
    )


def _short(text: str) -> str | None:
    """Return a text that AMQP's short strings can hold, or None.

    A CloudEvents id of 255 characters may have four times as many bytes; the body has it in full.
    """
    return text if len(text.encode()) <= _SHORT_LIMIT else None
