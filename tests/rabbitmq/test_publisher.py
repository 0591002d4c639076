"""Publishing: what is confirmed, what comes back, and what nobody knows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from pamqp.commands import Basic
from yarl import URL

from tests.rabbitmq.at_work import Reports, broker_at, publishing
from tests.rabbitmq.line import line_to
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import properties, short
from worker.demo.ports import free_ports
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq.publisher import PublishRefused
from worker.rabbitmq.topology import DEAD_LETTERS, EVENTS_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from pamqp.common import FieldTable

    from worker.rabbitmq.publisher import Publisher

PASSWORD = "correct-horse"
MESSAGE = b"body of a request"
FULL: FieldTable = {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-max-length": 1}


async def test_a_confirmed_event_is_with_whoever_is_bound(rabbitmq_vhost: str) -> None:
    """
    Once `event` has returned, a queue bound for its key holds it.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            queue = await channel.declare_queue("audit", durable=True)
            await queue.bind(EVENTS_EXCHANGE, "withdrawal.*")
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            await publisher.event("withdrawal.completed", MESSAGE, _with_id("e-1"))
        (found,) = await service.rest_of("audit")

    assert (MESSAGE, "withdrawal.completed") == (found.body, found.routing_key)


async def test_an_event_that_nobody_wants_is_published_all_the_same(rabbitmq_vhost: str) -> None:
    """
    A topic exchange without a binding drops it; that is its reader's affair.
    """
    async with upstream(rabbitmq_vhost), publishing(broker_at(rabbitmq_vhost)) as publisher:
        await publisher.event("withdrawal.completed", MESSAGE, _with_id("e-1"))


async def test_a_reply_to_a_queue_that_is_gone_is_unroutable(rabbitmq_vhost: str) -> None:
    """
    And one to a queue that is there arrives.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.declare_queue("answers", durable=True)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            with pytest.raises(PublishUnroutable, match="nowhere"):
                await publisher.reply("nowhere", MESSAGE, _with_id("e-1"))
            await publisher.reply("answers", MESSAGE, _with_id("e-1"))
        (found,) = await service.rest_of("answers")

    assert MESSAGE == found.body


@pytest.mark.parametrize(
    "encoded",
    [
        properties(message_id=short(b"r-1")),
        properties(),
        properties(message_id=short(b"\xff")),
        properties(content_type=short(b"\xff")),
    ],
    ids=["plain", "without id", "unreadable id", "unreadable"],
)
async def test_a_dead_letter_that_no_queue_takes_is_unroutable(
    rabbitmq_vhost: str, encoded: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever its properties are: else the original would be acknowledged, and lost.

    What comes back is not written into any log.
    """
    caplog.set_level(logging.INFO)
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.queue_delete(DEAD_LETTERS)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            with pytest.raises(PublishUnroutable, match=DEAD_LETTERS):
                await publisher.dead_letter("any", MESSAGE, encoded)

    assert MESSAGE.decode() not in caplog.text


async def test_two_of_one_id_at_once_get_each_their_own_result(rabbitmq_vhost: str) -> None:
    """
    One arrives and one comes back, though both bear the same message id.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.declare_queue("answers", durable=True)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            results = await asyncio.gather(
                publisher.reply("nowhere", MESSAGE, _with_id("same")),
                publisher.reply("answers", MESSAGE, _with_id("same")),
                publisher.reply("nowhere", MESSAGE, _with_id("same")),
                publisher.dead_letter("any", MESSAGE, properties(message_id=short(b"same"))),
                return_exceptions=True,
            )
        answers = await service.rest_of("answers")
        letters = await service.rest_of(DEAD_LETTERS)

    assert [PublishUnroutable, type(None), PublishUnroutable, type(None)] == [
        type(result) for result in results
    ]
    assert (1, 1) == (len(answers), len(letters))


async def test_what_the_broker_refuses_is_told_apart(rabbitmq_vhost: str) -> None:
    """
    A message that the broker will never take is refused, and the next one passes.
    """
    refused = properties(reply_to=short(b"amq.rabbitmq.reply-to"))
    async with upstream(rabbitmq_vhost), publishing(broker_at(rabbitmq_vhost)) as publisher:
        with pytest.raises(PublishRefused):
            await publisher.dead_letter("any", MESSAGE, refused)

        await publisher.dead_letter("any", MESSAGE, properties())


async def test_a_full_queue_leaves_the_connection_alone(rabbitmq_vhost: str) -> None:
    """
    A queue that takes no more answers nack: unconfirmed, and nothing else is disturbed.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.declare_queue("full", durable=True, arguments=dict(FULL))
        reports = Reports()
        async with publishing(broker_at(rabbitmq_vhost), reports) as publisher:
            while await _is_confirmed(publisher.reply("full", MESSAGE, _with_id("e-1"))):
                pass
            with pytest.raises(PublishUnconfirmed, match="nack"):
                await publisher.reply("full", MESSAGE, _with_id("e-1"))
            await publisher.event("any", MESSAGE, _with_id("e-1"))

    assert [(True, "connected")] == reports.all


