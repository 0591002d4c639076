"""What of a worker uses the request budget, for the benchmark of it: ledger, pace and line.

Looks wait from the beginning on. At a line that comes in a phase begins, and at the next one, once
all replicas are through, it ends with a line of figures: first the backlog is submitted; then fresh
submissions arrive for a while (the line says how many seconds)."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import httpx

from tests.providers.builders import a_held, a_permit
from tests.providers.stages import bluum_request
from worker.core.budget import Rank, gap_of
from worker.ledger.store import open_ledger
from worker.providers.bluum import Bluum
from worker.providers.bluum_generation import INVESTOR_SCOPED
from worker.providers.http import Line
from worker.providers.pace import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from worker.ledger.store import Ledger

_INVESTORS = 50


class Replica:
    """One of several that share a budget, with looks that never end."""

    def __init__(self, ledger: Ledger, base_url: str, rate: float, name: str) -> None:
        self._name = name
        self._granted: Counter[str] = Counter()
        self._waits: list[float] = []
        self.line = Line(
            base_url,
            auth=httpx.BasicAuth("simulator-key", "simulator-secret"),
            pace=Pace(
                partial(ledger.reserve, "bench", gap_of(rate)),
                waited=self._waited,
                granted=self._count,
            ),
            timeout=timedelta(seconds=20),
            observe=lambda _operation, _outcome, _seconds: None,
        )
        self._bluum = Bluum(
            self.line,
            INVESTOR_SCOPED,
            reference_in_description=True,
            now=ledger.now,
            tenure=lambda: 0,
        )

    async def look(self, number: int) -> None:
        """Look at a withdrawal, and again, as if there were no end of those that are due."""
        while True:
            await self._bluum.look(f"inv_{number % _INVESTORS}", f"wd_{number}")

    async def submit(self, number: int, kind: str) -> None:
        """Make one withdrawal."""
        request = bluum_request(investor_id=f"inv_{number % _INVESTORS}", amount="5.00")
        held = a_held(self._bluum, request, f"{self._name}-{kind}-{number}")
        await self._bluum.create(a_permit(held))

    async def go_through(self, phase: Awaitable[None], until: Awaitable[bytes]) -> None:
        """Go through a phase, and tell so; once all are through, tell what left, by rank."""
        self._granted.clear()
        self._waits.clear()
        begun = monotonic()
        await phase
        _tell({"through": monotonic() - begun})
        await until
        document: dict[str, object] = {
            "seconds": monotonic() - begun,
            "granted": dict(self._granted),
            "waits": list(self._waits),
        }
        _tell(document)

    def _waited(self, operation: str, seconds: float) -> None:
        if operation == "create":
            self._waits.append(seconds)

    def _count(self, rank: Rank) -> None:
        self._granted[rank.name.lower()] += 1


async def main(options: argparse.Namespace) -> None:
    """Go through the phases."""
    async with open_ledger(options.ledger) as ledger:
        await ledger.read_clock()
        replica = Replica(ledger, options.base_url, options.rate, options.name)
        lines = _lines()
        async with replica.line:
            looking = [asyncio.create_task(replica.look(number)) for number in range(options.looks)]
            _tell({"ready": options.name})
            await anext(lines)
            await replica.go_through(_submit_all(replica, options.backlog), anext(lines))
            seconds = float(await anext(lines))
            fresh = _submit_fresh(replica, options.arrivals, seconds)
            await replica.go_through(fresh, anext(lines))
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)


async def _submit_all(replica: Replica, count: int) -> None:
    await asyncio.gather(*(replica.submit(number, "backlog") for number in range(count)))


async def _submit_fresh(replica: Replica, arrivals: float, seconds: float) -> None:
    """Submit at random moments: so many a second on average (a Poisson process)."""
    loop = asyncio.get_running_loop()
    until, number = loop.time() + seconds, 0
    async with asyncio.TaskGroup() as submissions:
        while (pause := random.expovariate(arrivals)) < until - loop.time():
            await asyncio.sleep(pause)
            submissions.create_task(replica.submit(number, "fresh"))
            number += 1
        await asyncio.sleep(until - loop.time())


async def _lines() -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for line in reader:
        yield line


def _tell(document: dict[str, object]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("--name", "--ledger", "--base-url"):
        parser.add_argument(option)
    for option in ("--looks", "--backlog"):
        parser.add_argument(option, type=int)
    for option in ("--rate", "--arrivals"):
        parser.add_argument(option, type=float)
    asyncio.run(main(parser.parse_args()))
