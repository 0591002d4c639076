"""The tests' own database server."""

import tempfile
from pathlib import Path

import asyncpg
import pytest

from config.loading import load_settings
from tests.services.postgres_node import PostgresNode, find_postgres


async def _names(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        return [row["tablename"] for row in rows]
    finally:
        await connection.close()


async def test_two_databases_know_nothing_of_each_other(postgres: PostgresNode) -> None:
    """
    What one test writes, no other test finds.
    """
    one, other = postgres.create_database(), postgres.create_database()
    connection = await asyncpg.connect(one)
    await connection.execute("CREATE TABLE mine (id int)")
    await connection.close()

    assert ["mine"] == await _names(one)
    assert [] == await _names(other)


async def test_a_killed_server_comes_back_with_what_was_committed() -> None:
    """
    A kill takes the connections, the next start recovers the data, at the same address.
    """
    if (programs := find_postgres()) is None:
        pytest.skip("No PostgreSQL found; see tests/services/install.sh.")
    with tempfile.TemporaryDirectory(prefix="withdrawals-") as folder:
        node = PostgresNode(Path(folder), programs)
        with node:
            connection = await asyncpg.connect(node.url)
            await connection.execute("CREATE TABLE mine (id int)")
            node.kill()
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute("SELECT 1")
            node.start()

            assert ["mine"] == await _names(node.url)


def test_a_ledger_url_is_one_that_the_settings_take(ledger_url: str) -> None:
    """
    Tests address a ledger exactly as an operator does.
    """
    settings = load_settings(environ={"WORKER_LEDGER__URL": ledger_url}, need_provider=False)

    assert ledger_url == settings.ledger.url.get_secret_value()
