"""Programs of ours as real processes: each in a group of its own, ended for certain.

What they are for is not known here."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: How long a program may take to end by itself after SIGTERM.
STOP_SECONDS_MAX: Final = 10.0
_LOG_TAIL_LINES: Final = 10


class Program:
    """One program, started and ended any number of times; its output is appended to `log`.

    `kept_open` are file descriptors that the process shall inherit.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str],
        kept_open: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environ = dict(environ)
        self._kept_open = tuple(kept_open)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it is started."""
        return None if self._process is None else self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and is gone, without our having ended it."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the process; returns at once."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.log.parent,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self._kept_open,
                # Its own group: ended whole, and not by a Ctrl-C or a closed terminal of ours.
                start_new_session=True,
            )

    def stop(self, *, seconds: float = STOP_SECONDS_MAX) -> int | None:
        """Ask the process to end, and force it after `seconds`; return its exit code.

        None when it was not started.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        return _end(process)

    def kill(self) -> int | None:
        """End the process, and all that it started, as a power cut would; return its exit code."""
        process, self._process = self._process, None
        return None if process is None else _end(process)

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        with suppress(FileNotFoundError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_LOG_TAIL_LINES:])
        return ""


def kill_children() -> None:
    """Kill every group that a child of this process leads, whoever started it, and wait.

    For the child that a signal caught between its start and the note of it.
    """
    for pid in _leading_children():
        _kill_group(pid)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _end(process: subprocess.Popen[bytes]) -> int:
    # The group, and not only its leader: what that one started may still be there.
    _kill_group(process.pid)
    return process.wait()


def _kill_group(pid: int) -> None:
    # macOS answers EPERM for a group of zombies, which is gone as well.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _leading_children() -> list[int]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid="], check=True, capture_output=True, text=True
    ).stdout
    rows = [[int(word) for word in line.split()] for line in listing.splitlines()]
    return [pid for pid, parent, group in rows if parent == os.getpid() and pid == group]
