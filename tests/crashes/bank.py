"""A provider at its worst within what is promised of it, and the witness of each create call.

It pays at once, late or not at all, answers or is silent, forgets a key after a day, shows a payout
in its list after a while. What it holds outlives every worker."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from tests.core.builders import INSUFFICIENT
from tests.flows.fakes import FakeProvider, Saying
from worker.core.answers import Conflicted, Denied, Refused, Throttled, Unclear
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import date, datetime

    from worker.core.answers import Answer, ListAnswer
    from worker.core.decide import Permit

#: A call that our side has given up may still execute so much later.
AFTERLIFE: Final = timedelta(seconds=60)
#: So long our side waits for an answer.
TIMEOUT: Final = timedelta(seconds=0.4)
#: How a payout gets on by itself.
_PROCESSING_AFTER: Final = timedelta(seconds=10)
_COMPLETED_AFTER: Final = timedelta(seconds=40)


class Manner(Enum):
    """How the provider takes one create call."""

    PAYS = auto()
    PAYS_SILENTLY = auto()
    PAYS_LATE = auto()
    IS_SILENT = auto()
    REFUSES = auto()
    CONFLICTS = auto()
    THROTTLES = auto()
    DENIES = auto()


_SAYINGS: Final[Mapping[Manner, Saying]] = {
    Manner.PAYS: Saying(pays=True),
    Manner.PAYS_SILENTLY: Saying(Unclear("timeout"), pays=True),
    Manner.PAYS_LATE: Saying(Unclear("timeout")),
    Manner.IS_SILENT: Saying(Unclear("timeout")),
    Manner.REFUSES: Saying(Refused(INSUFFICIENT)),
    Manner.CONFLICTS: Saying(Conflicted()),
    Manner.THROTTLES: Saying(Throttled()),
    Manner.DENIES: Saying(Denied()),
}


class Bank(FakeProvider):
    """Takes create calls in the manners that it was given, one by one; and pays once they are out.

    `witness` sees each call before anything comes of it. `lag` is how long the list takes to show a
    payout. `quiet` looks and lists get no answer.
    """

    def __init__(
        self, now: Callable[[], datetime], witness: Callable[[Permit], Awaitable[None]]
    ) -> None:
        super().__init__(self._now)
        self.manners: deque[Manner] = deque()
        self.lag = timedelta(0)
        self.quiet = 0
        self._true_now = now
        self._witness = witness
        #: Calls that arrive later, and when; they are carried out as of then.
        self._under_way: deque[tuple[datetime, Permit]] = deque()
        self._as_of: datetime | None = None

    async def create(self, permit: Permit) -> Answer:
        """Take a call in the next manner."""
        await self._witness(permit)
        manner = self.manners.popleft() if self.manners else Manner.PAYS
        self.catch_up()
        if manner is Manner.PAYS_LATE:
            self._under_way.append((self.now() + AFTERLIFE, permit))
        self.says.append(_SAYINGS[manner])
        answer = await super().create(permit)
        if isinstance(answer, Unclear):
            await asyncio.sleep(TIMEOUT.total_seconds())
        return answer

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not self._under_way

    def catch_up(self) -> None:
        """Carry out what has arrived by now."""
        while self._under_way and self._under_way[0][0] <= self._true_now():
            self._as_of, permit = self._under_way.popleft()
            self._pay(permit)
            self._as_of = None

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Tell how far a payout has got."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().look(party_id, withdrawal_id)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """List what is old enough to be shown."""
        if self._keeps_quiet():
            return Unclear("timeout")
        self._get_on()
        return await super().listed(party_id, since, until)

    def _keeps_quiet(self) -> bool:
        if self.quiet == 0:
            return False
        self.quiet -= 1
        return True

    def _now(self) -> datetime:
        return self._as_of or self._true_now()

    def _get_on(self) -> None:
        self.catch_up()
        for paid in self.paid:
            age = self.now() - paid.at
            paid.is_listed = age >= self.lag
            if age >= _COMPLETED_AFTER:
                paid.status = Status.COMPLETED
            elif age >= _PROCESSING_AFTER:
                paid.status = Status.PROCESSING