async def test_a_lost_connection_leaves_no_publish_hanging(rabbitmq_vhost: str) -> None:
    """
    Of many in flight each ends, confirmed or unconfirmed; and afterwards publishing works again.
    """
    async with (
        upstream(rabbitmq_vhost),
        line_to(rabbitmq_vhost) as line,
        publishing(broker_at(line.url)) as publisher,
    ):
        await publisher.event("any", MESSAGE, _with_id("first"))
        flying = _events(publisher, 200) + _letters(publisher, 100)
        await next(asyncio.as_completed(flying))
        line.cut()
        results = await asyncio.gather(*flying)
        await publisher.event("any", MESSAGE, _with_id("last"))

    assert 300 == len(results)
    assert {True, False} == set(results)


@pytest.mark.parametrize("publish", [2, 60], ids=["publish first", "heartbeat first"])
async def test_a_dead_line_leaves_no_publish_hanging(rabbitmq_vhost: str, publish: int) -> None:
    """
    Neither when the publish's own patience ends first, nor when missing heartbeats tell first.
    """
    async with upstream(rabbitmq_vhost), line_to(rabbitmq_vhost) as line:
        broker = broker_at(line.url, heartbeat=1, publish=publish)
        async with publishing(broker) as publisher:
            await publisher.event("any", MESSAGE, _with_id("first"))
            line.go_dead()
            results = await asyncio.gather(*_events(publisher, 20))
            line.revive()
            while not await _is_confirmed(publisher.event("any", MESSAGE, _with_id("last"))):
                pass

    assert {False} == set(results)


async def test_without_a_connection_it_waits_a_while(rabbitmq_vhost: str) -> None:
    """
    No longer than its patience, however many wait.
    """
    (port,) = free_ports(1)
    broker = broker_at(str(URL(rabbitmq_vhost).with_port(port)), publish=1)
    async with publishing(broker) as publisher:
        async with asyncio.timeout(20):
            results = await asyncio.gather(*_events(publisher, 50), *_letters(publisher, 50))

    assert {False} == set(results)


async def test_what_waits_for_a_connection_is_published_once_it_stands(rabbitmq_vhost: str) -> None:
    """
    A short outage of the broker is not noticed by whoever publishes.
    """
    (port,) = free_ports(1)
    async with (
        upstream(rabbitmq_vhost),
        publishing(broker_at(str(URL(rabbitmq_vhost).with_port(port)))) as publisher,
    ):
        (waiting,) = _events(publisher, 1)
        async with line_to(rabbitmq_vhost, port=port):
            assert await waiting


async def test_a_wrong_password_is_reported_and_shown_nowhere(
    rabbitmq_vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Neither in the logs, down to the library's finest, nor in the report, nor in any repr.
    """
    caplog.set_level(logging.DEBUG)
    broker = broker_at(str(URL(rabbitmq_vhost).with_password(PASSWORD)))
    reports = Reports()
    async with publishing(broker, reports):
        told = await reports.until(holds=False, words="not connected")

    assert "it refuses the user or the password" in told
    assert PASSWORD not in caplog.text + told + repr(broker) + str(broker)


def _events(publisher: Publisher, number: int) -> list[asyncio.Task[bool]]:
    return [_start(publisher.event("any", MESSAGE, _with_id(str(n)))) for n in range(number)]


def _letters(publisher: Publisher, number: int) -> list[asyncio.Task[bool]]:
    return [_start(publisher.dead_letter("any", MESSAGE, properties())) for _ in range(number)]


def _start(publish: Coroutine[None, None, None]) -> asyncio.Task[bool]:
    return asyncio.create_task(_is_confirmed(publish))


async def _is_confirmed(publish: Awaitable[None]) -> bool:
    try:
        await publish
    except PublishUnconfirmed:
        return False
    return True


def _with_id(message_id: str) -> Basic.Properties:
    return Basic.Properties(message_id=message_id)
