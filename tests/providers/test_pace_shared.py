"""Paces that share a budget, in virtual time: the limit of all, who goes first, what goes wrong.

The keeper of the budget is in memory here; the ledger's own is tested with the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import cycle, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers import virtual_time
from tests.providers.keeper import Keeper
from tests.providers.test_pace import densest
from worker.core.budget import FAIR_TURN, MARGIN, Rank, Reserved, Wish
from worker.providers.pace import LATENESS, WAIT_LIMIT, Alone, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

RATE = 25
SECOND = timedelta(seconds=1)
LIMIT = WAIT_LIMIT.total_seconds()
OPERATIONS = ("cancel", "create", "look")
#: Longer than a round through all the ranks' horizons.
SOON = 0.25 + 2 / RATE


def quick() -> Keeper:
    """A budget whose keeper answers after some milliseconds, now more, now less."""
    ways = cycle([0.0005, 0.004, 0.001, 0.0007, 0.002])
    return Keeper(RATE, latency=lambda: next(ways))


async def busy(keeper: Keeper, *cravings: Iterable[str], seconds: float) -> None:
    """Let replicas crave calls for a while, 20 at once of each operation."""
    replicas = keeper.replicas(len(cravings))
    calls = [
        asyncio.create_task(replica.crave(operation))
        for replica, operations in zip(replicas, cravings, strict=True)
        for operation in operations
        for _ in range(20)
    ]
    await asyncio.sleep(seconds)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


@given(
    rate=st.integers(1, 30),
    asked=st.lists(
        st.tuples(st.floats(0, 0.2), st.integers(0, 2), st.sampled_from(OPERATIONS)),
        min_size=1,
        max_size=60,
    ),
    latencies=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.1, 1.0]), min_size=1, max_size=40),
    stalls=st.lists(st.floats(0, 0.5), max_size=5),
)
def test_all_together_stay_within_the_limit(
    rate: int,
    asked: list[tuple[float, int, str]],
    latencies: list[float],
    stalls: list[float],
) -> None:
    """
    Whoever asks when, however long answers take, and whatever stands still; and all leave.
    """

    async def story() -> list[float]:
        ways = iter(latencies)
        keeper = Keeper(rate, latency=lambda: next(ways, 0.001))
        replicas = keeper.replicas(3)
        calls = []
        for number, (pause, name, operation) in enumerate(asked):
            await asyncio.sleep(pause)
            if number < len(stalls):
                virtual_time.stall(stalls[number])
            calls.append(replicas[name].ask(operation))
        await asyncio.gather(*calls)
        return [at for at, _, _ in keeper.left]

    left = virtual_time.run(story())

    assert len(asked) == len(left)
    assert densest(left) <= rate


@pytest.mark.parametrize("operation", OPERATIONS)
def test_all_together_use_the_limit(operation: str) -> None:
    """
    As much as one alone would, and each its part.
    """
    keeper = quick()
    virtual_time.run(busy(keeper, [operation], [operation], [operation], seconds=20))
    parts = Counter(name for _, name, _ in keeper.left)

    assert len(keeper.left) >= 0.97 * 20 * RATE / (1 + MARGIN)
    assert min(parts.values()) >= len(keeper.left) / 6


@pytest.mark.parametrize(("greedy", "urgent"), [("look", "create"), ("create", "cancel")])
def test_what_goes_first_goes_first_at_every_replica(greedy: str, urgent: str) -> None:
    """
    Others have taken all they could: the next call of a higher class leaves soon all the same.
    """

    async def story() -> list[float]:
        keeper = quick()
        *_, third = keeper.replicas(3)
        craving = asyncio.create_task(busy(keeper, [greedy], [greedy], seconds=20))
        for _ in range(10):
            await asyncio.sleep(1.7)
            await third.call(urgent)
        craving.cancel()
        return [seconds for operation, seconds in keeper.waits if operation == urgent]

    waits = virtual_time.run(story())

    assert 10 == len(waits)
    assert max(waits) <= SOON


def test_looks_of_one_replica_are_not_starved_by_another() -> None:
    """
    About one call in ten is theirs, whatever the others want.
    """
    keeper = quick()
    virtual_time.run(busy(keeper, ["create"], ["cancel", "create"], ["look"], seconds=30))
    looks = sum(operation == "look" for _, _, operation in keeper.left)

    assert len(keeper.left) / (FAIR_TURN + 3) <= looks <= len(keeper.left) / (FAIR_TURN - 2)


def test_a_pause_at_one_is_a_pause_for_all() -> None:
    """
    The others hear of it with their next question, at once; then all go on at the rate.
    """

    async def story() -> list[float]:
        keeper = quick()
        told, *others = keeper.replicas(3)
        craving = [asyncio.create_task(one.crave("create")) for one in others for _ in range(20)]
        await asyncio.sleep(1)
        told.pace.pause(3 * SECOND)
        told.pace.pause(SECOND)
        await asyncio.sleep(5)
        for call in craving:
            call.cancel()
        return [at for at, _, _ in keeper.left]

    left = virtual_time.run(story())

    # What was given away before the pause still leaves.
    assert [] == [at for at in left if 1.25 < at < 4]
    assert len([at for at in left if at >= 4]) >= 2 * RATE / (1 + MARGIN) - 2
    assert densest(left) <= RATE


def test_a_long_pause_is_told_at_every_replica() -> None:
    """
    Whoever waits elsewhere is put off as soon as it is heard there, for as long as it lasts.
    """

    async def story() -> list[timedelta | None]:
        keeper = Keeper(RATE)
        told, other = keeper.replicas(2)
        told.pace.pause(60 * SECOND)
        await asyncio.sleep(1)
        return [await other.call(), await told.call()]

    assert [59 * SECOND, 59 * SECOND] == virtual_time.run(story())


def test_a_pause_that_could_not_be_told_is_told_later() -> None:
    """
    The keeper was away when it began: the others hear of it once it is back.
    """

    async def story() -> timedelta | None:
        keeper = Keeper(RATE)
        told, other = keeper.replicas(2)
        keeper.is_away = True
        told.pace.pause(60 * SECOND)
        await asyncio.sleep(10)
        keeper.is_away = False
        await asyncio.sleep(1)
        return await other.call()

    assert 49 * SECOND == virtual_time.run(story())


def test_slots_on_their_way_when_a_pause_begins_are_not_used() -> None:
    """
    They were given before anybody knew of it.
    """

    async def story() -> list[float]:
        keeper = Keeper(RATE, latency=lambda: 0.01)
        (replica,) = keeper.replicas(1)
        call = replica.ask()
        await asyncio.sleep(0.015)
        replica.pace.pause(2 * SECOND)
        await call
        return [at for at, _, _ in keeper.left]

    assert [2.015] == pytest.approx(virtual_time.run(story()), abs=0.05)


def test_while_the_keeper_is_away_nothing_leaves_and_nobody_waits_for_long() -> None:
    """
    Each is put off after the limit; once it is back, calls leave again.
    """

    async def story() -> tuple[list[timedelta | None], list[float], list[float]]:
        keeper = Keeper(RATE)
        (replica,) = keeper.replicas(1)
        keeper.is_away = True
        told, ended_at = [], []
        for call in [replica.ask(), replica.ask("look")]:
            told.append(await call)
            ended_at.append(virtual_time.now())
        early = replica.ask()
        await asyncio.sleep(1)
        keeper.is_away = False
        told.append(await early)
        return told, ended_at, [at for at, _, _ in keeper.left]

    told, ended_at, left = virtual_time.run(story())

    assert [WAIT_LIMIT, WAIT_LIMIT, None] == told
    assert [LIMIT, LIMIT] == pytest.approx(ended_at, abs=1)
    assert 1 == len(left)
    assert ended_at[1] + 1 <= left[0] <= ended_at[1] + 2


def test_a_moment_without_the_keeper_puts_nobody_off() -> None:
    """
    Not even who has waited for its turn for longer than the limit.
    """

    async def story() -> Counter[timedelta | None]:
        keeper = Keeper(1)
        (replica,) = keeper.replicas(1)
        calls = [replica.ask() for _ in range(20)]
        await asyncio.sleep(2 * LIMIT)
        keeper.is_away = True
        await asyncio.sleep(LIMIT / 2)
        keeper.is_away = False
        return Counter(await asyncio.gather(*calls))

    assert {None: 20} == virtual_time.run(story())


def test_a_keeper_that_does_not_answer_is_away() -> None:
    """
    A question that hangs keeps nobody for longer than the limit takes to be noticed.
    """

    async def story() -> tuple[timedelta | None, float]:
        keeper = Keeper(RATE, latency=lambda: 3600)
        (replica,) = keeper.replicas(1)
        return await replica.call(), virtual_time.now()

    put_off, at = virtual_time.run(story())

    assert WAIT_LIMIT == put_off
    assert LIMIT <= at <= 2 * LIMIT + 1


def test_a_bug_in_the_keeper_lets_nothing_out(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is told with its traceback, and counts as being away.
    """

    async def fail(_wish: Wish) -> Reserved:
        raise ZeroDivisionError

    async def story() -> timedelta | None:
        return await Pace(fail, waited=lambda _operation, _seconds: None).take("create")

    assert WAIT_LIMIT == virtual_time.run(story())
    assert {ZeroDivisionError} == {
        record.exc_info[0] for record in caplog.records if record.exc_info
    }


