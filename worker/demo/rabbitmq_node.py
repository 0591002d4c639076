"""A RabbitMQ node of one's own, for the demo and the tests: loopback only, in a folder of its own.

It brings its own epmd, cookie and ports, so no broker that is there already is asked or touched."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.demo.ports import free_ports

#: Said to a person when there is no broker to start.
HOW_TO_GET_RABBITMQ = (
    "No RabbitMQ found. Install the program (nothing needs to be running): "
    "`apt-get install rabbitmq-server` on Debian and Ubuntu, `brew install rabbitmq` on macOS; "
    "or start Docker."
)

# Debian's scripts on PATH insist on root or the user rabbitmq; these here run as anybody.
_SERVER_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
_ERLANG_FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/lib/erlang/bin")

_START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 20.0
_CTL_SECONDS_MAX = 60.0
_GONE_SECONDS_MAX = 5.0
_PAUSE_SECONDS = 0.05
_LOG_TAIL_LINES = 30

_IMAGE = "rabbitmq:4"
_DOCKER_SECONDS_MAX = 600.0  # the image has to be fetched

# The first bytes an AMQP 0-9-1 client says, and what the broker's Connection.Start begins with:
# a method frame (1) on channel 0, then, after the length, class 10 and method 10.
_AMQP_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01\x00\x00"
_CONNECTION_START = b"\x00\x0a\x00\x0a"

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
num_acceptors.tcp = 2
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 10MB
log.console = false
log.file.level = info
"""


@dataclass(frozen=True)
class Found:
    """The programs a node is made of."""

    server: Path
    ctl: Path
    epmd: Path


def find_rabbitmq() -> Found | None:
    """The installed RabbitMQ, or None. Looks at files only: running any of them starts a broker."""
    server = _which("rabbitmq-server", before=_SERVER_FOLDERS)
    epmd = _which("epmd", after=_ERLANG_FOLDERS)
    if server is None or epmd is None:
        return None
    ctl = server.with_name("rabbitmqctl")
    return Found(server, ctl, epmd) if os.access(ctl, os.X_OK) else None


class NodeFailed(Exception):  # noqa: N818 - named by what happened
    """The node did not come up; the message ends with the last lines it wrote."""


@dataclass(frozen=True)
class Kin:
    """What the nodes of one cluster share: the secret by which they talk, and a running epmd."""

    cookie: str = field(repr=False)
    epmd_port: int


