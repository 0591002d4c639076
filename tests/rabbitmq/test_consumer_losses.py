"""What becomes of the work when the broker, the queue or the way there goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from tests.rabbitmq.at_work import at_work, broker_at
from tests.rabbitmq.line import Line, line_to
from tests.rabbitmq.upstream import PATIENCE, upstream
from worker.demo.ports import free_ports
from worker.flows.settlement import ACCEPT, Settlement
from worker.rabbitmq.topology import DEAD_LETTERS, EVENTS_EXCHANGE, REQUESTS

if TYPE_CHECKING:
    from worker.core.messages import Envelope
    from worker.demo.rabbitmq_node import RabbitmqNode


class Slow:
    """A handler whose first message takes until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.finished: list[str | None] = []

    async def __call__(self, envelope: Envelope) -> Settlement:
        """Carry out one message."""
        if not envelope.redelivered:
            await self.go_on.wait()
        self.finished.append(envelope.message_id)
        return ACCEPT


async def test_work_outlives_the_connection(rabbitmq_vhost: str) -> None:
    """
    The running handler is not cancelled, its late acknowledgement fails quietly.

    The message comes again on the next connection.
    """
    slow = Slow()
    async with upstream(rabbitmq_vhost) as service, line_to(rabbitmq_vhost) as line:
        async with at_work(line.url, slow) as work:
            await service.request("r-1")
            await work.desk.next()
            line.cut()
            await work.consuming.until(holds=False, words="not connected")
            again = await work.desk.next()
            slow.go_on.set()
        rest = await service.rest_of(REQUESTS)

    assert again.redelivered
    assert ["r-1", "r-1"] == slow.finished
    assert [] == rest


async def test_the_broker_may_close_the_connection(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str
) -> None:
    """
    An operator who closes all connections does no harm.
    """
    slow = Slow()
    vhost = URL(rabbitmq_vhost).path[1:]
    async with upstream(rabbitmq_vhost) as service:
        await service.request("r-1")
    async with at_work(rabbitmq_vhost, slow) as work:
        await work.desk.next()
        await asyncio.to_thread(
            rabbitmq.ctl, "close_all_connections", "-p", vhost, "for the sake of a test"
        )
        again = await work.desk.next()
        slow.go_on.set()
    async with upstream(rabbitmq_vhost) as service:
        rest = await service.rest_of(REQUESTS)

    assert again.redelivered
    assert ["r-1", "r-1"] == slow.finished
    assert [] == rest


async def test_prefetch_bounds_the_work_across_connections(rabbitmq_vhost: str) -> None:
    """
    Handlers that outlived their connection keep their places: what comes meanwhile has to wait.
    """
    go_on = asyncio.Event()
    most = 0

    async def wait(_: Envelope) -> Settlement:
        nonlocal most
        most = max(most, work.consumer.in_work)
        await go_on.wait()
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service, line_to(rabbitmq_vhost) as line:
        async with at_work(line.url, wait, prefetch=2) as work:
            for number in range(4):
                await service.request(f"r-{number}")
            for _ in range(2):
                await work.desk.next()
            line.cut()
            await work.consuming.until(holds=False, words="not connected")
            await work.consuming.until(holds=True)
            go_on.set()
            for _ in range(4):
                await work.desk.next()
        rest = await service.rest_of(REQUESTS)

    assert 2 == most
    assert [] == rest


