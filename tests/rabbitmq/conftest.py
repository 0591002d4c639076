"""A broker that this room's tests may kill, for what cannot be tried on the shared one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
import pytest

from tests.rabbitmq.upstream import PATIENCE
from worker.demo.rabbitmq_node import Found, RabbitmqNode
from worker.rabbitmq.topology import OWN_QUEUES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def _own_node(
    found_rabbitmq: Found, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitmqNode]:
    with RabbitmqNode(tmp_path_factory.mktemp("own-rabbitmq"), found_rabbitmq) as node:
        yield node


@pytest.fixture
async def own_node(_own_node: RabbitmqNode) -> AsyncIterator[RabbitmqNode]:
    """A node without our queues; a test may kill it and starts it again."""
    yield _own_node
    async with await aio_pika.connect(_own_node.url, timeout=PATIENCE) as connection:
        channel = await connection.channel()
        for queue in OWN_QUEUES:
            await channel.queue_delete(queue)
