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
    from collections.abc import Callable, Sequence

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
    if found := machine.find():
        return RabbitmqNode(folder, found)
    for install in (_install_with_apt, _install_with_brew):
        if install(machine, say) and (found := machine.find()):
            return RabbitmqNode(folder, found)
    if machine.program("docker"):
        say("RabbitMQ: not installed, taking the image rabbitmq:4 from Docker")
        return DockerRabbitmq()
    return None


def _install_with_apt(machine: Machine, say: Callable[[str], None]) -> bool:
    apt = machine.program("apt-get")
    if apt is None or (as_root := _as_root(machine)) is None:
        return False
    say(f"RabbitMQ: not installed, installing the package {_PACKAGE} (starts no service)")
    script = ["sh", "-c", _INSTALL, "install", str(machine.policy), apt, _PACKAGE]
    return _run([*as_root, *script])


def _install_with_brew(machine: Machine, say: Callable[[str], None]) -> bool:
    brew = machine.program("brew")
    if brew is None:
        return False
    say("RabbitMQ: not installed, running `brew install rabbitmq` (starts no service)")
    return _run([brew, "install", "--quiet", "rabbitmq"])


def _as_root(machine: Machine) -> list[str] | None:
    """Return what to put before a command so that root runs it, None when that cannot be."""
    if machine.is_root:
        return []
    sudo = machine.program("sudo")
    if sudo is not None and _run([sudo, "-n", "true"], quiet=True):
        return [sudo, "-n"]
    return None


def _run(command: Sequence[str], *, quiet: bool = False) -> bool:
    """Run a command to its end, and tell whether it succeeded.

    To its end also when a signal tells us to stop: a half-installed package is worse than a short
    wait. Ctrl-C reaches the command as well, and it ends as it sees fit.
    """
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        process.wait()
    finally:
        process.wait()
    return process.returncode == 0
