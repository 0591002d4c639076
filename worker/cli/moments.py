"""Moments as an operator gives them: a time with its zone, a day, or how long ago."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import typer

from config.durations import parse_duration

_SHORT: Final = re.compile(r"(?P<number>[0-9]{1,4})(?P<unit>[smhdw])", re.ASCII)
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment, or how long ago it is, as it was given."""

    given: datetime | timedelta

    def at(self, now: datetime) -> datetime:
        """Return the moment itself."""
        return now - self.given if isinstance(self.given, timedelta) else self.given


def moment(text: str) -> Moment:
    """Read a moment; typer.BadParameter when it is none."""
    for read in (_read_short, parse_duration, _read_day, _read_moment):
        with suppress(ValueError, OverflowError):
            return Moment(read(text))
    raise typer.BadParameter(
        "expected a time with its zone (2026-06-02T09:00:00Z), a day (2026-06-02), or how long ago "
        "(7d, 24h, PT24H, or seconds)"
    )


def _read_short(text: str) -> timedelta:
    if (match := _SHORT.fullmatch(text)) is None:
        raise ValueError("neither days nor hours")
    return int(match["number"]) * _UNITS[match["unit"]]


def _read_day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), UTC)


def _read_moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("without a zone it names no moment")
    return found.astimezone(UTC)