@pytest.mark.parametrize("latency", [0.03, 0.3, 1.5])
def test_a_slow_keeper_is_asked_for_later_slots(latency: float) -> None:
    """
    Whatever it takes to answer, calls leave, within the limit; not all in one second either.
    """

    async def story() -> list[float]:
        keeper = Keeper(RATE, latency=lambda: latency)
        replicas = keeper.replicas(2)
        await asyncio.gather(*(one.call() for one in replicas for _ in range(RATE)))
        return [at for at, _, _ in keeper.left]

    left = virtual_time.run(story())

    assert densest(left) <= RATE
    assert min(after - before for before, after in pairwise(left)) >= 1 / RATE - LATENESS


def test_slots_whose_time_is_not_known_are_not_used() -> None:
    """
    Twice; then one answer is as good as another.
    """

    async def story() -> int:
        keeper = Keeper(RATE)
        keeper.doubt = 1_000_000
        (replica,) = keeper.replicas(1)
        await replica.call()
        return keeper.questions

    assert 3 == virtual_time.run(story())


def test_one_question_serves_all_that_wait_and_none_is_asked_for_nobody() -> None:
    """
    Also with thousands waiting it is asked some times a second, and not once for each.
    """

    async def story() -> list[int]:
        keeper = Keeper(RATE)
        (replica,) = keeper.replicas(1)
        await asyncio.gather(*(replica.call() for _ in range(3)))
        asked = [keeper.questions]
        await asyncio.sleep(3600)
        asked.append(keeper.questions)
        calls = [replica.ask("look") for _ in range(5000)]
        await asyncio.sleep(10)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        asked.append(keeper.questions)
        return asked

    few, as_few, more = virtual_time.run(story())

    assert 1 == few
    assert 1 == as_few
    assert more <= 10 * RATE


