"""Everybody else at the broker: asks for withdrawals, hears events, reads dead letters.

Goes to the broker directly, never through a proxy: what it sees is the evidence. It survives the
broker's end by connecting again, with no machinery of a library."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aio_pika
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic
from yarl import URL

from tests.faults.logs import trace_of
from worker.demo.audit import ENDS, Buried, Heard, Sent
from worker.demo.evidence import content_of, read_dead_letter, read_event
from worker.rabbitmq import failures, topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiormq.abc import AbstractChannel

_EVENTS: Final = "faults.events"
#: Where the answers to cancellations go besides.
_ANSWERS: Final = "faults.answers"
_QUEUES: Final = (
    topology.REQUESTS,
    topology.CANCELLATIONS,
    topology.DEAD_LETTERS,
    _EVENTS,
    _ANSWERS,
)
#: Acknowledgements of a single node come in milliseconds; this long without means that it is gone.
_ANSWER_SECONDS: Final = 5.0
_PAUSE: Final = 0.2
_AWAY: Final = (*failures.AWAY, TimeoutError, DeliveryError, PublishError)
_UNRESOLVED: Final = "unresolved"


class Client:
    """A producer and a consumer in one; `url` is asked at each connection. Made by `a_client`."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._channel: AbstractChannel | None = None
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._connected = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self.sent: list[Sent] = []
        self.cancels: list[Sent] = []
        self.heard: list[Heard] = []
        #: The answers to cancellations, by the id of the cancellation.
        self.answers: defaultdict[str, list[Heard]] = defaultdict(list)
        #: When each request was first sent and when its first end was heard (`time.monotonic`).
        self.sent_at: dict[str, float] = {}
        self.ended_at: dict[str, float] = {}
        self.unresolved: set[str] = set()
        #: Notified with every event.
        self.news = asyncio.Condition()

    @property
    def settled(self) -> set[str]:
        """The requests that have had an end, or wait for a person."""
        return self.ended_at.keys() | self.unresolved

    async def connected(self) -> None:
        """Wait until the client has all it needs at the broker."""
        await self._connected.wait()

    async def publish(
        self,
        message_id: str | None,
        body: bytes,
        *,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> None:
        """Publish one message to the request queue, as often as it takes to have it confirmed."""
        properties = _Properties(
            message_id=message_id,
            content_type=content_type,
            content_encoding=content_encoding,
            delivery_mode=2,
            headers=_trace(message_id),
        )
        # Before the first try: one that nobody confirmed may have arrived.
        self.sent.append(Sent(message_id, content_of(body)))
        if message_id is not None:
            self.sent_at.setdefault(message_id, time.monotonic())
        await self._have_published(topology.REQUEST_KEY, body, properties)

    async def cancel(self, message_id: str, body: bytes) -> None:
        """Publish one message to the queue of cancellations in the same way."""
        properties = _Properties(
            message_id=message_id, reply_to=_ANSWERS, delivery_mode=2, headers=_trace(message_id)
        )
        self.cancels.append(Sent(message_id, content_of(body)))
        await self._have_published(topology.CANCEL_KEY, body, properties)

    async def waiting(self) -> int:
        """Return how many messages lie in the queues and in nobody's hands."""
        while True:
            with suppress(*_AWAY), failures.cancellations_told_apart():
                connection = await self._standing()
                async with asyncio.timeout(_ANSWER_SECONDS), connection.channel() as channel:
                    queues = [
                        await channel.declare_queue(name, passive=True)
                        for name in (topology.REQUESTS, topology.CANCELLATIONS)
                    ]
                    return sum(queue.declaration_result.message_count or 0 for queue in queues)
            await asyncio.sleep(_PAUSE)

    async def dead_letters(self) -> list[Buried]:
        """Return all dead letters, which stay where they are."""
        while True:
            with suppress(*_AWAY), failures.cancellations_told_apart():
                connection = await self._standing()
                # Nothing is acknowledged: with the channel all go back.
                async with connection.channel() as channel:
                    return await _letters(channel)
            await asyncio.sleep(_PAUSE)

    async def remove_queues(self) -> None:
        """Delete all queues, so that the next start of the broker has nothing to recover."""
        while True:
            with suppress(*_AWAY), failures.cancellations_told_apart():
                connection = await self._standing()
                async with connection.channel() as channel:
                    for name in _QUEUES:
                        await channel.queue_delete(name)
                return
            await asyncio.sleep(_PAUSE)

    async def live(self) -> None:
        """Stay connected, for ever."""
        while True:
            # Made by hand, so that one that does not come about is closed as well.
            connection = aio_pika.Connection(URL(self._url()))
            with suppress(*_AWAY), failures.cancellations_told_apart():
                try:
                    await connection.connect(timeout=_ANSWER_SECONDS)
                    await self._serve(connection)
                finally:
                    await connection.close()
            await asyncio.sleep(_PAUSE)

    async def _serve(self, connection: aio_pika.abc.AbstractConnection) -> None:
        async with asyncio.timeout(6 * _ANSWER_SECONDS):
            await topology.ensure(connection, declare=True)
            # A request that no queue takes raises, instead of vanishing.
            out = await connection.channel(publisher_confirms=True, on_return_raises=True)
            listening = await connection.channel(publisher_confirms=False)
            await listening.set_qos(prefetch_count=100)
            events = await listening.declare_queue(
                _EVENTS, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await events.bind(topology.EVENTS_EXCHANGE, "#")
            below = await listening.get_underlay_channel()
            cancelled = asyncio.Event()
            below.on_consumer_cancel_callbacks.add(lambda _frame: cancelled.set())
            await events.consume(self._hear)
            answers = await listening.declare_queue(
                _ANSWERS, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await answers.consume(self._hear_answer)
        self._channel = await out.get_underlay_channel()
        self._connection = connection
        self._connected.set()
        try:
            await _first(connection.closed(), listening.closed(), out.closed(), cancelled.wait())
        finally:
            self._connected.clear()

    async def _standing(self) -> aio_pika.abc.AbstractConnection:
        await self._connected.wait()
        assert self._connection is not None
        return self._connection

    async def _have_published(self, key: str, body: bytes, properties: Basic.Properties) -> None:
        while True:
            with suppress(*_AWAY), failures.cancellations_told_apart():
                await self._publish(key, body, properties)
                return
            await asyncio.sleep(_PAUSE)

    async def _publish(self, key: str, body: bytes, properties: Basic.Properties) -> None:
        await self._connected.wait()
        assert self._channel is not None
        # One at a time: the library tells the results of two with one id apart by nothing.
        async with self._one_at_a_time, asyncio.timeout(_ANSWER_SECONDS):
            await self._channel.basic_publish(
                body,
                exchange=topology.COMMANDS_EXCHANGE,
                routing_key=key,
                properties=properties,
                mandatory=True,
            )

    async def _hear(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        event = read_event(message.body, event_id=message.message_id)
        self.heard.append(event)
        if event.status in ENDS:
            self.ended_at.setdefault(event.message_id, time.monotonic())
        if event.status == _UNRESOLVED:
            self.unresolved.add(event.message_id)
        async with self.news:
            self.news.notify_all()
        # Only now: what a broker takes down with it must come again. A late one is a repeat.
        with suppress(*failures.AWAY):
            await message.ack()

    async def _hear_answer(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        answer = read_event(message.body, event_id=message.message_id)
        self.answers[message.correlation_id or ""].append(answer)
        async with self.news:
            self.news.notify_all()
        with suppress(*failures.AWAY):
            await message.ack()


@asynccontextmanager
async def a_client(url: Callable[[], str]) -> AsyncIterator[Client]:
    """Keep a client connected for as long as the context lasts."""
    client = Client(url)
    living = asyncio.create_task(client.live())
    try:
        yield client
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


class _Properties(Basic.Properties):
    """Properties that may have no message id: the library invents one where there is none."""

    def __init__(self, *, message_id: str | None, **others: object) -> None:
        self._own_id = message_id
        super().__init__(message_id=message_id, **others)  # type: ignore[arg-type]

    def marshal(self) -> bytes:
        self.message_id = self._own_id
        return bytes(super().marshal())


def _trace(message_id: str | None) -> dict[str, str] | None:
    """Return the headers of a message, of which each repeat has the same."""
    if message_id is None:
        return None
    return {"traceparent": f"00-{trace_of(message_id)}-{trace_of('span')[:16]}-01"}


async def _letters(channel: aio_pika.abc.AbstractChannel) -> list[Buried]:
    queue = await channel.get_queue(topology.DEAD_LETTERS)
    letters = []
    while (letter := await queue.get(no_ack=False, fail=False)) is not None:
        message_id = letter.message_id or None
        letters.append(read_dead_letter(letter.body, message_id=message_id, headers=letter.headers))
    return letters


async def _first(*waits: Awaitable[object]) -> None:
    pending = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in pending:
            future.cancel()
