"""Brings a ledger's schema up to date, or tells that it is not.

The steps themselves stand in `migrations`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

from worker.ledger.engine import address, is_sqlite, open_database
from worker.ledger.failures import meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.ledger.engine import Database

_T = TypeVar("_T")

#: A step may take this long, waiting for another migration included.
MIGRATION_SECONDS: Final = 600.0
_STEPS: Final = Path(__file__).parent / "migrations"
#: Any number, but the same for all: only one migration runs at a time on a shared database.
_MIGRATION_LOCK: Final = 7_301_946_120


class SchemaOutdated(Exception):  # noqa: N818
    """The ledger's schema is older than this release needs; `migrate` mends that."""


async def migrate(url: str) -> tuple[str | None, str]:
    """Run the missing steps; return the revision before and after.

    Safe with workers running and with a second migration at the same time. A schema that is newer
    than this release is left as it is. Raises LedgerUnavailable when the database cannot be
    reached.
    """
    if is_sqlite(url):
        _file(url).parent.mkdir(parents=True, exist_ok=True)
    database = open_database(url, writer=True, connections=1, statement_seconds=MIGRATION_SECONDS)
    return await _run(database, _upgrade)


async def require_schema(url: str) -> None:
    """Raise SchemaOutdated when steps are missing.

    A schema that is newer than this release is accepted: steps only add, so that old and new
    workers run side by side during an update. A file that is not there yet is not made.
    """
    before = None
    if not is_sqlite(url) or _file(url).exists():
        before = await _run(open_database(url, writer=False, connections=1), _revision)
    if before is None or (before != _head() and _is_known(before)):
        message = (
            f"the ledger's schema is at {before or 'nothing'}, this release needs {_head()}: "
            "run `withdrawals-worker migrate`"
        )
        raise SchemaOutdated(message)


async def _run(database: Database, work: Callable[[Connection], _T]) -> _T:
    try:
        return await database.run(work)
    except Exception as error:  # noqa: BLE001 - a bug is raised again as it is
        raise meaning(error) from None
    finally:
        await database.close()


def _file(url: str) -> Path:
    return Path(address(url).database or "")


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    before = _revision(connection)
    if before is not None and not _is_known(before):
        return before, before
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, _head()


def _is_known(revision: str) -> bool:
    return revision in {step.revision for step in _scripts().walk_revisions()}


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _head() -> str:
    return str(_scripts().get_current_head())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_STEPS))
    return config
