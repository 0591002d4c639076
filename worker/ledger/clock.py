"""The database's clock, read without asking the database each time.

Replicas' clocks differ; leases, due times and horizons are decided by the one clock they share.
Between two readings time passes by a clock that no operator can set, and that goes on while the
machine sleeps (where the system has such a clock)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Return seconds that only ever go forward, also through a suspended machine."""
    return time.clock_gettime(_STEADY)


class DatabaseClock:
    """Tells the database's time from its last reading. Until the first one, this machine's time.

    `steady` tells seconds that only ever go forward; between two readings they are what passes.
    """

    def __init__(self, *, steady: Callable[[], float] = steady) -> None:
        self.steady = steady
        self._read_at = steady()
        self._read = datetime.now(UTC)

    def set(self, read: datetime, *, asked_at: float) -> None:
        """Take over a reading that was asked for at `asked_at` (steady seconds) and has come now.

        The true time of the reading lies between question and answer; the middle is taken.
        """
        self._read_at = (asked_at + self.steady()) / 2
        self._read = read

    def now(self) -> datetime:
        """Return the database's time as well as it is known here."""
        return self._read + timedelta(seconds=self.steady() - self._read_at)
