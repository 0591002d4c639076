"""The broker's own dead lettering, for messages that it rejects or lets expire by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rabbitmq.upstream import PATIENCE, Upstream, upstream
from tests.rabbitmq.wire import properties, short
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS, ensure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.demo.rabbitmq_node import RabbitmqNode

#: RabbitMQ tries again after three minutes; here it is to do so after a second.
TRY_AGAIN_SOON = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000)."


async def reject(service: Upstream) -> None:
    """Publish a message and reject it, as a client with a bug would."""
    await service.publish(b"waits")
    async with service.connection.channel() as channel:
        queue = await channel.get_queue(REQUESTS)
        message = await queue.get(timeout=PATIENCE)
        await message.reject(requeue=False)


async def let_expire(service: Upstream) -> None:
    """Publish a message that lives for a moment, and see it leave the queue."""
    await service.publish(b"waits", properties(expiration=short(b"200")))
    while await service.ready_in(REQUESTS):
        pass


@pytest.mark.parametrize("give_up", [reject, let_expire])
async def test_a_message_waits_for_a_missing_dead_letter_exchange(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str, give_up: Callable[[Upstream], Awaitable[None]]
) -> None:
    """
    Dead lettering is at least once: the message is kept until its target exists again.
    """
    rabbitmq.ctl("eval", TRY_AGAIN_SOON)
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.exchange_delete(DEAD_LETTERS)
        await give_up(service)
        await ensure(service.connection, declare=True)

        assert b"waits" == (await service.dead_letter()).body
