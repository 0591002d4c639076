"""How delays grow, and that they stay within their bounds whatever they are asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.builders import EVEN, NOW, PATIENCE
from worker.core.schedule import (
    QUIET,
    Outlook,
    Schedule,
    next_look,
    next_reversal_look,
)

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


SOON = NOW + timedelta(hours=24)
LATE = NOW + timedelta(hours=72)
#: The longest pause of `PATIENCE`, reached by this turn.
CAP = PATIENCE.looks.cap
TURN = 30


@pytest.mark.parametrize(
    ("outlook", "now", "due_at", "is_expected"),
    [
        (None, NOW, NOW + CAP, False),
        (Outlook(SOON, LATE), NOW, NOW + QUIET * CAP, False),
        (Outlook(SOON, LATE), SOON - timedelta(hours=1), SOON, True),
        (Outlook(SOON, LATE), SOON - timedelta(minutes=1), SOON - timedelta(minutes=1) + CAP, True),
        (Outlook(SOON, LATE), SOON, SOON + CAP, True),
        (Outlook(SOON, LATE, is_told=True), SOON, SOON + QUIET * CAP, True),
        (Outlook(SOON, LATE), LATE + CAP, LATE + CAP + QUIET * CAP, False),
    ],
    ids=["unknown", "early", "soon", "very soon", "now", "told", "overdue"],
)
def test_looks_are_spent_on_the_time_of_the_end(
    outlook: Outlook | None, now: datetime, due_at: datetime, *, is_expected: bool
) -> None:
    """
    Rare before it, in time for it, and rare again where a webhook would tell.
    """
    assert (due_at, is_expected) == next_look(
        TURN, now=now, patience=PATIENCE, chance=EVEN, outlook=outlook
    )


def test_the_first_looks_come_early_whatever_is_expected() -> None:
    """
    What fails at once is seen at once.
    """
    first, _ = next_look(
        0, now=NOW, patience=PATIENCE, chance=EVEN, outlook=Outlook(SOON, LATE, is_told=True)
    )

    assert NOW + PATIENCE.looks.first_delay == first


def test_an_end_is_looked_at_daily_until_it_is_certain() -> None:
    """
    The last look falls on the end of the time in which a bank takes money back.
    """
    patience = replace(PATIENCE, reversal_days=2)
    over_at = NOW + timedelta(days=2)

    def after(now: datetime) -> datetime | None:
        return next_reversal_look(NOW, now=now, patience=patience, chance=EVEN)

    assert [NOW + timedelta(days=1), over_at, None] == [
        after(NOW),
        after(NOW + timedelta(hours=30)),
        after(over_at),
    ]
    assert next_reversal_look(NOW, now=NOW, patience=PATIENCE, chance=EVEN) is None
