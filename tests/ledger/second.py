"""A second connection to a ledger, by the drivers alone: what it reads is committed.

And the ledger's own, for a look at them, or to put a bad disk beneath them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Engine, event

from worker.ledger.engine import address, is_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator


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
