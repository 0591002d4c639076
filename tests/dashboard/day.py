"""Some minutes in the life of two replicas, with what a bad day brings: what the picture shows.

Only what happens, and when. Who runs it and who draws it stands in `picture`."""

from __future__ import annotations

import asyncio
import math
import signal
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from tests.dashboard.scene import Course
from worker.demo.companies import ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.dashboard.scene import Scene

#: Slow enough to be seen under way, fast enough to end within the minutes.
COURSE: Final = Course(
    pace=timedelta(seconds=5),
    latency=timedelta(seconds=0.1),
    rate_limit=0,
    settings={
        "WORKER_BLUUM__RATE_LIMIT": "12",
        "WORKER_BLUUM_ACCOUNTS__RATE_LIMIT": "12",
        "WORKER_UPVEST__RATE_LIMIT": "12",
        "WORKER_POLLING__FIRST_DELAY": "3",
        "WORKER_POLLING__CAP": "15",
        "WORKER_RECONCILIATION__EVERY": "30",
        "WORKER_BLUUM_ACCOUNTS__IDEMPOTENCY_WINDOW": "8",
    },
)
#: Requests a second on the average, and by how much of that they go up and down.
_RATE: Final = 2.5
_SWING: Final = 0.4
#: Which share of the requests goes where, and is special in which way.
_PROVIDERS: Final = {"bluum": 0.55, "bluum_accounts": 0.15, "upvest": 0.3}
_SPECIAL: Final = {"": 0.92, "too poor": 0.03, "not approved": 0.02, "unknown party": 0.03}
_FAILING: Final = {"bluum": "fails at the bank", "upvest": "cancelled by the provider"}
#: The usual time of an answer, and how much it varies.
_LATENCY: Final = {"bluum": 0.06, "bluum_accounts": 0.09, "upvest": 0.16}
_SPREAD: Final = 0.5
_LATENCY_TICK: Final = 0.2
#: So long after the last request of a provider all of them have been sent, or found out about.
_QUIET_SECONDS: Final = 18.0


@dataclass(slots=True)
class _Weather:
    """By what factor a provider is slower than usual, and what else there is."""

    bluum: float = 1.0
    bluum_accounts: float = 1.0
    upvest: float = 1.0
    #: Who is asked for nothing.
    closed: str = ""


async def a_day(scene: Scene, length: timedelta) -> None:
    """Let it happen, in so long."""
    random, weather = Random(11), _Weather()  # noqa: S311 - no secret
    async with asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(_customers(scene, random, weather, length)),
            tasks.create_task(_answers(scene, random, weather)),
            tasks.create_task(_strangers(scene, length)),
        ]
        at = length.total_seconds() / 100
        for hour, event in (
            (18, partial(_bluum_stumbles, scene, weather, for_seconds=14 * at)),
            (40, partial(_upvest_is_out, scene, for_seconds=18 * at)),
            (70, partial(_roll_out, scene)),
            (82, partial(_one_in_doubt, scene, weather)),
        ):
            tasks.create_task(_later(hour * at, event))
        await asyncio.sleep(length.total_seconds())
        for task in others:
            task.cancel()


async def _customers(scene: Scene, random: Random, weather: _Weather, length: timedelta) -> None:
    """Ask at random moments, now more, now less; some are sorry, some repeat themselves."""
    begun = asyncio.get_running_loop().time()
    while True:
        passed = (asyncio.get_running_loop().time() - begun) / length.total_seconds()
        rate = _RATE * (1 + _SWING * math.sin(3 * math.tau * passed))
        await asyncio.sleep(random.expovariate(rate))
        (provider,) = random.choices(list(_PROVIDERS), list(_PROVIDERS.values()))
        if provider != weather.closed:
            await _ask(scene, random, provider)


async def _ask(scene: Scene, random: Random, provider: str) -> None:
    (special,) = random.choices(list(_SPECIAL), list(_SPECIAL.values()))
    if random.random() < 0.03:
        special = _FAILING.get(provider, special)
    waits = {"wait_for_funds_until": "2099-12-31T00:00:00Z"} if random.random() < 0.2 else {}
    times = 2 if random.random() < 0.04 else 1
    name = await scene.ask(provider, special, times=times, **waits)
    if random.random() < 0.06:
        await scene.cancel(name)


async def _strangers(scene: Scene, length: timedelta) -> None:
    """Send what nobody can read, from time to time, and forge a webhook."""
    while True:
        await asyncio.sleep(length.total_seconds() / 12)
        await scene.send("malformed", b"{")
        await scene.ask("bluum", amount=5.0)
        await scene.forge()


async def _answers(scene: Scene, random: Random, weather: _Weather) -> None:
    """Let answers take now more, now less time."""
    while True:
        for provider, usual in _LATENCY.items():
            factor: float = getattr(weather, provider)
            seconds = usual * factor * random.lognormvariate(0, _SPREAD)
            scene.slow_down(provider, timedelta(seconds=seconds))
        await asyncio.sleep(_LATENCY_TICK)


async def _bluum_stumbles(scene: Scene, weather: _Weather, *, for_seconds: float) -> None:
    """Answers are slow, one of five is a 5xx, and a status is new."""
    weather.bluum = 8
    scene.trouble("bluum", error_before=0.12, error_after=0.08, unknown_status=0.02)
    await asyncio.sleep(for_seconds)
    weather.bluum = 1
    scene.trouble("bluum")


async def _upvest_is_out(scene: Scene, *, for_seconds: float) -> None:
    scene.trouble("upvest", outage=True)
    await asyncio.sleep(for_seconds)
    scene.trouble("upvest")


async def _one_in_doubt(scene: Scene, weather: _Weather) -> None:
    """Leave one request in doubt, and no other: nobody asks meanwhile."""
    weather.closed = ACCOUNTS.name
    await asyncio.sleep(_QUIET_SECONDS)
    await scene.leave_in_doubt()
    await asyncio.sleep(_QUIET_SECONDS)
    scene.trouble(ACCOUNTS.name)
    weather.closed = ""


async def _roll_out(scene: Scene) -> None:
    """Replace one worker after the other, as a rolling update does."""
    for worker in scene.workers:
        await worker.end(signal.SIGTERM)
        await worker.start()
        await worker.ready()


async def _later(seconds: float, event: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await event()
