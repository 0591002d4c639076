"""The tests' own cluster of brokers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika

from tests.services.rabbitmq_cluster import RabbitmqCluster

if TYPE_CHECKING:
    from pathlib import Path

    from worker.demo.rabbitmq_node import Found

_QUEUE = "kept"


async def test_what_was_confirmed_outlives_the_leader(
    found_rabbitmq: Found, tmp_path: Path
) -> None:
    """
    A quorum queue has a member on each node, and another one leads it when its leader is killed.

    No confirmed message is lost, and the killed node comes back as a member.
    """
    bodies = [f"message {number}".encode() for number in range(20)]
    async with RabbitmqCluster(tmp_path / "cluster", found_rabbitmq) as cluster:
        await _publish(cluster.urls[1], bodies[:10])
        members = await cluster.members_of(_QUEUE)
        first = await cluster.leader_of(_QUEUE)

        await cluster.kill(first)
        later = await cluster.leader_of(_QUEUE)
        await _publish(cluster.urls[later], bodies[10:])
        await cluster.restart(first)
        read = await _read(cluster.urls[first], len(bodies))
        # Fails when it is not among them within a minute.
        await cluster.ctl(later, "await_online_nodes", "3", "--timeout", "60")

    assert (0, 1, 2) == members
    assert first != later
    assert bodies == read


async def _publish(url: str, bodies: list[bytes]) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, _QUEUE, timeout=30)


async def _read(url: str, count: int) -> list[bytes]:
    read = []
    async with asyncio.timeout(60), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(_QUEUE)
        async with queue.iterator() as messages:
            async for message in messages:
                await message.ack()
                read.append(message.body)
                if len(read) == count:
                    break
    return read
