"""What is wrong with a broker or a ledger, and what of it is news.

Several connections meet the same trouble within a moment, and meet it again at each try. Nothing is
logged here, and nobody is asked."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: A trouble that lasts is news again after so long.
TOLD_AGAIN: Final = timedelta(minutes=5)
#: So many different ones are remembered; whoever finds more words than this is told of again.
_REMEMBERED_MAX: Final = 100


class Troubles:
    """The troubles that anybody has with one thing just now, each by the words for it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._had: dict[str, str] = {}
        self._told: dict[str, float] = {}

    def has(self, who: str, what: str) -> bool:
        """Hear what trouble somebody has; return whether it is news."""
        self._had[who] = what
        now, told = self._clock(), self._told.get(what)
        if told is not None and now - told < TOLD_AGAIN.total_seconds():
            return False
        if len(self._told) >= _REMEMBERED_MAX:
            self._told.clear()
        self._told[what] = now
        return True

    def ended(self, who: str) -> bool:
        """Hear that somebody has none any more; return whether it was the last of all."""
        if self._had.pop(who, None) is None or self._had:
            return False
        self._told.clear()
        return True
