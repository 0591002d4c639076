"""The ledger as the flows see it: take, record, claim, announce, and read.

Every write goes through the group committer; reads have connections of their own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

from worker.ledger import books, burials, queries, statements
from worker.ledger.clock import DatabaseClock
from worker.ledger.engine import STATEMENT_SECONDS, open_database
from worker.ledger.failures import meaning
from worker.ledger.group import GroupCommitter
from worker.ledger.queries import History

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from sqlalchemy import Connection

    from worker.core.answers import Attempt
    from worker.core.burials import Burial
    from worker.core.decide import Decision, Held
    from worker.core.replay import Known
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import BooksDifference, OpenCount, Outgoing

__all__ = ["HEARTBEAT", "REPLICA_LIFETIME", "History", "Ledger", "open_ledger"]

_T = TypeVar("_T")

#: How often a replica gives a sign of life, and after how long without one it counts as gone.
HEARTBEAT: Final = timedelta(seconds=2)
REPLICA_LIFETIME: Final = timedelta(seconds=10)


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
        statement_seconds: float = STATEMENT_SECONDS,
    ) -> None:
        self.replica = str(uuid4())
        self._clock = clock or DatabaseClock()
        self._seconds = statement_seconds
        self._writer = open_database(
            url, writer=True, connections=1, statement_seconds=statement_seconds
        )
        self._readers = open_database(
            url, writer=False, connections=2, statement_seconds=statement_seconds
        )
        self._group = GroupCommitter(
            self._writer, partial(statements.apply, replica=self.replica), observe=observe_commit
        )
        self._seen_at: datetime | None = None
        self._tenure = 0

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return self._clock.now()

    @property
    def is_current(self) -> bool:
        """Whether others still see this replica alive: only then may it act on what it owns."""
        return (
            self._seen_at is not None and self.now() - self._seen_at < REPLICA_LIFETIME - HEARTBEAT
        )

    @property
    def tenure(self) -> int | None:
        """A number that changes with every gap in the signs of life; None in such a gap.

        After a gap (stopped and gone on, cut off from the database) what this replica owned may be
        another's by now, although it gives signs of life again. So it may act only on what it holds
        of the same tenure.
        """
        return self._tenure if self.is_current else None

    async def commit_groups(self) -> None:
        """Write what is asked for, for ever; the other methods wait for this task."""
        await self._group.run()

    async def take(
        self, decision: Decision, fingerprint: bytes, made: tuple[Attempt, ...] = ()
    ) -> statements.Taken:
        """Write a request down for the first time, or find it known."""
        # By the tenure before the commit: a gap may come at any time after.
        tenure = self._tenure
        step = statements.Take(decision, fingerprint, self.replica, made)
        result: statements.Taken = await self._group.do(step)
        return replace(result, held=replace(result.held, tenure=tenure))

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
        tenure = self._tenure
        owner = self.replica if keep else None
        result: Held | None = await self._group.do(statements.Record(held, decision, made, owner))
        return None if result is None else replace(result, tenure=tenure)

    async def claim_due(
        self, limit: int, *, busy: Collection[str], shunned: Collection[str] = ()
    ) -> list[Held]:
        """Take over up to `limit` withdrawals that are due and free, the longest due first.

        `busy` are the message ids that are in somebody's hands in this very process. Withdrawals of
        the `shunned` providers are left where they are.
        """
        now = self.now()
        step = statements.Claim(
            self.replica, now, now - REPLICA_LIFETIME, limit, frozenset(busy), frozenset(shunned)
        )
        tenure = self._tenure
        result: list[Held] = await self._group.do(step)
        return [replace(held, tenure=tenure) for held in result]

    async def mark_announced(self, told: Collection[tuple[int, int]]) -> None:
        """Remember that the broker confirmed these events, given as (row, sequence)."""
        await self._group.do(statements.Announced(tuple(told), self.now()))

    async def deaths_with(self, identity: bytes) -> int:
        """Return how often a message was being read when its worker died, or still is."""
        return await self._read(lambda connection: queries.deaths_with(connection, identity))

    async def mark(self, identity: bytes, *, unmark: Collection[bytes]) -> None:
        """Remember that a message is about to be read; forget the marks of others."""
        await self._group.do(statements.Mark(identity, self.now(), frozenset(unmark)))

    async def unmark(self, identities: Collection[bytes]) -> None:
        """Forget the marks of messages that did no harm."""
        await self._group.do(statements.Unmark(frozenset(identities)))

    async def read_clock(self) -> datetime:
        """Read the database's clock, for whoever gives no signs of life."""
        asked_at, read = await self._read(self._ask_time)
        self._clock.set(read, asked_at=asked_at)
        return read

    async def heartbeat(self) -> None:
        """Read the database's clock, and give a sign of life by it."""
        was_current = self.is_current
        read = await self.read_clock()
        await self._group.do(statements.Seen(self.replica, read))
        # Until this very commit, the sign of life before was what others saw.
        if not (was_current and self.is_current):
            self._tenure += 1
        self._seen_at = read

    async def leave(self) -> None:
        """Give everything that this replica owns free at once."""
        await self._group.do(statements.Gone(self.replica))

    async def note_burial(self, burial: Burial) -> None:
        """Take a message into the books that is about to become a dead letter.

        To be done before it is published. One that is in the books already, or that the ledger
        knows as a request, changes nothing.
        """
        await self._group.do(burials.Bury(burial, self.now()))

    async def dead_letter_left(self, identity: bytes, how: burials.Way) -> None:
        """Tell the books that a dead letter leaves its queue.

        `identity` is that of `worker.core.burials.identity`. To be told before it is published
        again: whoever takes it then counts it anew. A dropped one stays in the books as
        dead-lettered. One that is not in the books changes nothing.
        """
        await self._group.do(burials.Left(identity, how))

    async def forget_replicas(self) -> None:
        """Declare every other replica gone: for a ledger that a lock proves to be ours alone."""
        await self._group.do(statements.Alone(self.replica))

    async def unannounced(self, of: Collection[int]) -> list[Outgoing]:
        """Return the unconfirmed events of some rows, each row's in the order of its sequence."""
        return await self._read(lambda connection: queries.unannounced(connection, of))

    async def rows_unannounced(self, *, before: datetime, limit: int) -> list[int]:
        """Return up to `limit` rows that have events unconfirmed since `before`, oldest first."""
        return await self._read(
            lambda connection: queries.rows_unannounced(connection, before=before, limit=limit)
        )

    async def count_unannounced(self) -> int:
        """Count the events that the broker has not confirmed yet."""
        return await self._read(queries.count_unannounced)

    async def count_open(self) -> list[OpenCount]:
        """Count the unfinished withdrawals by provider and status."""
        return await self._read(queries.count_open)

    async def books_differences(self) -> list[BooksDifference]:
        """Return by how much the counters differ from the rows, by provider and currency."""
        return await self._read(books.differences)

    async def owned_by_others(
        self, provider: str, withdrawal_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return those of the provider's ids that belong to another row than `row`."""
        if not withdrawal_ids:
            return frozenset()
        return await self._read(
            lambda connection: queries.owned_by_others(
                connection, provider, withdrawal_ids, row=row
            )
        )

    async def history(self, message_id: str) -> History | None:
        """Return all that is known of one request, or None when it is not known."""
        return await self._read(lambda connection: queries.history(connection, message_id))

    async def known(self, message_ids: Collection[str]) -> dict[str, Known]:
        """Return what is known of some requests by message id; at most some thousands at once."""
        if not message_ids:
            return {}
        return await self._read(lambda connection: queries.known(connection, message_ids))

    async def wanted(self, which: queries.Wanted, *, limit: int) -> list[Withdrawal]:
        """Return up to `limit` withdrawals, the oldest first."""
        return await self._read(lambda connection: queries.wanted(connection, which, limit=limit))

    async def check(self) -> None:
        """Read one value; raises LedgerUnavailable when the ledger does not answer."""
        await self._read(queries.any_replica)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.close()
        await self._readers.close()

    def _ask_time(self, connection: Connection) -> tuple[float, datetime]:
        return self._clock.steady(), queries.database_time(connection)

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._readers.run(work)
        except Exception as error:  # noqa: BLE001 - a bug is raised again as it is
            # Not told where it came from: a database repeats what it was given.
            raise meaning(error) from None


@asynccontextmanager
async def open_ledger(
    url: str,
    *,
    observe_commit: Callable[[float], None] = lambda _seconds: None,
    clock: DatabaseClock | None = None,
    statement_seconds: float = STATEMENT_SECONDS,
) -> AsyncIterator[Ledger]:
    """Open a ledger and run its writer as long as the context lasts."""
    ledger = Ledger(
        url, observe_commit=observe_commit, clock=clock, statement_seconds=statement_seconds
    )
    writer = asyncio.create_task(ledger.commit_groups(), name="ledger writer")
    try:
        yield ledger
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await ledger.close()
