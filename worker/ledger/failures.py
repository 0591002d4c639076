"""What an error of the database means for who asked: refused, not certain, or a bug of ours.

The words of a database may repeat what it was given, a bank detail perhaps: none of them is passed
on, only the kind of the error."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from worker.flows.ports import LedgerUnavailable, StepRefused

#: The classes of SQLSTATE that speak of the content: data exception, integrity violation.
_CONTENT_CLASSES: Final = ("22", "23")


def meaning(error: Exception) -> Exception:
    """Translate an error: LedgerUnavailable, StepRefused, or the error itself if it is a bug."""
    match error:
        case IntegrityError() | DataError():
            return StepRefused(_kind(error))
        case DBAPIError() if _sqlstate(error).startswith(_CONTENT_CLASSES):
            return StepRefused(_kind(error))
        case OverflowError() | UnicodeError():
            # The driver cannot write the value in the form that the database wants.
            return StepRefused(_kind(error))
        case StatementError(orig=Exception() as inner) if not isinstance(error, DBAPIError):
            return meaning(inner)
        case SQLAlchemyError() | OSError():
            return LedgerUnavailable(_kind(error))
        case _:
            return error


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _kind(error: Exception) -> str:
    """Return the most telling name: SQLITE_FULL, DiskFullError, ConnectionRefusedError."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    # asyncpg's own error is the cause of the one that SQLAlchemy made of it.
    inner = getattr(error.orig, "__cause__", None) or error.orig
    return getattr(inner, "sqlite_errorname", None) or type(inner).__name__
