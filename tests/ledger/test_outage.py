"""Databases that go away in the middle and come back: every caller is told, and work goes on."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, take, taken_in
from tests.services.postgres_node import PostgresNode, find_postgres
from worker.flows.ports import LedgerUnavailable
from worker.ledger.migrate import migrate
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own_postgres(postgres: PostgresNode) -> Iterator[PostgresNode]:
    """A server that the test may stop; the shared one is asked for only to know that one runs."""
    programs = find_postgres()
    assert programs is not None
    assert postgres.port
    with (
        tempfile.TemporaryDirectory(prefix="withdrawals-") as folder,
        PostgresNode(Path(folder), programs) as node,
    ):
        yield node


async def test_a_server_that_stops_in_mid_flight_and_comes_back(own_postgres: PostgresNode) -> None:
    """
    Every member of the transaction under way is told, and so is who comes while it is away.

    When it is back, the same ledger works, and what was not confirmed can be taken again.
    """
    url = own_postgres.create_database()
    await migrate(url)
    async with open_ledger(url) as ledger:
        await take(ledger, "before")
        locker = await asyncpg.connect(url)
        await locker.execute("BEGIN; LOCK TABLE withdrawals IN ACCESS EXCLUSIVE MODE")
        under_way = [asyncio.create_task(take(ledger, f"req-{n}")) for n in range(3)]
        while not await locker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass
        await asyncio.to_thread(own_postgres.stop)
        told = await asyncio.gather(*under_way, return_exceptions=True)
        away = await asyncio.gather(
            ledger.heartbeat(), ledger.check(), take(ledger, "away"), return_exceptions=True
        )
        await asyncio.to_thread(own_postgres.start)
        again = await asyncio.gather(*(take(ledger, f"req-{n}") for n in range(3)))
        known = await ledger.take(taken_in(an_order("before")), FINGERPRINT)
        await ledger.heartbeat()

    assert [LedgerUnavailable] * 3 == [type(error) for error in told]
    assert [LedgerUnavailable] * 3 == [type(error) for error in away]
    assert 3 == len({held.row for held in again})
    assert not known.is_new


async def test_a_restart_that_nobody_noticed_costs_nobody_a_failure(
    own_postgres: PostgresNode,
) -> None:
    """
    Connections that were cut while nobody used them are replaced before the next use.
    """
    url = own_postgres.create_database()
    await migrate(url)
    async with open_ledger(url) as ledger:
        await take(ledger, "before")
        await ledger.heartbeat()
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        await take(ledger, "after")
        await ledger.heartbeat()

        assert ledger.is_current


async def test_a_file_that_another_writer_locks_for_too_long(sqlite_url: str) -> None:
    """
    After the time limit every member of the group is told; once the lock is gone, work goes on.
    """
    async with open_ledger(sqlite_url, statement_seconds=0.05) as ledger:
        await take(ledger, "before")
        with closing(second.sqlite(sqlite_url)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = await asyncio.gather(
                *(take(ledger, f"req-{n}") for n in range(3)), return_exceptions=True
            )
            other.execute("ROLLBACK")
        again = await asyncio.gather(*(take(ledger, f"req-{n}") for n in range(3)))

    assert ["SQLITE_BUSY"] * 3 == [str(error) for error in told]
    assert [LedgerUnavailable] * 3 == [type(error) for error in told]
    assert 3 == len(again)


async def test_a_new_file_that_another_writer_locks_for_too_long(tmp_path: Path) -> None:
    """
    The very first connection waits no longer than the time limit either.
    """
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(second.sqlite(url)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with open_ledger(url, statement_seconds=0.05) as ledger:
            with pytest.raises(LedgerUnavailable, match="SQLITE_BUSY"):
                await ledger.leave()


async def test_a_disk_that_is_full(sqlite_url: str) -> None:
    """
    What does not fit is told to be unwritten, and is; once there is room, work goes on.
    """
    with second.connections_made() as connections:
        async with open_ledger(sqlite_url) as ledger:
            await take(ledger, "before")
            for connection in connections:
                connection.execute("PRAGMA max_page_count = 1")
            large = taken_in(an_order("large", body=b" " * 1_000_000))
            with pytest.raises(LedgerUnavailable, match="SQLITE_FULL"):
                await ledger.take(large, FINGERPRINT)
            full = await ledger.history("large")
            for connection in connections:
                connection.execute("PRAGMA max_page_count = 1000000")
            room = await ledger.take(large, FINGERPRINT)

    assert full is None
    assert room.is_new


async def test_a_file_that_became_read_only(sqlite_url: str) -> None:
    """
    Nothing is written, everybody is told, and reading goes on.
    """
    with second.connections_made() as connections:
        async with open_ledger(sqlite_url) as ledger:
            await take(ledger, "before")
            for connection in connections:
                connection.execute("PRAGMA query_only = ON")
            with pytest.raises(LedgerUnavailable, match="SQLITE_READONLY"):
                await take(ledger, "req-1")
            for connection in connections:
                connection.execute("PRAGMA query_only = OFF")
            held = await take(ledger, "req-1")

    assert "req-1" == held.withdrawal.order.message_id


async def test_a_ledger_that_is_closed_says_so(url: str) -> None:
    """
    A step that comes after the end is told at once, instead of waiting for nobody.
    """
    async with open_ledger(url) as ledger:
        await ledger.heartbeat()
    with pytest.raises(LedgerUnavailable, match="the ledger is closed"):
        await ledger.leave()
