"""What is declared, and that declaring is harmless."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from tests.rabbitmq.upstream import upstream
from worker.rabbitmq.topology import (
    CANCELLATIONS,
    DEAD_LETTERS,
    EVENTS_EXCHANGE,
    REQUESTS,
    TopologyUnsafe,
    ensure,
)

if TYPE_CHECKING:
    from worker.demo.rabbitmq_node import RabbitmqNode

WORK: dict[str, str | int] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
    "x-dead-letter-exchange": "withdrawals.dead-letters",
    "x-dead-letter-strategy": "at-least-once",
}
LETTERS = {name: WORK[name] for name in ("x-queue-type", "x-overflow", "x-delivery-limit")}


async def test_everything_is_declared_as_the_contract_says(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str
) -> None:
    """
    Three durable quorum queues with these arguments and no others, three durable topic exchanges.
    """
    async with upstream(rabbitmq_vhost):
        queues = listed(rabbitmq, rabbitmq_vhost, "queues", "type", "durable", "arguments")
        exchanges = listed(rabbitmq, rabbitmq_vhost, "exchanges", "type", "durable")

    assert {
        "withdrawals.requests": ["quorum", True, _as_listed(WORK)],
        "withdrawals.cancellations": ["quorum", True, _as_listed(WORK)],
        "withdrawals.dead-letters": ["quorum", True, _as_listed(LETTERS)],
    } == queues
    assert {
        "withdrawals": ["topic", True],
        "withdrawals.events": ["topic", True],
        "withdrawals.dead-letters": ["topic", True],
    } == {name: found for name, found in exchanges.items() if name.startswith("withdrawals")}


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("withdrawals", "withdrawal.request", REQUESTS),
        ("withdrawals", "withdrawal.cancel", CANCELLATIONS),
        ("withdrawals.dead-letters", "any.key", DEAD_LETTERS),
    ],
)
async def test_messages_are_routed_as_the_contract_says(
    rabbitmq_vhost: str, exchange: str, key: str, queue: str
) -> None:
    """
    Each kind of message reaches its own queue.
    """
    async with upstream(rabbitmq_vhost) as service:
        await service.publish(b"here", exchange=exchange, key=key)

        assert b"here" == (await service.next_in(queue)).body


async def test_declaring_again_changes_nothing(rabbitmq_vhost: str) -> None:
    """
    A worker that starts anew finds what is there, and what lies in it.
    """
    async with upstream(rabbitmq_vhost) as service:
        await service.publish(b"kept")
        await ensure(service.connection, declare=True)
        await ensure(service.connection, declare=False)

        assert b"kept" == (await service.next_in(REQUESTS)).body


async def test_looking_makes_nothing(rabbitmq: RabbitmqNode, rabbitmq_vhost: str) -> None:
    """
    Without `declare` each missing exchange is named, and stays missing.
    """
    async with upstream(rabbitmq_vhost, declare=False) as service:
        with pytest.raises(TopologyUnsafe) as unsafe:
            await ensure(service.connection, declare=False)
        made = listed(rabbitmq, rabbitmq_vhost, "exchanges", "type")

    assert (
        "exchange withdrawals is missing",
        "exchange withdrawals.events is missing",
        "exchange withdrawals.dead-letters is missing",
    ) == unsafe.value.problems
    assert not {name for name in made if name.startswith("withdrawals")}


async def test_each_missing_queue_is_named(rabbitmq: RabbitmqNode, rabbitmq_vhost: str) -> None:
    """
    Without `declare` each missing queue is named, and stays missing.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            for queue in (REQUESTS, CANCELLATIONS, DEAD_LETTERS):
                await channel.queue_delete(queue)
        with pytest.raises(TopologyUnsafe) as unsafe:
            await ensure(service.connection, declare=False)

    assert (
        "queue withdrawals.dead-letters is missing",
        "queue withdrawals.requests is missing",
        "queue withdrawals.cancellations is missing",
    ) == unsafe.value.problems
    assert {} == listed(rabbitmq, rabbitmq_vhost, "queues", "type")


async def test_a_missing_exchange_is_made_again(rabbitmq_vhost: str) -> None:
    """
    With `declare` a worker mends what somebody deleted.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.exchange_delete(EVENTS_EXCHANGE)
        await ensure(service.connection, declare=True)

        await ensure(service.connection, declare=False)


def listed(node: RabbitmqNode, url: str, kind: str, *columns: str) -> dict[str, list[object]]:
    """Return what the broker itself says of queues or exchanges: by name, the columns."""
    vhost = URL(url).path[1:]
    told = node.ctl(f"list_{kind}", "-p", vhost, "--formatter", "json", "name", *columns)
    return {row["name"]: [row[column] for column in columns] for row in json.loads(told)}


def _as_listed(arguments: dict[str, str | int]) -> list[list[str | int]]:
    """Return arguments as the broker lists them: by name, with their types."""
    return [
        [name, "longstr" if isinstance(value, str) else "signedint", value]
        for name, value in sorted(arguments.items())
    ]