def test_where_there_are_plenty_calls_do_not_wait_for_answers() -> None:
    """
    Slots are asked for ahead while calls come, and no more once they end.
    """

    async def story() -> tuple[float, int, int]:
        keeper = Keeper(10_000, latency=lambda: 0.01)
        (replica,) = keeper.replicas(1)
        for _ in range(100):
            await asyncio.gather(*(replica.call(operation) for operation in OPERATIONS))
            await asyncio.sleep(0.01)
        asked = keeper.questions
        await asyncio.sleep(3600)
        # But for the first ones, of which nobody knew.
        return max(seconds for _, seconds in keeper.waits[3:]), asked, keeper.questions

    wait, asked, in_the_end = virtual_time.run(story())

    assert 0 == wait
    assert asked <= 30
    assert in_the_end <= asked + 1


def test_who_gives_up_while_the_answer_is_on_its_way_gives_its_slot_to_the_next() -> None:
    """
    Nobody leaves twice, and nothing is asked for anew.
    """

    async def story() -> tuple[list[str], int]:
        keeper = Keeper(RATE, latency=lambda: 0.005)
        (replica,) = keeper.replicas(1)
        calls = [replica.ask("cancel"), replica.ask("create")]
        await asyncio.sleep(0.001)
        calls[0].cancel()
        late = replica.ask("look")
        await asyncio.gather(calls[1], late)
        return [operation for _, _, operation in keeper.left], keeper.questions

    assert (["create", "look"], 1) == virtual_time.run(story())


def test_what_leaves_is_told_by_class() -> None:
    """
    Once for each call that leaves, and by what it is.
    """

    async def story() -> list[Rank]:
        keeper = Keeper(RATE)
        (replica,) = keeper.replicas(1)
        given_up = replica.ask("look")
        calls = [replica.ask(operation) for operation in ("look", "cancel", "create", "sell")]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(*calls)
        return keeper.granted

    expected = [Rank.URGENT, Rank.SUBMISSION, Rank.SUBMISSION, Rank.LOOK]

    assert expected == virtual_time.run(story())


def test_at_the_end_whoever_waits_is_put_off() -> None:
    """
    Nothing leaves any more, and no question is left behind.
    """

    async def story() -> tuple[list[timedelta | None], int]:
        pace = Pace(Alone(1).reserve, waited=lambda _operation, _seconds: None)
        calls = [asyncio.create_task(pace.take("create")) for _ in range(3)]
        await asyncio.sleep(0.5)
        pace.close()
        told = await asyncio.gather(*calls)
        await asyncio.sleep(5)
        return told, len(asyncio.all_tasks())

    assert ([None, WAIT_LIMIT, WAIT_LIMIT], 1) == virtual_time.run(story())
