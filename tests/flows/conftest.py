"""Ledgers with their schema, on both databases, and a house of flows on top of one."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.flows.house import House, open_house
from tests.ledger import second
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.services.postgres_node import PostgresNode


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "migrated.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _migrated_database(postgres: PostgresNode) -> str:
    url = postgres.create_database()
    asyncio.run(migrate(url))
    # Nobody cuts the power here, and waiting for the disk is most of what these tests would do.
    name = url.rpartition("/")[2]
    asyncio.run(second.write(url, f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """The URL of an empty ledger in a file, with its schema."""
    path = tmp_path / "ledger.db"
    shutil.copy(_migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(_migrated_database: str) -> str:
    """The URL of an empty ledger in PostgreSQL, with its schema."""
    # Emptied, not made anew: a database costs its files, and a checkpoint that writes them all.
    deletes = [str(table.delete()) for table in reversed(metadata.sorted_tables)]
    asyncio.run(second.write(_migrated_database, "; ".join(deletes)))
    return _migrated_database


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty ledger with its schema; who asks runs once on each database."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def house(ledger_url: str) -> AsyncIterator[House]:
    """All flows over an empty ledger."""
    async with open_house(ledger_url) as house:
        yield house
