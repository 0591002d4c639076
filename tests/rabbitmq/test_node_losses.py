"""What becomes of the work when the broker itself is killed, or has no memory left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pamqp.commands import Basic

from tests.rabbitmq.at_work import at_work, broker_at
from tests.rabbitmq.upstream import upstream
from worker.core.messages import DeadReason
from worker.flows.ports import PublishUnconfirmed
from worker.flows.settlement import ACCEPT, Bury, Settlement
from worker.rabbitmq.topology import REQUESTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rabbitmq.at_work import AtWork
    from worker.core.messages import Envelope
    from worker.demo.rabbitmq_node import RabbitmqNode


async def test_a_killed_broker_loses_nothing(own_node: RabbitmqNode) -> None:
    """
    Killed with messages in work and in the queue, it has them all when it comes up again.

    The worker is back by itself.
    """
    go_on = asyncio.Event()

    async def answer(envelope: Envelope) -> Settlement:
        await go_on.wait()
        return Bury(DeadReason.INVALID, "any") if envelope.message_id == "r-0" else ACCEPT

    everything = {f"r-{number}" for number in range(6)}
    async with upstream(own_node.url) as service:
        for message_id in everything:
            await service.request(message_id)
    async with at_work(own_node.url, answer, prefetch=3) as work:
        for _ in range(3):
            await work.desk.next()
        await asyncio.to_thread(own_node.kill)
        await work.consuming.until(holds=False, words="not connected")
        go_on.set()
        await asyncio.to_thread(own_node.start)
        async with upstream(own_node.url) as service:
            letter = await service.dead_letter()
            while everything - {envelope.message_id for envelope in work.desk.seen}:
                await work.desk.next()
            await work.stop()
            rest = await service.rest_of(REQUESTS)

    assert "invalid" == letter.headers["x-reason"]
    assert everything == {envelope.message_id for envelope in work.desk.seen}
    assert [] == rest


async def test_an_alarm_stops_publishing_and_nothing_else(own_node: RabbitmqNode) -> None:
    """
    Without memory at the broker, publishing ends unconfirmed in time.

    The consumer's own connection still acknowledges and takes; afterwards publishing works again.
    """
    permits: asyncio.Queue[None] = asyncio.Queue()

    async def wait(_: Envelope) -> Settlement:
        await permits.get()
        return ACCEPT

    broker = broker_at(own_node.url, publish=1)
    async with upstream(own_node.url) as service:
        await service.request("r-1")
        await service.request("r-2")
        async with at_work(broker, wait, prefetch=1) as work:
            await work.desk.next()
            await work.publishing.until(holds=True)
            async with _without_memory(own_node):
                # The broker still takes what tells it that there is a publisher.
                while await _is_published(work):
                    pass
                permits.put_nowait(None)
                second = await work.desk.next()
                permits.put_nowait(None)
            await work.publishing.until(holds=True)
            while not await _is_published(work):
                pass
        rest = await service.rest_of(REQUESTS)

    assert "r-2" == second.message_id
    assert [] == rest


async def _is_published(work: AtWork) -> bool:
    try:
        await work.publisher.event("any", b"{}", Basic.Properties(message_id="e-1"))
    except PublishUnconfirmed:
        return False
    return True


@asynccontextmanager
async def _without_memory(node: RabbitmqNode) -> AsyncIterator[None]:
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.0001")
    try:
        yield
    finally:
        await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.6")
