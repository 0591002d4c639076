"""The loop that takes up what is due: how much at once, what does not stop it, and how it ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.flows.fakes import FakeProvider, Saying
from tests.flows.flaky import Line
from tests.flows.house import PATIENCE, House
from tests.flows.waiting import PATIENT_SECONDS, until
from worker.core.answers import Unclear
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from worker.core.answers import Answer
    from worker.core.change import Held

#: What `House` allows.
CONCURRENCY = 4


class SlowProvider(FakeProvider):
    """Answers looks once it is let go; tells how many are waiting, and the most that ever were."""

    def __init__(self, bank: FakeProvider) -> None:
        super().__init__(bank.now)
        self.waiting = 0
        self.most_waiting = 0
        self.let_go = asyncio.Event()

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Wait, and tell the truth."""
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await self.let_go.wait()
        self.waiting -= 1
        return await super().look(party_id, withdrawal_id)


@asynccontextmanager
async def _running(house: House) -> AsyncIterator[asyncio.Task[None]]:
    """Run the follower; it is stopped in the end."""
    task = asyncio.create_task(house.follow.run())
    try:
        yield task
    finally:
        house.follow.stop()
        await asyncio.wait_for(task, PATIENT_SECONDS)


async def _pending(house: House, count: int) -> None:
    """Deliver requests and let all of them be due for a look."""
    for number in range(count):
        await house.deliver(f"req-{number}", party=f"party_{number}")
    house.clock.at += PATIENCE.looks.first_delay


async def _slow(house: House, count: int) -> SlowProvider:
    await _pending(house, count)
    slow = SlowProvider(house.bank)
    slow.paid = house.bank.paid
    house.providers["bank"] = slow
    return slow


async def test_no_more_than_so_many_steps_are_in_work_at_once(house: House) -> None:
    """
    What is due beyond that follows as soon as there is room, and all of it in the end.
    """
    slow = await _slow(house, 3 * CONCURRENCY)
    async with _running(house):
        await until(lambda: slow.waiting == CONCURRENCY)
        in_work = house.follow.in_work
        slow.let_go.set()
        await until(lambda: len(slow.looked) == 3 * CONCURRENCY)

    assert CONCURRENCY == in_work
    assert CONCURRENCY == slow.most_waiting


async def test_a_stop_waits_for_the_steps_in_work(house: House) -> None:
    """
    What has begun is finished and recorded; nothing more is taken up.
    """
    slow = await _slow(house, 2 * CONCURRENCY)
    for paid in slow.paid:
        paid.status = Status.COMPLETED
    async with _running(house) as task:
        await until(lambda: slow.waiting == CONCURRENCY)
        house.follow.stop()
        slow.let_go.set()
        await asyncio.wait_for(asyncio.shield(task), PATIENT_SECONDS)
        in_work = house.follow.in_work
    statuses = [await house.status(f"req-{number}") for number in range(2 * CONCURRENCY)]

    assert 0 == in_work
    assert CONCURRENCY == statuses.count(Status.COMPLETED)
    assert CONCURRENCY == statuses.count(Status.PENDING)


async def test_given_up_the_steps_in_work_end_with_it(house: House) -> None:
    """
    When the time to stop is over no step goes on behind anybody's back: it is free for another.
    """
    slow = await _slow(house, 1)
    task = asyncio.create_task(house.follow.run())
    await until(lambda: slow.waiting == 1)
    task.cancel()
    await asyncio.wait([task], timeout=PATIENT_SECONDS)

    assert task.cancelled()
    await until(lambda: house.follow.in_work == 0)
    assert [] == slow.looked


async def test_nothing_is_taken_up_while_credentials_are_refused(house: House) -> None:
    """
    The loop lives on, and goes on by itself once providers may be called again.
    """
    await _pending(house, 1)
    house.may_call = False
    async with _running(house):
        beats = house.beats
        await until(lambda: house.beats > beats + 1)
        looked = list(house.bank.looked)
        house.may_call = True
        await until(lambda: bool(house.bank.looked))

    assert [] == looked


