"""How the ledger's database is opened: addresses, pragmas, time limits, and the SQLite file's lock.

Nothing here knows a table. Both databases are used in the same way: work is a plain function of a
connection, done in one transaction. For SQLite it is done in a thread, so that a group of
statements costs one change of threads; for PostgreSQL it is done in the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from os import F_OK, R_OK, W_OK, X_OK, access, ftruncate, getpid, write
from pathlib import Path
from socket import gethostname
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, TypeVar
from urllib.parse import urlencode

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import asyncpg
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncEngine

_T = TypeVar("_T")

_DRIVERS: Final = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+asyncpg",
}
#: How long one statement may take, waiting for locks included, before the ledger counts as away.
STATEMENT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
_WAL_PAUSE: Final = 0.01
#: A host's name and a number.
_HOLDER_MAX: Final = 300


class LedgerAddressInvalid(Exception):  # noqa: N818 - named by what is wrong
    """The ledger's URL is neither `sqlite:///path` nor `postgresql://…`."""


class LedgerLocked(Exception):  # noqa: N818
    """Another worker holds this SQLite file."""


class LedgerFileUnfit(Exception):  # noqa: N818
    """The SQLite file is where none can be kept: no such folder, no right to it, no locks."""


class LedgerForgetful(Exception):  # noqa: N818
    """The server is set to confirm what a crash of its machine would take back (`fsync` is off)."""


class Database(Protocol):
    """A database with a pool of connections."""

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Do work in one transaction, which is taken back when the work raises.

        Cancelled, it may still be done.
        """
        ...

    async def close(self) -> None:
        """Close every connection, once the work that has begun is done."""
        ...


def address(url: str) -> URL:
    """Turn `sqlite:///path` or `postgresql://…` into the address of a driver.

    Raises LedgerAddressInvalid; its text never holds the URL, which may carry a password.
    """
    try:
        given = make_url(url)
    except (ArgumentError, ValueError):
        # Their words quote what they stumbled over: a piece of a password perhaps.
        given = None
    if given is None or given.drivername not in _DRIVERS:
        message = "expected sqlite:///path or postgresql://user:password@host/database"
        raise LedgerAddressInvalid(message)
    if given.drivername == "sqlite" and given.database in {None, "", ":memory:"}:
        message = "expected a file: a ledger in memory forgets what it must remember"
        raise LedgerAddressInvalid(message)
    if given.drivername == "sqlite" and given.query:
        message = "expected nothing after the path: options could make the file one that forgets"
        raise LedgerAddressInvalid(message)
    return given.set(drivername=_DRIVERS[given.drivername])


def is_sqlite(url: str) -> bool:
    """Tell whether the ledger is the embedded one."""
    return address(url).drivername == _DRIVERS["sqlite"]


def place(url: str) -> str:
    """Where the ledger is, for people: host, port and database, or a file. No user, no password."""
    target = address(url)
    if is_sqlite(url):
        return str(Path(target.database or "").absolute())
    return f"{target.host or 'localhost'}:{target.port or 5432}/{target.database}"


def open_database(
    url: str, *, writer: bool, connections: int, statement_seconds: float = STATEMENT_SECONDS
) -> Database:
    """Open the ledger's database; connections are made when they are first needed.

    A writer's transactions take SQLite's write lock when they begin, so that two of them wait for
    each other instead of failing half-way. What a writer's transaction did is on the disk when it
    is done: by settings that each of its connections makes for itself, whatever server, database,
    role and URL say. Where a server does not leave that to us, work raises LedgerForgetful.
    """
    target = address(url)
    if target.drivername == _DRIVERS["sqlite"]:
        engine = _sqlite(target, writer=writer, connections=connections, seconds=statement_seconds)
        return _InThreads(engine, connections)
    server = _postgresql(target, connections=connections, seconds=statement_seconds)
    if writer:
        event.listen(server.sync_engine, "connect", _insist_on_the_disk)
    return _InLoop(server)


def open_aside(url: str, *, statement_seconds: float = STATEMENT_SECONDS) -> Database | None:
    """Open it for single statements beside the writer, each a transaction of its own.

    None on SQLite: every commit holds the file's only lock, so that nothing is gained.
    """
    target = address(url)
    if target.drivername == _DRIVERS["sqlite"]:
        return None
    return _InLoop(
        _postgresql(target, connections=1, seconds=statement_seconds, isolation_level="AUTOCOMMIT")
    )


@contextmanager
def sole_worker(url: str) -> Iterator[None]:
    """Hold the SQLite file for this worker alone; nothing to hold on PostgreSQL.

    Raises LedgerLocked when another worker has it, and LedgerFileUnfit where none can be kept. The
    lock goes with the process, however it ends, and does not hinder commands that only read.
    """
    if not is_sqlite(url):
        yield
        return
    database = Path(address(url).database or "")
    require_fit(url)
    try:
        # Resolved: whoever comes by way of a link finds the same lock.
        path = Path(f"{database.resolve()}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not emptied by opening it: the name of who holds it stands in it.
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        why = f"{(error.strerror or type(error).__name__).lower()}: {error.filename}"
        raise LedgerFileUnfit(f"the ledger file {database} cannot be used: {why}") from None
    with file:
        _lock(file, database)
        yield


def require_fit(url: str) -> None:
    """Raise LedgerFileUnfit where no SQLite ledger could be kept at its place; make nothing."""
    if (unfit := why_unfit(url)) is not None:
        database = Path(address(url).database or "")
        raise LedgerFileUnfit(f"the ledger file {database} cannot be used: {unfit}")


def why_unfit(url: str) -> str | None:
    """Say why a SQLite ledger could not be kept at its place; None when it could. Makes nothing."""
    database = Path(address(url).database or "").absolute()
    # By `access`, for which what may not be looked at is not there.
    there = next(path for path in (database, *database.parents) if access(path, F_OK))
    if there == database:
        if database.is_dir():
            return f"{database} is a folder"
        if not access(database, R_OK | W_OK):
            return f"{database} cannot be written to"
        # SQLite keeps a journal beside it, and we our lock.
        there = database.parent
    if not there.is_dir():
        return f"{there} is not a folder"
    return None if access(there, W_OK | X_OK) else f"nothing can be made in {there}"


def _lock(file: TextIO, database: Path) -> None:
    """Take the lock, and leave our name in it; raises as `sole_worker` does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.readline(_HOLDER_MAX).strip()
        message = (
            f"another worker uses the ledger file {database}{holder and f' ({holder})'}: a SQLite "
            "ledger serves one worker; use PostgreSQL for several replicas"
        )
        raise LedgerLocked(message) from None
    except OSError as error:
        message = (
            f"the ledger file {database} cannot be locked ({error.strerror}), so that nothing "
            "would keep a second worker away: put it on a disk of this machine, or use PostgreSQL"
        )
        raise LedgerFileUnfit(message) from None
    # On a full disk the name is missing, and nothing else.
    # Past the file's buffer, which would try again, and fail, when it is closed.
    with suppress(OSError):
        ftruncate(file.fileno(), 0)
        write(file.fileno(), f"{gethostname()}, process {getpid()}\n".encode())


