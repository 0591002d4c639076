"""How many messages lie in a queue and in nobody's hands.

Nothing is taken, and nobody who takes messages is disturbed.

Asked by a passive declaration, for which a broker wants no permission, and which declares nothing.
Where it is refused the broker closes the channel, so it has one of its own. Of a quorum queue
without a leader (most of a cluster's nodes are away) a broker says that it is empty and that nobody
consumes from it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from worker.flows.troubles import Troubles
from worker.rabbitmq import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from worker.rabbitmq.connection import Broker

_log = logging.getLogger(__name__)

#: How often all queues are looked at.
LOOK_EVERY: Final = timedelta(seconds=10)
#: An answer that takes longer is waited for, but no number is shown meanwhile.
_LATE_SECONDS: Final = 5.0
#: Connecting included.
_ANSWER_SECONDS: Final = 20.0


async def messages_waiting(broker: Broker, queue: str) -> int | None:
    """Count the messages of a queue that were delivered to nobody; None when nobody can tell.

    An empty queue is believed only while somebody consumes from it, for the queue may be without a
    leader. Over a connection of its own: it is asked rarely.
    """
    try:
        with failures.cancellations_told_apart():
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                broker.connect("backlog") as connection,
                connection.channel(publisher_confirms=False) as channel,
            ):
                found = (await channel.declare_queue(queue, passive=True)).declaration_result
                return found.message_count if found.message_count or found.consumer_count else None
    except failures.AWAY as error:
        _log.warning("queue not counted", extra={"queue": queue, "error": type(error).__name__})
        return None


class Backlog:
    """Looks at queues again and again, over a connection that somebody else keeps.

    `told` hears after each look of those queues whose number the broker told, and of none as soon
    as that is late or the connection is gone: what is not told is not known. Why a queue could not
    be counted twice in a row is logged when it is news; nothing ends by it.
    """

    def __init__(
        self,
        queues: Iterable[str],
        *,
        told: Callable[[Mapping[str, int]], None],
        every: timedelta = LOOK_EVERY,
    ) -> None:
        self._queues = tuple(queues)
        self._told = told
        self._every = every
        self._troubles = Troubles()
        self._uncounted: set[str] = set()
        self._channel: AbstractChannel | None = None

    async def watch(self, connection: AbstractConnection) -> None:
        """Look until the connection is closed or this is cancelled."""
        self._channel = None
        try:
            while not connection.is_closed:
                self._told(await self._look(connection))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every.total_seconds()):
                        await connection.closed()
        finally:
            self._told({})

    async def _look(self, connection: AbstractConnection) -> dict[str, int]:
        counts: dict[str, int] = {}
        for queue in self._queues:
            late = asyncio.get_running_loop().call_later(_LATE_SECONDS, self._be_late, queue)
            try:
                # Without a time-out: it would close the channel, and one more each time round.
                with failures.cancellations_told_apart():
                    counts[queue] = await self._count(connection, queue)
                self._uncounted.discard(queue)
            except Exception as error:  # noqa: BLE001
                # Whatever it is: payouts do not need this number.
                if connection.is_closed:
                    return {}
                # Once is no news: at the very first start it is declared a moment later.
                if queue in self._uncounted:
                    self._tell_uncounted(queue, type(error).__name__)
                self._uncounted.add(queue)
            finally:
                late.cancel()
        return counts

    async def _count(self, connection: AbstractConnection, queue: str) -> int:
        if self._channel is None or self._channel.is_closed:
            self._channel = await connection.channel(publisher_confirms=False)
        broker = await self._channel.get_underlay_channel()
        return (await broker.queue_declare(queue, passive=True)).message_count or 0

    def _be_late(self, queue: str) -> None:
        self._told({})
        self._tell_uncounted(queue, "no answer in time")

    def _tell_uncounted(self, queue: str, why: str) -> None:
        if self._troubles.has(queue, f"{queue}: {why}"):
            _log.warning("queue not counted", extra={"queue": queue, "error": why})
