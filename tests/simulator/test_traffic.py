"""Counting: what the sliding second admits, and how dense a run was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.simulator.traffic import Traffic

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_window_slides() -> None:
    """
    Room returns exactly one second after the call that took it.
    """
    traffic = Traffic()
    moments = [0.0, 0.5, 0.9, 1.0, 1.4, 1.5]

    admitted = [traffic.admit(NOW + timedelta(seconds=at), limit=2) for at in moments]

    assert [True, True, False, True, False, True] == admitted
    assert 2 == traffic.rate_limited


def test_without_a_limit_everything_is_admitted() -> None:
    """
    0 means no limit, and nothing is counted against one.
    """
    traffic = Traffic()

    assert all(traffic.admit(NOW, limit=0) for _ in range(1000))
    assert 0 == traffic.rate_limited


@given(st.lists(st.integers(min_value=0, max_value=3000), max_size=60), st.integers(1, 5))
def test_no_second_holds_more_than_the_limit(waits: list[int], limit: int) -> None:
    """
    Whatever the arrivals, no second admits more than the limit, and the busiest is the densest.
    """
    traffic, now = Traffic(), NOW
    arrived, admitted = [], []
    for wait in waits:
        now += timedelta(milliseconds=wait / 10)
        traffic.arrive("create", now)
        arrived.append(now)
        if traffic.admit(now, limit=limit):
            admitted.append(now)

    assert _densest(admitted) <= limit
    assert _densest(arrived) == traffic.busiest_second


def _densest(moments: list[datetime]) -> int:
    second = timedelta(seconds=1)
    return max((sum(end - second < m <= end for m in moments) for end in moments), default=0)


def test_calls_are_numbered_by_operation() -> None:
    """
    Each operation has its own sequence, so that others do not disturb it.
    """
    traffic = Traffic()

    numbers = [traffic.arrive(operation, NOW) for operation in ("get", "create", "get")]

    assert [1, 1, 2] == numbers
