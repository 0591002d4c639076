"""Ports for programs of one's own: free, and nobody else's in another process."""

import os
import subprocess
import sys
from pathlib import Path

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


def _told(code: str, **environment: str) -> list[set[int]]:
    """Run the code in a process of its own; return the ports of each line that it tells."""
    told = subprocess.run(
        (sys.executable, "-c", code),
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [{int(port) for port in line.split()} for line in told.stdout.splitlines()]
