"""Something costly that all processes of a parallel run share: whoever needs it first starts it.

What it is, is not known here."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_SH, flock
from typing import IO, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_T = TypeVar("_T")


@contextmanager
def shared(folder: Path, start: Callable[[], AbstractContextManager[_T]]) -> Iterator[_T]:
    """Start it, unless a process has; whoever did ends it, after the last that uses it.

    `start` yields where it is, as JSON can tell it. The folder is for this alone. The locks go with
    a process, however that ends.
    """
    folder.mkdir(exist_ok=True)
    told = folder / "told.json"
    with ExitStack() as stack:
        users = stack.enter_context((folder / "users").open("w"))
        with (folder / "door").open("w") as door:
            flock(door, LOCK_EX)
            # Where it is just being ended, this waits, and then it is to be started anew.
            flock(users, LOCK_SH)
            if not told.exists():
                told.write_text(json.dumps(stack.enter_context(_until_unused(start, told, users))))
        where: _T = json.loads(told.read_text())
        yield where


@contextmanager
def _until_unused(
    start: Callable[[], AbstractContextManager[_T]], told: Path, users: IO[str]
) -> Iterator[_T]:
    with start() as where:
        try:
            yield where
        finally:
            flock(users, LOCK_EX)
            told.unlink()
