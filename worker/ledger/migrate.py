"""Brings a ledger's schema up to date, or tells that it is not.

The steps themselves stand in `migrations`. Alembic is imported where one of them is missing, not
at every start of a worker."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import column, func, inspect, select, table

from worker.ledger.engine import address, is_sqlite, open_database, require_fit
from worker.ledger.failures import meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.ledger.engine import Database

_T = TypeVar("_T")

#: A step may take this long, waiting for another migration included.
MIGRATION_SECONDS: Final = 600.0
_STEPS: Final = Path(__file__).parent / "migrations"
#: Where alembic writes down how far a ledger is.
_WRITTEN: Final = table("alembic_version", column("version_num"))
#: Any number, but the same for all: only one migration runs at a time on a shared database.
_MIGRATION_LOCK: Final = 7_301_946_120


class SchemaOutdated(Exception):  # noqa: N818
    """The ledger's schema is older than this release needs; `migrate` mends that."""


async def migrate(url: str) -> tuple[str | None, str]:
    """Run the missing steps; return the revision before and after.

    Safe with workers running and with a second migration at the same time. A schema that is newer
    than this release is left as it is. Raises LedgerUnavailable when the database cannot be
    reached, and LedgerFileUnfit where no file can be kept.
    """
    if is_sqlite(url):
        require_fit(url)
        _file(url).parent.mkdir(parents=True, exist_ok=True)
    database = open_database(url, writer=True, connections=1, statement_seconds=MIGRATION_SECONDS)
    return await _run(database, _upgrade)


async def require_schema(url: str) -> None:
    """Raise SchemaOutdated when steps are missing.

    A schema that is newer than this release is accepted: steps only add, so that old and new
    workers run side by side during an update. A file that is not there yet is not made.
    """
    before = None
    if not is_sqlite(url) or _is_there(_file(url)):
        before = await _run(open_database(url, writer=False, connections=1), _revision)
    if before is None or (before != _head() and _is_known(before)):
        message = (
            f"the ledger's schema is at {before or 'nothing'}, this release needs {_head()}: "
            "run `withdrawals-worker migrate`"
        )
        raise SchemaOutdated(message)


async def require_durable(url: str) -> None:
    """Raise LedgerUnavailable where nothing may be written, as by a server with `fsync` off.

    A file is made durable by whoever opens it, and nobody can object.
    """
    if not is_sqlite(url):
        await _run(open_database(url, writer=True, connections=1), lambda _connection: None)


async def _run(database: Database, work: Callable[[Connection], _T]) -> _T:
    try:
        return await database.run(work)
    except Exception as error:  # noqa: BLE001 - a bug is raised again as it is
        raise meaning(error) from None
    finally:
        await database.close()


def _file(url: str) -> Path:
    return Path(address(url).database or "")


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        # It may not be looked at; whoever opens it is told so.
        return True


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    before = _revision(connection)
    if before is not None and (before == _head() or not _is_known(before)):
        return before, before
    _run_missing(connection)
    return before, _head()


def _run_missing(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - most starts need none of it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_STEPS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_WRITTEN.name):
        return None
    revision: str | None = connection.execute(select(_WRITTEN)).scalar_one_or_none()
    return revision


def _is_known(revision: str) -> bool:
    return revision in _revisions()


def _head() -> str:
    return _revisions()[-1]


@cache
def _revisions() -> tuple[str, ...]:
    """Return the revisions of all steps in their order: each file's name begins with its own."""
    names = (path.name for path in (_STEPS / "versions").glob("[0-9]*_*.py"))
    return tuple(sorted(name.partition("_")[0] for name in names))
