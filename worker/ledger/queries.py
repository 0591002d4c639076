"""What is read from the ledger: each function takes a connection and returns plain values.

Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, and_, bindparam, func, literal_column, select

from worker.core.replay import Known
from worker.core.withdrawal import TERMINAL, Status
from worker.flows.ports import Copy, OpenCount, Outgoing
from worker.ledger import rows
from worker.ledger.cancellations import of as asked_to_cancel
from worker.ledger.schema import (
    attempts,
    cancellations,
    events,
    replicas,
    suspects,
    transitions,
    withdrawals,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, RowMapping

    from worker.core.change import Held
    from worker.core.withdrawal import Withdrawal

#: The database's clock at this very moment, in whole microseconds since 1970.
NOW: Final[Mapping[str, ColumnElement[int]]] = {
    # SQLite's time has milliseconds; rounded to them, the fraction of a day is exact again.
    "sqlite": literal_column(
        "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
    ),
    "postgresql": literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"),
}
_NOW: Final = {name: select(now) for name, now in NOW.items()}
_OF_A_COPY: Final = ("message_id", "reply_to", "correlation_id", "traceparent")
# What is asked several times a second is made once: putting it together costs more than it does.
_UNANNOUNCED: Final = (
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
        *(cancellations.c[name].label(f"cancel_{name}") for name in _OF_A_COPY),
    )
    .join(withdrawals, withdrawals.c.id == events.c.withdrawal)
    # A row for each cancellation that it answers, and one where it answers none.
    .outerjoin(
        cancellations,
        and_(
            cancellations.c.withdrawal == events.c.withdrawal,
            cancellations.c.answer == events.c.sequence,
            cancellations.c.reply_to.is_not(None),
        ),
    )
    .where(
        events.c.withdrawal.in_(bindparam("of", expanding=True)), events.c.published_at.is_(None)
    )
    .order_by(events.c.withdrawal, events.c.sequence, cancellations.c.message_id)
)
_LATE: Final = (
    select(events.c.withdrawal)
    .where(events.c.published_at.is_(None), events.c.created_at <= bindparam("before"))
    .order_by(events.c.created_at)
    .limit(bindparam("limit", type_=Integer))
)
_ANY_REPLICA: Final = select(replicas.c.id).limit(1)
#: Provider texts and bodies may hold personal data.
_HIDDEN: Final = frozenset({"provider_text", "body", "withdrawal", "hash"})


#: Rows are numbered as they are written, and may have been taken in so much later or earlier.
_OUT_OF_ORDER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which withdrawals are meant: those that fit every condition that is given.

    Without `statuses` the unfinished ones. `since` is when they were taken in at the earliest.
    """

    statuses: frozenset[Status] = frozenset()
    provider: str | None = None
    party_id: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that the ledger knows of one request, for people and `show`.

    `attempts`, `transitions`, `events` and `cancellations` are plain rows by column name; provider
    texts and bodies are left out, since they may hold personal data.
    """

    held: Held
    attempts: tuple[Mapping[str, Any], ...]
    transitions: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    cancellations: tuple[Mapping[str, Any], ...]


def database_time(connection: Connection) -> datetime:
    """Read the database's clock."""
    return rows.at(connection.execute(_NOW[connection.dialect.name]).scalar_one())


def unannounced(connection: Connection, of: Collection[int]) -> list[Outgoing]:
    """Return the unconfirmed events of some rows, each row's in the order of its sequence."""
    found: Iterable[Any] = connection.execute(_UNANNOUNCED, {"of": sorted(of)})
    of_an_event = groupby(found, key=attrgetter("withdrawal", "sequence"))
    return [_outgoing(tuple(alike)) for _, alike in of_an_event]


def _outgoing(alike: Sequence[Any]) -> Outgoing:
    """Read one event, which comes once for each cancellation that it answers."""
    row = alike[0]
    return Outgoing(
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
        copies=tuple(
            Copy(
                reply_to=one.cancel_reply_to,
                correlation_id=one.cancel_correlation_id or one.cancel_message_id,
                traceparent=one.cancel_traceparent,
            )
            for one in alike
            if one.cancel_reply_to is not None
        ),
    )


def rows_unannounced(connection: Connection, *, before: datetime, limit: int) -> list[int]:
    """Return up to `limit` rows that have events unconfirmed since `before`, oldest first."""
    found = connection.scalars(_LATE, {"before": rows.micros(before), "limit": limit})
    return list(dict.fromkeys(found))


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


