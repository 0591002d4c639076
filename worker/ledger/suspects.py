"""Messages that are being read, and so are suspected should the worker die of them.

Which of them counts as poison is not said here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete

from worker.ledger import rows
from worker.ledger.dialects import INSERTS
from worker.ledger.schema import suspects

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Mark:
    """A message that came again is about to be read; earlier ones did no harm. Result: None."""

    identity: bytes
    at: datetime
    unmark: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Unmark:
    """These messages did no harm. Result: None."""

    identities: frozenset[bytes]


def mark(connection: Connection, step: Mark) -> None:
    """Count one more start of a message, and forget the marks of others."""
    if step.unmark:
        unmark(connection, step.unmark)
    insert = INSERTS[connection.dialect.name](suspects)
    first = {"identity": step.identity, "starts": 1, "started_at": rows.micros(step.at)}
    again = {"starts": suspects.c.starts + 1, "started_at": first["started_at"]}
    connection.execute(
        insert.values(first).on_conflict_do_update(index_elements=["identity"], set_=again)
    )


def unmark(connection: Connection, identities: frozenset[bytes]) -> None:
    """Forget the marks of these messages."""
    connection.execute(delete(suspects).where(suspects.c.identity.in_(sorted(identities))))
