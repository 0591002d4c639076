"""How a message is copied to the dead letters, where the broker makes that hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from tests.rabbitmq.at_work import broker_at, publishing
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import headers_of, long, pairs, properties, short, text
from worker.core.messages import DeadReason
from worker.flows.ports import PublishUnroutable
from worker.rabbitmq.dead_letters import as_it_was, dead_letter, in_one_header
from worker.rabbitmq.properties import text_header
from worker.rabbitmq.topology import DEAD_LETTERS

if TYPE_CHECKING:
    from worker.rabbitmq.delivery import Delivery

WHY = (text_header("x-reason", "invalid"),)
WHY_ENCODED = (b"x-reason", text(b"invalid"))
ENOUGH = 10_000
NO_PROPERTIES = b"\x80\x00\xff"


@dataclass(frozen=True, slots=True)
class Handed:
    """A message that was handed over, and that no broker would take again as it is."""

    properties: bytes
    body: bytes = b"body"
    routing_key: str = "any"
    room: int = ENOUGH


def test_the_reason_is_added_behind_the_headers() -> None:
    """
    Properties that have none get some.
    """
    plain = properties(message_id=short(b"r-1"))

    assert properties(headers=pairs(WHY_ENCODED), message_id=short(b"r-1")) == as_it_was(
        plain, WHY, room=ENOUGH
    )


def test_the_brokers_count_of_deliveries_goes() -> None:
    """
    It is not the producer's, and the broker begins to count anew.
    """
    counted = properties(headers=pairs((b"x-delivery-count", b"l" + 8 * b"\1"), (b"k", b"V")))

    assert properties(headers=pairs((b"k", b"V"), WHY_ENCODED)) == as_it_was(
        counted, WHY, room=ENOUGH
    )


def test_bytes_that_are_no_properties_are_kept_in_one_header() -> None:
    """
    Nothing is lost of what nobody can read.
    """
    assert properties(
        headers=pairs(WHY_ENCODED, (b"x-original-properties", b"x" + long(NO_PROPERTIES)))
    ) == as_it_was(NO_PROPERTIES, WHY, room=ENOUGH)


@pytest.mark.parametrize("room", [60, 100, 200, 400])
@pytest.mark.parametrize(
    "original",
    [
        NO_PROPERTIES * 200,
        properties(headers=pairs(*((b"k%d" % n, text(b"v")) for n in range(90)))),
    ],
    ids=["unreadable", "many headers"],
)
def test_there_is_always_room_for_the_reason(original: bytes, room: int) -> None:
    """
    Of the original as much is kept as fits.
    """
    for copy in (as_it_was(original, WHY, room=room), in_one_header(original, WHY, room=room)):
        assert len(copy) <= max(room, len(in_one_header(b"", WHY, room=room)))
        assert "invalid" == headers_of(copy)["x-reason"]


async def test_what_the_broker_refuses_is_buried_all_the_same(rabbitmq_vhost: str) -> None:
    """
    The properties go as one header then: it must neither be lost nor come again for ever.
    """
    refused = properties(message_id=short(b"r-1"), reply_to=short(b"amq.rabbitmq.reply-to"))
    async with (
        upstream(rabbitmq_vhost) as service,
        publishing(broker_at(rabbitmq_vhost)) as publisher,
    ):
        handed = cast("Delivery", Handed(refused))
        await dead_letter(publisher, handed, "origin", DeadReason.INVALID, "why")
        letter = await service.dead_letter()

    assert b"body" == letter.body
    assert ("invalid", "origin") == (letter.headers["x-reason"], letter.headers["x-origin-queue"])
    assert (b"\x15x-original-properties" + b"x" + long(refused)) in letter.properties


async def test_without_a_place_for_dead_letters_nothing_is_said_to_be_buried(
    rabbitmq_vhost: str,
) -> None:
    """
    The caller hears of it, and keeps the original.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        publishing(broker_at(rabbitmq_vhost)) as publisher,
    ):
        async with service.connection.channel() as channel:
            await channel.queue_delete(DEAD_LETTERS)
        handed = cast("Delivery", Handed(properties()))
        with pytest.raises(PublishUnroutable):
            await dead_letter(publisher, handed, "origin", DeadReason.INVALID, "why")
