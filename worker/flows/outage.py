"""A provider that fails as a whole: nothing new is taken in until one call has shown it is back.

The backlog stays in the queue, where it costs nothing, and the provider is not hammered while it
recovers. Nothing here decides about a withdrawal: a call that failed has its own way on.

Three states. Up: calls go out as they come, failures are counted. Out: the intake is closed, what
is due waits, and a harmless read is tried now and then, one at a time. On trial, once that read was
answered: one real call at a time, and the first that is answered ends the outage, the first that
fails renews it; a read may well work while payouts do not."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from worker.core.answers import Answer, EntryAnswer, ListAnswer, Throttled, Unclear
from worker.core.sale import OrderAnswer, OrdersAnswer
from worker.flows.journey import apart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.schedule import Schedule
    from worker.flows.gate import Gate

_log = logging.getLogger(__name__)

#: So many failures in a row, of so many different withdrawals, are the provider's and not theirs.
FAILURES_NEEDED: Final = 10
SUBJECTS_NEEDED: Final = 3
#: A read that takes longer than this was not answered.
PROBE_LIMIT: Final = timedelta(seconds=10)
_IDLE: Final = timedelta(seconds=5)

_A = TypeVar("_A", bound=Answer | EntryAnswer | ListAnswer | OrderAnswer | OrdersAnswer)


class State(StrEnum):
    """How a provider is doing as a whole."""

    UP = "up"
    OUT = "out"
    TRIAL = "trial"


class Outage:
    """Watches one provider as a whole; `run` it as a task.

    `probe` reads something harmless and returns None when it was not answered; `pauses` are the
    waits between two of them. `told` hears whether the provider is up, `beat` is called while the
    task is alive. `chance` (0 to 1) spreads the pauses.
    """

    def __init__(
        self,
        provider: str,
        gate: Gate,
        *,
        probe: Callable[[], Awaitable[bool | None]],
        pauses: Schedule,
        chance: Callable[[], float],
        told: Callable[[bool], None],
        beat: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._provider = provider
        self._gate = gate
        self._holder = f"outage {provider}"
        self._probe = probe
        self._pauses = pauses
        self._chance = chance
        self._told = told
        self._beat = beat
        self._sleep = sleep
        self._failures = 0
        self._subjects: set[str] = set()
        self._turn = 0
        self._one_at_a_time = asyncio.Lock()
        self._changed = asyncio.Event()
        self.state = State.UP
        told(True)

    @property
    def is_out(self) -> bool:
        """Whether the provider is not to be called at all, but for the probe."""
        return self.state is State.OUT

    async def call(self, subject: str, work: Callable[[], Awaitable[_A]]) -> _A:
        """Make one call and hear its answer; while on trial, one at a time.

        `subject` is the same for calls about the same withdrawal or party.
        """
        if self.state is not State.TRIAL:
            return self._heard(subject, await work())
        async with self._one_at_a_time:
            return self._heard(subject, await work())

    async def run(self) -> None:
        """Close the intake when the provider is out, probe, and open it; until cancelled."""
        while True:
            match self.state:
                case State.UP:
                    await self._gate.open(self._holder)
                case State.OUT:
                    await self._gate.close(
                        self._holder, f"{self._provider} fails as a whole", duty=True
                    )
                    await self._wait_and_probe()
                    continue
                case State.TRIAL:
                    await self._gate.open(self._holder, narrow=True)
            await self._until_changed()

    def _heard(self, subject: str, answer: _A) -> _A:
        if isinstance(answer, Unclear):
            self._failed(subject)
        elif not isinstance(answer, Throttled) or self.state is State.TRIAL:
            # A rate limit may be kept by a gateway whose provider is away: it proves nothing,
            # except that the one call on trial came through and the pace is what counts now.
            self._answered()
        return answer

    def _failed(self, subject: str) -> None:
        self._failures += 1
        if len(self._subjects) < SUBJECTS_NEEDED:
            self._subjects.add(subject)
        is_whole = self._failures >= FAILURES_NEEDED and len(self._subjects) >= SUBJECTS_NEEDED
        if self.state is State.TRIAL or (self.state is State.UP and is_whole):
            with apart():
                _log.error(
                    "provider is out",
                    extra={"provider": self._provider, "failures": self._failures},
                )
            self._become(State.OUT)

    def _answered(self) -> None:
        self._failures = 0
        self._subjects.clear()
        # While out, a late answer to a call from before says nothing about now.
        if self.state is State.TRIAL:
            with apart():
                _log.warning("provider is back", extra={"provider": self._provider})
            self._turn = 0
            self._become(State.UP)

    def _become(self, state: State) -> None:
        self.state = state
        self._told(state is State.UP)
        self._changed.set()

    async def _wait_and_probe(self) -> None:
        pause = self._pauses.delay(self._turn, chance=self._chance())
        self._turn += 1
        self._beat()
        await self._sleep(pause.total_seconds())
        self._beat()
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_LIMIT.total_seconds()):
                if await self._probe() is not None:
                    self._become(State.TRIAL)

    async def _until_changed(self) -> None:
        self._beat()
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE.total_seconds()):
                await self._changed.wait()
        self._changed.clear()
