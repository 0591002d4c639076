"""When to look again, and how long to back off.

Pure: chance comes in as a number between 0 and 1, the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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
    `window`: how long after the first attempt the provider is trusted to remember the key.
    `settling`: how long a provider's list may lag behind its own effects.
    """

    looks: Schedule
    retries: Schedule
    window: timedelta
    settling: timedelta = timedelta(minutes=2)
    throttled: timedelta = timedelta(seconds=1)
    denied: timedelta = timedelta(seconds=15)
