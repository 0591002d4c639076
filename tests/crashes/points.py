"""The points at which fate may strike: before each effect on the outside, after it, after a look.

Between two effects a crash leaves the same world behind wherever it comes: so a crash after each
effect is a crash at each await. Who only stands still remembers what was seen and made up their
mind to, and goes on with that. Here the points are counted and blows dealt; what a blow does stands
in `world`."""

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
    """Counts the points that are crossed, and deals the blows of `plan` (by number, from 1).

    A plan of deaths alone counts only those points at which a death may leave another world behind
    than at the point before: something has happened in between.
    """

    def __init__(self, plan: Mapping[int, Blow] | None = None) -> None:
        self.names: list[str] = []
        self.crossed = 0
        self.plan = dict(plan or {})
        self._is_deadly = set(self.plan.values()) == {Blow.KILL}
        self._has_happened = True
        #: Where which blow fell.
        self.dealt: list[tuple[int, str, Blow]] = []

    def cross(self, name: str) -> Blow | None:
        """Cross a point; return what befalls whoever does."""
        self.names.append(name)
        if self._is_deadly and not self._has_happened:
            return None
        self._has_happened = False
        self.crossed += 1
        blow = self.plan.pop(self.crossed, None)
        if blow is not None:
            self.dealt.append((self.crossed, name, blow))
        return blow

    def happened(self) -> None:
        """Notice that the outside is perhaps no longer as it was."""
        self._has_happened = True

    def strike_soon(self, blow: Blow, *, after: int) -> None:
        """Deal a blow at the point that is `after` points from here."""
        self.plan[self.crossed + after] = blow

    def __str__(self) -> str:
        return "; ".join(f"at {number} ({name}) {blow}" for number, name, blow in self.dealt)
