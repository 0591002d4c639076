"""Workers that start in a fraction of a second, for tests that need many lives of one.

Each is a process of its own that runs `withdrawals-worker run`; it is forked from one that has the
worker's modules imported already, and that nothing has been done with yet."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORKED = multiprocessing.get_context("forkserver")
# The first start is as slow as any other; it begins the process that the rest are forked from.
_FORKED.set_forkserver_preload([__name__, "worker.app"])


class WarmWorker:
    """One worker with settings of its own; its output is appended to a file."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKED.Process(target=_live, args=(dict(environment), str(log)))

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        self._process.start()

    def kill(self) -> int | None:
        """End it as a power cut would; return how it ended, as a negative signal."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode


def _live(environment: dict[str, str], log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        del os.environ[name]
    os.environ.update(environment)
    sys.argv = ["withdrawals-worker", "run"]
    main()
