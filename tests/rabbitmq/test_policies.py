"""What a policy at the broker can do to our queues, and that AMQP does not show it.

Why no policy may match our queues: see the head of worker/rabbitmq/topology.py. When RabbitMQ
changes any of this, that page has to change."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from yarl import URL

from tests.rabbitmq.test_broker_dead_letters import reject
from tests.rabbitmq.upstream import PATIENCE, upstream
from worker.rabbitmq.topology import REQUESTS, ensure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.demo.rabbitmq_node import RabbitmqNode


async def test_a_policy_can_make_the_queue_drop_messages_unseen(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str
) -> None:
    """
    An `overflow` in a policy wins over the argument, and declaring or looking shows nothing.
    """
    async with upstream(rabbitmq_vhost) as service:
        _set_policy(rabbitmq, rabbitmq_vhost, {"overflow": "drop-head", "max-length": 2})
        async with asyncio.timeout(PATIENCE):
            kept = [b"0", b"1", b"2"]
            while kept == [b"0", b"1", b"2"]:
                for body in kept:
                    await service.publish(body)
                kept = [found.body for found in await service.rest_of(REQUESTS)]
        await ensure(service.connection, declare=True)
        await ensure(service.connection, declare=False)

    assert [b"1", b"2"] == kept


async def test_a_policy_cannot_move_the_dead_letters(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str
) -> None:
    """
    Of exchange and strategy the argument wins.
    """
    elsewhere = {"dead-letter-exchange": "nowhere", "dead-letter-strategy": "at-most-once"}
    async with upstream(rabbitmq_vhost) as service:
        _set_policy(rabbitmq, rabbitmq_vhost, elsewhere)
        await reject(service)

        assert b"waits" == (await service.dead_letter()).body


def _set_policy(node: RabbitmqNode, url: str, definition: Mapping[str, str | int]) -> None:
    which = ("-p", URL(url).path[1:], "--apply-to", "queues")
    node.ctl("set_policy", *which, "ours", "^withdrawals", json.dumps(definition))
