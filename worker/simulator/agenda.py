"""What is going to happen by itself, and when: a list of moments with what happens then.

Pure: it has no clock and waits for nothing. Whoever tells it the time makes happen what is due, in
the order of the moments, so that what is asked late is answered as if it had been asked in time."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

#: What happens; it is given the moment for which it was planned, which may lie in the past.
Happening: TypeAlias = "Callable[[datetime], None]"


class Agenda:
    """Happenings by their moments. Those of one moment happen in the order of their planning.

    `on_sooner` is called when something is planned before everything else, for a clock to be set.
    """

    def __init__(self) -> None:
        self.on_sooner: Callable[[], None] | None = None
        self._planned: list[tuple[datetime, int, Happening]] = []
        # Moments may be equal and happenings cannot be compared.
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._planned)

    @property
    def next_at(self) -> datetime | None:
        """The moment of the next happening, None when nothing is planned."""
        return self._planned[0][0] if self._planned else None

    def plan(self, at: datetime, happening: Happening) -> None:
        """Let something happen at a moment."""
        is_sooner = self.next_at is None or at < self.next_at
        heappush(self._planned, (at, next(self._numbers), happening))
        if is_sooner and self.on_sooner is not None:
            self.on_sooner()

    def run(self, now: datetime) -> None:
        """Let everything happen that is due by `now`, also what is planned on the way."""
        while self._planned and self._planned[0][0] <= now:
            at, _, happening = heappop(self._planned)
            happening(at)
