"""What is read from the ledger: each function takes a connection and returns plain values.

Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, text

from worker.flows.ports import OpenCount, Outgoing
from worker.ledger import rows
from worker.ledger.schema import attempts, events, replicas, suspects, transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Column, Connection

    from worker.core.decide import Held

_NOW: Final = {
    # SQLite's time has milliseconds; rounded to them, the fraction of a day is exact again.
    "sqlite": text(
        "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
    ),
    "postgresql": text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"),
}
#: Provider texts and bodies may hold personal data.
_HIDDEN: Final = frozenset({"provider_text", "body", "withdrawal"})


@dataclass(frozen=True, slots=True)
class History:
    """All that the ledger knows of one request, for people and `show`.

    `attempts`, `transitions` and `events` are plain rows by column name; provider texts and bodies
    are left out, since they may hold personal data.
    """

    held: Held
    attempts: tuple[Mapping[str, Any], ...]
    transitions: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]


def database_time(connection: Connection) -> datetime:
    """Read the database's clock."""
    return rows.at(connection.execute(_NOW[connection.dialect.name]).scalar_one())


def unannounced(connection: Connection, of: Collection[int]) -> list[Outgoing]:
    """Return the unconfirmed events of some rows, each row's in the order of its sequence."""
    statement = (
        select(
            events.c.withdrawal,
            events.c.sequence,
            events.c.event_id,
            events.c.type,
            events.c.body,
            events.c.created_at,
            withdrawals.c.message_id,
            withdrawals.c.correlation_id,
            withdrawals.c.reply_to,
            withdrawals.c.traceparent,
        )
        .join(withdrawals, withdrawals.c.id == events.c.withdrawal)
        .where(events.c.withdrawal.in_(sorted(of)), events.c.published_at.is_(None))
        .order_by(events.c.withdrawal, events.c.sequence)
    )
    return [
        Outgoing(
            row=row.withdrawal,
            sequence=row.sequence,
            event_id=row.event_id,
            type=row.type,
            body=row.body,
            created_at=rows.at(row.created_at),
            message_id=row.message_id,
            correlation_id=row.correlation_id,
            reply_to=row.reply_to,
            traceparent=row.traceparent,
        )
        for row in connection.execute(statement)
    ]


def rows_unannounced(connection: Connection, *, before: datetime, limit: int) -> list[int]:
    """Return up to `limit` rows that have events unconfirmed since `before`, oldest first."""
    statement = (
        select(events.c.withdrawal)
        .where(events.c.published_at.is_(None), events.c.created_at <= rows.micros(before))
        .order_by(events.c.created_at)
        .limit(limit)
    )
    return list(dict.fromkeys(connection.scalars(statement)))


def count_unannounced(connection: Connection) -> int:
    """Count the events that the broker has not confirmed yet."""
    statement = select(func.count()).where(events.c.published_at.is_(None))
    return connection.execute(statement).scalar_one()


def count_open(connection: Connection) -> list[OpenCount]:
    """Count the unfinished withdrawals by provider and status."""
    statement = (
        select(
            withdrawals.c.provider,
            withdrawals.c.status,
            func.count(),
            func.min(withdrawals.c.taken_at),
        )
        .where(withdrawals.c.finished_at.is_(None))
        .group_by(withdrawals.c.provider, withdrawals.c.status)
    )
    return [
        OpenCount(provider, status, count, rows.at(oldest))
        for provider, status, count, oldest in connection.execute(statement)
    ]


def owned_by_others(
    connection: Connection, provider: str, withdrawal_ids: Collection[str], *, row: int
) -> frozenset[str]:
    """Return those of the provider's ids that belong to another row than `row`."""
    statement = select(withdrawals.c.withdrawal_id).where(
        withdrawals.c.provider == provider,
        withdrawals.c.withdrawal_id.in_(sorted(withdrawal_ids)),
        withdrawals.c.id != row,
    )
    return frozenset(connection.scalars(statement))


def history(connection: Connection, message_id: str) -> History | None:
    """Return all that is known of one request, or None when it is not known."""
    found = connection.execute(select(withdrawals).where(withdrawals.c.message_id == message_id))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return History(
        rows.held(row),
        _of(connection, row["id"], attempts.c.number),
        _of(connection, row["id"], transitions.c.sequence),
        _of(connection, row["id"], events.c.sequence),
    )


def deaths_with(connection: Connection, identity: bytes) -> int:
    """Return how many marks of a message were left behind."""
    statement = select(suspects.c.starts).where(suspects.c.identity == identity)
    return connection.execute(statement).scalar_one_or_none() or 0


def any_replica(connection: Connection) -> None:
    """Read one value: proof that the ledger answers and has its tables."""
    connection.execute(select(replicas.c.id).limit(1))


def _of(connection: Connection, row: int, order: Column[int]) -> tuple[Mapping[str, Any], ...]:
    """Return a withdrawal's rows of the table that the column belongs to, in the column's order."""
    table = order.table
    columns = [column for column in table.c if column.name not in _HIDDEN]
    found = connection.execute(select(*columns).where(table.c.withdrawal == row).order_by(order))
    return tuple(dict(mapping) for mapping in found.mappings())
