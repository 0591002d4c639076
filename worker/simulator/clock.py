"""The simulator's time: real time plus what a control call added. It never goes back."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Enough for every lifetime there is, and far from the end of the calendar.
ADVANCE_MAX: Final = timedelta(days=3650)


class Clock:
    """Tells the time, and can be put forward so that nobody has to wait for a day to pass.

    `on_advance` is called whenever it was put forward.
    """

    def __init__(self) -> None:
        self.on_advance: Callable[[], None] | None = None
        self._started_at = datetime.now(UTC)
        # The wall clock may be set back by whoever keeps it; the bank relies on time's direction.
        self._started = time.monotonic()
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the simulator's present, in UTC."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._started) + self._ahead

    def advance(self, by: timedelta) -> None:
        """Put the clock forward; ValueError when `by` is negative or leads too far ahead."""
        if by < timedelta() or self._ahead + by > ADVANCE_MAX:
            raise ValueError(f"advance_seconds: 0 to {ADVANCE_MAX.days} days in all")
        self._ahead += by
        if self.on_advance is not None:
            self.on_advance()


def instant(moment: datetime) -> str:
    """Write a moment in UTC as ISO 8601 with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(value: object, *, name: str) -> timedelta:
    """Return a JSON number of seconds as a duration; ValueError naming `name` otherwise."""
    # bool is an int to Python, and JSON's NaN and Infinity are floats.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: a number of seconds, not {value!r}")
    # Compared as numbers: a duration that is too long cannot even be built.
    if abs(value) > ADVANCE_MAX.total_seconds():
        raise ValueError(f"{name}: at most {ADVANCE_MAX.days} days")
    return timedelta(seconds=value)
