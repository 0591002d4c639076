"""PostgreSQL set up to forget what it confirmed: insisted on otherwise, or refused and told.

What was confirmed, called for and then forgotten would be paid again with its message."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, take, taken_in
from tests.services.postgres_node import PostgresNode, find_postgres
from worker.flows.ports import LedgerUnavailable
from worker.ledger.engine import open_database
from worker.ledger.failures import in_words
from worker.ledger.migrate import migrate
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: Nothing is written by the background either, for as long as a test takes.
_LAZY: Final = ("synchronous_commit=off", "wal_writer_delay=10s")


@pytest.fixture
def a_server(postgres: PostgresNode) -> Iterator[Callable[..., PostgresNode]]:
    """Starts a server of the test's own; the shared one is asked for to know that one runs."""
    programs = find_postgres()
    assert programs is not None
    assert postgres.port
    started: list[PostgresNode] = []
    with tempfile.TemporaryDirectory(prefix="withdrawals-") as folder:

        def start(*settings: str) -> PostgresNode:
            node = PostgresNode(Path(folder), programs, settings=settings)
            node.start()
            started.append(node)
            return node

        yield start
        for node in started:
            node.stop()


@pytest.mark.parametrize("where", ["nowhere else", "database", "role"])
@pytest.mark.parametrize(
    "option", ["", "?synchronous_commit=off", "?options=-c%20synchronous_commit%3Doff"]
)
async def test_each_writing_connection_waits_for_the_disk(
    postgres: PostgresNode, where: str, option: str
) -> None:
    """
    Whatever is set for the database, the role or in the URL; and after a rollback as before.
    """
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    user = f"lazy_{name}"
    await second.write(url, f'CREATE ROLE "{user}" LOGIN SUPERUSER')
    of = {"database": f'DATABASE "{name}"', "role": f'ROLE "{user}"'}.get(where)
    if of is not None:
        await second.write(url, f"ALTER {of} SET synchronous_commit = off")
    lazy = url.replace("postgres@", f"{user}@") + option
    database = open_database(lazy, writer=True, connections=1)
    try:
        before = await database.run(_setting)
        with pytest.raises(ZeroDivisionError):
            await database.run(lambda _connection: 1 // 0)
        after = await database.run(_setting)
    finally:
        await database.close()

    assert ["on", "on"] == [before, after]


async def test_what_was_confirmed_outlives_a_power_cut(
    a_server: Callable[..., PostgresNode],
) -> None:
    """
    On a server that is set not to wait for its disk, killed right after.
    """
    node = a_server(*_LAZY)
    url = node.create_database()
    await migrate(url)
    async with open_ledger(url) as ledger:
        await take(ledger, "req-1")
        await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    async with open_ledger(url) as ledger:
        known = await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)

    assert not known.is_new


async def test_a_server_that_may_forget_is_refused_until_it_is_mended(
    a_server: Callable[..., PostgresNode],
) -> None:
    """
    With `fsync` off nothing is written, migrations included; the same ledger works once it is on.

    Reading is left to whoever wants to look.
    """
    node = a_server()
    url = node.create_database()
    await migrate(url)
    await _set(url, "ALTER SYSTEM SET fsync = off")
    async with open_ledger(url) as ledger:
        told = []
        for ask in (ledger.heartbeat, ledger.leave, lambda: migrate(url)):
            with pytest.raises(LedgerUnavailable) as caught:
                await ask()
            told.append(in_words(caught.value))
        unknown = await ledger.history("req-1")
        await _set(url, "ALTER SYSTEM RESET fsync")
        await ledger.heartbeat()

    words = (
        "its fsync is off: what it confirms may be lost in a crash, and be paid twice then; set "
        "fsync = on and reload it (LedgerForgetful)"
    )
    assert [words] * 3 == told
    assert unknown is None


def _setting(connection: Connection) -> str:
    found: str = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
    return found


async def _set(url: str, statement: str) -> None:
    """Change a setting of the server, and wait until it counts."""
    await second.write(url, statement)
    await second.write(url, "SELECT pg_reload_conf()")
    wanted = "off" if "off" in statement else "on"
    while [(wanted,)] != await second.read(url, "SHOW fsync"):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
