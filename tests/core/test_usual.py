"""Usual times: business days in UTC, what is documented, and what is learned from enough ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.usual import (
    ENDS_NEEDED,
    Course,
    Usual,
    after_business_time,
    business_time,
    documented,
    expected_window,
    learned,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: 1 June 2026 is a Monday.
MONDAY = datetime(2026, 6, 1, 10, tzinfo=UTC)
FRIDAY = MONDAY + 4 * DAY
SATURDAY = MONDAY + 5 * DAY
NEXT_MONDAY = datetime(2026, 6, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "usual"),
    [
        ("ach", Usual(1 * DAY, 3 * DAY)),
        ("ach_plaid", Usual(1 * DAY, 3 * DAY)),
        ("wire", Usual(1 * HOUR, 8 * HOUR)),
        ("international_wire", Usual(1 * DAY, 5 * DAY)),
        ("sea_mail", Usual(1 * DAY, 5 * DAY)),
        (None, Usual(1 * HOUR, 1 * DAY)),
    ],
)
def test_without_history_the_documented_times_count(method: str | None, usual: Usual) -> None:
    """
    By method; the slowest documented times where nothing is known.
    """
    assert usual == documented(method)


@pytest.mark.parametrize(
    ("began_at", "span", "expected"),
    [
        (MONDAY, 3 * DAY, MONDAY + 3 * DAY),
        (FRIDAY, 1 * DAY, MONDAY + 7 * DAY),
        (FRIDAY, 14 * HOUR, NEXT_MONDAY - 2 * DAY),
        (SATURDAY, 1 * HOUR, NEXT_MONDAY + 1 * HOUR),
        (SATURDAY, timedelta(0), NEXT_MONDAY),
        (MONDAY, timedelta(0), MONDAY),
        (MONDAY, 5 * DAY, MONDAY + 7 * DAY),
        (MONDAY, 12 * DAY, MONDAY + 16 * DAY),
    ],
)
def test_weekends_do_not_count(began_at: datetime, span: timedelta, expected: datetime) -> None:
    """
    A business day begun on a Friday ends on the Monday; a week's last hour ends on the Friday.
    """
    assert expected == after_business_time(began_at, span)


def test_a_window_is_told_in_utc() -> None:
    """
    Whatever the zone of the beginning, which is Friday here and Saturday there.
    """
    tokyo = FRIDAY.replace(hour=20).astimezone(timezone(9 * HOUR))

    window = expected_window(documented("ach"), tokyo)

    assert (FRIDAY + 3 * DAY + 10 * HOUR, FRIDAY + 5 * DAY + 10 * HOUR) == window


@given(
    st.timedeltas(timedelta(0), 1000 * DAY).map(MONDAY.__add__),
    st.timedeltas(timedelta(0), 30 * DAY),
)
def test_adding_and_measuring_business_time_agree(start: datetime, span: timedelta) -> None:
    """
    What was added is measured, and no moment before has as much.
    """
    end = after_business_time(start, span)

    assert span == business_time(start, end)
    assert not span or business_time(start, end - timedelta(microseconds=1)) < span


def test_an_end_before_its_beginning_took_no_time() -> None:
    """
    Clocks differ; a span is never negative.
    """
    assert timedelta(0) == business_time(MONDAY, MONDAY - HOUR)


def test_enough_history_is_believed() -> None:
    """
    From the 10th to the 90th percentile, by provider and method; of too few nothing is learned.
    """
    courses = [
        Course("bluum", "ach", MONDAY, MONDAY + n * timedelta(minutes=1))
        for n in range(ENDS_NEEDED + 1)
    ]
    few = [Course("bluum", "wire", MONDAY, MONDAY + HOUR)] * (ENDS_NEEDED - 1)

    expected = {("bluum", "ach"): Usual(timedelta(minutes=20), timedelta(minutes=180))}
    assert expected == learned([*courses, *few])
