"""The simulator's time: it runs, it can be put forward, and it never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.simulator.clock import ADVANCE_MAX, Clock, seconds


def test_it_begins_at_the_wall_clock_and_runs() -> None:
    """
    Its present is the real one, in UTC, and later never lies before earlier.
    """
    clock = Clock()

    earlier, later = clock.now(), clock.now()

    assert UTC is earlier.tzinfo
    assert abs(earlier - datetime.now(UTC)) < timedelta(minutes=1)
    assert earlier <= later


def test_it_can_be_put_forward() -> None:
    """
    What is added stays added.
    """
    clock, day = Clock(), timedelta(days=1)
    before = clock.now()

    clock.advance(day)
    clock.advance(day)

    assert before + 2 * day <= clock.now() < before + 2.1 * day


@pytest.mark.parametrize("by", [-timedelta.resolution, ADVANCE_MAX + timedelta.resolution])
def test_it_goes_neither_back_nor_out_of_the_calendar(by: timedelta) -> None:
    """
    Both are refused, and the time is as it was.
    """
    clock = Clock()
    before = clock.now()

    with pytest.raises(ValueError, match=r"^advance_seconds: "):
        clock.advance(by)

    assert clock.now() - before < timedelta(minutes=1)


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), 1e300, []])
def test_only_a_number_is_a_number_of_seconds(value: object) -> None:
    """
    Anything else is refused by the name it was given.
    """
    with pytest.raises(ValueError, match=r"^pace: "):
        seconds(value, name="pace")


def test_seconds_may_have_a_fraction() -> None:
    """
    Whole and fractional seconds become a duration.
    """
    assert [timedelta(seconds=2), timedelta(milliseconds=20)] == [
        seconds(2, name="pace"),
        seconds(0.02, name="pace"),
    ]
