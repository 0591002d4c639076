"""A second connection to a ledger, by the drivers alone: what it reads is committed.

And the ledger's own, for a look at them, or to put a bad disk beneath them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Engine, event

from worker.ledger.engine import address, is_sqlite
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def read(url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query finds."""
    if is_sqlite(url):
        return await asyncio.to_thread(_read_sqlite, url, query)
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def write(url: str, statement: str) -> None:
    """Execute one statement, or several."""
    if is_sqlite(url):
        await asyncio.to_thread(_write_sqlite, url, statement)
        return
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def sqlite(url: str) -> sqlite3.Connection:
    """A connection that begins and ends transactions when it is told to."""
    return sqlite3.connect(
        address(url).database or "", timeout=0, isolation_level=None, check_same_thread=False
    )


@contextmanager
def connections_made() -> Iterator[list[Any]]:
    """Every SQLite connection that a ledger makes in the meantime."""
    made: list[Any] = []

    def remember(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        made.append(connection)

    event.listen(Engine, "connect", remember)
    try:
        yield made
    finally:
        event.remove(Engine, "connect", remember)


def _read_sqlite(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite(url)) as connection:
        return connection.execute(query).fetchall()


def _write_sqlite(url: str, statement: str) -> None:
    with closing(sqlite(url)) as connection:
        connection.executescript(statement)


@asynccontextmanager
async def copied(url: str) -> AsyncIterator[str]:
    """The URL of a copy of a ledger as it is at this moment: its backup. Nobody may be writing."""
    copy = f"{url}_copy"
    if is_sqlite(url):
        with closing(sqlite(url)) as source, closing(sqlite(copy)) as target:
            await asyncio.to_thread(source.backup, target)
        yield copy
        return
    server, _, name = url.rpartition("/")
    await _empty_copy(f"{server}/postgres", name)
    await migrate(copy)
    try:
        await _copy_rows(url, copy)
        yield copy
    finally:
        await write(f"{server}/postgres", f'DROP DATABASE "{name}_copy" WITH (FORCE)')


async def _empty_copy(server: str, name: str) -> None:
    await write(server, f'DROP DATABASE IF EXISTS "{name}_copy" WITH (FORCE)')
    await write(server, f'CREATE DATABASE "{name}_copy"')


async def _copy_rows(url: str, copy: str) -> None:
    source, target = await asyncpg.connect(url), await asyncpg.connect(copy)
    try:
        for table in metadata.sorted_tables:
            rows = await source.fetch(f'SELECT * FROM "{table.name}"')  # noqa: S608 - our own name
            await target.copy_records_to_table(table.name, records=[tuple(row) for row in rows])
        await target.execute("SELECT setval(pg_get_serial_sequence('withdrawals', 'id'), 1000000)")
    finally:
        await source.close()
        await target.close()
