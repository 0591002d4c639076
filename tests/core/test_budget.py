"""How slots are shared out: never too many, whose rank is highest first, nobody for ever last."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.budget import (
    FAIR_TURN,
    HORIZON,
    LEAD_MAX,
    MARGIN,
    NONE,
    Budget,
    Rank,
    Wish,
    allot,
    ask_again_at,
    beyond,
    gap_of,
)

if TYPE_CHECKING:
    from worker.core.budget import Calls

SECOND = 1_000_000
NOW = 1_780_000_000 * SECOND
RATE = 25
GAP = gap_of(RATE)
FRESH = Budget()
LOOKS: Calls = (0, 0, 100_000)
SUBMISSIONS: Calls = (0, 1000, 0)


def slots(budget: Budget, wish: Wish, others: Calls = NONE, *, now: int = NOW) -> list[int]:
    """The slots for a wish."""
    first, count, after = allot(budget, wish, others, gap=GAP, now=now)
    assert not count or after.next_at == first + count * GAP
    return [first + number * GAP for number in range(count)]


def taken(budget: Budget, *wanted: Calls, others: Calls = NONE) -> tuple[list[int], Budget]:
    """How many slots each of several in a row gets at one moment, and the budget after them."""
    counts = []
    for calls in wanted:
        _, count, budget = allot(budget, Wish(calls), others, gap=GAP, now=NOW)
        counts.append(count)
    return counts, budget


@pytest.mark.parametrize(
    ("rate", "gap"), [(25, 43_200), (10, 108_000), (10_000, 108), (1.08, SECOND), (7, 154_286)]
)
def test_the_gap_between_slots(rate: float, gap: int) -> None:
    """
    The margin more than the rate asks for, and never a fraction of a microsecond less.
    """
    assert gap == gap_of(rate)
    assert gap * rate >= (1 + MARGIN) * SECOND - 0.001


@given(
    st.lists(
        st.tuples(
            st.integers(0, SECOND // 2),
            st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)),
            st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)),
            st.integers(0, SECOND // 4),
            st.sampled_from([0, 0, 0, SECOND]),
        ),
        max_size=60,
    ),
    st.sampled_from([1, 10, 25, 1000]),
)
def test_whoever_asks_when_no_second_has_too_many(
    questions: list[tuple[int, Calls, Calls, int, int]], rate: int
) -> None:
    """
    Any order of questions: slots lie a gap apart, so that no second has more than the rate.

    None lies in a pause, before it is of use, or further ahead than a quarter of a second.
    """
    gap, budget, now, given_away = gap_of(rate), Budget(), NOW, [0]
    for passed, wanted, others, lead, pause in questions:
        now += passed
        wish = Wish(wanted, lead=lead, ahead=SECOND // 50, pause=pause)
        first, count, budget = allot(budget, wish, others, gap=gap, now=now)
        mine = [first + number * gap for number in range(count)]
        given_away += mine
        assert all(now + lead <= slot <= now + lead + SECOND // 4 for slot in mine)
        assert all(slot >= budget.paused_until for slot in mine)
        assert count <= max(sum(wanted), SECOND // 50 // gap)

    assert all(after - before >= gap for before, after in pairwise(given_away))


def test_nothing_wanted_nothing_given() -> None:
    """
    And the budget stands as before.
    """
    budget = Budget(NOW + 5, 0, 3)

    assert (NOW + 5, 0, budget) == allot(budget, Wish(NONE), LOOKS, gap=GAP, now=NOW)


def test_what_was_not_used_is_gone() -> None:
    """
    After an idle hour slots begin now, not then.
    """
    assert [NOW] == slots(Budget(NOW - 3600 * SECOND), Wish((0, 1, 0)))


def test_looks_leave_room_for_submissions_and_these_for_what_is_urgent() -> None:
    """
    Each has all it can have; still the next one gets a slot, within the fifth of a second.
    """
    counts, budget = taken(Budget(), LOOKS, LOOKS, SUBMISSIONS, SUBMISSIONS, (9, 0, 0), (9, 0, 0))

    assert [3, 0, 1, 0, 1, 0] == counts
    assert budget.next_at <= NOW + HORIZON[Rank.URGENT] + GAP


def test_a_higher_rank_is_asked_to_come_before_a_lower_one_may() -> None:
    """
    When there is nothing left, it asks again before anything is free for those below.
    """
    budget = Budget(NOW + SECOND)

    for higher, lower in ((Rank.URGENT, Rank.SUBMISSION), (Rank.SUBMISSION, Rank.LOOK)):
        wanted = [int(rank is higher) for rank in Rank]
        again_at = ask_again_at(budget, (wanted[0], wanted[1], wanted[2]))
        assert budget.next_at - HORIZON[higher] <= again_at < budget.next_at - HORIZON[lower]


def test_who_waits_shares_in_proportion() -> None:
    """
    Of four slots for submissions, of which another wants three times as many, one is ours.
    """
    assert 1 == len(slots(Budget(), Wish((0, 5, 0)), (0, 15, 0)))
    assert 4 == len(slots(Budget(), Wish((0, 5, 0))))


def test_what_others_want_more_urgently_is_theirs() -> None:
    """
    Enough of it leaves nothing for a look.
    """
    assert [] == slots(Budget(), Wish(LOOKS), (9, 0, 0))
    assert 2 == len(slots(Budget(), Wish(LOOKS), (1, 0, 0)))


@pytest.mark.parametrize("greedy", [(9, 0, 0), SUBMISSIONS])
def test_every_tenth_slot_is_for_who_is_last(greedy: Calls) -> None:
    """
    Whoever comes first takes all there is, again and again: the look gets its turn all the same.
    """
    budget, now, order = Budget(), NOW, []
    for _ in range(100):
        for name, wanted, others in (("greedy", greedy, (0, 0, 1)), ("look", (0, 0, 1), greedy)):
            _, count, budget = allot(budget, Wish(wanted), others, gap=GAP, now=now)
            order += [name] * count
        now += GAP

    assert order.count("look") >= len(order) // (FAIR_TURN + 3)
    assert order.count("greedy") >= len(order) * (FAIR_TURN - 1) // FAIR_TURN


def test_a_turn_that_nobody_waits_for_is_not_saved_up() -> None:
    """
    However many slots went before: as long as nobody below waited, none of them passed anybody.
    """
    budget = Budget()
    for number in range(FAIR_TURN * 2):
        now = NOW + number * GAP
        _, count, budget = allot(budget, Wish((0, 1, 0)), NONE, gap=GAP, now=now)
        assert 1 == count

    assert 0 == budget.passed


def test_where_there_are_plenty_one_question_serves_the_next_moments_too() -> None:
    """
    As far ahead as is wished, whether anybody waits or not; but only while nobody else does.
    """
    ahead, gap = SECOND // 20, gap_of(10_000)

    def count(
        wanted: Calls, *, budget: Budget = FRESH, others: Calls = NONE, gap: int = gap
    ) -> int:
        return allot(budget, Wish(wanted, ahead=ahead), others, gap=gap, now=NOW)[1]

    assert ahead // gap == count((0, 1, 0)) == count(NONE)
    assert ahead // gap // 2 == count(NONE, budget=Budget(NOW + ahead // 2))
    assert 1 == count((0, 1, 0), budget=Budget(NOW + ahead))
    assert 0 == count(NONE, budget=Budget(NOW + ahead))
    assert 0 == count(NONE, budget=Budget(paused_until=NOW + SECOND))
    assert 1 == count((0, 1, 0), others=(0, 0, 1))
    assert 1 == count((0, 1, 0), gap=GAP)


def test_a_pause_moves_all_slots_behind_it() -> None:
    """
    A longer one holds, whoever told it; and whoever asks hears of it.
    """
    _, count, budget = allot(Budget(), Wish(LOOKS, pause=3 * SECOND), NONE, gap=GAP, now=NOW)
    _, _, later = allot(budget, Wish(NONE, pause=SECOND), NONE, gap=GAP, now=NOW + SECOND)
    soon = slots(later, Wish((0, 1, 0)), now=NOW + 3 * SECOND - SECOND // 10)

    assert 0 == count
    assert NOW + 3 * SECOND == budget.paused_until == later.paused_until
    assert [NOW + 3 * SECOND] == soon
    assert 3 * SECOND > ask_again_at(budget, LOOKS) - NOW > 2 * SECOND


def test_slow_answers_get_later_slots() -> None:
    """
    A slot that has passed when the answer comes is of no use.
    """
    assert [NOW + SECOND] == slots(Budget(), Wish((0, 1, 0), lead=SECOND))


def test_a_clock_that_was_put_back_stops_nobody_for_long() -> None:
    """
    A budget that reaches a day ahead was written by a clock a day ahead: it is cut to seconds.

    None of what may have been given away before is given twice, and a pause is cut to an hour.
    """
    day = 24 * 3600 * SECOND
    _, count, budget = allot(Budget(NOW + day), Wish(LOOKS), NONE, gap=GAP, now=NOW)
    _, _, paused = allot(Budget(NOW, NOW + day), Wish(LOOKS), NONE, gap=GAP, now=NOW)

    assert 0 == count
    assert LEAD_MAX < budget.next_at - NOW < LEAD_MAX + SECOND
    assert slots(budget, Wish(LOOKS), now=budget.next_at)
    assert NOW + 3600 * SECOND == paused.paused_until


def test_what_is_left_when_the_first_have_had_their_slots() -> None:
    """
    By rank, and never less than nothing.
    """
    expected = [(1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 0, 3), (0, 0, 0), (0, 0, 0)]

    assert expected == [beyond((1, 2, 3), count) for count in (0, 1, 2, 3, 6, 9)]
