"""Publishing with confirmation, on a connection of its own.

While a connection is blocked by an alarm, not even acknowledgements pass on it; therefore nothing
is consumed here, and the alarm is told of, so that the intake can pause. Two publishes with one
message id must never be in flight on one channel: the library would swap their results. Events have
unique ids; dead letters and replies, which may not, go one at a time over a second channel. What
comes back there as unroutable is the one message in flight, and is recognised by that: the library
goes by the message id, which may be missing."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from aiormq.exceptions import (
    ChannelPreconditionFailed,
    ConnectionFrameError,
    ConnectionInternalError,
    ConnectionNotAllowed,
    ConnectionNotImplemented,
    ConnectionSyntaxError,
    ConnectionUnexpectedFrame,
    DeliveryError,
)
from pamqp.commands import Basic

from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq import failures
from worker.rabbitmq.alarm import Alarm
from worker.rabbitmq.connection import keep_connected
from worker.rabbitmq.topology import COMMANDS_EXCHANGE, DEAD_LETTERS, EVENTS_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from aio_pika.abc import AbstractConnection
    from aiormq.channel import Channel

    from worker.rabbitmq.connection import Broker

#: The broker understood, and will not take this very message.
_REFUSED: Final = (
    ChannelPreconditionFailed,
    ConnectionFrameError,
    ConnectionInternalError,
    ConnectionNotAllowed,
    ConnectionNotImplemented,
    ConnectionSyntaxError,
    ConnectionUnexpectedFrame,
)


class PublishRefused(PublishUnconfirmed):
    """The broker did not take the message, and would not take it again as it is."""


class Publisher:
    """Keeps a connection for publishing; `run` it as a task. Publishing waits for a connection.

    `report` is told whether the connection stands, `alarmed` when the broker begins and ceases to
    take nothing because of an alarm.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        report: Callable[[bool, str], None],
        alarmed: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        self._broker = broker
        self._report = report
        self._alarm = Alarm(alarmed or _nobody)
        self._seconds = broker.publish_timeout.total_seconds()
        self._line: _Line | None = None
        self._connected = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

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
        await self._publish(lambda line: line.event(key, body, properties), nullcontext())

    async def reply(self, queue: str, body: bytes, properties: Basic.Properties) -> None:
        """Send a copy of an event to the queue that a request named in `reply_to`.

        Raises PublishUnroutable when that queue does not exist, PublishUnconfirmed as `event`.
        """
        await self._publish(
            lambda line: line.letter("", queue, body, properties), self._one_at_a_time
        )

    async def dead_letter(self, key: str, body: bytes, properties: bytes) -> None:
        """Publish a dead letter with encoded properties; returns once a queue has it.

        Raises PublishUnroutable when no queue is bound, PublishUnconfirmed as `event`, and of these
        PublishRefused when another try is in vain: the original must not be acknowledged.
        """
        verbatim = _Verbatim(properties)
        await self._publish(
            lambda line: line.letter(DEAD_LETTERS, key, body, verbatim), self._one_at_a_time
        )

    async def request(self, key: str, body: bytes, properties: bytes) -> None:
        """Publish a message to the worker's own exchange with encoded properties: a replay.

        Returns once a queue has it; raises as `dead_letter` does.
        """
        verbatim = _Verbatim(properties)
        await self._publish(
            lambda line: line.letter(COMMANDS_EXCHANGE, key, body, verbatim), self._one_at_a_time
        )

    async def _publish(
        self, send: Callable[[_Line], Awaitable[None]], turn: AbstractAsyncContextManager[None]
    ) -> None:
        line: _Line | None = None
        try:
            async with asyncio.timeout(self._seconds), turn:
                with failures.cancellations_told_apart():
                    line = await self._standing()
                    await send(line)
        except DeliveryError:
            raise PublishUnconfirmed("refused by the broker (nack)") from None
        except failures.AWAY as error:
            # A channel with an unanswered publish on it is not trusted any more: a late answer
            # would be taken for that of a later message.
            self._give_up(line)
            kind = PublishRefused if isinstance(error, _REFUSED) else PublishUnconfirmed
            raise kind(type(error).__name__) from error

    async def _standing(self) -> _Line:
        while self._line is None:
            await self._connected.wait()
        return self._line

    async def _serve(self, connection: AbstractConnection) -> None:
        events = await connection.channel(publisher_confirms=True, on_return_raises=False)
        letters = await connection.channel(publisher_confirms=True, on_return_raises=False)
        line = self._line = _Line(
            cast("Channel", await events.get_underlay_channel()),
            cast("Channel", await letters.get_underlay_channel()),
        )
        self._connected.set()
        self._report(True, "connected")
        ends = [asyncio.ensure_future(end) for end in (line.broken.wait(), connection.closed())]
        watch = asyncio.create_task(self._alarm.watch(connection), name="alarm")
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._give_up(line)
            watch.cancel()
            for end in ends:
                end.cancel()
        message = "the publishing connection was lost"
        raise ConnectionResetError(message)

    def _give_up(self, line: _Line | None) -> None:
        """Publish nothing more on this line; a new one is made."""
        if line is not None:
            line.broken.set()
        if line is self._line:
            self._line = None
            self._connected.clear()

    def _tell_lost(self, why: str) -> None:
        self._report(False, why)


async def _nobody(_stands: bool) -> None:  # noqa: FBT001 - a state
    return


class _Line:
    """The two channels of one connection."""

    def __init__(self, events: Channel, letters: Channel) -> None:
        self.broken = asyncio.Event()
        self._events = events
        self._letters = letters
        self._has_returned = False
        # Protected in the library, and there is no other way to hear of the return of a message
        # without id; besides, the library would write such a message into the log, body and all.
        letters._on_return_frame = self._take_back  # type: ignore[method-assign]  # noqa: SLF001

    async def event(self, key: str, body: bytes, properties: Basic.Properties) -> None:
        # The confirmation is awaited; to wait for the socket's buffer before (`wait`) would let
        # only one publish into the channel at a time.
        await self._events.basic_publish(
            body,
            exchange=EVENTS_EXCHANGE,
            routing_key=key,
            properties=properties,
            mandatory=False,
            wait=False,
        )

    async def letter(
        self, exchange: str, key: str, body: bytes, properties: Basic.Properties
    ) -> None:
        self._has_returned = False
        await self._letters.basic_publish(
            body,
            exchange=exchange,
            routing_key=key,
            properties=properties,
            mandatory=True,
            wait=False,
        )
        # The broker returns a message before it confirms it.
        if self._has_returned:
            raise PublishUnroutable(exchange or key)

    async def _take_back(self, frame: Basic.Return) -> None:
        self._has_returned = True
        channel: Any = self._letters
        # What follows the frame on the wire has to be read: properties and body.
        await channel._read_content(frame, await channel._get_frame())  # noqa: SLF001


class _Verbatim(Basic.Properties):
    """Properties that go out as they are, whatever the library would make of them."""

    def __init__(self, encoded: bytes) -> None:
        # The library insists on a message id to remember; it is not sent.
        super().__init__(message_id="verbatim")
        self._encoded = encoded

    def marshal(self) -> bytes:
        return self._encoded
