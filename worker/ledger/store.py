"""The ledger as the flows see it: take, record, claim, announce, and read.

Every write goes through the group committer; reads have connections of their own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from worker.flows.ports import LedgerUnavailable, OpenCount, Outgoing
from worker.ledger import rows, statements
from worker.ledger.clock import DatabaseClock, steady
from worker.ledger.engine import STATEMENT_SECONDS, open_engine
from worker.ledger.group import GroupCommitter
from worker.ledger.schema import attempts, events, replicas, transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from worker.core.answers import Attempt
    from worker.core.decide import Decision, Held

#: How often a replica gives a sign of life, and after how long without one it counts as gone.
HEARTBEAT: Final = timedelta(seconds=2)
REPLICA_LIFETIME: Final = timedelta(seconds=10)

_NOW: Final = {
    "sqlite": text("SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"),
    "postgresql": text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"),
}


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


class Ledger:
    """One worker's access to the ledger. Use `open_ledger` to make one that is running.

    `replica` names this worker among those that share the database. `now` tells the database's
    time. All writing methods raise LedgerUnavailable when it is not certain that they took place,
    and StepRefused when the database refused the content.
    """

    def __init__(
        self,
        url: str,
        *,
        observe_commit: Callable[[float], None] = lambda _seconds: None,
        clock: DatabaseClock | None = None,
    ) -> None:
        self.replica = str(uuid4())
        self._clock = clock or DatabaseClock()
        self._engine: AsyncEngine = open_engine(url, writer=True, connections=1)
        self._readers: AsyncEngine = open_engine(url, writer=False, connections=2)
        self._group = GroupCommitter(self._engine, statements.apply, observe=observe_commit)
        self._seen_at: datetime | None = None

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return self._clock.now()

    @property
    def is_current(self) -> bool:
        """Whether others still see this replica alive: only then may it act on what it owns."""
        return (
            self._seen_at is not None and self.now() - self._seen_at < REPLICA_LIFETIME - HEARTBEAT
        )

    async def commit_groups(self) -> None:
        """Write what is asked for, for ever; the other methods wait for this task."""
        await self._group.run()

    async def take(
        self, decision: Decision, fingerprint: bytes, made: tuple[Attempt, ...] = ()
    ) -> statements.Taken:
        """Write a request down for the first time, or find it known."""
        step = statements.Take(decision, fingerprint, self.replica, made)
        result: statements.Taken = await self._group.do(step)
        return result

    async def record(
        self,
        held: Held,
        decision: Decision,
        made: tuple[Attempt, ...] = (),
        *,
        keep: bool = False,
    ) -> Held | None:
        """Write what follows for a held withdrawal; None when it is no longer held.

        `keep` says that this replica goes on with it; otherwise it is free until it is due.
        """
        owner = self.replica if keep else None
        result: Held | None = await self._group.do(statements.Record(held, decision, made, owner))
        return result

    async def claim_due(self, limit: int, *, busy: Collection[str]) -> list[Held]:
        """Take over up to `limit` withdrawals that are due and free, the longest due first.

        `busy` are the message ids that are in somebody's hands in this very process.
        """
        now = self.now()
        step = statements.Claim(self.replica, now, now - REPLICA_LIFETIME, limit, frozenset(busy))
        result: list[Held] = await self._group.do(step)
        return result

    async def mark_announced(self, told: Collection[tuple[int, int]]) -> None:
        """Remember that the broker confirmed these events, given as (row, sequence)."""
        await self._group.do(statements.Announced(tuple(told), self.now()))

    async def heartbeat(self) -> None:
        """Read the database's clock, and give a sign of life by it."""
        asked_at = steady()
        async with self._reading() as connection:
            read = await connection.scalar(_NOW[connection.dialect.name])
        seen = rows.moment(read)
        if seen is None:  # pragma: no cover - a SELECT of one expression
            raise LedgerUnavailable("no time")
        self._clock.set(seen, asked_at=asked_at)
        await self._group.do(statements.Seen(self.replica, seen))
        self._seen_at = seen

    async def leave(self) -> None:
        """Give everything that this replica owns free at once."""
        await self._group.do(statements.Gone(self.replica))

    async def forget_replicas(self) -> None:
        """Declare every other replica gone: for a ledger that a lock proves to be ours alone."""
        async with self._engine.connect() as connection, connection.begin():
            await connection.execute(replicas.delete())

    async def unannounced(self, of: Collection[int]) -> list[Outgoing]:
        """Return the unconfirmed events of some rows, each row's in the order of its sequence."""
        statement = (
            select(
                events.c.withdrawal.label("row"),
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
        async with self._reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return [Outgoing(**{**row, "created_at": rows.moment(row["created_at"])}) for row in found]

    async def rows_unannounced(self, *, before: datetime, limit: int) -> list[int]:
        """Return up to `limit` rows that have events unconfirmed since `before`, oldest first."""
        statement = (
            select(events.c.withdrawal)
            .where(events.c.published_at.is_(None), events.c.created_at <= rows.micros(before))
            .order_by(events.c.created_at)
            .limit(limit)
        )
        async with self._reading() as connection:
            found = await connection.execute(statement)
            return list(dict.fromkeys(found.scalars()))

    async def count_unannounced(self) -> int:
        """Count the events that the broker has not confirmed yet."""
        statement = select(func.count()).where(events.c.published_at.is_(None))
        async with self._reading() as connection:
            return await connection.scalar(statement) or 0

    async def count_open(self) -> list[OpenCount]:
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
        async with self._reading() as connection:
            found = (await connection.execute(statement)).all()
        return [
            OpenCount(provider, status, count, rows.moment(oldest) or self.now())
            for provider, status, count, oldest in found
        ]

    async def owned_by_others(
        self, provider: str, withdrawal_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return those of the provider's ids that belong to another row than `row`."""
        statement = select(withdrawals.c.withdrawal_id).where(
            withdrawals.c.provider == provider,
            withdrawals.c.withdrawal_id.in_(sorted(withdrawal_ids)),
            withdrawals.c.id != row,
        )
        async with self._reading() as connection:
            return frozenset((await connection.execute(statement)).scalars())

    async def history(self, message_id: str) -> History | None:
        """Return all that is known of one request, or None when it is not known."""
        async with self._reading() as connection:
            found = await connection.execute(
                select(withdrawals).where(withdrawals.c.message_id == message_id)
            )
            row = found.mappings().one_or_none()
            if row is None:
                return None
            return History(
                rows.held(row),
                await _children(connection, attempts, "number", row["id"]),
                await _children(connection, transitions, "sequence", row["id"]),
                await _children(connection, events, "sequence", row["id"]),
            )

    async def check(self) -> None:
        """Read one value; raises LedgerUnavailable when the ledger does not answer."""
        async with self._reading() as connection:
            await connection.scalar(select(withdrawals.c.id).limit(1))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
        await self._readers.dispose()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(STATEMENT_SECONDS), self._readers.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise LedgerUnavailable(type(error).__name__) from error


@asynccontextmanager
async def open_ledger(
    url: str,
    *,
    observe_commit: Callable[[float], None] = lambda _seconds: None,
    clock: DatabaseClock | None = None,
) -> AsyncIterator[Ledger]:
    """Open a ledger and run its writer as long as the context lasts."""
    ledger = Ledger(url, observe_commit=observe_commit, clock=clock)
    writer = asyncio.create_task(ledger.commit_groups(), name="ledger writer")
    try:
        yield ledger
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await ledger.close()


async def _children(
    connection: AsyncConnection,
    table: Table,
    order: str,
    row: int,
) -> tuple[Mapping[str, Any], ...]:
    hidden = {"provider_text", "body", "withdrawal"}
    columns = [column for column in table.c if column.name not in hidden]
    found = await connection.execute(
        select(*columns).where(table.c.withdrawal == row).order_by(table.c[order])
    )
    return tuple(dict(mapping) for mapping in found.mappings())
