"""Every exchange, queue and binding (contract section 2) as data, and how a broker is checked.

The arguments are never changed by a release: a queue that exists cannot be declared with others.

Why these arguments. Quorum queues: the only replicated kind left. At-least-once dead lettering
works only together with `reject-publish`; without both, the broker silently drops what it cannot
dead-letter. The delivery limit is set as good as away: RabbitMQ 4 would otherwise dead-letter
healthy messages that a few restarts had merely prefetched, and from a queue without dead-letter
target it would drop them. Poison is counted by the worker itself.

What AMQP does not show, so that nothing here can warn of it. Policies: one that sets `overflow` to
`drop-head` wins over the argument (messages beyond a `max-length` are dropped, dead lettering falls
back to at most once), `expires` deletes an unused queue with its messages, `delivery-limit` and
`message-ttl` send healthy messages to the dead letters; dead-letter exchange and strategy are safe,
there the argument wins. So no policy and no operator policy may match `withdrawals.*`. Bindings: a
request that is not routed is its producer's to notice (`mandatory`). Replicas: how many a queue has
is decided when it is declared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aio_pika.abc import AbstractConnection

REQUESTS: Final = "withdrawals.requests"
CANCELLATIONS: Final = "withdrawals.cancellations"
DEAD_LETTERS: Final = "withdrawals.dead-letters"
COMMANDS_EXCHANGE: Final = "withdrawals"
EVENTS_EXCHANGE: Final = "withdrawals.events"
REQUEST_KEY: Final = "withdrawal.request"
CANCEL_KEY: Final = "withdrawal.cancel"

#: As good as none, and valid on RabbitMQ 3.10 as well, which knows no "unlimited".
DELIVERY_LIMIT: Final = 1_000_000

_SAFE: Final[Mapping[str, str | int]] = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-delivery-limit": DELIVERY_LIMIT,
}
_WORK: Final = {
    **_SAFE,
    "x-dead-letter-exchange": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
}

#: What a missing permission means when declaring (True) and when only looking (False).
_NOT_ALLOWED: Final = {
    True: "cannot be declared: no permission (WORKER_RABBITMQ__DECLARE=false only checks)",
    False: "cannot be checked: AMQP compares arguments only for users with configure permission",
}
_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<argument>[^']*)' for .* in vhost '[^']*': (?P<values>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, what it is declared with, and where its messages come from."""

    name: str
    arguments: Mapping[str, str | int]
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that has to exist at the broker."""

    exchanges: tuple[str, ...]
    queues: tuple[Queue, ...] = field(default=())


TOPOLOGY: Final = Topology(
    exchanges=(COMMANDS_EXCHANGE, EVENTS_EXCHANGE, DEAD_LETTERS),
    queues=(
        Queue(DEAD_LETTERS, _SAFE, DEAD_LETTERS, "#"),
        Queue(REQUESTS, _WORK, COMMANDS_EXCHANGE, REQUEST_KEY),
        Queue(CANCELLATIONS, _WORK, COMMANDS_EXCHANGE, CANCEL_KEY),
    ),
)

OWN_QUEUES: Final = frozenset(queue.name for queue in TOPOLOGY.queues)


class TopologyUnsafe(Exception):  # noqa: N818
    """The broker leaves a path on which a message could be lost; `problems` names each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


async def ensure(
    connection: AbstractConnection, *, declare: bool, topology: Topology = TOPOLOGY
) -> None:
    """Declare everything, or (`declare` false) only look whether it is there as it should be.

    Raises TopologyUnsafe with one problem for each path on which a message could be lost. Looking
    changes nothing at the broker: a queue that is missing is not made.
    """
    problems: list[str] = []
    for name in topology.exchanges:
        problems += await _exchange(connection, name, declare=declare)
    if not problems:
        for queue in topology.queues:
            problems += await _queue(connection, queue, declare=declare)
    if problems:
        raise TopologyUnsafe(tuple(problems))


async def _exchange(connection: AbstractConnection, name: str, *, declare: bool) -> list[str]:
    try:
        # A refusal closes the channel, so that every question has a channel of its own.
        if not declare:
            async with connection.channel() as channel:
                await channel.declare_exchange(name, passive=True)
        async with connection.channel() as channel:
            await channel.declare_exchange(
                name, "topic", durable=True, auto_delete=False, internal=False
            )
    except ChannelNotFoundEntity:
        return [f"exchange {name} is missing"]
    except ChannelPreconditionFailed as refusal:
        return [f"exchange {name} is not a durable topic exchange ({_told(refusal)})"]
    except ChannelAccessRefused:
        return [f"exchange {name} {_NOT_ALLOWED[declare]}"]
    return []


async def _queue(connection: AbstractConnection, queue: Queue, *, declare: bool) -> list[str]:
    try:
        if not declare:
            async with connection.channel() as channel:
                await channel.declare_queue(queue.name, passive=True)
        async with connection.channel() as channel:
            declared = await channel.declare_queue(
                queue.name,
                durable=True,
                exclusive=False,
                auto_delete=False,
                arguments=dict(queue.arguments),
            )
            if declare:
                await declared.bind(queue.exchange, queue.routing_key)
    except ChannelNotFoundEntity:
        return [f"queue {queue.name} is missing"]
    except ChannelPreconditionFailed as refusal:
        # The broker names the first difference only, and a classic queue never by its type.
        expected = ", ".join(f"{name}={value}" for name, value in queue.arguments.items())
        return [f"queue {queue.name} can lose messages: {_told(refusal)}; expected {expected}"]
    except ChannelLockedResource:
        return [f"queue {queue.name} can lose messages: it is exclusive to another connection"]
    except ChannelAccessRefused:
        return [f"queue {queue.name} {_NOT_ALLOWED[declare]}"]
    return []


def _told(refusal: BaseException) -> str:
    # The broker's words name the argument and both values: exactly what an operator needs.
    words = _INEQUIVALENT.search(str(refusal))
    return f"{words['argument']}: {words['values']}" if words else str(refusal)[:200]
