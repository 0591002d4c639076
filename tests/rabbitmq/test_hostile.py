"""Messages whose AMQP properties were made to break whoever reads them.

Each reaches the handler or the dead letters, byte for byte as it was; none blocks the one behind it
or costs a connection."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pytest
from aiormq.exceptions import AMQPConnectionError, AMQPError

from tests.rabbitmq.at_work import at_work
from tests.rabbitmq.hostile_messages import (
    MESSAGES,
    REFUSED_BY_BROKER,
    REFUSED_BY_OLD_BROKER,
)
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import long, moment, pairs, properties, short, table, text
from worker.core.messages import DeadReason
from worker.flows.settlement import ACCEPT, Bury, Settlement
from worker.rabbitmq.properties import put_together, take_apart
from worker.rabbitmq.topology import REQUESTS

if TYPE_CHECKING:
    from tests.rabbitmq.hostile_messages import Hostile
    from tests.rabbitmq.upstream import Found
    from worker.core.messages import Envelope

ODD: Final = b"\xff\xfe\x80"
ADDED: Final = ("x-reason", "x-reason-detail", "x-dead-lettered-at", "x-origin-queue")
#: What a broker takes in one frame unless told otherwise, and what of it is not properties.
FRAME_MAX: Final = 131_072
FRAME_OVERHEAD: Final = 20
GOOD: Final = b"good"
BAD: Final = b"\x00\xff not JSON"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A message's properties, and what of them is elsewhere once it is a dead letter."""

    fields: dict[str, bytes] = field(default_factory=dict)
    headers: Headers | None = None
    dropped: tuple[str, ...] = ()
    moved: Headers = ()
    kept: Headers | None = None

    @property
    def encoded(self) -> bytes:
        """The properties as they are published."""
        headers = {} if self.headers is None else {"headers": pairs(*self.headers)}
        return properties(**self.fields, **headers)

    def as_dead_letter(self, letter: Found) -> bytes:
        """The properties as they should be, but for the texts of the headers that are added."""
        fields = {name: value for name, value in self.fields.items() if name not in self.dropped}
        kept = (self.headers or ()) if self.kept is None else self.kept
        added = tuple((name.encode(), text(letter.headers[name].encode())) for name in ADDED)
        return properties(**fields, headers=pairs(*kept, *added, *self.moved))


def _by_name(encoded: bytes) -> bytes:
    """Return properties with their headers sorted, each name once, as RabbitMQ 4 keeps them."""
    taken = take_apart(encoded)
    first = {header.name: header for header in reversed(taken.headers or ())}
    return put_together(replace(taken, headers=tuple(first[name] for name in sorted(first))))


def _header(value: bytes, name: bytes = b"k") -> Case:
    return Case({"message_id": short(b"h-1")}, ((name, value),))


