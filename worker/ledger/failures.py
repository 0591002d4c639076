"""What an error of the database means for who asked: refused, not certain, or a bug of ours.

The words of a database may repeat what it was given, a bank detail perhaps: none of them is passed
on, only the kind of the error."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.engine import LedgerForgetful

#: The classes of SQLSTATE that speak of the content: data exception, integrity violation.
_CONTENT_CLASSES: Final = ("22", "23")
#: What an operator can do something about. What SQLite tells in more detail begins alike.
_WORDS: Final = {
    "gaierror": "its name is not known",
    "ConnectionRefusedError": "nobody listens there",
    "TimeoutError": "no answer in time",
    "ConnectionError": "it refuses TLS, or is no PostgreSQL",
    "SSLCertVerificationError": "its certificate is not accepted",
    "ClientConfigurationError": "an option behind the ? of the URL cannot be used",
    "InvalidPasswordError": "it refuses the user or the password",
    "InvalidAuthorizationSpecificationError": "it refuses the user, or wants TLS",
    "InvalidCatalogNameError": "it has no such database",
    "InsufficientPrivilegeError": "this user lacks a right to its tables",
    "CannotConnectNowError": "it is starting or stopping",
    "TooManyConnectionsError": "it takes no more connections",
    "ReadOnlySQLTransactionError": "it takes no writes: a standby?",
    "DiskFullError": "its disk is full",
    "LedgerForgetful": "its fsync is off: what it confirms may be lost in a crash, and be paid "
    "twice then; set fsync = on and reload it",
    "SQLITE_NOTADB": "it is no SQLite database",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_CANTOPEN": "it cannot be opened or made",
    "SQLITE_READONLY": "it cannot be written to",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk does not do as it is told",
    "SQLITE_BUSY": "another program is writing to it",
}

#: What only another URL mends, and with it a new start.
_OF_OUR_SIDE: Final = frozenset({"ClientConfigurationError"})


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
        case SQLAlchemyError() | OSError() | LedgerForgetful():
            return LedgerUnavailable(_kind(error))
        case _:
            return error


def in_words(error: Exception) -> str:
    """Return why the ledger is away, in words for an operator, and the kind of the error.

    `error` is LedgerUnavailable; of any other what it says itself is told.
    """
    kind = str(error)
    words = _WORDS.get(kind) or next(
        (words for known, words in _WORDS.items() if kind.startswith(f"{known}_")), None
    )
    return f"{words} ({kind})" if words else kind


def may_mend(error: Exception) -> bool:
    """Tell whether somebody may mend it at the database, so that waiting makes sense."""
    return str(error) not in _OF_OUR_SIDE


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _kind(error: Exception) -> str:
    """Return the most telling name: SQLITE_FULL, DiskFullError, ConnectionRefusedError."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    # asyncpg's own error is the cause of the one that SQLAlchemy made of it.
    inner = getattr(error.orig, "__cause__", None) or error.orig
    return getattr(inner, "sqlite_errorname", None) or type(inner).__name__
