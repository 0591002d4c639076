"""What came in and what went out: counts, and how dense the calls were.

Constant work a call, and memory for one second of calls at most. It decides nothing: the limit is
asked for here and enforced by who asks."""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Any, Final

_SECOND: Final = timedelta(seconds=1)
#: Stands in place of a status for a call whose connection was cut or that was left hanging.
UNANSWERED: Final = "unanswered"
#: Stands beside the faults for a call that met an outage.
OUTAGE: Final = "outage"


class Traffic:
    """The counters of a run. `busiest_second` is the most calls within any one second."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.responses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.rate_limited = 0
        self.busiest_second = 0
        self._arrivals = _SlidingSecond()
        self._admissions = _SlidingSecond()

    def arrive(self, operation: str, now: datetime) -> int:
        """Count a call in; return its number among the calls of this operation, from 1."""
        self.requests[operation] += 1
        self._arrivals.add(now)
        self.busiest_second = max(self.busiest_second, self._arrivals.count(now))
        return self.requests[operation]

    def admit(self, now: datetime, *, limit: int) -> bool:
        """Tell whether another call fits into the second that ends now; `limit` 0 means always.

        A call that does not fit takes no room itself: who keeps knocking is let in a second after
        the calls that went before.
        """
        if not limit:
            return True
        if self._admissions.count(now) >= limit:
            self.rate_limited += 1
            return False
        self._admissions.add(now)
        return True

    def answer(self, status: int | None) -> None:
        """Count a call out; None when it got no answer."""
        self.responses[UNANSWERED if status is None else str(status)] += 1

    def document(self) -> dict[str, Any]:
        """Return the counters as JSON."""
        return {
            "requests": dict(self.requests),
            "responses": dict(self.responses),
            "rate_limited": self.rate_limited,
            "faults": dict(self.faults),
            "busiest_second": self.busiest_second,
        }


class _SlidingSecond:
    """The moments of the last second. How a company's own window slides is undocumented."""

    def __init__(self) -> None:
        self._moments: deque[datetime] = deque()

    def add(self, now: datetime) -> None:
        self._moments.append(now)

    def count(self, now: datetime) -> int:
        while self._moments and self._moments[0] <= now - _SECOND:
            self._moments.popleft()
        return len(self._moments)
