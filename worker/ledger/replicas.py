"""Signs of life, by which the replicas that share a ledger know of each other.

Who may take over what is not said here, but where it is claimed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, select

from worker.ledger import rows, tallies
from worker.ledger.many import Many, upserting
from worker.ledger.schema import replicas

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: A replica without a sign of life for so long is forgotten: much longer than it counts as gone.
FORGOTTEN_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A sign of life of this replica. Result: None."""

    replica: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gone:
    """This replica leaves; what it owned is free at once. Result: None."""

    replica: str


@dataclass(frozen=True, slots=True)
class Alone:
    """Every other replica is gone; what they owned is free at once. Result: None."""

    replica: str


def seen(connection: Connection, step: Seen) -> None:
    """Write a sign of life down, and forget those who have given none for long."""
    at = rows.micros(step.at)
    _SEEN.execute(connection, [{"id": step.replica, "started_at": at, "seen_at": at}])
    _forget(connection, step.at - FORGOTTEN_AFTER)
    tallies.fold(connection)


def gone(connection: Connection, step: Gone) -> None:
    """Strike a replica out; what it counted goes to the common account."""
    connection.execute(delete(replicas).where(replicas.c.id == step.replica))
    tallies.fold(connection)


def alone(connection: Connection, step: Alone) -> None:
    """Strike all others out; what they counted goes to the common account."""
    connection.execute(delete(replicas).where(replicas.c.id != step.replica))
    tallies.fold(connection)


def _forget(connection: Connection, before: datetime) -> None:
    # One that was only asleep appears again with its next sign of life.
    silent = connection.scalars(_SILENT, {"before": rows.micros(before)}).all()
    if silent:
        connection.execute(delete(replicas).where(replicas.c.id.in_(silent)))


_SILENT: Final = (
    select(replicas.c.id)
    .where(replicas.c.seen_at < bindparam("before"))
    .with_for_update(skip_locked=True)
)
_SEEN: Final = Many(lambda name: upserting(name, replicas, ["id"], ["seen_at"]))
