"""Lets time pass in a simulation, and sends the webhook deliveries that are due.

The only room of the simulator that calls out. A delivery is one POST; how it is signed and what its
answer means for the next attempt is each company's own."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.simulator.mail import Letter
    from worker.simulator.simulation import Simulation

#: Deliveries that are on their way at the same time.
SENDING_MAX: Final = 16


@asynccontextmanager
async def passing_time(simulation: Simulation[Any]) -> AsyncIterator[None]:
    """Let what is planned happen in time, and deliver what is due, until the block ends."""
    post = _Post(simulation)
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=simulation.house.mail.timeout.total_seconds()),
        connector=aiohttp.TCPConnector(limit=SENDING_MAX),
        trust_env=False,
    ) as session:
        task = asyncio.create_task(post.run(session))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class _Post:
    """Wakes up when something is due. One delivery of a lane at a time, in their order."""

    def __init__(self, simulation: Simulation[Any]) -> None:
        self._simulation = simulation
        self._mail = simulation.house.mail
        self._agenda = simulation.house.agenda
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(SENDING_MAX)
        self._waiting: defaultdict[str, deque[Any]] = defaultdict(deque)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Never returns. Cancelling it takes its deliveries back."""
        self._agenda.on_sooner = self._wake.set
        self._simulation.clock.on_advance = self._wake.set
        self._mail.on_due = self._wake.set
        async with asyncio.TaskGroup() as lanes:
            while True:
                self._wake.clear()
                self._agenda.run(self._simulation.clock.now())
                self._begin(session, lanes)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._seconds_left())

    def _seconds_left(self) -> float | None:
        """Return how long nothing is going to happen, None for ever."""
        if (next_at := self._agenda.next_at) is None:
            return None
        left: float = (next_at - self._simulation.clock.now()).total_seconds()
        return max(0.0, left)

    def _begin(self, session: aiohttp.ClientSession, lanes: asyncio.TaskGroup) -> None:
        """Put what is due behind the deliveries of the same lane."""
        while self._mail.due:
            delivery = self._mail.due.popleft()
            lane = delivery.lane
            self._waiting[lane].append(delivery)
            if len(self._waiting[lane]) == 1:
                lanes.create_task(self._drain(session, lane))

    async def _drain(self, session: aiohttp.ClientSession, lane: str) -> None:
        while self._waiting[lane]:
            await self._deliver(session, self._waiting[lane][0])
            self._waiting[lane].popleft()
        del self._waiting[lane]

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Any) -> None:  # noqa: ANN401 - each company's own
        # The session's own limit of connections would count the wait for one as the receiver's.
        async with self._room:
            # The real time: a receiver compares it with its own clock, not with the simulator's.
            letter = self._mail.letter(delivery, at=int(time.time()))
            if letter is None:
                return
            status = await _send(session, letter)
        self._mail.note(delivery, status, now=self._simulation.clock.now())


async def _send(session: aiohttp.ClientSession, letter: Letter) -> int | None:
    """Return the status of the answer, None when there was none."""
    try:
        async with session.post(
            letter.url, data=letter.body, headers=letter.headers, allow_redirects=False
        ) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
