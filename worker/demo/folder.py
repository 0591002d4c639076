"""The demo's folder: node, ledger and logs, and the note of which processes belong to it.

One demo a folder. The lock on it is inherited by the processes that may outlive the command, so it
is free again only when they are gone, however they went."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME: Final = ".demo"


class FolderTaken(Exception):  # noqa: N818 - named by what is the case
    """A demo is there already; `stop` is the command that ends it."""

    def __init__(self, path: Path) -> None:
        self.stop = stop_command(path)
        super().__init__(f"A demo is there already, in {path}. End it first: {self.stop}")


class Folder:
    """The folder, held until `remove` or `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def claim(cls, parent: Path) -> Self:
        """Make the folder, empty. Raises FolderTaken while another demo's processes hold it."""
        path = parent.resolve() / NAME
        path.mkdir(exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise FolderTaken(path) from None
        folder = cls(path, lock)
        folder._clear()
        return folder

    def note(self, pids: Sequence[int]) -> None:
        """Write down which processes belong to the demo, for whoever has to end them."""
        (self.path / "pids").write_text("".join(f"{pid}\n" for pid in pids))

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the folder and leave it there."""
        os.close(self.lock)

    def _clear(self) -> None:
        """Remove what an earlier demo left for reading."""
        for entry in self.path.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def stop_command(path: Path) -> str:
    """Return what ends the demo in this folder."""
    return f"kill $(cat {shlex.quote(str(path / 'pids'))})"
