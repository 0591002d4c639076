"""Where RabbitMQ comes from, on machines made of a folder with a few programs that act."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from worker.demo.rabbitmq_node import DockerRabbitmq, Found, RabbitmqNode
from worker.demo.rabbitmq_source import Machine, obtain_rabbitmq

if TYPE_CHECKING:
    from pathlib import Path

INSTALLS = (
    'echo "$0 $*" | sed "s|.*/||" >> "$LOG"; case "$*" in *install*) touch "$INSTALLED";; esac'
)
REFUSES = "echo 'no network'; exit 1"
PASSES_ON = '[ "$1" = -n ] && shift; exec "$@"'
#: Notes whether the file that holds services back was there while installing.
CHECKS_POLICY = f'cp "$POLICY" "$POLICY.seen" 2>/dev/null\n{INSTALLS}'


@dataclass
class Fake:
    """A machine that has only the programs it is given."""

    folder: Path
    programs: Path
    said: list[str] = field(default_factory=list)

    @property
    def policy(self) -> Path:
        """What keeps services from being started."""
        return self.folder / "policy-rc.d"

    def add(self, name: str, body: str) -> None:
        """Put a program on the machine's PATH."""
        body = body.replace("$LOG", str(self.folder / "log"))
        body = body.replace("$INSTALLED", str(self.folder / "installed"))
        body = body.replace("$POLICY", str(self.policy))
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def obtain(self, *, is_root: bool = False) -> RabbitmqNode | DockerRabbitmq | None:
        """What the demo comes to on this machine."""
        machine = Machine(
            path=str(self.programs), is_root=is_root, find=self._find, policy=self.policy
        )
        return obtain_rabbitmq(machine, self.folder, self.said.append)

    @property
    def called(self) -> list[str]:
        """The installing commands that ran."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def _find(self) -> Found | None:
        there = self.folder / "installed"
        return Found(there, there, there) if there.exists() else None


@pytest.fixture
def machine(tmp_path: Path) -> Fake:
    """A machine with no program at all."""
    (tmp_path / "bin").mkdir()
    return Fake(tmp_path, tmp_path / "bin")


def test_what_is_there_is_taken(machine: Fake) -> None:
    """
    An installed RabbitMQ is used, and nothing is installed or said.
    """
    (machine.folder / "installed").touch()
    machine.add("apt-get", INSTALLS)

    assert isinstance(machine.obtain(is_root=True), RabbitmqNode)
    assert ([], []) == (machine.called, machine.said)


def test_a_bare_machine_has_no_way(machine: Fake) -> None:
    """
    Without apt, brew and Docker there is nothing to be had.
    """
    assert machine.obtain(is_root=True) is None


def test_root_installs_the_package(machine: Fake) -> None:
    """
    On Debian as root the package is installed, and said to be.
    """
    machine.add("apt-get", INSTALLS)

    assert isinstance(machine.obtain(is_root=True), RabbitmqNode)
    assert [
        "apt-get --quiet=2 update",
        "apt-get --quiet=2 --yes --no-install-recommends install rabbitmq-server",
    ] == machine.called
    assert 1 == len(machine.said)


def test_no_service_is_started_by_installing(machine: Fake) -> None:
    """
    While the package is installed services are held back; afterwards the file for it is gone.
    """
    machine.add("apt-get", CHECKS_POLICY)
    machine.obtain(is_root=True)

    seen = machine.policy.with_name("policy-rc.d.seen")
    assert "#!/bin/sh\nexit 101\n" == seen.read_text()
    assert seen.stat().st_mode & stat.S_IXUSR
    assert not machine.policy.exists()


@pytest.mark.parametrize("apt", [INSTALLS, REFUSES])
def test_a_policy_of_the_machine_stays(machine: Fake, apt: str) -> None:
    """
    A machine that has a policy of its own keeps it as it is.
    """
    machine.policy.write_text("mine")
    machine.add("apt-get", apt)
    machine.obtain(is_root=True)

    assert "mine" == machine.policy.read_text()


def test_the_policy_goes_when_installing_fails(machine: Fake) -> None:
    """
    Services are held back no longer than the attempt lasts.
    """
    machine.add("apt-get", REFUSES)

    assert machine.obtain(is_root=True) is None
    assert not machine.policy.exists()
    assert "RabbitMQ: that did not work: no network" == machine.said[-1]


def test_sudo_without_a_password_is_used(machine: Fake) -> None:
    """
    Whoever is not root installs by sudo, if it asks for nothing.
    """
    machine.add("apt-get", INSTALLS)
    machine.add("sudo", PASSES_ON)

    assert isinstance(machine.obtain(), RabbitmqNode)
    assert 2 == len(machine.called)


@pytest.mark.parametrize("sudo", [REFUSES, None])
def test_nobody_is_asked_for_a_password(machine: Fake, sudo: str | None) -> None:
    """
    Where sudo wants a password or is not there, apt is left alone and Docker comes next.
    """
    machine.add("apt-get", INSTALLS)
    machine.add("docker", REFUSES)
    if sudo:
        machine.add("sudo", sudo)

    assert isinstance(machine.obtain(), DockerRabbitmq)
    assert [] == machine.called


@pytest.mark.parametrize(
    ("brew", "expected"),
    [(INSTALLS, RabbitmqNode), (REFUSES, DockerRabbitmq)],
)
def test_homebrew_comes_before_docker(
    machine: Fake, brew: str, expected: type[RabbitmqNode | DockerRabbitmq]
) -> None:
    """
    On macOS the formula is installed; where that fails, Docker is taken.
    """
    machine.add("brew", brew)
    machine.add("docker", REFUSES)

    assert isinstance(machine.obtain(), expected)
