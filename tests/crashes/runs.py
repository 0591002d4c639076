"""Running a story in a world of its own, once for each point at which fate may strike.

Everything is counted, so that a summary can tell how much was walked."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.crashes.loop import SimulatedLoop
from tests.crashes.replica import Replica
from tests.crashes.verdict import broken
from tests.crashes.world import a_world
from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.crashes.points import Blow, Points
    from tests.crashes.stories import Story

#: What is simulated is the death of a process, not of the machine: the ledger's file may lie in
#: memory, where a commit costs nothing.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of one's own is made in there


@dataclass(frozen=True)
class Run:
    """How a story went: the points it crossed, the blows that fell, and what broke."""

    points: Points
    broken: list[str]


@dataclass
class Walk:
    """Runs stories, and counts. `empty_ledger` returns the URL of one, each time it is called."""

    empty_ledger: Callable[[], str]
    worker: type[Replica] = Replica
    runs: int = 0
    points: int = 0
    failures: list[str] = field(default_factory=list)

    def each_point(
        self,
        story: Story,
        blow: Blow,
        *,
        replicas: int = 1,
        first: int = 1,
        stride: int = 1,
        until_it_fails: bool = False,
    ) -> None:
        """Run a story once for each point (or each `stride`-th from the `first`), strike there."""
        for number in count(first, stride):
            run = self.run(story, {number: blow}, replicas=replicas)
            if not run.points.dealt or (until_it_fails and self.failures):
                return
            self.points += 1

    def each_pair(self, story: Story, blow: Blow, then: Blow, *, apart: Iterable[int]) -> None:
        """Run a story once for each point and each distance to a second blow."""
        for distance in apart:
            for number in count(1):
                run = self.run(story, {number: blow, number + distance: then})
                if not run.points.dealt:
                    break
                self.points += len(run.points.dealt)

    def run(self, story: Story, plan: Mapping[int, Blow], *, replicas: int = 1) -> Run:
        """Run a story once."""
        url = self.empty_ledger()
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            run = runner.run(_play(url, story, plan, worker=self.worker, replicas=replicas))
        self.runs += 1
        if run.broken:
            self.failures.append(f"{story}, {run.points}: {'; '.join(run.broken)}")
        return run


@contextmanager
def silent() -> Iterator[None]:
    """Keep thousands of runs from logging what is no news here; errors are heard by the world."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def sqlite_ledgers() -> Iterator[Callable[[], str]]:
    """Give out URLs of empty ledgers with their schema; each takes the place of the one before."""
    folder = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="withdrawals-crashes-", dir=folder) as name:
        path = Path(name) / "ledger.db"

        def empty_ledger() -> str:
            for old in Path(name).iterdir():
                old.unlink()
            path.write_bytes(_with_schema())
            return f"sqlite:///{path}"

        yield empty_ledger


@cache
def _with_schema() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        asyncio.run(migrate(f"sqlite:///{path}"))
        return path.read_bytes()


async def _play(
    url: str, story: Story, plan: Mapping[int, Blow], *, worker: type[Replica], replicas: int
) -> Run:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    async with a_world(url, loop, worker=worker, plan=plan, replicas=replicas) as world:
        await story.play(world)
        return Run(world.points, await broken(world, may_end=story.ends))
