"""Migrations: from nothing to what this release needs, any number of times, and never back."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.ledger import second
from tests.ledger.builders import take
from worker.flows.ports import LedgerUnavailable
from worker.ledger.engine import open_database
from worker.ledger.migrate import SchemaOutdated, migrate, require_schema
from worker.ledger.migrations import versions
from worker.ledger.schema import metadata
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.services.postgres_node import PostgresNode

_STEPS: Final = sorted(module.name for module in iter_modules(versions.__path__))
_HEAD: Final = _STEPS[-1].partition("_")[0]
_SCHEMAS: Final = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY 2",
    "postgresql": (
        "SELECT 'column', table_name || '.' || column_name,"
        " concat_ws(' ', ordinal_position, data_type, is_nullable, column_default)"
        " FROM information_schema.columns WHERE table_schema = 'public'"
        " UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
        " ORDER BY 1, 2"
    ),
}


async def test_from_nothing(ledger_url: str) -> None:
    """
    An empty database becomes a ledger that works.
    """
    before_and_after = await migrate(ledger_url)
    await require_schema(ledger_url)
    async with open_ledger(ledger_url) as ledger:
        await take(ledger, "req-1")

    assert (None, _HEAD) == before_and_after


async def test_twice_is_harmless(ledger_url: str) -> None:
    """
    A second run finds nothing to do, and what is in the ledger stays.
    """
    await migrate(ledger_url)
    async with open_ledger(ledger_url) as ledger:
        held = await take(ledger, "req-1")
        again = await migrate(ledger_url)
        history = await ledger.history("req-1")

    assert (_HEAD, _HEAD) == again
    assert history is not None
    assert held == history.held


async def test_at_once(ledger_url: str) -> None:
    """
    Of several that begin together one does the work and the others find it done.
    """
    results = await asyncio.gather(*(migrate(ledger_url) for _ in range(8)))

    assert 1 == results.count((None, _HEAD))
    assert 7 == results.count((_HEAD, _HEAD))


async def test_the_folder_of_the_file_is_made(tmp_path: Path) -> None:
    """
    A fresh machine needs no preparation.
    """
    await migrate(f"sqlite:///{tmp_path / 'data' / 'payouts' / 'ledger.db'}")

    assert (tmp_path / "data" / "payouts" / "ledger.db").exists()


async def test_the_steps_add_up_to_the_schema(ledger_url: str) -> None:
    """
    Alembic finds no difference between the migrated database and the tables of the code.
    """
    await migrate(ledger_url)

    assert [] == await _run(
        ledger_url, lambda c: compare_metadata(MigrationContext.configure(c), metadata)
    )


async def test_the_schema_is_the_same_to_the_letter(
    ledger_url: str, postgres: PostgresNode, tmp_path: Path
) -> None:
    """
    Nor does the database itself: types, keys, and the conditions of partial indexes included.
    """
    dialect = ledger_url.partition(":")[0]
    made = f"sqlite:///{tmp_path / 'made.db'}"
    if dialect == "postgresql":
        made = postgres.create_database()
    await migrate(ledger_url)
    await _run(made, metadata.create_all)
    migrated = [
        row
        for row in await second.read(ledger_url, _SCHEMAS[dialect])
        if not row[1].startswith("alembic_version")
    ]

    assert _normal(await second.read(made, _SCHEMAS[dialect])) == _normal(migrated)


async def test_an_empty_database_is_outdated(postgres: PostgresNode) -> None:
    """
    A worker does not begin on a shared ledger without tables; it says what is to be done.
    """
    with pytest.raises(SchemaOutdated) as caught:
        await require_schema(postgres.create_database())

    assert (
        f"the ledger's schema is at nothing, this release needs {_HEAD}: "
        "run `withdrawals-worker migrate`"
    ) == str(caught.value)


async def test_a_file_that_is_not_there_is_outdated_and_not_made(tmp_path: Path) -> None:
    """
    Checking changes nothing: not even an empty file is left behind.
    """
    with pytest.raises(SchemaOutdated, match="at nothing"):
        await require_schema(f"sqlite:///{tmp_path / 'ledger.db'}")

    assert not (tmp_path / "ledger.db").exists()


async def test_a_newer_schema_is_accepted(ledger_url: str) -> None:
    """
    An older release works on beside a newer one, and leaves the schema as it is.
    """
    await migrate(ledger_url)
    await second.write(ledger_url, "UPDATE alembic_version SET version_num = '9999'")
    await require_schema(ledger_url)
    before_and_after = await migrate(ledger_url)
    revision = await second.read(ledger_url, "SELECT version_num FROM alembic_version")

    assert ("9999", "9999") == before_and_after
    assert [("9999",)] == revision


async def test_a_database_that_cannot_be_reached(postgres: PostgresNode) -> None:
    """
    It is told apart from an outdated schema, and not by words that may hold secrets.
    """
    url = f"{postgres.url.rpartition('/')[0]}/nowhere"
    for ask in (migrate, require_schema):
        with pytest.raises(LedgerUnavailable, match="InvalidCatalogNameError"):
            await ask(url)


def test_each_step_follows_the_one_before_it() -> None:
    """
    By the names of their files, which is how a worker knows them without asking alembic.
    """
    steps = [import_module(f"{versions.__name__}.{name}") for name in _STEPS]
    revisions = [name.partition("_")[0] for name in _STEPS]

    assert revisions == [step.revision for step in steps]
    assert [None, *revisions[:-1]] == [step.down_revision for step in steps]


@pytest.mark.parametrize("name", _STEPS)
def test_there_is_no_way_back(name: str) -> None:
    """
    Steps only add: taking a column away would take away what says that money was paid.
    """
    step = import_module(f"{versions.__name__}.{name}")

    assert callable(step.upgrade)
    assert not hasattr(step, "downgrade")


async def _run(url: str, work: Callable[[Connection], Any]) -> Any:  # noqa: ANN401
    database = open_database(url, writer=True, connections=1)
    try:
        return await database.run(work)
    finally:
        await database.close()


def _normal(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(kind, name, " ".join((text or "").split())) for kind, name, text in rows]
