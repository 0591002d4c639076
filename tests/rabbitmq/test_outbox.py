"""What an event looks like on the wire (contract section 3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.rabbitmq.at_work import broker_at, publishing
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import moment, pairs, properties, short, text
from worker.flows.ports import Outgoing, PublishUnroutable
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.topology import EVENTS_EXCHANGE

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = Outgoing(
    row=1,
    sequence=4,
    event_id="5f0c7d6e-0000-5000-8000-000000000001",
    type="withdrawal.completed",
    body=b'{"type":"withdrawal.completed"}',
    created_at=datetime(2026, 6, 2, 9, 0, 0, 123_456, tzinfo=UTC),
    message_id="r-1",
    correlation_id="c-1",
    reply_to="answers",
    traceparent=TRACE,
)
CLOUD = (
    (b"cloudEvents:id", text(EVENT.event_id.encode())),
    (b"cloudEvents:source", text(b"/withdrawals-worker")),
    (b"cloudEvents:specversion", text(b"1.0")),
    (b"cloudEvents:subject", text(b"r-1")),
    (b"cloudEvents:time", text(b"2026-06-02T09:00:00.123Z")),
    (b"cloudEvents:type", text(b"withdrawal.completed")),
)
ON_THE_WIRE = {
    "content_type": short(b"application/json"),
    "headers": pairs(*CLOUD, (b"traceparent", text(TRACE.encode()))),
    "delivery_mode": b"\2",
    "correlation_id": short(b"c-1"),
    "message_id": short(EVENT.event_id.encode()),
    "timestamp": moment(1_780_390_800),
    "type": short(b"withdrawal.completed"),
    "app_id": short(b"withdrawals-worker"),
}


@pytest.mark.parametrize(
    ("event", "encoded"),
    [
        (EVENT, properties(**ON_THE_WIRE)),
        (
            replace(EVENT, traceparent=None),
            properties(**ON_THE_WIRE | {"headers": pairs(*CLOUD)}),
        ),
        (
            replace(EVENT, correlation_id=None),
            properties(**ON_THE_WIRE | {"correlation_id": short(b"r-1")}),
        ),
    ],
    ids=["all", "no trace", "no correlation id"],
)
async def test_an_event_has_exactly_these_properties(
    rabbitmq_vhost: str, event: Outgoing, encoded: bytes
) -> None:
    """
    Byte for byte, under its type as routing key, with the body as it was committed.
    """
    async with upstream(rabbitmq_vhost) as service:
        await _bind_audit(service.connection)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            await Outbox(publisher).announce(event)
        (found,) = await service.rest_of("audit")

    assert event.body == found.body
    assert event.type == found.routing_key
    assert encoded == found.properties


async def test_an_answer_is_a_copy(rabbitmq_vhost: str) -> None:
    """
    Whoever gave a `reply_to` gets the same message in that queue.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.declare_queue("answers", durable=True)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            await Outbox(publisher).answer(EVENT)
        (found,) = await service.rest_of("answers")

    assert (EVENT.body, properties(**ON_THE_WIRE)) == (found.body, found.properties)


async def test_an_answer_to_nobody_is_unroutable_or_nothing(rabbitmq_vhost: str) -> None:
    """
    A queue that is gone is told of; a request without `reply_to` gets no answer.
    """
    async with upstream(rabbitmq_vhost), publishing(broker_at(rabbitmq_vhost)) as publisher:
        outbox = Outbox(publisher)
        with pytest.raises(PublishUnroutable):
            await outbox.answer(EVENT)

        await outbox.answer(replace(EVENT, reply_to=None))


async def test_an_id_too_long_for_a_property_stops_no_event(rabbitmq_vhost: str) -> None:
    """
    255 characters of a CloudEvents id may be 1020 bytes; then only the body correlates.
    """
    event = replace(EVENT, message_id=255 * "€", correlation_id=None)
    async with upstream(rabbitmq_vhost) as service:
        await _bind_audit(service.connection)
        async with publishing(broker_at(rabbitmq_vhost)) as publisher:
            await Outbox(publisher).announce(event)
        (found,) = await service.rest_of("audit")

    subject = (b"cloudEvents:subject", text(255 * "€".encode()))
    headers = pairs(*CLOUD[:3], subject, *CLOUD[4:], (b"traceparent", text(TRACE.encode())))
    fields = {name: value for name, value in ON_THE_WIRE.items() if name != "correlation_id"}
    assert properties(**fields | {"headers": headers}) == found.properties


async def _bind_audit(connection: AbstractConnection) -> None:
    channel = await connection.channel()
    queue = await channel.declare_queue("audit", durable=True)
    await queue.bind(EVENTS_EXCHANGE, "#")
