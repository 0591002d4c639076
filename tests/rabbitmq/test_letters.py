"""What a dead letter says of itself, and that a replay has its first properties again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.rabbitmq.wire import moment, pairs, properties, short, text
from worker.core.replay import Asks
from worker.rabbitmq.dead_letters import as_it_was, in_one_header
from worker.rabbitmq.letters import letter_of, restored
from worker.rabbitmq.properties import Header, text_header

BURIED_AT = "2026-06-01T10:00:00.000Z"
WHY = (
    text_header("x-reason", "poison"),
    text_header("x-reason-detail", "failed unexpectedly 5 times"),
    text_header("x-dead-lettered-at", BURIED_AT),
    text_header("x-origin-queue", "withdrawals.requests"),
)
ENOUGH = 100_000
COUNT = (b"x-delivery-count", b"l" + bytes(7) + b"\1")

FIRST_TIMES = {
    "nothing": properties(),
    "an id": properties(message_id=short(b"r-1")),
    "everything that is kept": properties(
        content_type=short(b"application/json"),
        content_encoding=short(b"identity"),
        headers=pairs((b"traceparent", text(b"00-1")), (b"n", b"I\0\0\0\1"), (b"v", b"V")),
        delivery_mode=b"\2",
        priority=b"\4",
        correlation_id=short(b"c-1"),
        reply_to=short(b"answers"),
        message_id=short(b"r-\xff\xfe"),
        timestamp=moment(2**63),
        type=short(b"t"),
        app_id=short(b"a"),
    ),
    "our own user": properties(message_id=short(b"r-1"), user_id=short(b"guest")),
}


@pytest.mark.parametrize("first", FIRST_TIMES.values(), ids=FIRST_TIMES)
@pytest.mark.parametrize("bury", [as_it_was, in_one_header])
def test_what_was_buried_comes_out_as_it_was(first: bytes, bury: object) -> None:
    """
    Byte by byte, except that headers come to be where there were none at all.
    """
    assert callable(bury)
    buried = bury(first, WHY, room=ENOUGH)

    assert first == restored(buried, user="guest")


def test_a_replay_carries_its_time() -> None:
    """
    By that, and by nothing else, the next dead letter of this message is another one.
    """
    buried = as_it_was(properties(message_id=short(b"r-1")), WHY, room=ENOUGH)
    at = datetime(2026, 6, 2, 9, tzinfo=UTC)
    stamped = (b"x-replayed-at", text(b"2026-06-02T09:00:00.000Z"))

    again = restored(buried, user="guest", at=at)
    twice = restored(as_it_was(again, WHY, room=ENOUGH), user="guest", at=at + timedelta(0))

    assert properties(headers=pairs(stamped), message_id=short(b"r-1")) == again
    assert again == twice


def test_no_replay_expires() -> None:
    """
    The time that a producer gave has passed; how long it was is still told.
    """
    first = properties(expiration=short(b"1"), message_id=short(b"r-1"))
    kept = properties(
        headers=pairs((b"x-original-expiration", text(b"1"))), message_id=short(b"r-1")
    )

    assert kept == restored(as_it_was(first, WHY, room=ENOUGH), user="guest")
    assert kept == restored(in_one_header(first, WHY, room=ENOUGH), user="guest")


def test_the_broker_would_refuse_another_users_name() -> None:
    """
    It stays in its header.
    """
    first = properties(message_id=short(b"r-1"), user_id=short(b"upstream"))
    kept = properties(
        headers=pairs((b"x-original-user-id", text(b"upstream"))), message_id=short(b"r-1")
    )

    assert kept == restored(as_it_was(first, WHY, room=ENOUGH), user="guest")
    assert kept == restored(in_one_header(first, WHY, room=ENOUGH), user="guest")


def test_copies_do_not_go_out_again() -> None:
    """
    Who was in copy had the message the first time.
    """
    first = properties(headers=pairs((b"CC", b"A\0\0\0\0"), (b"BCC", b"A\0\0\0\0")))
    kept = properties(
        headers=pairs((b"x-original-cc", b"A\0\0\0\0"), (b"x-original-bcc", b"A\0\0\0\0"))
    )

    assert kept == restored(as_it_was(first, WHY, room=ENOUGH), user="guest")
    assert kept == restored(in_one_header(first, WHY, room=ENOUGH), user="guest")


def test_what_nobody_can_read_comes_out_as_it_was() -> None:
    """
    Be it all of the properties or those that were kept in one header.
    """
    garbage = b"\x80\x00\xff"

    assert garbage == restored(garbage, user="guest")
    assert garbage == restored(in_one_header(garbage, WHY, room=ENOUGH), user="guest")


def test_a_letter_tells_why_and_from_where() -> None:
    """
    All of it from the headers that burying wrote.
    """
    buried = as_it_was(properties(message_id=short(b"r-1")), WHY, room=ENOUGH)
    letter = letter_of(buried, b"body", "withdrawal.request")

    assert ("r-1", "poison", "failed unexpectedly 5 times", "withdrawals.requests", 4) == (
        letter.message_id,
        letter.reason,
        letter.detail,
        letter.origin,
        letter.size,
    )
    assert datetime(2026, 6, 1, 10, tzinfo=UTC) == letter.buried_at
    assert Asks.REQUEST is letter.asks


@pytest.mark.parametrize("name", ["cloudEvents:id", "cloudEvents_id"])
def test_a_cloud_event_is_known_by_its_own_id(name: str) -> None:
    """
    Where AMQP's is missing.
    """
    encoded = properties(headers=pairs((name.encode(), text(b"ce-1"))))

    assert "ce-1" == letter_of(encoded, b"", "").message_id


def test_the_id_does_not_change_by_reading() -> None:
    """
    The broker's count of deliveries grows with each; another content is another letter.
    """
    plain = properties(message_id=short(b"r-1"))
    counted = properties(headers=pairs(COUNT), message_id=short(b"r-1"))
    first = letter_of(plain, b"body", "").id

    assert first == letter_of(counted, b"body", "").id
    assert first != letter_of(plain, b"body2", "").id
    assert first != letter_of(properties(message_id=short(b"r-2")), b"body", "").id


def test_a_letter_from_the_broker_itself_is_told_apart() -> None:
    """
    It has the broker's word for a reason, and the queue that it came from.
    """
    headers = pairs(
        (b"x-first-death-queue", text(b"withdrawals.cancellations")),
        (b"x-first-death-reason", text(b"delivery_limit")),
        (b"x-death", b"A\0\0\0\0"),
    )
    letter = letter_of(properties(headers=headers), b"", "withdrawal.cancel")

    assert ("broker", "delivery_limit", Asks.CANCELLATION, None) == (
        letter.reason,
        letter.detail,
        letter.asks,
        letter.buried_at,
    )
    assert properties() == restored(properties(headers=headers), user="guest")


@pytest.mark.parametrize(
    ("key", "asks"),
    [
        ("withdrawal.request", Asks.REQUEST),
        ("withdrawal.cancel", Asks.CANCELLATION),
        ("elsewhere", None),
    ],
)
def test_without_an_origin_the_routing_key_tells(key: str, asks: Asks | None) -> None:
    """
    A key that is not the worker's tells nothing.
    """
    assert asks is letter_of(properties(), b"", key).asks


@pytest.mark.parametrize("written", ["", "yesterday", "2026-06-01T10:00:00"])
def test_hostile_headers_do_no_harm(written: str) -> None:
    """
    Anybody may publish to the dead letters: a time that is none is not known.
    """
    header: Header = text_header("x-dead-lettered-at", written)
    letter = letter_of(
        properties(headers=pairs((header.name, header.value))), b"", "withdrawal.request"
    )

    assert written.startswith("2026") is (letter.buried_at is not None)


def test_a_letter_without_readable_properties_has_an_id_all_the_same() -> None:
    """
    So that it can be looked at and dropped.
    """
    letter = letter_of(b"\x80\x00\xff", b"body", "withdrawal.request")

    assert (12, None, "broker") == (len(letter.id), letter.message_id, letter.reason)
