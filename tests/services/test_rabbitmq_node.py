"""The private broker of demo and tests."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from worker.demo.rabbitmq_node import Found, NodeFailed, RabbitmqNode

QUEUE = "kept"


@pytest.fixture
def node(found_rabbitmq: Found, tmp_path: Path) -> Iterator[RabbitmqNode]:
    """A node that the test starts itself."""
    node = RabbitmqNode(tmp_path / "node", found_rabbitmq)
    yield node
    node.kill()


async def test_a_started_node_takes_messages(rabbitmq_vhost: str) -> None:
    """
    Once `start` has returned, a client can connect at once, publish and read.
    """
    await _publish(rabbitmq_vhost, b"hello")

    assert b"hello" == await _read(rabbitmq_vhost)


async def test_each_vhost_is_empty_and_alone(rabbitmq: RabbitmqNode, rabbitmq_vhost: str) -> None:
    """
    A queue in one virtual host does not exist in another.
    """
    await _publish(rabbitmq.url, b"elsewhere")

    async with await aio_pika.connect(rabbitmq_vhost) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue(QUEUE, passive=True)


async def test_durable_messages_outlive_the_node(node: RabbitmqNode, found_rabbitmq: Found) -> None:
    """
    What was confirmed is there after an orderly restart, a power cut, and in a later node.
    """
    node.start()
    await _publish(node.url, b"paid for")

    node.restart()
    node.kill()

    with RabbitmqNode(node.folder, found_rabbitmq) as later:
        assert b"paid for" == await _read(later.url)


def test_nothing_is_left_behind(node: RabbitmqNode) -> None:
    """
    Neither an orderly end nor a violent one leaves a process of the node.
    """
    node.start()
    running = _processes_naming(node.folder)
    node.stop()
    after_stop = _processes_naming(node.folder)
    node.start()
    node.kill()

    assert running
    assert not after_stop
    assert not _processes_naming(node.folder)


def test_it_listens_on_loopback_only(rabbitmq: RabbitmqNode) -> None:
    """
    No other machine can reach the node.
    """
    listeners = rabbitmq.ctl("eval", "rabbit_networking:active_listeners().")
    addresses = set(re.findall(r"\{\d+,\d+,\d+,\d+[^}]*\}", listeners))

    assert {"{127,0,0,1}"} == addresses


def test_a_node_that_cannot_start_says_why(node: RabbitmqNode) -> None:
    """
    The failure carries the node's own last words, and leaves nothing running.
    """
    node.folder.mkdir()
    (node.folder / "advanced.config").write_text("not Erlang")

    with pytest.raises(NodeFailed, match="advanced"):
        node.start()

    assert not _processes_naming(node.folder)


async def _publish(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(QUEUE, durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, QUEUE, timeout=10)


async def _read(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE, durable=True)
        message = await queue.get(timeout=10)
        await message.ack()
        return message.body


def _processes_naming(folder: Path) -> list[str]:
    """The living processes that were started with the folder in their environment."""
    listing = subprocess.run(
        ["ps", "axeww", "-o", "stat=,command="], check=True, capture_output=True, text=True
    ).stdout
    return [line for line in listing.splitlines() if str(folder) in line and line[0] != "Z"]
