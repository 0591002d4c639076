"""Workers that start in a fraction of a second, since most of a start is the import of modules.

Each is a process of its own that runs `withdrawals-worker run`; it is forked from one that has the
worker's modules imported already, and that nothing has been done with yet."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING, Self

from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORKED = multiprocessing.get_context("forkserver")
# The first start is as slow as any other; it begins the process that the rest are forked from.
_FORKED.set_forkserver_preload([__name__, "worker.app"])


class WarmProcess:
    """One worker with this environment; its output is appended to a file. Started by `started`.

    To be used like a process of asyncio's.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKED.Process(target=_live, args=(dict(environment), str(log)))

    @classmethod
    async def started(cls, environment: Mapping[str, str], log: Path) -> Self:
        """Start one; it may not be ready yet."""
        warm = cls(environment, log)
        await asyncio.to_thread(warm._process.start)
        return warm

    @property
    def pid(self) -> int:
        """Which process it is."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal; raises ProcessLookupError when it is gone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would; it may not be gone yet."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended; return how. Only one may wait at a time."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            while (code := self.returncode) is None:
                await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        return code


def _live(environment: dict[str, str], log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        del os.environ[name]
    os.environ.update(environment)
    sys.argv = ["withdrawals-worker", "run"]
    main()
