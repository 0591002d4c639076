"""Brings a ledger's schema up to date, or tells that it is not.

The steps themselves stand in `migrations`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from worker.flows.ports import LedgerUnavailable
from worker.ledger.engine import address, is_sqlite, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

_T = TypeVar("_T")

_STEPS: Final = Path(__file__).parent / "migrations"
#: Any number, but the same for all: only one migration runs at a time on a shared database.
_MIGRATION_LOCK: Final = 7_301_946_120


class SchemaOutdated(Exception):  # noqa: N818
    """The ledger's schema is older than this release needs; `migrate` mends that."""


async def migrate(url: str) -> tuple[str | None, str]:
    """Run the missing steps; return the revision before and after.

    Safe with workers running and with a second migration at the same time. Raises
    LedgerUnavailable when the database cannot be reached.
    """
    if is_sqlite(url):
        Path(address(url).database or "").parent.mkdir(parents=True, exist_ok=True)
    return await _with_connection(url, _upgrade)


async def require_schema(url: str) -> None:
    """Raise SchemaOutdated when steps are missing.

    A schema that is newer than this release is accepted: steps only add, so that old and new
    workers run side by side during an update.
    """
    if is_sqlite(url) and not Path(address(url).database or "").exists():
        # Connecting would make the file: looking must change nothing.
        message = f"there is no ledger at {address(url).database} yet: start the worker, or migrate"
        raise SchemaOutdated(message)
    before, wanted = await _with_connection(url, lambda c: (_revision(c), _head()))
    known = {step.revision for step in _scripts().walk_revisions()}
    if before is None or (before in known and before != wanted):
        message = (
            f"the ledger's schema is at {before or 'nothing'}, this release needs {wanted}: "
            "run `withdrawals-worker migrate`"
        )
        raise SchemaOutdated(message)


async def _with_connection(url: str, work: Callable[[Connection], _T]) -> _T:
    engine = open_engine(url, writer=True, connections=1)
    try:
        async with engine.connect() as connection, connection.begin():
            return await connection.run_sync(work)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        raise LedgerUnavailable(type(cause).__name__) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    before = _revision(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return before, _head()


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