CASES: Final = {
    "no properties": Case(),
    "no headers": Case(headers=()),
    "all properties": Case(
        {
            "content_type": short(b"application/json"),
            "content_encoding": short(b"identity"),
            "delivery_mode": b"\1",
            "priority": b"\x09",
            "correlation_id": short(b"c-1"),
            "reply_to": short(b"answers"),
            "message_id": short(b"h-1"),
            "timestamp": moment(1_795_224_390),
            "type": short(b"t"),
            "app_id": short(b"a"),
        },
        ((b"traceparent", text(b"00-ab")),),
    ),
    "message id": Case({"message_id": short(ODD)}),
    "empty message id": Case({"message_id": short(b"")}),
    "correlation id": Case({"message_id": short(b"h-1"), "correlation_id": short(ODD)}),
    "reply to": Case({"message_id": short(b"h-1"), "reply_to": short(ODD)}),
    "content type": Case({"message_id": short(b"h-1"), "content_type": short(ODD)}),
    "content encoding": Case({"message_id": short(b"h-1"), "content_encoding": short(ODD)}),
    "type": Case({"message_id": short(b"h-1"), "type": short(ODD)}),
    "app id": Case({"message_id": short(b"h-1"), "app_id": short(ODD)}),
    "longest everywhere": Case(
        {name: short(255 * b"\xff") for name in ("content_type", "message_id", "type", "app_id")}
    ),
    "milliseconds": Case({"message_id": short(b"h-1"), "timestamp": moment(1_795_224_390_000)}),
    "timestamp 2^63": Case({"message_id": short(b"h-1"), "timestamp": moment(2**63)}),
    "timestamp 2^64-1": Case({"message_id": short(b"h-1"), "timestamp": moment(2**64 - 1)}),
    "header's timestamp 2^63": _header(b"T" + moment(2**63)),
    "header's timestamp 2^64-1": _header(b"T" + moment(2**64 - 1)),
    "header's name": _header(text(b"v"), name=ODD),
    "long header's name": _header(text(b"v"), name=255 * b"n"),
    "header's text": _header(text(ODD)),
    "header's bytes": _header(b"x" + long(ODD)),
    "header's double": _header(b"d" + struct.pack(">d", 0.1)),
    "header's small integers": Case(
        headers=(
            (b"a", b"b\xff"),
            (b"b", b"s\xff\xff"),
            (b"c", b"I\0\0\0\1"),
            (b"d", b"l" + moment(1)),
        )
    ),
    "header's odd decimal": _header(b"D\xff" + struct.pack(">i", 5)),
    "header's void": _header(b"V"),
    "nested tables": _header(b"F" + table(a=b"F" + table(b=b"F" + table()))),
    "arrays": _header(b"A" + long(b"V" + text(ODD) + b"A" + long(b""))),
    "the same header twice": Case(headers=((b"k", text(b"1")), (b"k", text(b"2")))),
    "forged reason": Case(
        headers=((b"x-reason", text(b"forged")), (b"k", text(b"v"))), kept=((b"k", text(b"v")),)
    ),
    "expiration": Case(
        {"message_id": short(b"h-1"), "expiration": short(b"600000")},
        dropped=("expiration",),
        moved=((b"x-original-expiration", text(b"600000")),),
    ),
    "user": Case(
        {"message_id": short(b"h-1"), "user_id": short(b"guest")},
        dropped=("user_id",),
        moved=((b"x-original-user-id", text(b"guest")),),
    ),
    "sender-selected routes": Case(
        headers=((b"CC", b"A" + long(text(b"elsewhere"))),),
        kept=((b"x-original-cc", b"A" + long(text(b"elsewhere"))),),
    ),
}