async def test_a_dead_line_is_noticed(rabbitmq_vhost: str) -> None:
    """
    When nothing comes any more and nobody says why, missing heartbeats tell.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        line_to(rabbitmq_vhost) as line,
        at_work(broker_at(line.url, heartbeat=1)) as work,
    ):
        await work.consuming.until(holds=True)
        line.go_dead()
        await work.consuming.until(holds=False, words="not connected")
        line.revive()
        await service.request("r-1")

        assert "r-1" == (await work.desk.next()).message_id


async def test_a_deleted_queue_is_declared_again(rabbitmq_vhost: str) -> None:
    """
    The broker cancels the consumer; it declares the queue anew and goes on.
    """
    async with upstream(rabbitmq_vhost) as service, at_work(rabbitmq_vhost) as work:
        await work.consuming.until(holds=True)
        async with service.connection.channel() as channel:
            await channel.queue_delete(REQUESTS)
        await work.consuming.until(holds=True)
        await service.request("r-1")

        assert "r-1" == (await work.desk.next()).message_id


async def test_nothing_is_taken_while_the_broker_is_unsafe(rabbitmq_vhost: str) -> None:
    """
    The report names the queue; once somebody has mended it the consumer goes on by itself.
    """
    async with upstream(rabbitmq_vhost) as service:
        await service.request("r-1")
        async with service.connection.channel() as channel:
            await channel.queue_delete(DEAD_LETTERS)
        async with at_work(rabbitmq_vhost, declare=False) as work:
            told = await work.consuming.until(holds=False, words="unsafe")
            waiting = await service.ready_in(REQUESTS)
            async with upstream(rabbitmq_vhost):
                came = await work.desk.next()

    assert "unsafe: queue withdrawals.dead-letters is missing" == told
    assert 1 == waiting
    assert "r-1" == came.message_id


async def test_the_topology_is_looked_at_from_time_to_time(rabbitmq_vhost: str) -> None:
    """
    What somebody deletes beneath a running worker stops it, although its own queue is there.
    """
    often = timedelta(milliseconds=100)
    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, declare=False, check_every=often) as work,
    ):
        await work.consuming.until(holds=True)
        async with service.connection.channel() as channel:
            await channel.exchange_delete(EVENTS_EXCHANGE)

        told = await work.consuming.until(holds=False, words="unsafe")

    assert "unsafe: exchange withdrawals.events is missing" == told


async def test_without_a_broker_it_waits_for_one(rabbitmq_vhost: str) -> None:
    """
    A worker that starts before the broker consumes once that is there.
    """
    async with upstream(rabbitmq_vhost) as service:
        await service.request("r-1")
        (port,) = free_ports(1)
        url = str(URL(rabbitmq_vhost).with_port(port))
        async with at_work(url) as work:
            await work.consuming.until(holds=False, words="not connected")
            async with line_to(rabbitmq_vhost, port=port):
                came = await work.desk.next()
                await work.stop()

    assert "r-1" == came.message_id


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
async def test_a_stop_without_a_broker_is_soon_over(rabbitmq_vhost: str, is_silent: bool) -> None:
    """
    Nobody waits for a connection that is not needed any more, however patient it is told to be.
    """
    async with line_to(rabbitmq_vhost) as line:
        if is_silent:
            line.go_dead()
            url = line.url
        else:
            url = str(URL(rabbitmq_vhost).with_port(free_ports(1)[0]))
        async with at_work(broker_at(url, connect=10 * PATIENCE)) as work:
            await work.stop()

    assert not any(holds for holds, _ in work.consuming.all)


async def test_many_restarts_lose_no_healthy_message(rabbitmq_vhost: str) -> None:
    """
    Fifty times they are fetched, and the worker is gone before one is acknowledged.

    All come again in the end, and none has become a dead letter.
    """
    everything = {f"r-{number}" for number in range(5)}
    async with upstream(rabbitmq_vhost) as service, line_to(rabbitmq_vhost) as line:
        for message_id in everything:
            await service.request(message_id)
        for _ in range(50):
            await _fetch_and_die(line, len(everything))
        async with at_work(rabbitmq_vhost) as work:
            came = [await work.desk.next() for _ in everything]
        letters = await service.rest_of(DEAD_LETTERS)

    assert everything == {envelope.message_id for envelope in came}
    assert all(envelope.redelivered for envelope in came)
    assert [] == letters


async def _fetch_and_die(line: Line, messages: int) -> None:
    go_on = asyncio.Event()

    async def wait(_: Envelope) -> Settlement:
        await go_on.wait()
        return ACCEPT

    async with at_work(line.url, wait) as work:
        for _ in range(messages):
            await work.desk.next()
        work.consumer.stop()
        line.cut()
        go_on.set()
