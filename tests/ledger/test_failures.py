"""What an error of a database means, walked as a table."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import exc

from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.failures import in_words, meaning


class PostgresError(Exception):
    """As the driver of PostgreSQL raises it: with a code of five characters."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def _dbapi(orig: Exception, kind: type[exc.DBAPIError] = exc.DBAPIError) -> exc.DBAPIError:
    return kind("SELECT 1", {"secret": "hunter2"}, orig)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_dbapi(PostgresError("22021")), StepRefused("PostgresError")),
        (_dbapi(PostgresError("22P05")), StepRefused("PostgresError")),
        (_dbapi(PostgresError("23505")), StepRefused("PostgresError")),
        (_dbapi(sqlite3.IntegrityError(), exc.IntegrityError), StepRefused("IntegrityError")),
        (_dbapi(sqlite3.DataError(), exc.DataError), StepRefused("DataError")),
        (OverflowError(), StepRefused("OverflowError")),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, ""), StepRefused("UnicodeEncodeError")),
        (exc.StatementError("", "", {}, OverflowError()), StepRefused("OverflowError")),
        (_dbapi(PostgresError("40P01")), LedgerUnavailable("PostgresError")),
        (_dbapi(PostgresError("42P01")), LedgerUnavailable("PostgresError")),
        (_dbapi(PostgresError("53100")), LedgerUnavailable("PostgresError")),
        (_dbapi(PostgresError("57P01")), LedgerUnavailable("PostgresError")),
        (
            _dbapi(sqlite3.OperationalError(), exc.OperationalError),
            LedgerUnavailable("OperationalError"),
        ),
        (exc.TimeoutError(), LedgerUnavailable("TimeoutError")),
        (exc.PendingRollbackError(), LedgerUnavailable("PendingRollbackError")),
        (TimeoutError(), LedgerUnavailable("TimeoutError")),
        (ConnectionRefusedError(), LedgerUnavailable("ConnectionRefusedError")),
    ],
    ids=repr,
)
def test_each_error_has_a_meaning(error: Exception, expected: Exception) -> None:
    """
    Content is refused by name of the error; everything else of a database means: not certain.
    """
    told = meaning(error)

    assert (type(expected), str(expected)) == (type(told), str(told))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gaierror", "its name is not known (gaierror)"),
        ("SQLITE_FULL", "the disk is full (SQLITE_FULL)"),
        ("SQLITE_IOERR_WRITE", "the disk does not do as it is told (SQLITE_IOERR_WRITE)"),
        ("NeverHeardOfError", "NeverHeardOfError"),
    ],
)
def test_an_operator_is_told_in_words(kind: str, words: str) -> None:
    """
    The kind stands behind them, to be searched for; a detailed kind has its group's words.
    """
    assert words == in_words(LedgerUnavailable(kind))


@pytest.mark.parametrize("bug", [TypeError(), KeyError(), ValueError(), AssertionError()])
def test_a_bug_is_itself(bug: Exception) -> None:
    """
    What no database has to do with is neither refused content nor an outage.
    """
    assert bug is meaning(bug)
    assert bug is meaning(exc.StatementError("", "", {}, bug))


def test_the_kind_of_the_database_is_told_where_it_has_one() -> None:
    """
    SQLite names its errors, and what asyncpg raised lies behind what SQLAlchemy made of it.
    """
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    wrapped = Exception("translated")
    wrapped.__cause__ = ConnectionResetError()

    assert "SQLITE_FULL" == str(meaning(_dbapi(full)))
    assert "ConnectionResetError" == str(meaning(_dbapi(wrapped)))
