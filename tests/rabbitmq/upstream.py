"""Other services at the same broker: they publish as they like, and read what is in a queue.

Through the library as far as it goes, and below it where properties have to go out byte by byte."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import aio_pika
from aiormq.abc import ChannelFrame
from pamqp.commands import Basic

from tests.rabbitmq.wire import headers_of, properties, publication, short
from worker.rabbitmq.tolerance import original_properties
from worker.rabbitmq.topology import COMMANDS_EXCHANGE, DEAD_LETTERS, REQUEST_KEY, ensure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel, DeliveredMessage
    from aiormq.channel import Channel

#: Whoever waits for a message longer than this, on however busy a machine, waits in vain.
PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """A message that was read from a queue; `properties` are its bytes."""

    body: bytes
    properties: bytes
    routing_key: str
    redelivered: bool

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are texts."""
        return headers_of(self.properties)


class Upstream:
    """A connection of another service; made by `upstream`."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self.connection = connection
        self._channel = channel
        self._reading: dict[str, asyncio.Queue[Found]] = {}

    @property
    def broker_version(self) -> tuple[int, ...]:
        """The broker's version, as it introduced itself."""
        introduced = self._channel.connection.server_properties
        version = introduced["version"]
        text = version.decode() if isinstance(version, bytes) else str(version)
        return tuple(int(number) for number in text.split(".")[:2])

    async def publish(
        self,
        body: bytes = b"{}",
        encoded: bytes = b"\0\0",
        *,
        exchange: str = COMMANDS_EXCHANGE,
        key: str = REQUEST_KEY,
    ) -> None:
        """Publish a message with encoded properties; returns once the broker has confirmed it."""
        async with asyncio.timeout(PATIENCE):
            confirmation = await self._channel.basic_publish(
                body, exchange=exchange, routing_key=key, properties=_Encoded(encoded)
            )
        assert isinstance(confirmation, Basic.Ack)

    async def publish_by_key(self, body: bytes, *, exchange: str, key: bytes) -> None:
        """Publish a message whose routing key may be any bytes; nobody confirms it."""
        async with self.connection.channel(publisher_confirms=False) as channel:
            below = cast("Channel", await channel.get_underlay_channel())
            frames = publication(below.number, exchange.encode(), key, properties(), body)
            await below.write_queue.put(ChannelFrame(payload=frames, should_close=False))

    async def request(self, message_id: str, body: bytes = b"{}") -> None:
        """Publish a message that has an id and nothing else."""
        await self.publish(body, properties(message_id=short(message_id.encode())))

    async def next_in(self, queue: str) -> Found:
        """Take the next message out of a queue, waiting for it."""
        if queue not in self._reading:
            self._reading[queue] = asyncio.Queue()

            async def read(message: DeliveredMessage) -> None:
                self._reading[queue].put_nowait(_found(message))

            await self._channel.basic_consume(queue, read, no_ack=True)
        async with asyncio.timeout(PATIENCE):
            return await self._reading[queue].get()

    async def dead_letter(self) -> Found:
        """Take the next dead letter, waiting for it."""
        return await self.next_in(DEAD_LETTERS)

    async def rest_of(self, queue: str) -> list[Found]:
        """Take whatever is ready in a queue at this moment."""
        rest: list[Found] = []
        while True:
            message = await self._channel.basic_get(queue, no_ack=True)
            if isinstance(message.delivery, Basic.GetEmpty):
                return rest
            rest.append(_found(message))

    async def ready_in(self, queue: str) -> int:
        """Return how many messages wait in a queue that nobody has fetched."""
        declared = await self._channel.queue_declare(queue, passive=True)
        return declared.message_count or 0


@asynccontextmanager
async def upstream(url: str, *, declare: bool = True) -> AsyncIterator[Upstream]:
    """Connect; `declare` the worker's topology, so that there is something to publish to."""
    async with await aio_pika.connect(url, timeout=PATIENCE) as connection:
        if declare:
            await ensure(connection, declare=True)
        channel = await connection.channel(publisher_confirms=True)
        yield Upstream(connection, await channel.get_underlay_channel())


def _found(message: DeliveredMessage) -> Found:
    return Found(
        body=message.body,
        properties=original_properties(message.header),
        routing_key=message.routing_key or "",
        redelivered=bool(message.redelivered),
    )


class _Encoded(Basic.Properties):
    """Properties that go out as they were written by hand."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__(message_id="of no concern, for it is not sent")
        self._encoded = encoded

    def marshal(self) -> bytes:
        return self._encoded
