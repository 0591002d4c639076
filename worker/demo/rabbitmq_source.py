"""Where the demo's RabbitMQ comes from: what is installed, else a package, else Docker.

Installing starts no service and touches none that is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.demo.rabbitmq_node import DockerRabbitmq, Found, RabbitmqNode, find_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PACKAGE: Final = "rabbitmq-server"
# Debian starts what it installs, unless this file says no (101); a machine that has one keeps it.
# One script as root, so that the file goes away again even if the demo is killed meanwhile.
_INSTALL: Final = """\
trap 'exit 1' HUP INT TERM
if [ ! -e "$1" ]; then
  trap 'rm -f "$1"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$1"
  chmod 755 "$1"
fi
# A failed update is no reason to give up: the list that is there may do.
"$2" --quiet=2 update
DEBIAN_FRONTEND=noninteractive "$2" --quiet=2 --yes --no-install-recommends install "$3"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine as far as it matters here: where programs lie, who we are, what is installed.

    `policy` is the file by which Debian is kept from starting what it installs.
    """

    path: str
    is_root: bool
    find: Callable[[], Found | None] = find_rabbitmq
    policy: Path = Path("/usr/sbin/policy-rc.d")

    @classmethod
    def here(cls) -> Machine:
        """Return the machine we run on."""
        return cls(path=os.environ.get("PATH", os.defpath), is_root=os.geteuid() == 0)

    def program(self, name: str) -> str | None:
        """Return where a program lies, None when it is not there."""
        return shutil.which(name, path=self.path)


def obtain_rabbitmq(
    machine: Machine, folder: Path, say: Callable[[str], None]
) -> RabbitmqNode | DockerRabbitmq | None:
    """Return a RabbitMQ that can be started, installing it if need be; None when there is no way.

    Says each thing that is done to the machine before it is done.
    """
    node = folder / "rabbitmq"
    if found := machine.find():
        return RabbitmqNode(node, found)
    for title, command in _installations(machine):
        say(f"RabbitMQ: not found, installing {title}; this may take minutes")
        failure = _run(command, log=folder / "install.log")
        if failure is None and (found := machine.find()):
            return RabbitmqNode(node, found)
        say(f"RabbitMQ: that did not work: {failure or 'it is still not found'}")
    if machine.program("docker"):
        say("RabbitMQ: not found, taking Docker's image rabbitmq:4")
        return DockerRabbitmq()
    return None


def _installations(machine: Machine) -> Iterator[tuple[str, list[str]]]:
    """Give the ways to install it here, each with a title; none starts a service."""
    apt = machine.program("apt-get")
    if apt is not None and (as_root := _as_root(machine)) is not None:
        script = ["sh", "-c", _INSTALL, "install", str(machine.policy), apt, _PACKAGE]
        yield f"the package {_PACKAGE}", [*as_root, *script]
    if brew := machine.program("brew"):
        yield "the formula rabbitmq with Homebrew", [brew, "install", "--quiet", "rabbitmq"]


def _as_root(machine: Machine) -> list[str] | None:
    """Return what to put before a command so that root runs it, None when that cannot be."""
    if machine.is_root:
        return []
    sudo = machine.program("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], check=False, capture_output=True)
    return [sudo, "-n"] if asked.returncode == 0 else None


def _run(command: Sequence[str], *, log: Path) -> str | None:
    """Run a command to its end; return None, or the last line it wrote when it failed.

    To its end also when a signal tells us to stop: a half-installed package is worse than a short
    wait. Ctrl-C reaches the command as well, and it ends as it sees fit.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            process.wait()
        finally:
            process.wait()
    if process.returncode == 0:
        return None
    lines = log.read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"exit {process.returncode}")
