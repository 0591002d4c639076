"""An alarm of the broker, as the publisher notices it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pamqp.commands import Basic

from tests.rabbitmq.at_work import Reports, broker_at
from tests.rabbitmq.upstream import PATIENCE
from worker.demo.rabbitmq_node import Found, RabbitmqNode
from worker.flows.ports import PublishUnconfirmed
from worker.rabbitmq import topology
from worker.rabbitmq.publisher import Publisher

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = ("set_vm_memory_high_watermark", "absolute", "1000000")
EVERYBODY = ("set_vm_memory_high_watermark", "0.6")


async def test_it_is_told_once_and_ends_by_itself(found_rabbitmq: Found, tmp_path: Path) -> None:
    """
    Told when a publish is not taken, whatever number of connections is given up meanwhile.

    Its end is told although nothing is left to be published.
    """
    told: asyncio.Queue[bool] = asyncio.Queue()
    with RabbitmqNode(tmp_path / "node", found_rabbitmq) as node:
        broker = broker_at(node.url, publish=1)
        async with broker.connect("test") as connection:
            await topology.ensure(connection, declare=True)
        publisher = Publisher(broker, report=Reports(), alarmed=told.put)
        running = asyncio.create_task(publisher.run())
        await _publish_until_taken(publisher)
        await asyncio.to_thread(node.ctl, *NOBODY)
        for _ in range(3):
            with pytest.raises(PublishUnconfirmed):
                await _publish_until_refused(publisher)
        begun = await asyncio.wait_for(told.get(), PATIENCE)
        more = told.qsize()
        await asyncio.to_thread(node.ctl, *EVERYBODY)
        ended = await asyncio.wait_for(told.get(), PATIENCE)
        await _publish_until_taken(publisher)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert begun
    assert 0 == more
    assert not ended
    assert told.empty()


async def _publish(publisher: Publisher) -> None:
    await publisher.event("withdrawal.received", b"{}", Basic.Properties(message_id="e-1"))


async def _publish_until_taken(publisher: Publisher) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await _publish(publisher)
            except PublishUnconfirmed:
                continue
            return


async def _publish_until_refused(publisher: Publisher) -> None:
    """The broker needs a moment to notice that it has too little memory."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await _publish(publisher)
