"""How many messages lie in a queue and in nobody's hands.

Asked rarely, over a connection of its own. Nothing is taken."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from worker.rabbitmq import failures

if TYPE_CHECKING:
    from worker.rabbitmq.connection import Broker

_log = logging.getLogger(__name__)

#: Connecting included.
_ANSWER_SECONDS: Final = 20.0


async def messages_waiting(broker: Broker, queue: str) -> int | None:
    """Count the messages of a queue that were delivered to nobody; None when nobody can tell."""
    try:
        with failures.cancellations_told_apart():
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                broker.connect("backlog") as connection,
                connection.channel(publisher_confirms=False) as channel,
            ):
                found = await channel.declare_queue(queue, passive=True)
                return found.declaration_result.message_count
    except failures.AWAY as error:
        _log.warning("queue not counted", extra={"queue": queue, "error": type(error).__name__})
        return None
