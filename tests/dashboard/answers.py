"""What a dashboard shows: the answers to its queries, as plain values.

Nothing is asked and nothing is drawn here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Series:
    """One line, bar or state: a name as its legend gives it, and values by unix time."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float | None:
        """The last value that is a number, None without any."""
        return next((v for _, v in reversed(self.points) if math.isfinite(v)), None)


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: since when, and in which colour."""

    name: str
    at: float
    colour: str


@dataclass(frozen=True, slots=True)
class Shown:
    """All of it: the time shown, the series of each panel by its id, and the marks.

    Values stand `step` seconds apart; where one is missing there was none.
    """

    start: float
    end: float
    step: float
    series: Mapping[int, Sequence[Series]]
    marks: Sequence[Mark]
    chosen: Mapping[str, str]
