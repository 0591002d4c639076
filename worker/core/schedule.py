"""When to look again, and how long to back off.

Pure: chance comes in as a number between 0 and 1, the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.core.usual import after_business_time

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Before the time at which it usually ends, and while webhooks come in, a withdrawal is looked at
#: so many times more rarely than the longest pause says.
QUIET: Final = 8
#: An ended withdrawal is looked at so often; only the bank could still take it back.
_REVERSAL_LOOKS: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A delay that grows by a factor from `first_delay` up to `cap`, spread by `jitter`.

    `jitter` is the share (0 to 1) by which a delay may be longer or shorter, so that what came in
    together does not come back together.
    """

    first_delay: timedelta
    growth: float
    cap: timedelta
    jitter: float

    def delay(self, turn: int, *, chance: float) -> timedelta:
        """Return the delay before turn `turn` (0 is the first); `chance` is drawn from [0, 1)."""
        ceiling = self.cap / self.first_delay
        # A large turn would overflow a float; the cap is reached long before that.
        try:
            factor = min(self.growth**turn, ceiling)
        except OverflowError:
            factor = ceiling
        spread = 1 + self.jitter * (2 * chance - 1)
        return self.first_delay * factor * spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Every waiting time that a decision needs.

    `looks`: between two looks at a withdrawal in flight. `retries`: after an unclear create call.
    `window`: how long after the first attempt a provider is trusted to remember the key, where
    `windows` says nothing else of this one.
    `forgotten`: how long after the last call it has forgotten the key for certain.
    `settling`: how long a provider's list may lag behind its own effects.
    `reversal_days`: for how many business days an ended withdrawal is still looked at.
    """

    looks: Schedule
    retries: Schedule
    window: timedelta
    forgotten: timedelta = timedelta(hours=25)
    reversal_days: int = 0
    settling: timedelta = timedelta(minutes=2)
    throttled: timedelta = timedelta(seconds=1)
    denied: timedelta = timedelta(seconds=15)
    windows: Mapping[str, timedelta] = field(default_factory=dict)

    def window_of(self, provider: str | None) -> timedelta:
        """Return for how long a provider is trusted to remember a key."""
        return self.windows.get(provider or "", self.window)


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a withdrawal like this one usually ends, and whether a webhook would tell us of it."""

    soonest: datetime
    latest: datetime
    is_told: bool = False


def next_look(
    turn: int, *, now: datetime, patience: Patience, chance: float, outlook: Outlook | None
) -> tuple[datetime, bool]:
    """Return when to look at a withdrawal in flight again, and whether it usually ends by then.

    `turn` counts the looks since its last change, from 0. The pause grows. Where it is known when
    such withdrawals end, looks are spent on that time: before it, and while we would be told, they
    are rare; never rarer than `QUIET` times the longest pause, since a webhook may get lost.
    """
    wait = patience.looks.delay(turn, chance=chance)
    if outlook is None:
        return now + wait, False
    rarely = replace(patience.looks, cap=patience.looks.cap * QUIET).delay(turn, chance=chance)
    if now < outlook.soonest:
        wait = min(rarely, max(wait, outlook.soonest - now))
    elif outlook.is_told or now > outlook.latest:
        wait = rarely
    due_at = now + wait
    return due_at, outlook.soonest <= due_at <= outlook.latest


def next_reversal_look(
    ended_at: datetime, *, now: datetime, patience: Patience, chance: float
) -> datetime | None:
    """Return when to look at an ended withdrawal again, None when that is over: about daily."""
    over_at = after_business_time(ended_at, timedelta(days=patience.reversal_days))
    if not patience.reversal_days or now >= over_at:
        return None
    spread = 1 + patience.looks.jitter * (2 * chance - 1)
    return min(now + _REVERSAL_LOOKS * spread, over_at)
