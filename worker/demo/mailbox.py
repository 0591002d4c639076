"""The demo's own client of the broker: it publishes messages and reads what comes back.

It reads events from queues of its own; dead letters from the real queue, where they stay. What is
read is handed on; nothing is judged here."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aio_pika
from pamqp.commands import Basic

from worker.demo.audit import Sent
from worker.demo.evidence import content_of, read_dead_letter, read_event
from worker.rabbitmq.topology import (
    CANCEL_KEY,
    CANCELLATIONS,
    COMMANDS_EXCHANGE,
    DEAD_LETTERS,
    EVENTS_EXCHANGE,
    REQUEST_KEY,
    REQUESTS,
    ensure,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

    from worker.demo.audit import Buried, Heard
    from worker.demo.scenario import Message

_EVENTS: Final = "demo.events"
_ANSWERS: Final = "demo.answers"
_QUORUM: Final = {"x-queue-type": "quorum"}
_CONNECT_SECONDS: Final = 10.0
_PUBLISH_SECONDS: Final = 10.0
_PERSISTENT: Final = 2


class Mailbox:
    """A connection with the demo's queues in place; made by `open_mailbox`."""

    def __init__(
        self, channel: AbstractChannel, events: AbstractQueue, answers: AbstractQueue
    ) -> None:
        self._channel = channel
        self._events = events
        self._answers = answers

    async def publish(self, message: Message) -> Sent:
        """Publish a message; returns once the broker has confirmed that a queue holds it.

        One at a time: two in flight with one message id would swap their confirmations.
        """
        underlay = await self._channel.get_underlay_channel()
        properties = _Properties(
            message_id=message.name if message.is_property else None,
            content_type=message.content_type,
            headers=dict(message.headers),
            reply_to=_ANSWERS if message.wants_answer else None,
            delivery_mode=_PERSISTENT,
        )
        await underlay.basic_publish(
            message.body,
            exchange=COMMANDS_EXCHANGE,
            routing_key=REQUEST_KEY if message.cancels is None else CANCEL_KEY,
            properties=properties,
            mandatory=True,
            timeout=_PUBLISH_SECONDS,
        )
        return Sent(message.name, content_of(message.body))

    async def hear_events(self, hear: Callable[[Heard], None]) -> None:
        """Hand on every event, in the order of the queue; ends only by cancellation."""
        await _hear(self._events, hear)

    async def hear_answers(self, hear: Callable[[Heard], None]) -> None:
        """Hand on every event that came to the queue named in `reply_to`."""
        await _hear(self._answers, hear)

    async def read_dead_letters(self, read: Callable[[Buried], None]) -> None:
        """Hand on every dead letter. None is acknowledged: they go back when we leave."""
        queue = await self._channel.get_queue(DEAD_LETTERS, ensure=False)
        async with queue.iterator(no_ack=False) as letters:
            async for letter in letters:
                read(
                    read_dead_letter(
                        letter.body, message_id=letter.message_id, headers=letter.headers
                    )
                )

    async def waiting(self) -> int:
        """Return how many messages lie in the worker's queues."""
        queues = [
            await self._channel.declare_queue(name, passive=True)
            for name in (REQUESTS, CANCELLATIONS)
        ]
        return sum(queue.declaration_result.message_count or 0 for queue in queues)


@asynccontextmanager
async def open_mailbox(url: str) -> AsyncIterator[Mailbox]:
    """Connect and set the demo's queues up; they are deleted again in the end.

    Our own queues are bound before the first request goes out: an exchange keeps nothing for those
    who come late.
    """
    connection = await aio_pika.connect(url, timeout=_CONNECT_SECONDS)
    async with connection:
        # As any producer may: whoever comes first declares, and both declare the same.
        await ensure(connection, declare=True)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        events = await channel.declare_queue(_EVENTS, durable=True, arguments=dict(_QUORUM))
        await events.bind(EVENTS_EXCHANGE, "#")
        answers = await channel.declare_queue(_ANSWERS, durable=True, arguments=dict(_QUORUM))
        try:
            yield Mailbox(channel, events, answers)
        finally:
            await _delete(connection, events.name, answers.name)


async def _hear(queue: AbstractQueue, hear: Callable[[Heard], None]) -> None:
    async with queue.iterator(no_ack=True) as messages:
        async for message in messages:
            hear(read_event(message.body, event_id=message.message_id))


async def _delete(connection: AbstractConnection, *queues: str) -> None:
    if connection.is_closed:
        return
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_delete(queue)


class _Properties(Basic.Properties):
    """Properties that go out as they were made; the library invents a message id where none is."""

    def __init__(self, *, message_id: str | None, **others: object) -> None:
        super().__init__(message_id=message_id, **others)  # type: ignore[arg-type]
        self._is_nameless = message_id is None

    def marshal(self) -> bytes:
        if self._is_nameless:
            self.message_id = None
        return bytes(super().marshal())
