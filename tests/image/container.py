"""Runs a command of the image as a cluster would: read-only root, the image's user, no rights.

It has processes of its own, in which the command is the first, and the network of this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: As root, in mounts and processes of its own. Its arguments: the root, what is mounted on the
#: working directory (or ""), that directory, the numbers of user and group, variables, the command.
_ENTER: Final = """
root=$1 volume=$2 folder=$3 user=$4 group=$5
shift 5
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
[ -z "$volume" ] || mount --bind "$volume" "$root$folder"
exec chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$group" --clear-groups \
  --bounding-set=-all --inh-caps=-all --no-new-privs /usr/bin/env -i --chdir="$folder" "$@"
"""


class Runtime:
    """What starts containers of one image from its mounted root file system."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        self._root = root
        self._config = config

    async def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> Container:
        """Start a command of the image's entry point; what it writes is appended to the log."""
        words = self._entered([*self._config["Entrypoint"], *command], environment, None)
        with log.open("ab") as output:
            return Container(
                await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    async def run(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        volume: Path | None = None,
        stdin: bytes = b"",
    ) -> tuple[int, str]:
        """Run any program of the image to its end; return its exit code and what it wrote.

        `volume` is mounted on the working directory, which can be written to then, and only then.
        """
        process = await asyncio.create_subprocess_exec(
            *self._entered(words, environment or {}, volume),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        written, _ = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, written.decode()

    def _entered(
        self, words: Sequence[str], environment: Mapping[str, str], volume: Path | None
    ) -> Sequence[str]:
        """Return the words that run these words inside of the image."""
        user, _, group = self._config["User"].partition(":")
        variables = [
            *self._config["Env"],
            *(f"{name}={text}" for name, text in environment.items()),
        ]
        if volume is not None:
            os.chown(volume, int(user), int(group))
        return (
            *("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--"),
            *("sh", "-ec", _ENTER, "sh", str(self._root), str(volume or "")),
            *(self._config["WorkingDir"], user, group, *variables, *words),
        )


class Container:
    """A running command; to be used like a process of asyncio's. As a context it ends with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __aenter__(self) -> Self:
        """It runs already."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave no process behind."""
        if self.returncode is None:
            self.kill()
            await self.wait()

    @property
    def returncode(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the container, as a runtime does."""
        # `unshare` waits for it, and passes nothing on.
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if not children:
            raise ProcessLookupError
        os.kill(int(children[0]), number)

    def kill(self) -> None:
        """End all of its processes as a power cut would: they end with the first."""
        with suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended; return how."""
        return await self._process.wait()
