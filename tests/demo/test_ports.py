"""Ports for programs of one's own: free, and nobody else's in another process."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.demo.ports import free_ports

_MANY = 300
_TELL = "from worker.demo.ports import free_ports; print(*free_ports(1000))"
_FORK = f"""
import os
from worker.demo.ports import free_ports
print(*free_ports({_MANY}), flush=True)
if os.fork() == 0:
    print(*free_ports(1000), flush=True)
    os._exit(0)
os.wait()
"""


def test_ports_are_free_and_differ() -> None:
    """
    No port is handed out twice.
    """
    assert 200 == len(set(free_ports(100) + free_ports(100)))


def test_ports_stay_free_while_a_program_is_restarted() -> None:
    """
    None is among those that the system gives to outgoing connections.
    """
    assert max(free_ports(200)) < 32_768


def test_no_other_process_is_given_the_same() -> None:
    """
    A port is its process's before anybody listens on it; by chance two dozen would be given twice.
    """
    ours = free_ports(_MANY)

    (theirs,) = _told(_TELL)

    assert not set(ours) & theirs


def test_a_fork_is_not_given_what_its_parent_has() -> None:
    """
    The locks of a process are not its child's, so the child sees them.
    """
    parents, childs = _told(_FORK)

    assert not parents & childs


def test_what_an_ended_process_had_is_free_again(tmp_path: Path) -> None:
    """
    Nothing has to be cleaned up: with all ports given out once, there are some left.
    """
    everything = "from worker.demo.ports import free_ports; print(*free_ports(9000))"

    (first,) = _told(everything, TMPDIR=str(tmp_path))
    (second,) = _told(everything, TMPDIR=str(tmp_path))

    assert len(first) + len(second) > len(first | second)


@pytest.mark.parametrize("obstacle", ["a folder", "a link"])
def test_what_stands_in_the_way_of_the_file_is_raised(tmp_path: Path, obstacle: str) -> None:
    """
    At once, and by its name: without the file no port is ever anybody's.
    """
    path = tmp_path / f"withdrawals-worker-ports-{os.getuid()}"
    if obstacle == "a folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(subprocess.CalledProcessError) as raised:
        _told(_TELL, seconds=20, TMPDIR=str(tmp_path))

    assert str(path) in raised.value.stderr.splitlines()[-1]


def test_a_file_without_locks_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No port would ever be ours there; a byte that is another's is no such thing.
    """

    def lockless(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", lockless)

    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        free_ports(1)


def _told(code: str, *, seconds: float = 60, **environment: str) -> list[set[int]]:
    """Run the code in a process of its own; return the ports of each line that it tells."""
    told = subprocess.run(
        (sys.executable, "-c", code),
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds,
    )
    return [{int(port) for port in line.split()} for line in told.stdout.splitlines()]
