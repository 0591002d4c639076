"""What becomes of a message that the consumer takes."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.rabbitmq.at_work import AT_ONCE, at_work
from tests.rabbitmq.upstream import upstream
from tests.rabbitmq.wire import properties, short, table, text
from worker.core.messages import DeadReason
from worker.flows.journey import Untraced
from worker.flows.ports import LedgerUnavailable
from worker.flows.settlement import ACCEPT, Bury, Return, Settlement
from worker.rabbitmq.consumer import POISON_AFTER
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.messages import Envelope
    from worker.flows.journey import Handling

INVALID = Bury(DeadReason.INVALID, "amount: expected more than 0")


async def test_a_handler_sees_the_message_as_it_was_sent(rabbitmq_vhost: str) -> None:
    """
    Body, the properties that matter, and the headers that are texts.
    """
    sent = properties(
        content_type=short(b"application/json"),
        headers=table(traceparent=text(b"00-ab"), count=b"I\0\0\0\x01"),
        correlation_id=short(b"c-1"),
        reply_to=short(b"answers"),
        message_id=short("r-é".encode()),
    )
    async with upstream(rabbitmq_vhost) as service, at_work(rabbitmq_vhost) as work:
        await service.publish(b'{"a":1}', sent)
        seen = await work.desk.next()

    assert b'{"a":1}' == seen.body
    assert "r-é" == seen.message_id
    assert "application/json" == seen.content_type
    assert seen.content_encoding is None
    assert ("c-1", "answers") == (seen.correlation_id, seen.reply_to)
    assert {"traceparent": "00-ab"} == seen.headers
    assert not seen.redelivered


async def test_an_accepted_message_is_gone(rabbitmq_vhost: str) -> None:
    """
    Neither the queue nor the dead letters hold it afterwards.
    """
    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost) as work:
            await service.request("r-1")
            await work.desk.next()

        assert [] == await service.rest_of(REQUESTS)
        assert [] == await service.rest_of(DEAD_LETTERS)


async def test_a_buried_message_lies_in_the_dead_letters(rabbitmq_vhost: str) -> None:
    """
    With its body, its properties, and the reason in headers; and it is counted.
    """

    async def bury(_: Envelope) -> Settlement:
        return INVALID

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, bury) as work:
            await service.request("r-1", b"body")
            letter = await service.dead_letter()
        rest = await service.rest_of(REQUESTS)

    assert b"body" == letter.body
    assert "invalid" == letter.headers["x-reason"]
    assert INVALID.detail == letter.headers["x-reason-detail"]
    assert REQUESTS == letter.headers["x-origin-queue"]
    assert letter.headers["x-dead-lettered-at"].endswith("Z")
    assert [] == rest
    assert [DeadReason.INVALID] == work.buried


async def test_a_returned_message_comes_again(rabbitmq_vhost: str) -> None:
    """
    It is delivered again, marked as such, until the handler accepts it.
    """
    answers: list[Settlement] = [Return("not now", after=AT_ONCE), ACCEPT]

    async def answer(_: Envelope) -> Settlement:
        return answers.pop(0)

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, answer) as work:
            await service.request("r-1")
            first, second = await work.desk.next(), await work.desk.next()
        rest = await service.rest_of(REQUESTS)

    assert ("r-1", "r-1") == (first.message_id, second.message_id)
    assert (False, True) == (first.redelivered, second.redelivered)
    assert [] == rest


class Ends(Untraced):
    """How each journey of a message was settled; None while nothing was told."""

    def __init__(self) -> None:
        self.settled: list[Settlement | None] = []

    @contextmanager
    def message(self, queue: str, envelope: Envelope) -> Iterator[Handling]:  # type: ignore[override]
        """Keep what is told until the journey ends."""
        with super().message(queue, envelope) as handling:
            end = _End(handling.envelope)
            yield end
        self.settled.append(end.settlement)


class _End:
    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.settlement: Settlement | None = None

    def settled(self, settlement: Settlement) -> None:
        """Be told."""
        self.settlement = settlement


async def test_a_journey_is_told_how_its_message_was_really_settled(rabbitmq_vhost: str) -> None:
    """
    Returned by a bug of the handler's, and where it should be buried and cannot; then buried.
    """
    broken, books_away, ends = [True], [True], Ends()

    async def bury(_: Envelope) -> Settlement:
        if broken:
            raise ZeroDivisionError(broken.pop())
        return INVALID

    async def note(_envelope: Envelope, _reason: DeadReason) -> None:
        if books_away:
            raise LedgerUnavailable(str(books_away.pop()))

    async with (
        upstream(rabbitmq_vhost) as service,
        at_work(rabbitmq_vhost, bury, note_burial=note, journeys=ends),
    ):
        await service.request("r-1")
        await service.dead_letter()

    assert [
        Return("failed unexpectedly"),
        Return("dead letter not counted"),
        INVALID,
    ] == ends.settled


async def test_no_more_than_prefetch_are_in_work_at_once(rabbitmq_vhost: str) -> None:
    """
    The others stay in the queue, for other replicas to take.
    """
    go_on = asyncio.Event()

    async def wait(_: Envelope) -> Settlement:
        await go_on.wait()
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service:
        for number in range(5):
            await service.request(f"r-{number}")
        async with at_work(rabbitmq_vhost, wait, prefetch=2) as work:
            await work.desk.next()
            await work.desk.next()
            in_work = work.consumer.in_work
            elsewhere = await service.rest_of(REQUESTS)
            go_on.set()

    assert 2 == in_work
    assert 2 == len(work.desk.seen)
    assert 3 == len(elsewhere)


async def test_a_closed_gate_leaves_the_backlog_in_the_queue(rabbitmq_vhost: str) -> None:
    """
    Nothing is taken, and the report says why; once open, everything is.
    """
    async with upstream(rabbitmq_vhost) as service, at_work(rabbitmq_vhost) as work:
        await work.consuming.until(holds=True)
        await work.gate.close("ledger", "the ledger is away")
        await work.consuming.until(holds=False, words="the ledger is away")
        for number in range(3):
            await service.request(f"r-{number}")
        waiting = await service.ready_in(REQUESTS)
        await work.gate.open("ledger")
        came = {(await work.desk.next()).message_id for _ in range(3)}

    assert 3 == waiting
    assert {"r-0", "r-1", "r-2"} == came


async def test_work_in_hand_is_settled_after_the_gate_has_closed(rabbitmq_vhost: str) -> None:
    """
    A message that was begun is finished and acknowledged.
    """
    go_on = asyncio.Event()

    async def wait(_: Envelope) -> Settlement:
        await go_on.wait()
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service, at_work(rabbitmq_vhost, wait) as work:
        await service.request("r-1")
        await work.desk.next()
        await work.gate.close("ledger", "the ledger is away")
        await work.consuming.until(holds=False, words="not consuming")
        go_on.set()
        await work.consuming.until(holds=False, words="the ledger is away")
        rest = await service.rest_of(REQUESTS)

    assert [] == rest


async def test_stopping_finishes_what_is_in_work(rabbitmq_vhost: str) -> None:
    """
    The handler ends, its message is acknowledged, and only then `run` returns; nothing new begins.
    """
    go_on = asyncio.Event()

    async def wait(_: Envelope) -> Settlement:
        await go_on.wait()
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, wait, prefetch=1) as work:
            await service.request("begun")
            await service.request("left", b"left")
            await work.desk.next()
            work.consumer.stop()
            await work.consuming.until(holds=False, words="not consuming")
            assert not work.running.done()
            go_on.set()
            await work.stop()
        rest = await service.rest_of(REQUESTS)

    assert ["begun"] == [seen.message_id for seen in work.desk.seen]
    assert [b"left"] == [found.body for found in rest]


async def test_an_unexpected_failure_is_tried_again_and_then_buried(rabbitmq_vhost: str) -> None:
    """
    A message that the handler fails on is poison after some tries; others flow past it.
    """

    async def fail(envelope: Envelope) -> Settlement:
        if envelope.message_id == "bad":
            raise ZeroDivisionError
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, fail) as work:
            await service.request("bad", b"poison")
            await service.request("good")
            letter = await service.dead_letter()
        seen = [envelope.message_id for envelope in work.desk.seen]

    assert (POISON_AFTER, 1) == (seen.count("bad"), seen.count("good"))
    assert seen.index("good") < len(seen) - 1
    assert b"poison" == letter.body
    assert "poison" == letter.headers["x-reason"]
    assert [DeadReason.POISON] == work.buried


@pytest.mark.parametrize("message_id", [b"r-1", None], ids=["with id", "without id"])
async def test_failures_are_counted_for_each_message_alone(
    rabbitmq_vhost: str, message_id: bytes | None
) -> None:
    """
    Messages that fail a few times each are not poison, also when they have no id to be told by.
    """
    failures: dict[bytes, int] = {}

    async def fail_at_first(envelope: Envelope) -> Settlement:
        failures[envelope.body] = failures.get(envelope.body, 0) + 1
        if failures[envelope.body] == 1:
            raise ZeroDivisionError
        return ACCEPT

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, fail_at_first) as work:
            for number in range(POISON_AFTER):
                own_id = None if message_id is None else message_id + b"%d" % number
                encoded = properties(message_id=short(own_id)) if own_id else properties()
                await service.publish(b"%d" % number, encoded)
            for _ in range(2 * POISON_AFTER):
                await work.desk.next()
        letters = await service.rest_of(DEAD_LETTERS)

    assert [] == letters


async def test_a_success_takes_back_earlier_failures(rabbitmq_vhost: str) -> None:
    """
    Only failures that follow one another make a message poison.
    """
    turns = 0

    async def fail_by_turns(_: Envelope) -> Settlement:
        nonlocal turns
        turns += 1
        if turns > 2 * POISON_AFTER:
            return ACCEPT
        if turns % 2:
            raise ZeroDivisionError
        return Return("not now", after=AT_ONCE)

    async with upstream(rabbitmq_vhost) as service:
        async with at_work(rabbitmq_vhost, fail_by_turns) as work:
            await service.request("r-1")
            for _ in range(2 * POISON_AFTER + 1):
                await work.desk.next()
        letters = await service.rest_of(DEAD_LETTERS)

    assert [] == letters