async def _bury_the_bad(envelope: Envelope) -> Settlement:
    return ACCEPT if envelope.body == GOOD else Bury(DeadReason.INVALID, "any")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_hostile_message_becomes_a_dead_letter_as_it_was(
    rabbitmq_vhost: str, case: Case
) -> None:
    """
    Body and properties are byte for byte the same, but for the order of headers.

    The reason is added, and whatever comes behind flows.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, _bury_the_bad, prefetch=1) as work,
    ):
        await service.publish(BAD, case.encoded)
        await service.publish(GOOD)
        letter = await service.dead_letter()
        while (await work.desk.next()).body != GOOD:
            pass

    assert BAD == letter.body
    assert _by_name(case.as_dead_letter(letter)) == _by_name(letter.properties)
    assert [(True, "connected")] == work.publishing.all
    assert "not connected" not in " ".join(detail for _, detail in work.consuming.all)


async def test_headers_that_fill_a_frame_make_room_for_the_reason(rabbitmq_vhost: str) -> None:
    """
    A broker takes so many bytes of properties and none more.

    The largest headers are left out, and named; the rest stays as it was.
    """
    small, middle = (b"small", text(b"v")), (b"middle", text(400 * b"v"))
    rest = len(
        properties(message_id=short(b"h-1"), headers=pairs(small, middle, (b"big", text(b""))))
    )
    big = (b"big", text((FRAME_MAX - FRAME_OVERHEAD - rest) * b"v"))
    case = Case({"message_id": short(b"h-1")}, (small, middle, big), kept=(small, middle))
    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, _bury_the_bad) as work,
    ):
        await service.publish(BAD, case.encoded)
        letter = await service.dead_letter()

    left_out = ((b"x-left-out", text(b"big")),)
    assert BAD == letter.body
    expected = replace(case, moved=left_out).as_dead_letter(letter)
    assert _by_name(expected) == _by_name(letter.properties)
    assert [(True, "connected")] == work.publishing.all


async def test_a_header_of_a_megabyte_never_gets_in(rabbitmq_vhost: str) -> None:
    """
    Properties travel in one frame: the broker drops whoever sends more than fits into it.
    """
    huge = properties(headers=pairs((b"k", text(2**20 * b"v"))))
    async with at_work(rabbitmq_vhost) as work:
        await work.consuming.until(holds=True)
        async with upstream(rabbitmq_vhost) as service:
            with pytest.raises(AMQPConnectionError):
                await service.publish(BAD, huge)
        async with upstream(rabbitmq_vhost) as service:
            await service.publish(GOOD)

        assert GOOD == (await work.desk.next()).body


@pytest.mark.parametrize("message", REFUSED_BY_BROKER, ids=lambda message: message.name)
async def test_what_the_broker_refuses_never_gets_in(rabbitmq_vhost: str, message: Hostile) -> None:
    """
    It drops the channel or the connection of whoever sends it, and nobody else's.
    """
    async with at_work(rabbitmq_vhost) as work:
        await work.consuming.until(holds=True)
        async with upstream(rabbitmq_vhost) as service:
            with pytest.raises(AMQPError):
                await service.publish(message.body, message.encoded)
        async with upstream(rabbitmq_vhost) as service:
            await service.publish(GOOD)

        assert GOOD == (await work.desk.next()).body
        assert [(True, "connected")] == work.publishing.all


async def test_an_unknown_delivery_mode_is_refused_or_a_message_like_any_other(
    rabbitmq_vhost: str,
) -> None:
    """
    RabbitMQ 3 drops whoever sends it; 4.0 takes it, and then it is read and accepted.
    """
    message = REFUSED_BY_OLD_BROKER
    async with at_work(rabbitmq_vhost) as work:
        await work.consuming.until(holds=True)
        async with upstream(rabbitmq_vhost) as service:
            is_old = service.broker_version < (4, 0)
            with pytest.raises(AMQPError) if is_old else nullcontext():
                await service.publish(message.body, message.encoded)
        async with upstream(rabbitmq_vhost) as service:
            await service.publish(GOOD)
        bodies = [(await work.desk.next()).body for _ in range(1 if is_old else 2)]

        assert ([GOOD] if is_old else [message.body, GOOD]) == bodies
        assert [(True, "connected")] == work.publishing.all


async def test_a_body_of_many_frames_is_buried_whole(rabbitmq_vhost: str) -> None:
    """
    Too large for us is not too large for the dead letters.
    """
    large = 5 * 2**20 * b"v"
    async with upstream(rabbitmq_vhost) as service, at_work(rabbitmq_vhost, _bury_the_bad):
        await service.publish(large)

        assert large == (await service.dead_letter()).body


@pytest.mark.parametrize("key", [b"r\xe9quest", 255 * b"\xff"], ids=["odd", "long"])
async def test_a_routing_key_may_be_any_bytes(rabbitmq_vhost: str, key: bytes) -> None:
    """
    It is read with its odd bytes escaped, and buried under what is left of that.
    """
    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, _bury_the_bad) as work,
    ):
        async with service.connection.channel() as channel:
            fanout = await channel.declare_exchange("fanout", "fanout")
            queue = await channel.get_queue(REQUESTS)
            await queue.bind(fanout)
        await service.publish_by_key(BAD, exchange="fanout", key=key)
        letter = await service.dead_letter()

    escaped = key.decode(errors="backslashreplace")
    assert BAD == letter.body
    assert escaped[:255] == letter.routing_key
    assert [(True, "connected")] == work.publishing.all


async def test_hostile_messages_among_good_ones_stop_nobody(rabbitmq_vhost: str) -> None:
    """
    All of them at once, with good ones between: everything arrives where it belongs.
    """
    async with upstream(rabbitmq_vhost) as service:
        for case in CASES.values():
            await service.publish(BAD, case.encoded)
            await service.publish(GOOD)
        async with at_work(rabbitmq_vhost, _bury_the_bad) as work:
            letters = [await service.dead_letter() for _ in CASES]
            while [seen.body for seen in work.desk.seen].count(GOOD) < len(CASES):
                await work.desk.next()
        rest = await service.rest_of(REQUESTS)

    assert {BAD} == {letter.body for letter in letters}
    assert [] == rest
    assert 1 == [holds for holds, _ in work.consuming.all].count(True)


def test_there_are_many_and_each_has_a_name() -> None:
    """
    A name, and an id and a body, belong to one message each: an outcome can be told whose it is.
    """
    names = {message.name for message in MESSAGES}
    contents = {(message.encoded, message.body) for message in MESSAGES}

    assert len(MESSAGES) == len(names) == len(contents)
    assert len(MESSAGES) > 150
