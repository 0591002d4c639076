"""Publishing with confirmation, on a connection of its own.

While a connection is blocked by an alarm, not even acknowledgements pass on it; therefore nothing
is consumed here. Two publishes with one message id must never be in flight on one channel: the
library would swap their results. Events have unique ids; dead letters and replies, which may not,
go one at a time over a second channel."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiormq.exceptions import PublishError
from pamqp.commands import Basic

from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq import failures
from worker.rabbitmq.connection import keep_connected
from worker.rabbitmq.topology import DEAD_LETTERS, EVENTS_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiormq
    from aio_pika.abc import AbstractChannel, AbstractConnection

    from worker.rabbitmq.connection import Broker

_log = logging.getLogger(__name__)


class Publisher:
    """Keeps a connection for publishing; `run` it as a task. Publishing waits for a connection.

    `report` is told whether the connection stands.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        report: Callable[[bool, str], None],
    ) -> None:
        self._broker = broker
        self._report = report
        self._seconds = broker.publish_timeout.total_seconds()
        self._events: AbstractChannel | None = None
        self._letters: AbstractChannel | None = None
        self._letters_one_at_a_time = asyncio.Lock()
        self._connected = asyncio.Event()
        self._broken = asyncio.Event()

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost; ends only by cancellation."""
        await keep_connected(
            self._broker, "publisher", self._serve, told=self._tell_lost, stopping=asyncio.Event()
        )

    async def event(self, key: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish an event to the events exchange; returns once the broker has confirmed it.

        An event that nobody is bound for is dropped by the broker, as a topic exchange does.
        Raises PublishUnconfirmed: then it may or may not have arrived.
        """
        await self._publish("_events", EVENTS_EXCHANGE, key, body, properties, mandatory=False)

    async def reply(self, queue: str, body: bytes, properties: Basic.Properties) -> None:
        """Send a copy of an event to the queue that a request named in `reply_to`.

        Raises PublishUnroutable when that queue does not exist, PublishUnconfirmed as `event`.
        """
        async with self._letters_one_at_a_time:
            await self._publish("_letters", "", queue, body, properties, mandatory=True)

    async def dead_letter(self, key: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish a dead letter; returns once a queue has it.

        Raises PublishUnroutable when no queue is bound, PublishUnconfirmed as `event`: in both
        cases the original must not be acknowledged.
        """
        async with self._letters_one_at_a_time:
            await self._publish("_letters", DEAD_LETTERS, key, body, properties, mandatory=True)

    async def _serve(self, connection: AbstractConnection) -> None:
        self._broken.clear()
        self._events = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._letters = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._connected.set()
        self._report(True, "connected")
        watched = [
            asyncio.ensure_future(self._broken.wait()),
            asyncio.ensure_future(connection.closed()),
        ]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connected.clear()
            self._events = self._letters = None
            for future in watched:
                future.cancel()
        message = "the publishing connection was lost"
        raise ConnectionResetError(message)

    async def _publish(
        self,
        channel: str,
        exchange: str,
        key: str,
        body: bytes,
        properties: Basic.Properties,
        *,
        mandatory: bool,
    ) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._connected.wait()
                underlay = await self._underlay(channel)
                confirmation = await underlay.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=key,
                    properties=properties,
                    mandatory=mandatory,
                    # The confirmation is awaited; to wait for the socket's buffer before would
                    # let only one publish into the channel at a time.
                    wait=False,
                )
        except PublishError as returned:
            raise PublishUnroutable(exchange or key) from returned
        except failures.AWAY as error:
            # A channel with an unanswered publish on it is not trusted any more: a late answer
            # would be taken for that of a later message.
            self._broken.set()
            raise PublishUnconfirmed(type(error).__name__) from error
        if not isinstance(confirmation, Basic.Ack):
            raise PublishUnconfirmed("refused by the broker (nack)")

    async def _underlay(self, name: str) -> aiormq.abc.AbstractChannel:
        channel: AbstractChannel | None = getattr(self, name)
        if channel is None:
            message = "the publishing connection was lost"
            raise ConnectionResetError(message)
        return await channel.get_underlay_channel()

    def _tell_lost(self, error: BaseException) -> None:
        self._report(False, f"not connected: {type(error).__name__}")
        _log.warning("publisher disconnected", extra={"error": type(error).__name__})