def crowd(
    connection: Connection, provider: str, party_id: str, *, since: datetime, limit: int
) -> int:
    """Count the requests of a party since then, up to `limit`."""
    some = (
        select(withdrawals.c.id)
        .where(
            withdrawals.c.provider == provider,
            withdrawals.c.party_id == party_id,
            withdrawals.c.taken_at >= rows.micros(since),
        )
        .limit(limit)
    )
    return connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def wanted(connection: Connection, which: Wanted, *, limit: int) -> list[Withdrawal]:
    """Return up to `limit` withdrawals, the oldest first.

    Unfinished ones are read from the index that holds them alone. Finished ones have no index of
    their own, which every payout would pay for: they are read in the order of their rows, from the
    first that may be young enough.
    """
    found: list[RowMapping] = []
    statuses = which.statuses or frozenset(Status) - TERMINAL
    if unfinished := statuses - TERMINAL:
        statement = (
            select(withdrawals)
            .where(
                withdrawals.c.finished_at.is_(None),
                withdrawals.c.status.in_(sorted(unfinished)),
                *_fits(which),
            )
            .order_by(withdrawals.c.taken_at, withdrawals.c.id)
            .limit(limit)
        )
        found += connection.execute(statement).mappings()
    if finished := statuses & TERMINAL:
        first = 1 if which.since is None else first_since(connection, which.since)
        statement = (
            select(withdrawals)
            .where(
                withdrawals.c.id >= first,
                withdrawals.c.finished_at.is_not(None),
                withdrawals.c.status.in_(sorted(finished)),
                *_fits(which),
            )
            .order_by(withdrawals.c.id)
            .limit(limit)
        )
        found += connection.execute(statement).mappings()
    found.sort(key=lambda row: (row["taken_at"], row["id"]))
    return [rows.held(row).withdrawal for row in found[:limit]]


def unfinished(connection: Connection, *, after: int, limit: int) -> list[Held]:
    """Return up to `limit` unfinished withdrawals beyond the row `after`."""
    statement = (
        select(withdrawals)
        .where(withdrawals.c.finished_at.is_(None), withdrawals.c.id > after)
        .order_by(withdrawals.c.id)
        .limit(limit)
    )
    return [rows.held(row) for row in connection.execute(statement).mappings()]


def newest_sign(connection: Connection) -> datetime | None:
    """Return when a replica was last seen or a withdrawal last changed; None before both."""
    asked = (select(func.max(replicas.c.seen_at)), select(func.max(withdrawals.c.changed_at)))
    signs = [connection.execute(statement).scalar_one() for statement in asked]
    return rows.moment(max((sign for sign in signs if sign is not None), default=None))


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
        asked_to_cancel(connection, row["id"]),
    )


def deaths_with(connection: Connection, identity: bytes) -> int:
    """Return how many marks of a message were left behind."""
    statement = select(suspects.c.starts).where(suspects.c.identity == identity)
    return connection.execute(statement).scalar_one_or_none() or 0


def known(connection: Connection, message_ids: Collection[str]) -> dict[str, Known]:
    """Return what is known of these requests by message id; one that is not known is left out."""
    statement = select(withdrawals).where(withdrawals.c.message_id.in_(sorted(message_ids)))
    return {
        row["message_id"]: Known(rows.held(row).withdrawal, bytes(row["fingerprint"]))
        for row in connection.execute(statement).mappings()
    }


def any_replica(connection: Connection) -> None:
    """Read one value: proof that the ledger answers and has its tables."""
    connection.execute(_ANY_REPLICA)


def _fits(which: Wanted) -> list[ColumnElement[bool]]:
    conditions = []
    if which.provider is not None:
        conditions.append(withdrawals.c.provider == which.provider)
    if which.party_id is not None:
        conditions.append(withdrawals.c.party_id == which.party_id)
    if which.since is not None:
        conditions.append(withdrawals.c.taken_at >= rows.micros(which.since))
    return conditions


def first_since(connection: Connection, since: datetime) -> int:
    """Return the first row that can have been taken in since then, by halving."""
    earliest = rows.micros(since - _OUT_OF_ORDER) or 0
    low, high = 1, (connection.execute(select(func.max(withdrawals.c.id))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        at_or_after = (
            select(withdrawals.c.id, withdrawals.c.taken_at)
            .where(withdrawals.c.id >= middle)
            .order_by(withdrawals.c.id)
            .limit(1)
        )
        row = connection.execute(at_or_after).one()
        if row.taken_at >= earliest:
            high = middle
        else:
            low = row.id + 1
    return low


def _of(connection: Connection, row: int, order: Column[int]) -> tuple[Mapping[str, Any], ...]:
    """Return a withdrawal's rows of the table that the column belongs to, in the column's order."""
    table = order.table
    columns = [column for column in table.c if column.name not in _HIDDEN]
    found = connection.execute(select(*columns).where(table.c.withdrawal == row).order_by(order))
    return tuple(dict(mapping) for mapping in found.mappings())