async def test_a_look_that_raises_leaves_that_one_alone_and_the_others_go_on(
    house: House,
) -> None:
    """
    A bug that one withdrawal sets off is tried again after a minute, and stops nobody else.
    """
    await _pending(house, 3)
    house.bank.looks.append(RuntimeError("a bug"))
    async with _running(house):
        await until(lambda: len(house.bank.looked) == 3)
    pauses = [
        (await house.known(f"req-{number}")).held.withdrawal.due_at - house.clock.at  # type: ignore[operator]
        for number in range(3)
    ]

    assert 1 == pauses.count(timedelta(minutes=1))
    assert 2 == pauses.count(PATIENCE.looks.first_delay * 2)


async def test_a_create_call_that_raises_leaves_that_one_alone_too(house: House) -> None:
    """
    Its intent is committed by then: it stays in doubt, and is not called again within the minute.
    """
    for _ in range(3):
        house.bank.say(Unclear("timeout"))
    await house.deliver()
    house.clock.advance(seconds=10)
    house.bank.say(RuntimeError("a bug"), pays=True)
    async with _running(house):
        await until(lambda: len(house.bank.calls) == 4)
        beats = house.beats
        await until(lambda: house.beats > beats + 1)
    withdrawal = (await house.known()).held.withdrawal

    assert 4 == len(house.bank.calls)
    assert house.clock.at + timedelta(minutes=1) == withdrawal.due_at
    assert withdrawal.in_doubt


async def test_a_ledger_that_goes_away_ends_nothing(house: House) -> None:
    """
    While it is away nothing is taken up; afterwards the loop goes on by itself.
    """
    await _pending(house, 1)
    house.line.line = Line.CUT_BEFORE
    async with _running(house):
        beats = house.beats
        await until(lambda: house.beats > beats + 1)
        looked = list(house.bank.looked)
        house.line.line = Line.WHOLE
        await until(lambda: bool(house.bank.looked))

    assert [] == looked


async def test_what_a_delivery_has_in_hand_is_not_taken_up(house: House) -> None:
    """
    The loop runs while the provider is slow to answer: one call, one answer.
    """
    beaten = asyncio.Event()

    async def wait() -> None:
        house.clock.advance(seconds=30)
        beats = house.beats
        await until(lambda: house.beats > beats + 1)
        beaten.set()

    house.bank.says.append(Saying(pays=True, meanwhile=wait))
    async with _running(house):
        await house.deliver()

    assert beaten.is_set()
    assert 1 == len(house.bank.calls)


async def test_of_a_provider_that_is_out_nothing_is_taken_up(house: House) -> None:
    """
    What is due waits where it is, and is taken up once the provider is back.
    """
    await _pending(house, 3)
    house.out.add("bank")
    async with _running(house):
        await until(lambda: house.beats > 1)
        looked = list(house.bank.looked)
        house.out.clear()
        await until(lambda: len(house.bank.looked) == 3)

    assert [] == looked


async def test_of_a_provider_on_trial_one_step_at_a_time(house: House) -> None:
    """
    The next is taken up when the one before has ended; other providers are not held up.
    """
    slow = await _slow(house, 3)
    slow.let_go.clear()
    house.trial.add("bank")
    async with _running(house):
        await until(lambda: slow.waiting == 1)
        beats = house.beats
        await until(lambda: house.beats > beats + 1)
        in_work = house.follow.in_work
        slow.let_go.set()
        await until(lambda: len(slow.looked) == 3)

    assert 1 == in_work
    assert 1 == slow.most_waiting


async def test_on_trial_nothing_is_taken_out_of_the_intakes_hand(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Not even what was taken in while the claim before was being committed: it has one create call.
    """
    house.trial.add("bank")
    answered = asyncio.Event()

    async def slowly() -> None:
        await answered.wait()

    house.bank.says.append(Saying(pays=True, meanwhile=slowly))
    claim = house.line.claim_due
    intakes: list[asyncio.Task[object]] = []

    async def while_one_is_taken_in(*given: Any, **options: Any) -> list[Held]:  # noqa: ANN401
        found = await claim(*given, **options)
        if not intakes:
            intakes.append(asyncio.create_task(house.deliver()))
            await until(lambda: bool(house.bank.calls))
        return found

    monkeypatch.setattr(house.line, "claim_due", while_one_is_taken_in)
    begun = await house.follow.take_up(5)
    answered.set()
    await asyncio.gather(*intakes)
    await house.follow.finish()

    assert 0 == begun
    assert 1 == len(house.bank.calls)
