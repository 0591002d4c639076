"""The database's clock between two readings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tests.ledger.builders import NOW, SECOND, Steady
from worker.ledger.clock import DatabaseClock, steady


def test_before_the_first_reading_it_is_this_machines_time() -> None:
    """
    A worker that has not reached its ledger yet can tell the time all the same.
    """
    before = datetime.now(UTC)
    told = DatabaseClock(steady=Steady()).now()
    after = datetime.now(UTC)

    assert before <= told <= after


def test_it_tells_the_reading_and_what_passed_since() -> None:
    """
    Time passes by the steady clock alone, whatever is done to the machine's own.
    """
    passing = Steady()
    clock = DatabaseClock(steady=passing)
    clock.set(NOW, asked_at=passing())
    at_once = clock.now()
    passing.seconds += 3600.5

    assert NOW == at_once
    assert NOW + 3600.5 * SECOND == clock.now()


def test_a_reading_was_true_half_way_between_question_and_answer() -> None:
    """
    An answer that was long on its way is not taken for the time of its arrival.
    """
    passing = Steady()
    clock = DatabaseClock(steady=passing)
    asked_at = passing()
    passing.seconds += 4
    clock.set(NOW, asked_at=asked_at)

    assert NOW + 2 * SECOND == clock.now()


def test_a_later_reading_replaces_the_earlier() -> None:
    """
    Also when it sets the time back: the database's word counts.
    """
    passing = Steady()
    clock = DatabaseClock(steady=passing)
    clock.set(NOW, asked_at=passing())
    passing.seconds += 10
    clock.set(NOW + SECOND, asked_at=passing())

    assert NOW + SECOND == clock.now()


def test_steady_seconds_go_forward() -> None:
    """
    The clock that is used outside of tests never goes back.
    """
    readings: Final = [steady() for _ in range(100)]

    assert sorted(readings) == readings
