"""Publishing requests and cancellations as upstream services do: confirmed, and only to a queue.

For the command line and the demo; the worker itself publishes neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
from aiormq.exceptions import ChannelNotFoundEntity, PublishError

from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.rabbitmq import failures
from worker.rabbitmq.topology import CANCEL_KEY, COMMANDS_EXCHANGE, REQUEST_KEY

if TYPE_CHECKING:
    from worker.rabbitmq.connection import Broker


async def publish_request(
    broker: Broker,
    body: bytes,
    *,
    message_id: str,
    correlation_id: str | None = None,
    reply_to: str | None = None,
) -> None:
    """Publish one request; returns once the broker has confirmed that a queue holds it.

    Raises PublishUnroutable when no queue takes it (the worker's topology is not declared), and
    PublishUnconfirmed when the broker did not confirm: publish it again, with the same id.
    """
    await _publish(broker, REQUEST_KEY, _message(body, message_id, correlation_id, reply_to))


async def publish_cancellation(
    broker: Broker,
    body: bytes,
    *,
    message_id: str,
    correlation_id: str | None = None,
    reply_to: str | None = None,
) -> None:
    """Publish one cancellation; returns and raises as `publish_request` does."""
    await _publish(broker, CANCEL_KEY, _message(body, message_id, correlation_id, reply_to))


def _message(
    body: bytes, message_id: str, correlation_id: str | None, reply_to: str | None
) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        message_id=message_id,
        correlation_id=correlation_id,
        reply_to=reply_to,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def _publish(broker: Broker, key: str, message: aio_pika.Message) -> None:
    seconds = broker.publish_timeout.total_seconds()
    try:
        async with broker.connect("submit") as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(COMMANDS_EXCHANGE, ensure=True)
            await exchange.publish(message, key, mandatory=True, timeout=seconds)
    except (PublishError, ChannelNotFoundEntity) as error:
        raise PublishUnroutable(COMMANDS_EXCHANGE) from error
    except failures.AWAY as error:
        raise PublishUnconfirmed(failures.in_words(error)) from error
