"""The tests' own database server."""

import asyncpg

from config.settings import load_settings
from tests.services.postgres_node import PostgresNode


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


def test_a_ledger_url_is_one_that_the_settings_take(ledger_url: str) -> None:
    """
    Tests address a ledger exactly as an operator does.
    """
    settings = load_settings(environ={"WORKER_LEDGER__URL": ledger_url}, need_provider=False)

    assert ledger_url == settings.ledger.url.get_secret_value()
