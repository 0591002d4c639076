"""A PostgreSQL of one's own for the tests: loopback only, in a folder of its own.

No server that is there already is asked or touched."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.demo.ports import free_ports

_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_SECONDS_MAX = 60

# Linux has one; a container's own may be as small as 64 MiB.
_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
_ROOM = 4 * 1024**3
#: For such a server: a torn page is nothing that memory knows, and its log need not be long.
BRISK = ("full_page_writes=off", "max_wal_size=256MB")

# PostgreSQL refuses to run as root; whoever else runs the tests runs it as themselves.
_UNPRIVILEGED = "nobody"


def find_postgres() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None. On Debian it is not on PATH."""
    return next((folder for folder in _candidates() if (folder / "initdb").exists()), None)


@contextmanager
def brisk_folder() -> Iterator[Path]:
    """A folder for a server whose data nobody wants to keep: in memory, where there is room.

    Nothing is waited for there, however often the server asks for it; elsewhere it is slower.
    """
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM
    place = _MEMORY if is_roomy and os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="withdrawals-", dir=place) as folder:
        yield Path(folder)


class PostgresFailed(Exception):  # noqa: N818 - named by what happened
    """A program of PostgreSQL failed; the message holds what it wrote."""


class PostgresNode:
    """One server with a superuser `postgres` that needs no password.

    It waits for the disk, as the worker wants it, unless `settings` (`name=value`) say otherwise.
    With a `port` it is one that another process has started there.
    """

    def __init__(
        self,
        folder: Path,
        programs: Path,
        *,
        settings: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._settings = ("max_connections=300", *settings)
        self.port = port or free_ports(1)[0]
        self._programs = programs
        self._data = self.folder / "data"
        self._numbers = count(1)

    @property
    def url(self) -> str:
        """Where a client connects."""
        return self._url("postgres")

    def start(self) -> None:
        """Make the data, unless an earlier node did, and start the server; it answers then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (user := _unprivileged()) is not None:
            shutil.chown(self.folder, user)
        if not self._data.exists():
            self._run(
                "initdb",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            )
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        options += "".join(f" -c {setting}" for setting in self._settings)
        log = self.folder / "server.log"
        self._run("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options}")

    def stop(self) -> None:
        """End the server; its clients are disconnected."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def kill(self) -> None:
        """End the server as a power cut would; what was committed is recovered at the start."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def create_database(self, template: str = "template1") -> str:
        """The URL of a new database that nobody else uses, a copy of the template."""
        # Of this process: others may be at the same server.
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        statement = f'CREATE DATABASE "{name}" TEMPLATE "{template}"'
        self._run("psql", "--no-psqlrc", "--quiet", f"--dbname={self.url}", "-c", statement)
        return self._url(name)

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

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        user = _unprivileged()
        # Into a file: the server keeps what it is given, and would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self.folder,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LC_ALL": "C",
                    "PGDATA": str(self._data),
                },
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_SECONDS_MAX,
                user=user,
                group=None if user is None else pwd.getpwuid(user).pw_gid,
                extra_groups=None if user is None else [],
            )
            if done.returncode != 0:
                output.seek(0)
                raise PostgresFailed(f"{program}: {output.read()}")


def _candidates() -> Iterator[Path]:
    for pattern in _FOLDERS:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")), key=_version, reverse=True)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent


def _version(folder: Path) -> list[int]:
    return [
        int(digits) for digits in "".join(c if c.isdigit() else " " for c in str(folder)).split()
    ]


def _unprivileged() -> int | None:
    """The user to become, None to stay who we are."""
    return pwd.getpwnam(_UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
