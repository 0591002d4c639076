"""How a committed event becomes a message (contract section 3).

Only properties and headers are made here; the body is sent as it was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pamqp.commands import Basic

from worker.core.events import moment
from worker.flows.journey import UNTRACED
from worker.rabbitmq.topology import EVENTS_EXCHANGE

if TYPE_CHECKING:
    from pamqp.common import FieldTable

    from worker.flows.journey import Journeys
    from worker.flows.ports import Outgoing
    from worker.rabbitmq.publisher import Publisher

#: CloudEvents' `source`: whoever publishes here is this worker.
SOURCE: Final = "/withdrawals-worker"
_PERSISTENT: Final = 2
_SHORT_LIMIT: Final = 255


class Outbox:
    """Publishes events through the publisher; `journeys` says which trace each carries on."""

    def __init__(self, publisher: Publisher, *, journeys: Journeys = UNTRACED) -> None:
        self._publisher = publisher
        self._journeys = journeys

    async def announce(self, event: Outgoing) -> None:
        """Publish an event to the events exchange under its type."""
        with self._journeys.publication(event, EVENTS_EXCHANGE, event.type) as traceparent:
            await self._publisher.event(event.type, event.body, _properties(event, traceparent))

    async def answer(self, event: Outgoing) -> None:
        """Send a copy of an event to the queue that the request named."""
        if event.reply_to is None:
            return
        with self._journeys.publication(event, "", event.reply_to) as traceparent:
            properties = _properties(event, traceparent)
            await self._publisher.reply(event.reply_to, event.body, properties)


def _properties(event: Outgoing, traceparent: str | None) -> Basic.Properties:
    headers: FieldTable = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": event.event_id,
        "cloudEvents:type": event.type,
        "cloudEvents:source": SOURCE,
        "cloudEvents:subject": event.message_id,
        "cloudEvents:time": moment(event.created_at),
    }
    if traceparent is not None:
        headers["traceparent"] = traceparent
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