class _InThreads:
    """SQLite: as many threads as connections."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger")

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._transaction, work)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _transaction(self, work: Callable[[Connection], _T]) -> _T:
        with self._engine.begin() as connection:
            return work(connection)


class _InLoop:
    """PostgreSQL: the work waits for its answers in the event loop, without knowing of it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


def _sqlite(target: URL, *, writer: bool, connections: int, seconds: float) -> Engine:
    engine = create_engine(
        target,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        hide_parameters=True,
        connect_args={"timeout": seconds, "isolation_level": None},
    )
    if writer:
        event.listen(engine, "connect", lambda made, _record: _make_durable(made, seconds))
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _postgresql(
    target: URL,
    *,
    connections: int,
    seconds: float,
    isolation_level: IsolationLevel = "READ COMMITTED",
) -> AsyncEngine:
    engine = create_async_engine(
        target.set(query={}),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        pool_pre_ping=False,
        hide_parameters=True,
        isolation_level=isolation_level,
        connect_args={
            # The driver's own reading of options understands those of libpq, such as sslmode.
            "dsn": f"postgresql://?{urlencode(target.query, doseq=True)}",
            "timeout": CONNECT_SECONDS,
            "command_timeout": seconds,
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
    # Cut while nobody used it, which the driver has noticed: the pool makes a new one.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _insist_on_the_disk(connection: Any, _record: object) -> None:  # noqa: ANN401
    connection.run_async(_durable)


async def _durable(connection: asyncpg.Connection) -> None:
    """Have each commit of a new connection wait for the disk, or close the connection and raise.

    A request that was confirmed, called for and then forgotten is paid again. Said in the session,
    outside any transaction: that outlasts every rollback, and goes before all other places in which
    it can be set. Only `fsync` is the server's alone; it is asked for on each new connection, one
    question for both.
    """
    if not await connection.fetchval(_ON_THE_DISK):
        connection.terminate()
        raise LedgerForgetful


_ON_THE_DISK: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) = 'on'"
    " AND current_setting('fsync')::boolean"
)


def _make_durable(connection: sqlite3.Connection, seconds: float) -> None:
    # WAL lets commands read beside the worker. EXTRA makes every commit survive a power cut, also
    # where the file's system knows no WAL and SQLite stays with its journal; with WAL it is FULL.
    until = monotonic() + seconds
    while not _uses_wal(connection, is_last_try=monotonic() >= until):
        sleep(_WAL_PAUSE)
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA foreign_keys=ON")


def _uses_wal(connection: sqlite3.Connection, *, is_last_try: bool) -> bool:
    """Tell whether the file could be set to WAL; somebody else may be writing to it just now."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # For this change alone SQLite does not wait by itself.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or is_last_try:
            raise
        return False
    return True
