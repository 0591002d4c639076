"""Statements that are executed with many rows: compiled once, and spared the work for each row.

Only for plain values (numbers, texts, bytes, None): they go to the driver as they are."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, update
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.sqlite import pysqlite

from worker.ledger.dialects import INSERTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import BindParameter, Connection, Table
    from sqlalchemy.sql.expression import ClauseElement

_DIALECTS: Final[Mapping[str, Any]] = {
    "sqlite": pysqlite.dialect(),
    "postgresql": asyncpg.dialect(),  # type: ignore[no-untyped-call]
}
# In an UPDATE SQLAlchemy keeps the columns' own names for itself.
_MARK: Final = "row_"


def of_row(name: str) -> BindParameter[Any]:
    """Return the place in a statement where a value of each row stands."""
    return bindparam(f"{_MARK}{name}")


class Many:
    """A statement for many rows; a row is a dictionary with a value for each of its places.

    `make` is given the dialect's name and returns the statement.
    """

    def __init__(self, make: Callable[[str], ClauseElement]) -> None:
        self._compiled = {name: _compile(make(name), name) for name in _DIALECTS}

    def execute(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute the statement with each of the rows; with none nothing happens."""
        statement, values = self._compiled[connection.dialect.name]
        given = [values(row) for row in rows]
        if given:
            connection.exec_driver_sql(statement, given)


def updating(table: Table, key: list[str], columns: list[str]) -> ClauseElement:
    """Return the statement that sets columns of the rows that have these keys."""
    return (
        update(table)
        .where(*(table.c[name] == of_row(name) for name in key))
        .values({name: of_row(name) for name in columns})
    )


def upserting(name: str, table: Table, key: list[str], columns: list[str]) -> ClauseElement:
    """Return the statement, for a dialect, that adds rows or sets columns of those that are."""
    statement = INSERTS[name](table)
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=key, set_={column: statement.excluded[column] for column in columns}
    )
    return upsert


def _compile(
    statement: ClauseElement, name: str
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    compiled: Any = statement.compile(dialect=_DIALECTS[name])
    names = [place.removeprefix(_MARK) for place in compiled.positiontup]
    if len(names) == 1:
        # Of one name alone, itemgetter makes no tuple.
        return str(compiled), lambda row: (row[names[0]],)
    return str(compiled), itemgetter(*names)
