"""A consumer and a publisher at work, with a handler of the test's making.

What they report is kept, and can be waited for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.rabbitmq.upstream import PATIENCE
from worker.flows.gate import Gate
from worker.flows.journey import UNTRACED
from worker.flows.settlement import ACCEPT, Settlement
from worker.rabbitmq.connection import Broker
from worker.rabbitmq.consumer import CHECK_EVERY, Consumer
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import REQUESTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from aio_pika.abc import AbstractConnection

    from worker.core.messages import DeadReason, Envelope
    from worker.flows.journey import Journeys

#: A moment, for settlements that are to be returned after one.
AT_ONCE: Final = timedelta(0)


def broker_at(
    url: str, *, heartbeat: float = 60, connect: float = PATIENCE, publish: float = PATIENCE
) -> Broker:
    """Describe the broker; every patience is in seconds and long unless a test says otherwise."""
    return Broker(
        url=url,
        heartbeat=timedelta(seconds=heartbeat),
        connect_timeout=timedelta(seconds=connect),
        publish_timeout=timedelta(seconds=publish),
    )


class Reports:
    """What was reported, in its order, and read in that order."""

    def __init__(self) -> None:
        self.all: list[tuple[bool, str]] = []
        self._unread: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()

    def __call__(self, holds: bool, detail: str) -> None:
        """Be told."""
        self.all.append((holds, detail))
        self._unread.put_nowait((holds, detail))

    async def until(self, *, holds: bool, words: str = "") -> str:
        """Read on until this is reported, with these words in it; return the whole report."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told, detail = await self._unread.get()
                if told is holds and words in detail:
                    return detail


class Desk:
    """The handler: keeps every envelope, and answers by `answer`."""

    def __init__(self, answer: Callable[[Envelope], Awaitable[Settlement]] | None = None) -> None:
        self.seen: list[Envelope] = []
        self._arrived: asyncio.Queue[Envelope] = asyncio.Queue()
        self._answer = answer

    async def __call__(self, envelope: Envelope) -> Settlement:
        """Carry out one message."""
        self.seen.append(envelope)
        self._arrived.put_nowait(envelope)
        return ACCEPT if self._answer is None else await self._answer(envelope)

    async def next(self) -> Envelope:
        """Wait for the next message to be begun."""
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """A worker's end of the broker."""

    consumer: Consumer
    publisher: Publisher
    gate: Gate
    desk: Desk
    consuming: Reports
    publishing: Reports
    buried: list[DeadReason] = field(default_factory=list)
    running: asyncio.Task[None]

    async def stop(self) -> None:
        """Ask for a stop and wait until the consumer has ended."""
        self.consumer.stop()
        async with asyncio.timeout(PATIENCE):
            await asyncio.shield(self.running)


async def nobody_counts(_envelope: Envelope, _reason: DeadReason) -> None:
    """Keep no books."""


@asynccontextmanager
async def publishing(broker: Broker, reports: Reports | None = None) -> AsyncIterator[Publisher]:
    """Run a publisher."""
    publisher = Publisher(broker, report=reports or Reports())
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        assert not running.done(), "the publisher ended by itself"
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def at_work(
    broker: Broker | str,
    answer: Callable[[Envelope], Awaitable[Settlement]] | None = None,
    *,
    queue: str = REQUESTS,
    prefetch: int = 20,
    declare: bool = True,
    check_every: timedelta = CHECK_EVERY,
    note_burial: Callable[[Envelope, DeadReason], Awaitable[None]] = nobody_counts,
    journeys: Journeys = UNTRACED,
    beside: Callable[[AbstractConnection], Coroutine[None, None, None]] | None = None,
) -> AsyncIterator[AtWork]:
    """Run a consumer and its publisher; in the end both are stopped, in order."""
    if isinstance(broker, str):
        broker = broker_at(broker)
    gate, desk, consuming, told = Gate(), Desk(answer), Reports(), Reports()
    buried: list[DeadReason] = []
    async with publishing(broker, told) as publisher:
        consumer = Consumer(
            broker,
            publisher,
            gate,
            queue=queue,
            prefetch=prefetch,
            declare=declare,
            handle=desk,
            report=consuming,
            note_burial=note_burial,
            buried=buried.append,
            journeys=journeys,
            beside=beside,
            check_every=check_every,
        )
        work = AtWork(
            consumer=consumer,
            publisher=publisher,
            gate=gate,
            desk=desk,
            consuming=consuming,
            publishing=told,
            buried=buried,
            running=asyncio.create_task(consumer.run()),
        )
        try:
            yield work
        finally:
            await work.stop()
