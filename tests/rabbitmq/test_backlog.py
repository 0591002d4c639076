"""How many messages wait in each queue, as a real broker tells it, and when it does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from yarl import URL

from tests.rabbitmq.at_work import at_work
from tests.rabbitmq.line import line_to
from tests.rabbitmq.upstream import PATIENCE, upstream
from worker.flows.settlement import ACCEPT, Settlement
from worker.rabbitmq.backlog import Backlog
from worker.rabbitmq.topology import DEAD_LETTERS, OWN_QUEUES, REQUESTS, ensure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aio_pika.abc import AbstractConnection

    from worker.core.messages import Envelope
    from worker.demo.rabbitmq_node import RabbitmqNode

OFTEN: Final = timedelta(milliseconds=20)
NONE: Final = dict.fromkeys(OWN_QUEUES, 0)
NOT_TOLD: Final[Mapping[str, int]] = {}


class Told:
    """Hears the counts, and waits for some."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Mapping[str, int]] = asyncio.Queue()

    def __call__(self, counts: Mapping[str, int]) -> None:
        """Be told."""
        self._heard.put_nowait(counts)

    async def until(self, counts: Mapping[str, int]) -> None:
        """Wait until exactly these are told."""
        async with asyncio.timeout(PATIENCE):
            while await self._heard.get() != counts:
                pass

    async def anew(self, counts: Mapping[str, int]) -> None:
        """Wait until exactly these are told from now on."""
        while not self._heard.empty():
            self._heard.get_nowait()
        await self.until(counts)


async def test_what_waits_is_told_also_while_nothing_is_taken_in(rabbitmq_vhost: str) -> None:
    """
    By a worker whose intake is closed; what it has in hand afterwards waits no longer.
    """
    told, go_on = Told(), asyncio.Event()
    backlog = Backlog(OWN_QUEUES, told=told, every=OFTEN)

    async def answer(_: Envelope) -> Settlement:
        await go_on.wait()
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service:
        for number in range(3):
            await service.request(f"r-{number}")
        await service.publish(exchange=DEAD_LETTERS, key="any")
        async with at_work(rabbitmq_vhost, answer, prefetch=2, beside=backlog.watch) as work:
            await work.gate.close("test", "closed")
            await told.until(NONE | {REQUESTS: 3, DEAD_LETTERS: 1})
            await work.gate.open("test")
            await told.until(NONE | {REQUESTS: 1, DEAD_LETTERS: 1})
            go_on.set()
            await told.until(NONE | {DEAD_LETTERS: 1})


async def test_a_lost_connection_leaves_no_old_number(rabbitmq_vhost: str) -> None:
    """
    Cut off, nothing is told; the next connection tells again. One gone dead tells nothing either.
    """
    told = Told()
    backlog = Backlog(OWN_QUEUES, told=told, every=OFTEN)
    async with (
        line_to(rabbitmq_vhost) as line,
        at_work(line.url, beside=backlog.watch),
    ):
        await told.until(NONE)
        line.cut()
        await told.until(NOT_TOLD)
        await told.until(NONE)
        line.go_dead()
        await told.until(NOT_TOLD)
        line.revive()
        await told.until(NONE)


@pytest.mark.parametrize("is_anothers", [False, True], ids=["deleted", "another's alone"])
async def test_a_queue_that_cannot_be_counted_hides_no_other(
    rabbitmq_vhost: str, caplog: pytest.LogCaptureFixture, is_anothers: bool
) -> None:
    """
    It is not told of until it can be counted again, and the log has a line, however often it looks.
    """
    told, others = Told(), dict.fromkeys(OWN_QUEUES - {REQUESTS}, 0)
    async with upstream(rabbitmq_vhost) as service, watched(service.connection, told):
        await told.until(NONE)
        async with upstream(rabbitmq_vhost, declare=False) as other:
            channel = await other.connection.channel()
            await channel.queue_delete(REQUESTS)
            await told.anew(others)
            if is_anothers:
                caplog.clear()
                await channel.declare_queue(REQUESTS, exclusive=True)
            for _ in range(3):
                await told.anew(others)
            await channel.queue_delete(REQUESTS)
        await ensure(service.connection, declare=True)
        await told.until(NONE)

    why = "ChannelLockedResource" if is_anothers else "ChannelNotFoundEntity"
    lines = [
        (vars(record)["queue"], vars(record)["error"])
        for record in caplog.records
        if record.getMessage() == "queue not counted"
    ]
    assert 1 == lines.count((REQUESTS, why))


async def test_a_queue_that_is_declared_a_moment_later_is_no_news(
    rabbitmq_vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As at the very first start: the look after the one that found nothing counts it.
    """
    told = Told()
    async with (
        upstream(rabbitmq_vhost, declare=False) as service,
        watched(service.connection, told, every=timedelta(seconds=1)),
    ):
        await told.until(NOT_TOLD)
        await ensure(service.connection, declare=True)
        await told.until(NONE)

    assert [] == [record for record in caplog.records if "not counted" in record.getMessage()]


async def test_no_permission_is_needed(rabbitmq: RabbitmqNode, rabbitmq_vhost: str) -> None:
    """
    A user who may neither configure nor write nor read anything is told all the same.
    """
    told, url = Told(), URL(rabbitmq_vhost)
    name = url.path.removeprefix("/")
    await asyncio.to_thread(rabbitmq.ctl, "eval", _ADD_USER % (name, name, name))
    async with (
        upstream(rabbitmq_vhost),
        upstream(str(url.with_user(name)), declare=False) as nobody,
        watched(nobody.connection, told),
    ):
        await told.until(NONE)


@asynccontextmanager
async def watched(
    connection: AbstractConnection, told: Told, *, every: timedelta = OFTEN
) -> AsyncIterator[None]:
    """Look at the queues of a connection, often; at the end nothing is told of any more."""
    watching = asyncio.create_task(Backlog(OWN_QUEUES, told=told, every=every).watch(connection))
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await told.until(NOT_TOLD)


_ADD_USER: Final = """
_ = rabbit_auth_backend_internal:add_user(<<"%s">>, <<"guest">>, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(
  <<"%s">>, <<"%s">>, <<"^$">>, <<"^$">>, <<"^$">>, <<"tests">>).
"""
