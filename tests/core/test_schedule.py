"""How delays grow, and that they stay within their bounds whatever they are asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.builders import EVEN
from worker.core.schedule import Schedule

SCHEDULE = Schedule(
    first_delay=timedelta(seconds=15), growth=2.0, cap=timedelta(minutes=30), jitter=0.1
)
#: Rounding to whole microseconds.
GRAIN = timedelta(microseconds=1)

# What the settings admit, and a little more.
_delays = st.timedeltas(timedelta(milliseconds=1), timedelta(days=1))
_schedules = st.builds(
    Schedule,
    first_delay=_delays,
    growth=st.floats(1, 10),
    cap=_delays,
    jitter=st.floats(0, 1),
)
_turns = st.integers(0, 100) | st.integers(0, 10**18)
_chances = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("turn", "seconds"),
    [(0, 15), (1, 30), (2, 60), (6, 960), (7, 1800), (8, 1800), (10**9, 1800)],
)
def test_a_delay_doubles_up_to_its_cap(turn: int, seconds: int) -> None:
    """
    By even chance the delays are first delay times growth to the power of the turn, capped.
    """
    assert timedelta(seconds=seconds) == SCHEDULE.delay(turn, chance=EVEN)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 13.5), (0.25, 14.25), (1.0, 16.5)])
def test_chance_spreads_a_delay(chance: float, seconds: float) -> None:
    """
    Jitter of a tenth means up to a tenth shorter or longer.
    """
    assert timedelta(seconds=seconds) == SCHEDULE.delay(0, chance=chance)


def test_a_cap_below_the_first_delay_holds() -> None:
    """
    The cap is the cap from the first turn on.
    """
    short = Schedule(
        first_delay=timedelta(minutes=1), growth=2.0, cap=timedelta(seconds=5), jitter=0.0
    )

    assert timedelta(seconds=5) == short.delay(0, chance=EVEN)


@given(_schedules, _turns, _chances)
def test_a_delay_stays_within_its_bounds(schedule: Schedule, turn: int, chance: float) -> None:
    """
    Never negative and never longer than the cap and its jitter; no turn is too large.
    """
    delay = schedule.delay(turn, chance=chance)

    assert timedelta(0) <= delay <= schedule.cap * (1 + schedule.jitter) + GRAIN


@given(_schedules, _turns, _chances)
def test_a_delay_never_shrinks_with_the_turn(schedule: Schedule, turn: int, chance: float) -> None:
    """
    By the same chance, the next turn waits at least as long.
    """
    assert schedule.delay(turn, chance=chance) <= schedule.delay(turn + 1, chance=chance)


@given(_schedules, _turns, _chances)
def test_a_delay_is_spread_around_the_even_one(
    schedule: Schedule, turn: int, chance: float
) -> None:
    """
    Chance changes a delay by the jitter's share at the most.
    """
    even = schedule.delay(turn, chance=EVEN)

    difference = abs(schedule.delay(turn, chance=chance) - even)
    assert difference <= even * schedule.jitter + 2 * GRAIN
