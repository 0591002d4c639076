"""AMQP's properties as bytes, taken apart and put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rabbitmq.wire import long, moment, pairs, properties, short, table, text
from worker.rabbitmq.properties import (
    Header,
    NotProperties,
    Properties,
    bytes_header,
    put_together,
    take_apart,
    text_header,
)

FULL = properties(
    content_type=short(b"a"),
    headers=table(
        text=text("é".encode()),
        raw=b"x" + long(b"b"),
        odd=text(b"\xff"),
        number=b"I\0\0\0\1",
        inner=b"F" + table(text=text(b"no")),
    ),
    delivery_mode=b"\2",
    message_id=short(b"\xffid"),
    timestamp=moment(2**64 - 1),
)

shorts = st.binary(max_size=255)
values = st.one_of(
    st.binary(max_size=300).map(text),
    st.binary(max_size=300).map(lambda content: b"x" + long(content)),
    st.binary(min_size=8, max_size=8).map(lambda content: b"T" + content),
    st.binary(min_size=5, max_size=5).map(lambda content: b"D" + content),
    st.just(b"V"),
)
some_properties = st.builds(
    Properties,
    st.fixed_dictionaries(
        {},
        optional={
            "content_type": shorts,
            "delivery_mode": st.binary(min_size=1, max_size=1),
            "correlation_id": shorts,
            "message_id": shorts,
            "timestamp": st.binary(min_size=8, max_size=8),
            "cluster_id": shorts,
        },
    ),
    st.none() | st.lists(st.builds(Header, shorts, values)).map(tuple),
)


@given(some_properties)
def test_what_was_taken_apart_is_put_together_as_it_was(some: Properties) -> None:
    """
    Nothing is lost or changed on the way, whatever the texts hold.
    """
    assert some == take_apart(put_together(some))
    assert put_together(some) == put_together(take_apart(put_together(some)))


@given(st.binary(max_size=400))
def test_bytes_are_properties_or_are_refused(anything: bytes) -> None:
    """
    No bytes raise anything else; and what is accepted comes out again as it went in.
    """
    try:
        taken = take_apart(anything)
    except NotProperties:
        return

    assert anything == put_together(taken)


@pytest.mark.parametrize("length", range(len(FULL)))
def test_a_part_of_properties_is_refused(length: int) -> None:
    """
    Wherever it is cut off.
    """
    with pytest.raises(NotProperties):
        take_apart(FULL[:length])


@pytest.mark.parametrize(
    "encoded",
    [
        FULL + b"\0",
        b"\0\1\0\0",
        properties(headers=pairs((b"k", b"?"))),
        properties(headers=long(b"\xff")),
    ],
    ids=["too long", "more flags", "unknown type", "name cut off"],
)
def test_other_bytes_are_refused(encoded: bytes) -> None:
    """
    Nobody guesses where a property ends.
    """
    with pytest.raises(NotProperties):
        take_apart(encoded)


def test_texts_are_read_where_they_are_texts() -> None:
    """
    Odd bytes of a property stay apart as surrogates; a header with odd bytes is no text.
    """
    taken = take_apart(FULL)

    assert "a" == taken.text("content_type")
    assert "\udcffid" == taken.text("message_id")
    assert taken.text("correlation_id") is None
    assert {"text": "é", "raw": "b"} == taken.header_texts()
    assert {} == take_apart(b"\0\0").header_texts()
    assert {} == take_apart(properties(headers=pairs((b"\xff", text(b"v"))))).header_texts()


def test_two_odd_ids_never_read_the_same() -> None:
    """
    Else two requests would be taken for one, and the second never paid.
    """
    first, second = (Properties({"message_id": odd}) for odd in (b"\xff", b"\xfe"))

    assert first.text("message_id") != second.text("message_id")


def test_new_headers_are_written_as_the_broker_reads_them() -> None:
    """
    A long string for a text, a byte array for bytes; a lone surrogate is escaped.
    """
    assert text("é".encode()) == text_header("k", "é").value
    assert text(b"\\udcff") == text_header("k", "\udcff").value
    assert b"x" + long(b"\xff") == bytes_header("k", b"\xff").value
