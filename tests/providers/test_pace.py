"""The pace, in virtual time: how many calls leave in a second, and in which order.

Only the last test is about real time: a whole worker's load against the simulator's limit."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers import virtual_time
from tests.providers.builders import a_held, a_permit
from tests.providers.stages import Options, bluum_company, bluum_request, open_bluum
from worker.core.answers import Reported
from worker.core.budget import FAIR_TURN, MARGIN, Rank
from worker.providers.answer_table import Operation
from worker.providers.pace import LATENESS, RANKS, WAIT_LIMIT, Alone, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND = timedelta(seconds=1)
#: How much later than another a call may arrive without disturbing the provider's count.
ON_THE_WAY = MARGIN - LATENESS


class Departures:
    """A pace whose departures are written down: when, and which call."""

    def __init__(self, rate: float) -> None:
        self.pace = Pace(
            Alone(rate).reserve,
            waited=lambda operation, seconds: self.waits.append((operation, seconds)),
        )
        self.waits: list[tuple[str, float]] = []
        self.left: list[tuple[float, str]] = []

    async def call(self, operation: str = "create", name: str = "") -> timedelta | None:
        """Wait for a turn, and leave."""
        rest = await self.pace.take(operation)
        if rest is None:
            self.left.append((virtual_time.now(), name or operation))
        return rest

    def ask(self, operation: str = "create", name: str = "") -> asyncio.Task[timedelta | None]:
        """Ask for a turn, and go on meanwhile."""
        return asyncio.create_task(self.call(operation, name))

    @property
    def times(self) -> list[float]:
        """When calls left."""
        return [at for at, _ in self.left]

    @property
    def names(self) -> list[str]:
        """Which calls left, in order."""
        return [name for _, name in self.left]


def densest(times: Iterable[float]) -> int:
    """The most calls within any one second, as a sliding window counts them."""
    sorted_times = sorted(times)
    return max(sum(end - 1 < at <= end for at in sorted_times) for end in sorted_times)


@pytest.mark.parametrize("rate", [1, 2, 10, 25, 400])
def test_the_rate_is_kept_and_used(rate: int) -> None:
    """
    Many callers at once: never more than the rate in a second, and not much less.
    """

    async def story() -> Departures:
        departures = Departures(rate)
        await asyncio.gather(*(departures.call() for _ in range(3 * rate + 1)))
        return departures

    departures = virtual_time.run(story())

    assert densest(departures.times) <= rate
    assert 3 * (1 + MARGIN) == pytest.approx(departures.times[-1])


@given(
    rate=st.integers(1, 30),
    asked=st.lists(st.floats(0, 0.2), min_size=1, max_size=80),
    delays=st.lists(st.floats(0, ON_THE_WAY * 0.999), min_size=80, max_size=80),
    stalls=st.lists(st.floats(0, 0.5), max_size=5),
)
def test_no_second_holds_more_than_the_rate(
    rate: int, asked: list[float], delays: list[float], stalls: list[float]
) -> None:
    """
    Whenever they ask, however late the loop, and with the margin's unevenness on the way.
    """

    async def story() -> list[float]:
        departures = Departures(rate)
        calls = []
        for number, pause in enumerate(asked):
            await asyncio.sleep(pause)
            if number < len(stalls):
                virtual_time.stall(stalls[number])
            calls.append(departures.ask())
        await asyncio.gather(*calls)
        return departures.times

    left = virtual_time.run(story())
    arrived = [at + delay for at, delay in zip(left, delays, strict=False)]

    assert len(asked) == len(left)
    assert densest(left) <= rate
    assert densest(arrived) <= rate


def test_what_was_missed_is_not_made_up_for() -> None:
    """
    After an idle time, or one in which the loop was stuck, calls leave as evenly as ever.
    """

    async def story() -> list[float]:
        departures = Departures(10)
        await departures.call()
        await asyncio.sleep(60)
        calls = [departures.ask() for _ in range(10)]
        await asyncio.sleep(0.5)
        virtual_time.stall(60)
        await asyncio.gather(*calls)
        return departures.times

    left = virtual_time.run(story())
    gap = (1 + MARGIN) / 10

    assert min(b - a for a, b in pairwise(left)) >= gap - LATENESS * 1.001


def test_a_loop_that_wakes_up_late_keeps_the_rate() -> None:
    """
    A little lateness, as every event loop has, costs no turns.
    """

    async def story() -> float:
        departures = Departures(100)

        async def disturb() -> None:
            while True:
                await asyncio.sleep(0.0037)
                virtual_time.stall(0.003)

        disturbing = asyncio.create_task(disturb())
        await asyncio.gather(*(departures.call() for _ in range(101)))
        disturbing.cancel()
        return departures.times[-1]

    assert virtual_time.run(story()) <= 1 + MARGIN + LATENESS


def test_calls_of_a_class_leave_in_the_order_of_asking() -> None:
    """
    Who asked first leaves first, whether waiting had begun or not.
    """

    async def story() -> list[str]:
        departures = Departures(25)
        calls = []
        for number in range(60):
            calls.append(departures.ask("create", str(number)))
            await asyncio.sleep(0.02)
        await asyncio.gather(*calls)
        return departures.names

    assert [str(number) for number in range(60)] == virtual_time.run(story())


def test_what_ends_a_doubt_goes_first_then_money_then_looks() -> None:
    """
    Whatever was asked in between: cancellations and lists, then creates, then the rest.
    """

    async def story() -> list[str]:
        departures = Departures(25)
        await departures.call("first")
        asked = ["look", "credentials", "create", "unheard-of", "list", "create", "cancel", "look"]
        await asyncio.gather(*(departures.call(operation) for operation in asked))
        return departures.names

    expected = ["list", "cancel", "create", "create", "look", "credentials", "unheard-of", "look"]

    assert ["first", *expected] == virtual_time.run(story())


def test_every_call_of_the_providers_has_a_class() -> None:
    """
    What is not named goes with the looks, so that a new operation never outruns money.
    """
    of_rank = {rank: {one for one in Operation if RANKS.get(one) is rank} for rank in Rank}

    assert {"cancel", "list", "orders", "cancel_order"} == of_rank[Rank.URGENT]
    assert {"create", "sell"} == of_rank[Rank.SUBMISSION]
    assert set() == of_rank[Rank.LOOK]
    # Calls that are no operation: they are made for the sake of others.
    assert {"token", "keys"} == set(RANKS) - set(Operation)
    assert {Rank.URGENT} == {RANKS["token"], RANKS["keys"]}


def test_nobody_waits_for_ever() -> None:
    """
    Creates that come without end do not keep a look from its turn.
    """
    creators, begun = 20, 1.0

    async def story() -> list[str]:
        departures = Departures(25)

        async def create_on_and_on() -> None:
            for _ in range(20):
                await departures.call("create")

        creating = [asyncio.create_task(create_on_and_on()) for _ in range(creators)]
        await asyncio.sleep(begun)
        await asyncio.gather(*creating, departures.call("look"))
        return departures.names

    names = virtual_time.run(story())

    assert names.index("look") <= 25 * begun + creators + FAIR_TURN


def test_a_pause_holds_everybody() -> None:
    """
    Whoever waited already, and whoever asks meanwhile, of every class; then the rate goes on.
    """

    async def story() -> Departures:
        departures = Departures(25)
        calls = [departures.ask() for _ in range(10)]
        await asyncio.sleep(0.1)
        departures.pace.pause(3 * SECOND)
        # A shorter one does not end a longer one.
        departures.pace.pause(1 * SECOND)
        await asyncio.sleep(1)
        calls += [departures.ask(o) for o in ("cancel", "list", "create", "look", "credentials")]
        await asyncio.gather(*calls)
        return departures

    times = virtual_time.run(story()).times

    assert 3 == sum(at <= 0.1 for at in times)
    assert [] == [at for at in times if 0.1 < at < 3.1]
    assert 3.1 == pytest.approx(times[3])
    assert (1 + MARGIN) / 25 == pytest.approx(times[4] - times[3])
    assert 15 == len(times)


def test_a_long_pause_is_told_and_not_waited_out() -> None:
    """
    Whoever waits is told how long it will last, and so is whoever asks; nobody is kept.
    """

    async def story() -> tuple[list[timedelta | None], list[float], list[tuple[str, float]]]:
        departures = Departures(1)
        calls = [departures.ask() for _ in range(3)]
        await asyncio.sleep(0.5)
        departures.pace.pause(60 * SECOND)
        told = await asyncio.gather(*calls)
        ended_at = virtual_time.now()
        await asyncio.sleep(10)
        told.append(await departures.call("cancel"))
        # The rest of it is short enough to be waited out.
        await asyncio.sleep(60 - 10 - WAIT_LIMIT.total_seconds())
        told.append(await departures.call("cancel"))
        return told, [ended_at, *departures.times], departures.waits

    told, times, waits = virtual_time.run(story())

    assert [None, 60 * SECOND, 60 * SECOND, 50 * SECOND, None] == told
    assert [0.5, 0.0, 60.5] == times
    # Of calls that did not leave, no wait is told.
    assert [("create", 0.0), ("cancel", 5.0)] == waits


def test_every_wait_is_told() -> None:
    """
    Of which call, and how long it was.
    """

    async def story() -> list[tuple[str, float]]:
        departures = Departures(1 + MARGIN)
        await asyncio.gather(departures.call("look"), departures.call("list"), departures.call())
        return departures.waits

    waits = virtual_time.run(story())

    assert ["list", "create", "look"] == [operation for operation, _ in waits]
    assert [0, 1, 2] == pytest.approx([seconds for _, seconds in waits])


def test_who_gives_up_takes_nobodys_turn() -> None:
    """
    The others leave when they would have left, had the hundred in between never asked.
    """

    async def story() -> list[tuple[float, str]]:
        departures = Departures(1)
        first = departures.ask("create", "first")
        given_up = [departures.ask("create", "given up") for _ in range(100)]
        last = departures.ask("create", "last")
        await asyncio.sleep(0.5)
        for call in given_up:
            call.cancel()
        await asyncio.gather(first, last)
        return departures.left

    assert [(0, "first"), (1 + MARGIN, "last")] == virtual_time.run(story())


def test_who_has_given_up_is_passed_over() -> None:
    """
    Its turn comes before it could withdraw its question: it goes to the next one in that moment.
    """

    async def story() -> list[tuple[float, str]]:
        departures = Departures(1)
        await departures.call("create", "first")
        given_up = departures.ask("create", "given up")
        last = departures.ask("create", "last")

        def give_up() -> None:
            given_up.cancel()
            virtual_time.stall(0.001)

        # Too short before for the clock: in the same round as the turn comes.
        asyncio.get_running_loop().call_at(1 + MARGIN - 1e-10, give_up)
        await last
        return departures.left

    times, names = zip(*virtual_time.run(story()), strict=True)

    assert ("first", "last") == names
    assert (0, 1 + MARGIN + 0.001) == pytest.approx(times)


def test_who_has_given_up_is_told_of_no_pause() -> None:
    """
    A long pause begins before it could withdraw its question: it has gone, the others are told.
    """

    async def story() -> list[timedelta | BaseException | None]:
        departures = Departures(1)
        await departures.call("create", "first")
        calls = [departures.ask("create", name) for name in ("given up", "told")]
        await asyncio.sleep(0)
        calls[0].cancel()
        departures.pace.pause(60 * SECOND)
        return await asyncio.gather(*calls, return_exceptions=True)

    given_up, told = virtual_time.run(story())

    assert isinstance(given_up, asyncio.CancelledError)
    assert 60 * SECOND == told


def test_a_slot_is_lost_when_the_loop_stands_still_after_it_was_given() -> None:
    """
    The call goes to the head of the queue again, and leaves at the next one.
    """

    async def story() -> list[tuple[float, str]]:
        departures = Departures(1)
        first, last = (departures.ask("create", name) for name in ("first", "last"))
        # Right after the turn was given, before the call could go on.
        asyncio.get_running_loop().call_at(1e-10, virtual_time.stall, 0.5)
        await asyncio.gather(first, last)
        return departures.left

    times, names = zip(*virtual_time.run(story()), strict=True)

    assert ("first", "last") == names
    assert min(b - a for a, b in pairwise(times)) >= 1


def test_who_gives_up_at_its_very_turn_passes_it_on() -> None:
    """
    The turn was given and not used: the next one leaves at once.
    """

    async def story() -> list[tuple[float, str]]:
        departures = Departures(1)
        await departures.call("create", "first")
        given_up = departures.ask("create", "given up")
        last = departures.ask("create", "last")
        # A moment too short for the clock: in the same round as the turn is given, right after it.
        asyncio.get_running_loop().call_at(1 + MARGIN + 1e-10, given_up.cancel)
        await last
        assert given_up.cancelled()
        return departures.left

    assert [(0, "first"), (1 + MARGIN, "last")] == virtual_time.run(story())


def test_who_gives_up_leaves_nothing_behind() -> None:
    """
    Thousands that gave up while others went first are not remembered.
    """

    def futures() -> int:
        gc.collect()
        return sum(type(thing) is asyncio.Future for thing in gc.get_objects())

    async def story() -> int:
        departures = Departures(1)
        await departures.call()
        before = futures()
        calls = [departures.ask("look") for _ in range(1000)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        calls.clear()
        return futures() - before

    assert virtual_time.run(story()) < 10


async def test_a_single_worker_is_never_turned_away() -> None:
    """
    At full load for a few seconds, at the limit that the provider counts by: no 429, little left.
    """
    options = Options(rate=25)
    async with (
        bluum_company(rate_limit=25) as company,
        open_bluum(company.base_url, options) as bluum,
    ):
        permits = [a_permit(a_held(bluum, bluum_request(), f"req-{n}")) for n in range(80)]
        answers = await asyncio.gather(*(bluum.create(permit) for permit in permits))
        traffic = company.server.simulation.traffic

    assert {Reported} == {type(answer) for answer in answers}
    assert 0 == traffic.rate_limited
    assert traffic.busiest_second <= 25
