"""Reading the dead-letter queue without losing or changing a letter, and taking single ones out.

Each letter is fetched by `basic.get` and stays unacknowledged until it is removed or put back; if
this process dies, the broker puts all of them back by itself. No letter is kept here: a body lives
as long as whoever asked for it. What a letter says and how it goes out again stands in `letters`.

Fetched one by one and not consumed: a consumer has to be told beforehand how much it may hold, and
what it holds lies in this process's memory, bodies and all. Beyond some dozens the broker puts
letters back in an order of its own; each carries its time. Reading counts as a delivery, of which
the queue's limit allows a million: a queue with another limit is not read at all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from pamqp.commands import Basic
from yarl import URL

from worker.core.replay import Asks
from worker.rabbitmq import failures, topology
from worker.rabbitmq.delivery import Delivery
from worker.rabbitmq.letters import letter_of, restored
from worker.rabbitmq.publisher import PublishRefused
from worker.rabbitmq.topology import CANCEL_KEY, DEAD_LETTERS, REQUEST_KEY, Topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel, AbstractConnection
    from aiormq.abc import DeliveredMessage
    from aiormq.channel import Channel

    from worker.core.messages import Envelope
    from worker.core.replay import Letter
    from worker.rabbitmq.connection import Broker
    from worker.rabbitmq.publisher import Publisher

_ANSWER_SECONDS: Final = 30.0
#: Well below the half hour after which a broker closes the channel of whoever still holds a letter.
_HELD_LONG_SECONDS: Final = 600.0
_KEYS: Final = {Asks.REQUEST: REQUEST_KEY, Asks.CANCELLATION: CANCEL_KEY}
_GRAVEYARD: Final = Topology(
    exchanges=(DEAD_LETTERS,),
    queues=tuple(queue for queue in topology.TOPOLOGY.queues if queue.name == DEAD_LETTERS),
)


class Grave:
    """One letter in hand; it is still in the queue, and nobody else can fetch it meanwhile.

    `properties` are the letter's, encoded as they lie in the queue.
    """

    def __init__(
        self, message: DeliveredMessage, *, user: str, publisher: Publisher | None
    ) -> None:
        self._delivery = Delivery(message)
        self._user = user
        self._publisher = publisher
        self.properties = self._delivery.properties
        self.letter: Letter = letter_of(self.properties, self.body, self._delivery.routing_key)

    @property
    def body(self) -> bytes:
        """The original body."""
        return self._delivery.body

    def envelope(self) -> Envelope | None:
        """Return the message as a worker will see it after a replay; None if unreadable."""
        self._delivery.properties = restored(self.properties, user=self._user)
        return self._delivery.read()

    async def resend(self) -> bool:
        """Publish the message to where it came from; returns once a queue has it.

        False when the broker does not take it, and would not take it again as it is. Raises
        PublishUnroutable and PublishUnconfirmed: the letter must not be removed then.
        """
        if self._publisher is None or self.letter.asks is None:
            return False
        ready = restored(self.properties, user=self._user, at=datetime.now(UTC))
        try:
            await self._publisher.request(_KEYS[self.letter.asks], self.body, ready)
        except PublishRefused:
            return False
        return True

    async def remove(self) -> None:
        """Take the letter out of the queue, for good. Raises one of `failures.AWAY`."""
        await self._delivery.accept()


class Graveyard:
    """The letters of the dead-letter queue, one after the other; made by `open_graveyard`."""

    def __init__(
        self, connection: AbstractConnection, *, user: str, publisher: Publisher | None
    ) -> None:
        self._connection = connection
        self._user = user
        self._publisher = publisher
        self._channel: AbstractChannel | None = None
        self._last_tag = 0
        self._held_since = monotonic()

    @property
    def has_held_long(self) -> bool:
        """Whether letters should be put back before the broker takes them."""
        return self._last_tag > 0 and monotonic() - self._held_since > _HELD_LONG_SECONDS

    async def next(self) -> Grave | None:
        """Fetch the next letter; None when there is none that is not in somebody's hand.

        Raises one of `failures.AWAY` when the broker does not answer.
        """
        with failures.cancellations_told_apart():
            if self._channel is None:
                self._channel = await self._connection.channel(publisher_confirms=False)
                self._held_since = monotonic()
            below = cast("Channel", await self._channel.get_underlay_channel())
            message = await below.basic_get(DEAD_LETTERS, no_ack=False, timeout=_ANSWER_SECONDS)
        if isinstance(message.delivery, Basic.GetEmpty):
            return None
        self._last_tag = message.delivery_tag or 0
        return Grave(message, user=self._user, publisher=self._publisher)

    async def put_back(self) -> None:
        """Put back every letter that was fetched and not removed; then all can be fetched again.

        Returns once the broker has also carried out every removal. Raises one of `failures.AWAY`.
        """
        channel, last_tag = self._channel, self._last_tag
        self._channel, self._last_tag = None, 0
        if channel is None:
            return
        with failures.cancellations_told_apart():
            async with asyncio.timeout(_ANSWER_SECONDS):
                if last_tag:
                    # Said, and not left to the closing: from 4.3 on that would count as a failure.
                    below = await channel.get_underlay_channel()
                    await below.basic_nack(last_tag, multiple=True, requeue=True)
                await channel.close()


@asynccontextmanager
async def open_graveyard(
    broker: Broker, *, publisher: Publisher | None = None
) -> AsyncIterator[Graveyard]:
    """Connect, and see that the queue can be read safely; at the end every letter is put back.

    `publisher` is for replays, and has to be running. Raises TopologyUnsafe when reading could cost
    letters, and one of `failures.AWAY` when the broker is away.
    """
    async with broker.connect("dead letters") as connection:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await topology.ensure(connection, declare=False, topology=_GRAVEYARD)
        user = URL(broker.url).user or "guest"
        graveyard = Graveyard(connection, user=user, publisher=publisher)
        try:
            yield graveyard
        finally:
            with suppress(*failures.AWAY):
                await graveyard.put_back()