class RabbitmqNode:
    """
    One node. What is durable survives `kill`, `restart`, and a later node in the same folder.

    `start` and `stop` block; call them from a thread where an event loop runs. With `kin` it can
    join others; the epmd is then theirs in common, and whoever made them starts and ends it.
    """

    def __init__(self, folder: Path, found: Found, *, kin: Kin | None = None) -> None:
        self.folder = folder.resolve()
        self.port, self._dist_port, own_epmd_port = free_ports(3)
        self._kin = kin
        self._epmd_port = own_epmd_port if kin is None else kin.epmd_port
        # By the folder, so that a later node in it finds the data, which lie under this name.
        self.name = f"withdrawals-{sha256(bytes(self.folder)).hexdigest()[:12]}@localhost"
        self._found = found
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where an AMQP client connects."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes to end when the node is to end without us, by SIGTERM."""
        return tuple(process.pid for process in self._processes)

    def start(self) -> None:
        """Start the node; returns once it answers AMQP."""
        self._prepare()
        try:
            if self._kin is None:
                self._start_epmd()
            server = self._spawn(self._found.server)
            self._await(server, lambda: _answers_amqp(self.port))
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the node in order; by force when it takes too long."""
        self._end(in_order=True)

    def kill(self) -> None:
        """End the node as a power cut would."""
        self._end(in_order=False)

    def restart(self) -> None:
        """Stop and start again: same ports, same data."""
        self.stop()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints for this node."""
        done = subprocess.run(
            [self._found.ctl, "--quiet", "--node", self.name, *arguments],
            env=self._environ(),
            check=False,
            capture_output=True,
            text=True,
            timeout=_CTL_SECONDS_MAX,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise NodeFailed(f"rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}")
        return done.stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_epmd(self) -> None:
        # In the foreground, or else Erlang would leave a daemon behind.
        epmd = self._spawn(self._found.epmd, "-address", "127.0.0.1", "-port", str(self._epmd_port))
        self._await(epmd, lambda: _accepts(self._epmd_port))

    def _end(self, *, in_order: bool) -> None:
        # The server before the epmd, of which it takes its leave.
        while self._processes:
            process = self._processes[-1]
            family = _descendants(process.pid)
            if in_order:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS_MAX)
            if process.poll() is None:
                _kill(process, family)
            _await_gone(family)
            self._processes.pop()

    def _prepare(self) -> None:
        (self.folder / "conf.d").mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(port=self.port))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(self._kin.cookie if self._kin else secrets.token_hex(16))
            # Erlang refuses a cookie that anybody else could read, or write.
            cookie.chmod(0o400)

    def _environ(self) -> Mapping[str, str]:
        """All that the scripts may know; nothing of a broker that is configured on the machine."""
        interface = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *_ERLANG_FOLDERS]),
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self._log),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 {interface}",
            # Where waking a thread is slow (virtual machines), `none` triples the start.
            "RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "very_short",
            "RABBITMQ_CTL_ERL_ARGS": interface,
        }

    @property
    def _log(self) -> Path:
        return self.folder / "log" / "node.log"

    def _spawn(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / "output.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Its own group: killed whole, and not by a Ctrl-C meant for us.
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _await(self, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not ready():
            if process.poll() is not None:
                raise NodeFailed(f"RabbitMQ ended with {process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise NodeFailed(f"RabbitMQ silent for {_START_SECONDS_MAX:g} s:\n{self._tail()}")
            time.sleep(_PAUSE_SECONDS)

    def _tail(self) -> str:
        logs = [self._log, self.folder / "output.log"]
        lines = [
            line
            for log in logs
            if log.exists()
            for line in log.read_text("utf-8", "replace").splitlines()
        ]
        return "\n".join(lines[-_LOG_TAIL_LINES:])


class DockerRabbitmq:
    """The same from Docker's image, for a machine without RabbitMQ. Nothing outlives `stop`."""

    #: None of ours: the container is Docker's.
    pids: tuple[int, ...] = ()

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.container = f"withdrawals-demo-{self.port}"

    @property
    def url(self) -> str:
        """Where an AMQP client connects."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the container, fetching the image if need be; returns once it answers AMQP."""
        publish = f"127.0.0.1:{self.port}:5672"
        self._docker(
            "run", "--detach", "--rm", "--name", self.container, "--publish", publish, _IMAGE
        )
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not _answers_amqp(self.port):
            if time.monotonic() > deadline:
                self.stop()
                raise NodeFailed(f"RabbitMQ in Docker silent for {_START_SECONDS_MAX:g} s")
            time.sleep(_PAUSE_SECONDS)

    def stop(self) -> None:
        """End the container, and with it its data."""
        self._docker("stop", self.container)

    def kill(self) -> None:
        """End the container as a power cut would."""
        self._docker("kill", self.container)

    def _docker(self, *arguments: str) -> None:
        done = subprocess.run(
            ["docker", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=_DOCKER_SECONDS_MAX,
        )
        if done.returncode != 0:
            raise NodeFailed(f"docker {arguments[0]}: {done.stderr}")


def _which(
    program: str, *, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> Path | None:
    places = os.pathsep.join([*before, os.environ.get("PATH", os.defpath), *after])
    found = shutil.which(program, path=places)
    return Path(found) if found else None


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers_amqp(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        client.sendall(_AMQP_GREETING)
        answer = client.recv(11)
        return answer[:3] == _METHOD_FRAME and answer[7:11] == _CONNECTION_START
    return False


def _kill(process: subprocess.Popen[bytes], family: frozenset[int]) -> None:
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _await_gone(family: frozenset[int]) -> None:
    """Return once Erlang's little helpers, which end when their node has, are gone too."""
    deadline = time.monotonic() + _GONE_SECONDS_MAX
    while family & _parents().keys() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _descendants(pid: int) -> frozenset[int]:
    parents = _parents()
    family: set[int] = set()
    generation = {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        family |= generation
    return frozenset(family)


def _parents() -> dict[int, int]:
    """The parent of every process that is not a zombie."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True
    ).stdout
    rows = (line.split() for line in listing.splitlines())
    return {int(pid): int(parent) for pid, parent, stat in rows if not stat.startswith("Z")}
