"""Dead letters as workers leave them, written by hand, and what is in the queues afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from tests.rabbitmq.upstream import Found, upstream
from tests.rabbitmq.wire import pairs, properties, short, text
from worker.rabbitmq.properties import take_apart
from worker.rabbitmq.topology import DEAD_LETTERS, REQUEST_KEY, REQUESTS

#: A bank detail: it must be in no output.
SECRET: Final = "fs_secret_1"
HOUR: Final = timedelta(hours=1)


class Buried(NamedTuple):
    """A dead letter; its properties are encoded."""

    body: bytes
    properties: bytes
    key: str = REQUEST_KEY


def a_body(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Write a valid request."""
    document = {
        "investor_id": "inv_1",
        "amount": "5.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": SECRET,
    }
    return json.dumps(document | changes).encode()


def a_letter(
    message_id: str | bytes | None,
    body: bytes | None = None,
    *,
    reason: str = "poison",
    detail: str = "failed unexpectedly 5 times",
    ago: timedelta = HOUR,
    origin: str = REQUESTS,
    **fields: bytes,
) -> Buried:
    """Write a dead letter of a request that nobody has carried out, unless told otherwise."""
    at = (datetime.now(UTC) - ago).isoformat(timespec="milliseconds")
    why = {
        "reason": reason,
        "reason-detail": detail,
        "dead-lettered-at": at,
        "origin-queue": origin,
    }
    headers = pairs(*((f"x-{name}".encode(), text(value.encode())) for name, value in why.items()))
    if message_id is not None:
        name = message_id.encode() if isinstance(message_id, str) else message_id
        fields["message_id"] = short(name)
    return Buried(
        a_body() if body is None else body,
        properties(headers=headers, delivery_mode=b"\2", **fields),
    )


def an_invalid(message_id: str, *, ago: timedelta = HOUR) -> Buried:
    """Write a dead letter of a request with a wrong field."""
    detail = "amount: expected a decimal string"
    return a_letter(message_id, a_body(amount=5), reason="invalid", detail=detail, ago=ago)


async def bury(url: str, *letters: Buried) -> None:
    """Put letters into the dead-letter queue of a broker, and declare what is missing."""
    async with upstream(url) as service:
        for letter in letters:
            await service.publish(
                letter.body, letter.properties, exchange=DEAD_LETTERS, key=letter.key
            )


async def rest(url: str, queue: str = DEAD_LETTERS) -> list[Found]:
    """Take out all that is ready in a queue."""
    async with upstream(url, declare=False) as service:
        return await service.rest_of(queue)


async def count(url: str, queue: str = DEAD_LETTERS) -> int:
    """Count what is ready in a queue."""
    async with upstream(url, declare=False) as service:
        return await service.ready_in(queue)


def ids_of(found: list[Found]) -> list[str]:
    """Return the message ids of such messages as `a_letter` writes, in the order of the ids."""
    return sorted(found_id(one) for one in found)


def found_id(found: Found) -> str:
    """Return the message id of a message."""
    return take_apart(found.properties).text("message_id") or ""
