"""The points at which fate may strike: one before each effect on the outside, one after it.

Between two effects of one task, a crash leaves the same world behind wherever it comes: so a crash
at each point is a crash at each await. Here the points are counted and blows dealt; what a blow
does stands in `world`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Blow(StrEnum):
    """What befalls whoever crosses a point."""

    KILL = "its process is killed"
    PAUSE = "its process stands still for a minute"
    SLEEP = "its process stands still until the key is forgotten"
    CUT_BEFORE = "the ledger is away"
    CUT_AFTER = "the ledger writes and does not confirm"
    LOSE = "the broker loses connections and what is published"
    SWALLOW = "the broker loses connections and confirms nothing"


class Killed(BaseException):
    """The process is gone. Nothing that handles errors may catch it, as nothing stops a SIGKILL."""


class Points:
    """Counts the points that are crossed, and deals the blows of `plan` (by number, from 1)."""

    def __init__(self, plan: Mapping[int, Blow] | None = None) -> None:
        self.names: list[str] = []
        self.plan = dict(plan or {})
        #: Where which blow fell.
        self.dealt: list[tuple[int, str, Blow]] = []

    def cross(self, name: str) -> Blow | None:
        """Cross a point; return what befalls whoever does."""
        self.names.append(name)
        number = len(self.names)
        blow = self.plan.pop(number, None)
        if blow is not None:
            self.dealt.append((number, name, blow))
        return blow

    def strike_soon(self, blow: Blow, *, after: int) -> None:
        """Deal a blow at the point that is `after` points from here."""
        self.plan[len(self.names) + after] = blow

    def __str__(self) -> str:
        return "; ".join(f"at {number} ({name}) {blow}" for number, name, blow in self.dealt)
