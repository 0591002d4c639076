"""Spans of time as an operator writes them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.durations import parse_duration, write_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("15", timedelta(seconds=15)),
        ("0.3", timedelta(milliseconds=300)),
        ("0", timedelta(0)),
        ("PT15M", timedelta(minutes=15)),
        ("PT1H30M", timedelta(hours=1, minutes=30)),
        ("PT0.5S", timedelta(milliseconds=500)),
        ("P1DT1S", timedelta(days=1, seconds=1)),
        ("P2W", timedelta(weeks=2)),
    ],
)
def test_seconds_and_iso_8601_are_read(text: str, span: timedelta) -> None:
    """
    Both ways of writing lead to the same span.
    """
    assert span == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "15s",
        "-1",
        "1e3",
        "P1Y",
        "P1M",
        "15:00",
        "PT15m",
        "٣",
        "9" * 10,
        " 1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """
    No guess at what a text may have meant; months and years have no length.
    """
    with pytest.raises(ValueError, match="neither seconds nor an ISO 8601 duration"):
        parse_duration(text)


def test_a_span_is_one_already() -> None:
    """
    Settings made by hand may say it in Python's words.
    """
    assert timedelta(seconds=1) == parse_duration(timedelta(seconds=1))


def test_a_bare_number_is_refused() -> None:
    """
    A number without a unit is written as text, as an operator would.
    """
    with pytest.raises(ValueError, match="neither seconds"):
        parse_duration(15)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)))
def test_what_is_written_reads_back_as_the_same_span(span: timedelta) -> None:
    """
    A default shown in example.env is the default.
    """
    assert span == parse_duration(write_duration(span))
