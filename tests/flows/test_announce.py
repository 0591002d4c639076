"""Committed events on their way out: in order, none forgotten, repeated only under the same id."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import FakeOutbox
from tests.flows.flaky import Line
from tests.flows.house import House, an_envelope, open_house
from tests.flows.waiting import PATIENT_SECONDS, until
from tests.ledger import second
from worker.core.withdrawal import Status
from worker.flows.announce import BATCH, SWEEP, SWEEP_AGE
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.flows.announce import Announce
    from worker.flows.ports import Outgoing


@asynccontextmanager
async def _running(*announcers: Announce) -> AsyncIterator[None]:
    """Run announcers; in the end they are stopped and publish what they were told of."""
    tasks = [asyncio.create_task(announcer.run()) for announcer in announcers]
    try:
        yield
    finally:
        for announcer in announcers:
            announcer.stop()
        done, late = await asyncio.wait(tasks, timeout=PATIENT_SECONDS)
        for task in late:
            task.cancel()
        assert not late
        assert [None] * len(tasks) == [task.exception() for task in done]


async def _unconfirmed(house: House) -> int:
    return await house.ledger.count_unannounced()


def _sequences(events: list[Outgoing]) -> dict[str, list[int]]:
    """The sequences of each withdrawal in the order of arrival, without repeated ids."""
    first = {event.event_id: event for event in reversed(events)}
    order: dict[str, list[int]] = {}
    for event in events:
        if first.pop(event.event_id, None) is not None:
            order.setdefault(event.message_id, []).append(event.sequence)
    return order


async def test_each_withdrawals_events_leave_in_order_and_once(house: House) -> None:
    """
    The very bytes that were committed; then they are marked, counted, and never sent again.
    """
    outbox = FakeOutbox()
    async with _running(house.announcer(outbox)):
        for number in range(3):
            await house.deliver(f"req-{number}")
        await house.move(Status.COMPLETED)
    bodies = await second.read(house.url, "SELECT body FROM events")

    assert {f"req-{number}": [1, 2, 3] for number in range(3)} == _sequences(outbox.arrived)
    assert sorted(bytes(body) for (body,) in bodies) == sorted(e.body for e in outbox.arrived)
    assert 0 == await _unconfirmed(house)
    assert sorted(event.type for event in outbox.arrived) == sorted(house.published)


async def test_the_next_one_waits_for_the_confirmation_of_the_one_before(house: House) -> None:
    """
    While the broker is silent about the first, the second does not leave.
    """
    outbox = FakeOutbox()
    outbox.confirming.clear()
    await house.deliver()
    async with _running(house.announcer(outbox)):
        await until(lambda: len(outbox.arrived) == 1)
        await asyncio.sleep(0.05)
        arrived_in_silence = list(outbox.told())
        outbox.confirming.set()

    assert ["received"] == arrived_in_silence
    assert ["received", "pending"] == outbox.told()


@pytest.mark.parametrize(
    ("kind", "arrivals"),
    [("loses", ["received", "pending"]), ("swallows", ["received", "received", "pending"])],
)
async def test_an_unconfirmed_one_is_repeated_under_its_id(
    house: House, kind: str, arrivals: list[str]
) -> None:
    """
    Whether it had arrived or not; and nothing behind it goes first.
    """
    outbox = FakeOutbox()
    getattr(outbox, kind)["withdrawal.received"] = 1
    await house.deliver()
    async with _running(house.announcer(outbox)):
        await until(lambda: len(outbox.arrived) == len(arrivals))

    assert arrivals == outbox.told()
    assert 2 == len({event.event_id for event in outbox.arrived})
    assert 0 == await _unconfirmed(house)


async def test_one_that_fails_does_not_hold_up_the_others(house: House) -> None:
    """
    It is set aside for a while, and the events of others leave meanwhile.
    """
    outbox = FakeOutbox()
    outbox.fails["withdrawal.rejected"] = PublishUnconfirmed("refused by the broker")
    await house.deliver("bad", amount="-1")
    async with _cut_off(house.announcer(outbox, pause_seconds=3600)):
        for number in range(5):
            await house.deliver(f"req-{number}")
            arrived = 2 * number + 2
            await until(lambda arrived=arrived: len(outbox.arrived) == arrived)  # type: ignore[misc]

    assert 5 == len(_sequences(outbox.arrived))
    assert 1 == outbox.tries["withdrawal.rejected"]


@asynccontextmanager
async def _cut_off(announcer: Announce) -> AsyncIterator[None]:
    """Run an announcer that will not come to an end, and cancel it."""
    task = asyncio.create_task(announcer.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_many_that_fail_hide_no_other(house: House) -> None:
    """
    More than are ever read at once, and older: each is tried once, and what comes later is found.
    """
    outbox = FakeOutbox()
    outbox.fails["withdrawal.rejected"] = PublishUnconfirmed("refused by the broker")
    many = BATCH + 1
    await asyncio.gather(*(house.deliver(f"bad-{number}", amount="-1") for number in range(many)))
    house.clock.at += SWEEP_AGE
    async with _cut_off(house.announcer(outbox, pause_seconds=3600)):
        house.told.others.clear()
        await until(lambda: outbox.tries["withdrawal.rejected"] == many)
        await house.deliver("good")
        house.clock.at += SWEEP_AGE + SWEEP
        await until(lambda: len(outbox.told("good")) == 2)

    assert many == outbox.tries["withdrawal.rejected"]


async def test_a_bug_that_one_event_sets_off_stops_nobody(house: House) -> None:
    """
    The loop lives, others' events leave, and that one waits in the ledger.
    """
    outbox = FakeOutbox()
    outbox.fails["withdrawal.rejected"] = ValueError("a bug")
    await house.deliver("bad", amount="-1")
    async with _cut_off(house.announcer(outbox)):
        await house.deliver("good")
        await until(lambda: len(outbox.told("good")) == 2)

    assert [] == outbox.told("bad")
    assert ["received", "pending"] == outbox.told("good")


async def test_a_crash_between_publishing_and_marking_repeats(house: House) -> None:
    """
    The next process publishes again, under the same ids and in order: nothing is lost.
    """
    outbox = FakeOutbox()
    await house.deliver()
    house.line.line = Line.CUT_BEFORE
    async with _cut_off(house.announcer(outbox)):
        await until(lambda: len(outbox.arrived) >= 2)
    async with (
        open_house(house.url, clock=house.clock, bank=house.bank) as later,
        _running(later.announcer(outbox)),
    ):
        await until(lambda: len(outbox.arrived) >= 4)

    assert {"req-1": [1, 2]} == _sequences(outbox.arrived)
    assert 2 == len({event.event_id for event in outbox.arrived})
    assert 0 == await _unconfirmed(house)


async def test_a_mark_that_was_made_and_not_confirmed_repeats_nothing(house: House) -> None:
    """
    It is read again from the ledger what is still unpublished.
    """
    outbox = FakeOutbox()
    await house.deliver()
    house.line.line = Line.CUT_AFTER
    async with _running(house.announcer(outbox)):
        await until(lambda: len(outbox.arrived) == 2)
        house.line.line = Line.WHOLE

    assert ["received", "pending"] == outbox.told()


async def test_at_the_start_all_that_is_left_from_before_goes_out(house: House) -> None:
    """
    However young it is, and though nobody tells of it.
    """
    for number in range(3):
        await house.deliver(f"req-{number}")
    house.told.others.clear()
    outbox = FakeOutbox()
    async with _running(house.announcer(outbox)):
        await until(lambda: len(outbox.arrived) == 6)

    assert {f"req-{number}": [1, 2] for number in range(3)} == _sequences(outbox.arrived)


async def test_what_a_dead_replica_left_is_found_once_it_is_old_enough(house: House) -> None:
    """
    A living replica publishes its own events; they become everybody's when they lie there.
    """
    outbox = FakeOutbox()
    announcer = house.announcer(outbox)
    house.told.others.clear()
    async with _running(announcer):
        # The first search, which finds everything, is over by then.
        await until(lambda: house.beats > 0)
        beats = house.beats
        await house.deliver("left")
        house.clock.at += SWEEP_AGE - timedelta(milliseconds=1)
        announcer.told(0)
        await until(lambda: house.beats > beats + 1)
        young = outbox.told("left")
        house.clock.advance(seconds=5)
        announcer.told(0)
        await until(lambda: len(outbox.arrived) == 2)

    assert [] == young
    assert ["received", "pending"] == outbox.told("left")


async def test_a_clock_that_goes_back_does_not_end_the_search(house: House) -> None:
    """
    An hour back: what was left before is found all the same.
    """
    outbox = FakeOutbox()
    announcer = house.announcer(outbox)
    house.told.others.clear()
    await house.deliver("left")
    left = (await house.known("left")).held.row
    async with _running(announcer):
        await until(lambda: len(outbox.arrived) == 2)
        house.clock.advance(hours=2)
        announcer.told(left)
        await until(lambda: announcer.waiting == 0)
        house.clock.advance(hours=-1)
        await second.write(house.url, "UPDATE events SET published_at = NULL")
        await until(lambda: len(outbox.arrived) == 4)

    assert ["received", "pending"] * 2 == outbox.told("left")


async def test_a_ledger_that_goes_away_loses_no_event(house: House) -> None:
    """
    The announcer lives through it and goes on by itself.
    """
    outbox = FakeOutbox()
    async with _running(house.announcer(outbox)):
        await house.deliver()
        house.line.line = Line.CUT_BEFORE
        await asyncio.sleep(0.05)
        house.line.line = Line.WHOLE
        await until(lambda: outbox.told().count("pending") > 0)

    assert {"req-1": [1, 2]} == _sequences(outbox.arrived)
    assert 0 == await _unconfirmed(house)


async def test_stopped_it_publishes_what_it_was_told_of(house: House) -> None:
    """
    And ends then.
    """
    outbox = FakeOutbox()
    announcer = house.announcer(outbox)
    await house.deliver()
    announcer.stop()
    await asyncio.wait_for(announcer.run(), PATIENT_SECONDS)

    assert ["received", "pending"] == outbox.told()
    assert 0 == announcer.waiting


@pytest.mark.parametrize("seed", range(5))
async def test_two_announcers_at_once_never_break_the_order(house: House, seed: int) -> None:
    """
    Over one ledger, as fast as each can, with confirmations that get lost.

    After dropping repeated ids every withdrawal's events are gapless and in order.
    """
    outbox = FakeOutbox(Random(seed))  # noqa: S311 - no secret
    async with (
        open_house(house.url, clock=house.clock, bank=house.bank) as other,
        _running(house.announcer(outbox), other.announcer(outbox)),
    ):
        house.told.others.append(other.told.told)
        for number in range(8):
            outbox.swallows["withdrawal.received"] += number % 2
            await house.deliver(f"req-{number}")
        outbox.swallows["withdrawal.processing"] += 2
        outbox.loses["withdrawal.processing"] += 2
        await house.move(Status.PROCESSING)
        await house.move(Status.COMPLETED)
    sequences = _sequences(outbox.arrived)

    assert {f"req-{number}": [1, 2, 3, 4] for number in range(8)} == sequences
    assert 0 == await _unconfirmed(house)


async def test_the_asker_gets_a_copy_of_each(house: House) -> None:
    """
    The same events, in the same order, at the queue that the request named.
    """
    outbox = FakeOutbox()
    async with _running(house.announcer(outbox)):
        await house.intake(an_envelope(reply_to="answers"))

    assert outbox.arrived == outbox.answered
    assert [1, 2] == [event.sequence for event in outbox.answered]


async def test_an_asker_who_has_gone_holds_nothing_up(house: House) -> None:
    """
    Its queue does not exist any more: the events count as published.
    """
    outbox = FakeOutbox()
    outbox.replies_fail = PublishUnroutable("answers")
    async with _running(house.announcer(outbox)):
        await house.intake(an_envelope(reply_to="answers"))

    assert ["received", "pending"] == outbox.told()
    assert 0 == await _unconfirmed(house)


async def test_a_copy_that_was_not_confirmed_is_repeated(house: House) -> None:
    """
    Together with the event itself, whose id tells that it is one.
    """
    outbox = FakeOutbox()
    outbox.replies_fail = PublishUnconfirmed("TimeoutError")
    async with _running(house.announcer(outbox)):
        await house.intake(an_envelope(reply_to="answers"))
        await until(lambda: len(outbox.arrived) >= 1)
        outbox.replies_fail = None

    assert [1, 2] == [event.sequence for event in outbox.answered]


async def test_a_reply_queue_that_refuses_for_ever_is_given_up(house: House) -> None:
    """
    It is full, or broken: the exchange gets every event all the same, and no flood of repeats.
    """
    outbox = FakeOutbox()
    outbox.replies_fail = PublishUnconfirmed("refused by the broker (nack)")
    async with _running(house.announcer(outbox)):
        await house.intake(an_envelope(reply_to="answers"))
        await until(lambda: "pending" in outbox.told())

    assert {"req-1": [1, 2]} == _sequences(outbox.arrived)
    assert 0 == await _unconfirmed(house)
    assert len(outbox.arrived) <= 10
