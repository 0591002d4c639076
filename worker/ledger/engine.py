"""How the ledger's database is opened: addresses, pragmas, time limits, and the SQLite file's lock.

Nothing here knows a table."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
}
#: How long one statement may take before the ledger counts as away.
STATEMENT_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0


class LedgerAddressInvalid(Exception):  # noqa: N818 - named by what is wrong
    """The ledger's URL is neither `sqlite:///path` nor `postgresql://…`."""


class LedgerLocked(Exception):  # noqa: N818
    """Another worker holds this SQLite file."""


def address(url: str) -> URL:
    """Turn `sqlite:///path` or `postgresql://…` into the address of an asynchronous driver.

    Raises LedgerAddressInvalid; its text never holds the URL, which may carry a password.
    """
    try:
        given = make_url(url)
    except ArgumentError:
        given = None
    if given is None or given.drivername not in _DRIVERS:
        message = "expected sqlite:///path or postgresql://user:password@host/database"
        raise LedgerAddressInvalid(message) from None
    if given.drivername == "sqlite" and given.database in {None, "", ":memory:"}:
        message = "expected a file: a ledger in memory forgets what it must remember"
        raise LedgerAddressInvalid(message)
    return given.set(drivername=_DRIVERS[given.drivername])


def is_sqlite(url: str) -> bool:
    """Tell whether the ledger is the embedded one."""
    return address(url).drivername == _DRIVERS["sqlite"]


def open_engine(url: str, *, writer: bool, connections: int) -> AsyncEngine:
    """Open the ledger's database; connections are made when they are first needed.

    A writer's transactions take SQLite's write lock when they begin, so that two of them wait for
    each other instead of failing half-way.
    """
    target = address(url)
    if target.drivername == _DRIVERS["postgresql"]:
        return create_async_engine(
            target,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=STATEMENT_SECONDS,
            pool_pre_ping=False,
            connect_args={"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS},
        )
    engine = create_async_engine(
        target,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=STATEMENT_SECONDS,
        connect_args={"timeout": STATEMENT_SECONDS, "isolation_level": None},
    )
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    begin = "BEGIN IMMEDIATE" if writer else "BEGIN"
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


@contextmanager
def sole_worker(url: str) -> Iterator[None]:
    """Hold the SQLite file for this worker alone; nothing to hold on PostgreSQL.

    Raises LedgerLocked when another worker has it. The lock goes with the process, however it ends,
    and does not hinder commands that only read.
    """
    if not is_sqlite(url):
        yield
        return
    path = Path(f"{address(url).database}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = (
                f"another worker uses the ledger file {address(url).database}: a SQLite ledger "
                "serves one worker; use PostgreSQL for several replicas"
            )
            raise LedgerLocked(message) from None
        yield


def _set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    cursor = connection.cursor()
    # WAL lets commands read beside the worker; FULL makes every commit survive a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
