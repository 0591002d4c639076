"""A broker on which a message could be lost is named for it, queue and argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yarl import URL

from tests.rabbitmq.test_topology import WORK
from tests.rabbitmq.upstream import upstream
from worker.rabbitmq.topology import (
    COMMANDS_EXCHANGE,
    DEAD_LETTERS,
    REQUESTS,
    TopologyUnsafe,
    ensure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aio_pika.abc import AbstractConnection
    from pamqp.common import FieldTable

    from worker.demo.rabbitmq_node import RabbitmqNode

pytestmark = pytest.mark.parametrize("declare", [True, False], ids=["declare", "look"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"x-dead-letter-exchange": None}, "x-dead-letter-exchange"),
        ({"x-dead-letter-exchange": "elsewhere"}, "x-dead-letter-exchange"),
        ({"x-dead-letter-routing-key": "gone"}, "x-dead-letter-routing-key"),
        ({"x-dead-letter-strategy": None}, "x-dead-letter-strategy"),
        ({"x-dead-letter-strategy": "at-most-once"}, "x-dead-letter-strategy"),
        ({"x-overflow": None}, "x-overflow"),
        ({"x-overflow": "drop-head"}, "x-overflow"),
        ({"x-delivery-limit": None}, "x-delivery-limit"),
        ({"x-delivery-limit": 3}, "x-delivery-limit"),
        ({"x-expires": 60_000}, "x-expires"),
        ({"x-message-ttl": 60_000}, "x-message-ttl"),
        ({"x-max-length": 10}, "x-max-length"),
        ({"x-max-length-bytes": 10}, "x-max-length-bytes"),
    ],
    ids=str,
)
async def test_a_queue_with_other_arguments_is_named(
    rabbitmq_vhost: str,
    changes: Mapping[str, str | int | None],
    named: str,
    declare: bool,
) -> None:
    """
    Whatever differs could lose a message or dead-letter a healthy one.
    """
    async with upstream(rabbitmq_vhost) as service:
        await _redeclare(service.connection, {**WORK, **changes})
        (problem,) = await _problems(service.connection, declare=declare)

    assert problem.startswith(f"queue withdrawals.requests can lose messages: {named}: received ")
    assert "but current is" in problem


async def test_a_classic_queue_is_named(
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    The broker names some argument that a classic queue has not; what is expected names its type.
    """
    async with upstream(rabbitmq_vhost) as service:
        await _redeclare(service.connection, {"x-queue-type": "classic"})
        (problem,) = await _problems(service.connection, declare=declare)

    assert problem.startswith("queue withdrawals.requests can lose messages: x-")
    assert "expected x-queue-type=quorum" in problem


async def test_a_queue_that_dies_with_the_broker_is_named(
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    A classic queue that is not durable, as the oldest of defaults makes it.
    """
    async with upstream(rabbitmq_vhost) as service:
        await _redeclare(service.connection, {}, durable=False)
        (problem,) = await _problems(service.connection, declare=declare)

    assert problem.startswith("queue withdrawals.requests can lose messages: durable: received")


async def test_a_queue_of_somebody_else_alone_is_named(
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    An exclusive queue goes with its connection.
    """
    async with upstream(rabbitmq_vhost) as service, upstream(rabbitmq_vhost) as other:
        await _redeclare(other.connection, {}, exclusive=True)
        (problem,) = await _problems(service.connection, declare=declare)

    assert (
        "queue withdrawals.requests can lose messages: it is exclusive to another connection"
        == problem
    )


@pytest.mark.parametrize(
    ("kind", "durable", "named"),
    [("fanout", True, "type"), ("topic", False, "durable")],
)
async def test_another_kind_of_exchange_is_named(
    rabbitmq_vhost: str,
    kind: str,
    durable: bool,
    named: str,
    declare: bool,
) -> None:
    """
    A fanout would send cancellations to the requests; what is not durable goes with the broker.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with service.connection.channel() as channel:
            await channel.exchange_delete(COMMANDS_EXCHANGE)
            await channel.declare_exchange(COMMANDS_EXCHANGE, kind, durable=durable)
        (problem,) = await _problems(service.connection, declare=declare)

    expected = f"exchange withdrawals is not a durable topic exchange ({named}: received "
    assert problem.startswith(expected)


async def test_every_problem_is_named_at_once(
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    Nobody has to mend one to hear of the next.
    """
    async with upstream(rabbitmq_vhost) as service:
        await _redeclare(service.connection, WORK | {"x-delivery-limit": 3})
        await _redeclare(service.connection, {}, queue=DEAD_LETTERS)
        problems = await _problems(service.connection, declare=declare)

    assert ["withdrawals.dead-letters", "withdrawals.requests"] == [
        problem.split()[1] for problem in problems
    ]


async def test_a_user_without_configure_permission_is_told(
    rabbitmq: RabbitmqNode,
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    Such a user can neither declare nor compare: unknown is not safe.
    """
    url = URL(rabbitmq_vhost)
    user = _add_user(rabbitmq, vhost=url.path[1:], configure="^$")
    async with (
        upstream(rabbitmq_vhost),
        upstream(str(url.with_user(user)), declare=False) as service,
    ):
        problems = await _problems(service.connection, declare=declare)

    expected = "cannot be declared: no permission" if declare else "cannot be checked: AMQP"
    assert 3 == len(problems)
    assert all(expected in problem for problem in problems)


async def test_permission_on_its_own_names_is_enough(
    rabbitmq: RabbitmqNode,
    rabbitmq_vhost: str,
    declare: bool,
) -> None:
    """
    The worker asks for nothing beyond names that begin with its own.
    """
    url = URL(rabbitmq_vhost)
    user = _add_user(rabbitmq, vhost=url.path[1:], configure=r"^withdrawals(\\..*)?$")
    async with (
        upstream(rabbitmq_vhost),
        upstream(str(url.with_user(user)), declare=False) as service,
    ):
        await ensure(service.connection, declare=declare)


async def _problems(connection: AbstractConnection, *, declare: bool) -> tuple[str, ...]:
    with pytest.raises(TopologyUnsafe) as unsafe:
        await ensure(connection, declare=declare)
    return unsafe.value.problems


async def _redeclare(
    connection: AbstractConnection,
    arguments: Mapping[str, str | int | None],
    *,
    queue: str = REQUESTS,
    durable: bool = True,
    exclusive: bool = False,
) -> None:
    given: FieldTable = {name: value for name, value in arguments.items() if value is not None}
    channel = await connection.channel()
    await channel.queue_delete(queue)
    await channel.declare_queue(queue, durable=durable, exclusive=exclusive, arguments=given)


def _add_user(node: RabbitmqNode, *, vhost: str, configure: str) -> str:
    """Add a user with guest's password and the vhost's name; one call, for each takes a second."""
    node.ctl("eval", _ADD_USER % (vhost, vhost, vhost, configure))
    return vhost


_ADD_USER = """
_ = rabbit_auth_backend_internal:add_user(<<"%s">>, <<"guest">>, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(
  <<"%s">>, <<"%s">>, <<"%s">>, <<".*">>, <<".*">>, <<"tests">>).
"""
