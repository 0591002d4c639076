"""What of pamqp is replaced, so that a new version that moves these places is noticed.

When one of these fails after an update: read worker/rabbitmq/tolerance.py beside the new pamqp."""

from __future__ import annotations

import struct

from pamqp import decode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from tests.rabbitmq.wire import properties, short, table, text
from worker.rabbitmq import tolerance

ODD = b"\xff\xfe"
READABLE = properties(headers=table(k=text(b"v")), message_id=short(b"r-1"))
UNREADABLE = properties(headers=table(k=text(b"v")), message_id=short(ODD), timestamp=b"\xff" * 8)


def test_a_content_header_keeps_its_properties_bytes() -> None:
    """
    Beside what pamqp decodes of them, which is as it was.
    """
    header = _content_header(READABLE)

    assert READABLE == tolerance.original_properties(header)
    assert ("r-1", {"k": "v"}) == (header.properties.message_id, header.properties.headers)
    assert 7 == header.body_size


def test_a_content_header_that_pamqp_cannot_decode_is_read_as_far_as_it_goes() -> None:
    """
    Ids and headers that are texts can be looked at; size and bytes are there.
    """
    header = _content_header(UNREADABLE)

    assert UNREADABLE == tolerance.original_properties(header)
    assert ("\\xff\\xfe", {"k": "v"}) == (header.properties.message_id, header.properties.headers)
    assert 7 == header.body_size


def test_a_content_header_of_no_sense_raises_nothing() -> None:
    """
    Its properties are empty then.
    """
    header = _content_header(b"\xff\xff\xff")

    assert b"\xff\xff\xff" == tolerance.original_properties(header)
    assert Basic.Properties() == header.properties


def test_a_routing_key_of_any_bytes_is_read() -> None:
    """
    A delivery's method frame holds short strings too.
    """
    method = (
        struct.pack(">HH", 60, 60) + short(b"tag") + bytes(8) + b"\0" + short(b"x") + short(ODD)
    )
    _, channel, delivered = frame.unmarshal(_framed(1, method))

    assert isinstance(delivered, Basic.Deliver)
    assert (1, "x", "\\xff\\xfe") == (channel, delivered.exchange, delivered.routing_key)


def test_installing_again_changes_nothing() -> None:
    """
    Every part of the program may do so.
    """
    before = (decode.METHODS["shortstr"], ContentHeader.unmarshal)
    tolerance.install()

    assert before == (decode.METHODS["shortstr"], ContentHeader.unmarshal)


def _content_header(encoded: bytes) -> ContentHeader:
    _, _, header = frame.unmarshal(_framed(2, struct.pack(">HHQ", 60, 0, 7) + encoded))
    assert isinstance(header, ContentHeader)
    return header


def _framed(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"
