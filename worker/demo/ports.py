"""Free ports of the loopback interface, for programs that the demo and the tests start.

Programs of one's own may look for ports in several processes at once, and listen a second later:
what one process was given, no other is."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

#: Below the ports that Linux (32768 on), macOS and Windows (49152 on) give to connections.
_PORTS: Final = range(20_000, 32_768)

# From the system: whoever seeds Python's own generator would be given the same ports again.
_random: Final = random.SystemRandom()


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on just now, each another.

    They are kept for this process until it ends: no other is given one of them by this function.
    Nor are they among those that the system gives to outgoing connections, which could take one
    while its program is being restarted. Raises OSError where that cannot be kept.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _random.choice(_PORTS)
        if _reserve(port) and _is_free(port):
            ports.append(port)
    return tuple(ports)


def _reserve(port: int) -> bool:
    """Lock the port's byte of a file that all processes of this user know; False if it is taken."""
    reserved = _reserved(os.getpid())
    if port in reserved:
        return False
    file = _file(os.getpid())
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        # Another process has it: POSIX allows either word for that, and no other.
        return False
    reserved.add(port)
    return True


# By process: a fork has none of its parent's locks, and has to see them.
@cache
def _reserved(_process: int) -> set[int]:
    return set()


@cache
def _file(_process: int) -> int:
    path = Path(tempfile.gettempdir()) / f"withdrawals-worker-ports-{os.getuid()}"
    # Never closed: that would give all of the locks back.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False
