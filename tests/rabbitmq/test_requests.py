"""Publishing requests and cancellations, as the command line and the demo do."""

from __future__ import annotations

import pytest
from yarl import URL

from tests.rabbitmq.at_work import broker_at
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import properties, short
from worker.demo.ports import free_ports
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq.backlog import messages_waiting
from worker.rabbitmq.requests import publish_cancellation, publish_request
from worker.rabbitmq.topology import CANCELLATIONS, REQUESTS

BODY = b'{"amount":"1.00"}'


async def test_a_published_request_lies_in_the_queue(rabbitmq_vhost: str) -> None:
    """
    With the ids it was given, persistent, and as JSON.
    """
    async with upstream(rabbitmq_vhost) as service:
        await publish_request(
            broker_at(rabbitmq_vhost),
            BODY,
            message_id="r-1",
            correlation_id="c-1",
            reply_to="answers",
        )
        found = await service.next_in(REQUESTS)

    assert BODY == found.body
    assert "withdrawal.request" == found.routing_key
    assert (
        properties(
            content_type=short(b"application/json"),
            headers=b"\0\0\0\0",
            delivery_mode=b"\2",
            priority=b"\0",
            correlation_id=short(b"c-1"),
            reply_to=short(b"answers"),
            message_id=short(b"r-1"),
        )
        == found.properties
    )


async def test_a_published_cancellation_lies_in_its_own_queue(rabbitmq_vhost: str) -> None:
    """
    The requests' queue is not touched.
    """
    async with upstream(rabbitmq_vhost) as service:
        await publish_cancellation(broker_at(rabbitmq_vhost), BODY, message_id="cancel-1")
        found = await service.next_in(CANCELLATIONS)

        assert (BODY, "withdrawal.cancel") == (found.body, found.routing_key)
        assert 0 == await service.ready_in(REQUESTS)


async def test_what_waits_in_a_queue_is_counted(rabbitmq_vhost: str) -> None:
    """
    What somebody holds does not count; where nobody can tell there is no number.

    Nor is there one for an empty queue without a consumer: it may be without a leader.
    """
    broker = broker_at(rabbitmq_vhost)
    async with upstream(rabbitmq_vhost) as service:
        unknown = await messages_waiting(broker, REQUESTS)
        for number in range(3):
            await service.request(f"r-{number}")
        full = await messages_waiting(broker, REQUESTS)
        for _ in range(3):
            await service.next_in(REQUESTS)

        assert (None, 3, 0) == (unknown, full, await messages_waiting(broker, REQUESTS))
    away = broker_at(str(URL(rabbitmq_vhost).with_port(free_ports(1)[0])))

    assert await messages_waiting(broker, "nobody.made.it") is None
    assert await messages_waiting(away, REQUESTS) is None


async def test_without_the_topology_a_request_is_unroutable(rabbitmq_vhost: str) -> None:
    """
    No exchange, or no queue behind it: certainly not published.
    """
    with pytest.raises(PublishUnroutable):
        await publish_request(broker_at(rabbitmq_vhost), BODY, message_id="r-1")

    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.queue_delete(REQUESTS)
        with pytest.raises(PublishUnroutable):
            await publish_request(broker_at(rabbitmq_vhost), BODY, message_id="r-1")


async def test_without_a_broker_nobody_knows(rabbitmq_vhost: str) -> None:
    """
    The same error as when a confirmation is missing: publish it again, with the same id.
    """
    away = URL(rabbitmq_vhost).with_port(free_ports(1)[0])

    with pytest.raises(PublishUnconfirmed):
        await publish_request(broker_at(str(away)), BODY, message_id="r-1")
