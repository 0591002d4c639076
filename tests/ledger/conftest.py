"""Ledgers with their schema, on both databases; the schema is made once."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.ledger import second
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.services.postgres_node import PostgresNode
    from worker.ledger.store import Ledger


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _postgres_ledger(postgres: PostgresNode) -> str:
    url = postgres.create_database()
    asyncio.run(migrate(url))
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """The URL of an empty ledger in a file, with its schema."""
    path = tmp_path / "ledger.db"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(_postgres_ledger: str) -> str:
    """The URL of an empty ledger in PostgreSQL, with its schema."""
    # Emptied, not made anew: a database costs its files, and a checkpoint that writes them all.
    deletes = [str(table.delete()) for table in reversed(metadata.sorted_tables)]
    asyncio.run(second.write(_postgres_ledger, "; ".join(deletes)))
    return _postgres_ledger


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty ledger with its schema; who asks runs once on each database."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """A running ledger that has given its first sign of life."""
    async with open_ledger(url) as ledger:
        await ledger.heartbeat()
        yield ledger
