"""Whether the process lives, has started and is ready, as a set of named checks.

Values only; who serves them stands in `probes`.

Alive: no loop of ours is stuck, and no piece of work. An unreachable broker, ledger or provider
never fails this: a restart would mend none of them. Ready: started, broker, ledger, credentials. A
provider's outage is not in it: a worker that waits for the provider does its duty."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: A loop that has not shown itself for so long counts as stuck. Longer than any wait inside one.
STUCK_SECONDS: Final = 90.0
#: An event loop that is this late cannot keep heartbeats or leases.
LAG_SECONDS: Final = 10.0

_STARTUP: Final = "startup"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it holds, in a few words why, and since how many seconds it says so."""

    name: str
    holds: bool
    detail: str
    age_seconds: float


class Health:
    """Collects what the parts of the worker report about themselves."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._states: dict[str, tuple[bool, str, float]] = {}
        self._beats: dict[str, float] = {}
        self._watched: dict[str, tuple[Callable[[], float], float]] = {}
        self._lag, self._lagged_at = 0.0, clock()
        # The first thing to be ready: nothing else may have reported, or registered, before it.
        self._report_start = self.reporter(_STARTUP)
        self._report_start(False, "still starting")

    def reporter(self, name: str) -> Callable[[bool, str], None]:
        """Return a function with which one part reports; it counts as not ready until it does."""
        self._states[name] = (False, "not yet known", self._clock())

        def report(holds: bool, detail: str) -> None:  # noqa: FBT001 - a state and its words
            was = self._states[name]
            if was[:2] != (holds, detail):
                self._states[name] = (holds, detail, self._clock())

        return report

    def pulse(self, name: str) -> Callable[[], None]:
        """Return a function that a loop calls each time round; silence for long means stuck."""
        self._beats[name] = self._clock()

        def beat() -> None:
            self._beats[name] = self._clock()

        return beat

    def end_pulse(self, name: str) -> None:
        """Expect no further beats of a loop that has ended in order."""
        self._beats.pop(name, None)

    def watch(self, name: str, age: Callable[[], float], *, limit: float) -> None:
        """Count as stuck when something is in work for longer than `limit` seconds.

        `age` tells for how many seconds the oldest piece of work has been in work.
        """
        self._watched[name] = (age, limit)

    def lagged(self, seconds: float) -> None:
        """Hear how late the event loop was."""
        self._lag, self._lagged_at = seconds, self._clock()

    def started(self) -> None:
        """Hear that everything has been set up once."""
        self._report_start(True, "done")

    def live(self) -> list[Check]:
        """Return the checks of liveness."""
        now = self._clock()
        loops = [
            Check(name, now - at < STUCK_SECONDS, f"last seen {now - at:.1f} s ago", now - at)
            for name, at in self._beats.items()
        ]
        work = [
            Check(name, age() < limit, f"the oldest in work for {age():.1f} s", age())
            for name, (age, limit) in self._watched.items()
        ]
        late = f"{self._lag:.3f} s late"
        lag = Check("event loop", self._lag < LAG_SECONDS, late, now - self._lagged_at)
        return [lag, *loops, *work]

    def ready(self) -> list[Check]:
        """Return the checks of readiness."""
        now = self._clock()
        return [
            Check(name, holds, detail, now - since)
            for name, (holds, detail, since) in self._states.items()
        ]

    def startup(self) -> list[Check]:
        """Return the checks of the start: it is over once everything was set up once."""
        return [check for check in self.ready() if check.name == _STARTUP]
