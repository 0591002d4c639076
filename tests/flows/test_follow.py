"""Following a withdrawal to its end: by its due time, which outlives the process."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import FakeProvider, VirtualClock
from tests.flows.flaky import Line
from tests.flows.house import PATIENCE, House, die, open_house
from worker.core.answers import Denied, Refused, Reported, Throttled, Unclear
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.ports import LedgerUnavailable

if TYPE_CHECKING:
    from worker.core.answers import Answer

SECOND = timedelta(seconds=1)


async def _pause(house: House, message_id: str = "req-1") -> timedelta | None:
    """How long it is until the withdrawal is due again."""
    due_at = (await house.known(message_id)).held.withdrawal.due_at
    return None if due_at is None else due_at - house.clock.at


async def _look(house: House) -> timedelta | None:
    """Wait until it is due, take the step, and return the pause that follows."""
    house.clock.at += await _pause(house) or timedelta(0)
    assert 1 == await house.step()
    return await _pause(house)


async def test_the_pauses_between_looks_grow_up_to_a_cap(house: House) -> None:
    """
    Twice as long each time while nothing happens, half an hour at the most.
    """
    await house.deliver()
    pauses = [await _pause(house)] + [await _look(house) for _ in range(9)]

    assert [15, 30, 60, 120, 240, 480, 960, 1800, 1800, 1800] == [
        pause and pause.total_seconds() for pause in pauses
    ]
    assert ["received", "pending"] == await house.events()


async def test_a_move_starts_the_pauses_anew(house: House) -> None:
    """
    What has just moved may move again soon.
    """
    await house.deliver()
    for _ in range(4):
        await _look(house)
    house.bank.paid[0].status = Status.PROCESSING

    assert PATIENCE.looks.first_delay == await _look(house)
    assert ["received", "pending", "processing"] == await house.events()


async def test_nothing_is_taken_up_before_its_time(house: House) -> None:
    """
    Not even a moment.
    """
    await house.deliver()
    house.clock.at += PATIENCE.looks.first_delay - timedelta(microseconds=1)
    early = await house.step()
    house.clock.advance(microseconds=1)

    assert 0 == early
    assert 1 == await house.step()


async def test_a_restart_keeps_the_due_time(ledger_url: str) -> None:
    """
    Another process on the same ledger looks when it is due, neither sooner nor from the beginning.
    """
    async with open_house(ledger_url) as house:
        await house.deliver()
        await _look(house)
    async with open_house(ledger_url, clock=house.clock, bank=house.bank) as later:
        early = await later.step()
        pause = await _look(later)

    assert 0 == early
    assert timedelta(seconds=60) == pause


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_at_its_end_it_is_let_go_of(house: House, end: Status) -> None:
    """
    The end is told with its reason, and it is never due again.
    """
    await house.deliver()
    house.bank.paid[0].status = end
    pause = await _look(house)

    assert pause is None
    assert ["received", "pending", end.value] == await house.events()
    assert await house.step() == 0


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (Unclear("timeout"), 30 * SECOND),
        (Unclear("http_503", 90 * SECOND), 90 * SECOND),
        (Refused(Reason(ReasonCode.NOT_FOUND)), 30 * SECOND),
        (Throttled(45 * SECOND), 45 * SECOND),
        (Denied(), 30 * SECOND),
        (Reported("wd_1", None, "in_review"), 30 * SECOND),
        (Reported("wd_9", Status.FAILED, "failed"), 30 * SECOND),
    ],
)
async def test_a_look_that_says_nothing_of_it_is_repeated(
    house: House, answer: Answer, pause: timedelta
) -> None:
    """
    No refused, failed or strange look moves a withdrawal; it is looked at again, later.
    """
    await house.deliver()
    house.bank.looks.append(answer)

    assert pause == await _look(house)
    assert ["received", "pending"] == await house.events()
    assert (["bank"] if isinstance(answer, Denied) else []) == house.denied


async def test_an_unknown_word_is_counted(house: House) -> None:
    """
    Somebody has to learn of it; the withdrawal goes on as soon as the word is a known one again.
    """
    await house.deliver()
    house.bank.looks.append(Reported("wd_1", None, "in_review"))
    await _look(house)
    word = (await house.known()).held.withdrawal.provider_status
    house.bank.paid[0].status = Status.COMPLETED
    await _look(house)

    assert 1 == house.counted.unknown_statuses
    assert "in_review" == word
    assert Status.COMPLETED is await house.status()


async def test_a_look_that_was_not_recorded_is_still_due(house: House) -> None:
    """
    The ledger was away in that moment: nothing is told, and the next look finds the same.
    """
    await house.deliver()
    house.bank.paid[0].status = Status.COMPLETED
    house.clock.at += PATIENCE.looks.first_delay
    (held,) = await house.ledger.claim_due(1, busy=())
    house.line.line = Line.CUT_BEFORE
    with pytest.raises(LedgerUnavailable):
        await house.follow.take_step(held)
    told = len(house.counted.changes)
    house.line.line = Line.WHOLE
    await house.step()

    assert 2 == told
    assert ["received", "pending", "completed"] == await house.events()


async def test_a_look_recorded_by_another_is_told_by_the_other(house: House) -> None:
    """
    Two replicas look at the same one: a single event comes of it.
    """
    await house.deliver()
    house.bank.paid[0].status = Status.COMPLETED
    house.clock.at += PATIENCE.looks.first_delay
    (held,) = await house.ledger.claim_due(1, busy=())
    await die(house)
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        await other.step()
        await house.follow.take_step(held)

    assert ["received", "pending", "completed"] == await house.events()
    assert [("req-1", "completed")] == other.counted.changes
    assert ("req-1", "completed") not in house.counted.changes


async def test_without_its_provider_a_withdrawal_waits(ledger_url: str) -> None:
    """
    A provider that is disabled loses nothing: once it is enabled again, its withdrawals go on.
    """
    clock = VirtualClock()
    other = FakeProvider(clock.now, name="other")
    async with open_house(ledger_url, clock=clock, more={"other": other}) as house:
        await house.deliver(provider="other")
    other.paid[0].status = Status.COMPLETED
    clock.at += PATIENCE.looks.first_delay
    async with open_house(ledger_url, clock=clock) as house:
        await house.step()
        pause = await _pause(house)
        events = await house.events()
    clock.advance(minutes=1)
    async with open_house(ledger_url, clock=clock, more={"other": other}) as house:
        await house.step()

        assert ["received", "pending", "completed"] == await house.events()
    assert timedelta(minutes=1) == pause
    assert ["received", "pending"] == events


async def test_after_a_crash_before_the_call_it_is_taken_up(house: House) -> None:
    """
    The process died right after the commit: another takes it over and calls, with the same key.
    """
    house.line.line = Line.CUT_AFTER
    await house.deliver()
    await die(house)
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        await other.step()

    assert ["received", "pending"] == await house.events()
    assert 1 == len(house.bank.paid)


async def test_what_a_living_replica_works_on_is_left_to_it(house: House) -> None:
    """
    However long it is due.
    """
    house.line.line = Line.CUT_AFTER
    await house.deliver()
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        taken_up = await other.step()

    assert 0 == taken_up
    assert [] == house.bank.calls


async def test_an_intent_that_was_not_confirmed_sends_nothing(house: House) -> None:
    """
    A retry commits its intent before it calls; without the confirmation no call leaves.
    """
    for _ in range(3):
        house.bank.say(Unclear("timeout"))
    await house.deliver()
    house.clock.advance(minutes=1)
    (held,) = await house.ledger.claim_due(1, busy=())
    house.line.line = Line.CUT_AFTER
    with pytest.raises(LedgerUnavailable):
        await house.follow.take_step(held)

    assert 3 == len(house.bank.calls)


async def test_every_retry_is_written_down_before_it_leaves(house: House) -> None:
    """
    The attempts are numbered on, whatever became of those before.
    """
    for _ in range(4):
        house.bank.say(Unclear("timeout"))
    await house.deliver()
    house.clock.advance(minutes=1)
    await house.step()
    attempts = (await house.known()).attempts

    assert [1, 2, 3, 4, 5] == [attempt["number"] for attempt in attempts]
    assert ["unclear"] * 4 + ["reported"] == [attempt["outcome"] for attempt in attempts]
