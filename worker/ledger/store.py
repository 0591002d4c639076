"""The ledger as the flows see it: take, record, claim, announce, and read.

Every write goes through the group committer; reads have connections of their own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from worker.flows.journey import UNTRACED
from worker.flows.ports import Lane, LedgerUnavailable
from worker.ledger import (
    announcing,
    books,
    burials,
    cancellations,
    claiming,
    hints,
    intake,
    queries,
    rate_budget,
    reconciling,
    recording,
    replicas,
    rounds,
    sales,
    suspects,
    usual,
    writing,
)
from worker.ledger.clock import DatabaseClock
from worker.ledger.engine import STATEMENT_SECONDS, is_sqlite, open_aside, open_database
from worker.ledger.failures import meaning
from worker.ledger.group import GroupCommitter
from worker.ledger.queries import History

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from worker.core.answers import Attempt
    from worker.core.budget import Reserved, Wish
    from worker.core.burials import Burial
    from worker.core.cancellations import Cancel
    from worker.core.change import Decision, Held
    from worker.core.reconciliation import Booked, Completed, PartiesPage, Period, Round
    from worker.core.replay import Known
    from worker.core.usual import Course
    from worker.core.withdrawal import Withdrawal
    from worker.flows.hearing import Notice
    from worker.flows.journey import Journeys
    from worker.flows.ports import BooksDifference, OpenCount, Outgoing
    from worker.ledger.engine import Database

__all__ = ["HEARTBEAT", "REPLICA_LIFETIME", "History", "Ledger", "open_ledger"]

_T = TypeVar("_T")

#: How often a replica gives a sign of life, and after how long without one it counts as gone.
HEARTBEAT: Final = timedelta(seconds=2)
REPLICA_LIFETIME: Final = timedelta(seconds=10)


class Ledger:
    """One worker's access to the ledger. Use `open_ledger` to make one that is running.

    `replica` names this worker among those that share the database. `now` tells the database's
    time. `journeys` is told of each commit of what a withdrawal is and becomes. All writing methods
    raise LedgerUnavailable when it is not certain that they took place, and StepRefused when the
    database refused the content.
    """

    def __init__(
        self,
        url: str,
        *,
        observe_commit: Callable[[float], None] = lambda _seconds: None,
        clock: DatabaseClock | None = None,
        statement_seconds: float = STATEMENT_SECONDS,
        journeys: Journeys = UNTRACED,
    ) -> None:
        self.replica = str(uuid4())
        self._clock = clock or DatabaseClock()
        self._seconds = statement_seconds
        self._journeys = journeys
        self._database = "sqlite" if is_sqlite(url) else "postgresql"
        self._writer = open_database(
            url, writer=True, connections=1, statement_seconds=statement_seconds
        )
        self._readers = open_database(
            url, writer=False, connections=2, statement_seconds=statement_seconds
        )
        self._aside = open_aside(url, statement_seconds=statement_seconds)
        self._group = GroupCommitter(
            self._writer, partial(writing.apply, replica=self.replica), observe=observe_commit
        )
        self._seen_at: datetime | None = None
        self._tenure = 0
        self._offset = rate_budget.Offset()

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
    ) -> intake.Taken:
        """Write a request down for the first time, or find it known."""
        # By the tenure before the commit: a gap may come at any time after.
        tenure = self._tenure
        step = intake.Take(decision, fingerprint, self.replica, made)
        with self._journeys.commit(self._database, "take"):
            result: intake.Taken = await self._group.do(step)
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
        step = recording.Record(held, decision, made, owner)
        with self._journeys.commit(self._database, "record"):
            result: Held | None = await self._group.do(step)
        return None if result is None else replace(result, tenure=tenure)

    async def claim_due(
        self,
        limit: int,
        *,
        busy: Collection[str],
        shunned: Collection[str] = (),
        lanes: Collection[Lane] = frozenset(Lane),
    ) -> list[Held]:
        """Take over up to `limit` withdrawals that are due or woken, and free.

        `busy` are the message ids that are in somebody's hands in this very process. Withdrawals of
        the `shunned` providers are left where they are. The first come first, as
        `claiming.Claim` says.
        """
        return await self._claim(limit, busy, shunned=frozenset(shunned), lanes=frozenset(lanes))

    async def claim_beside(
        self,
        limit: int,
        parties: Collection[tuple[str, str]],
        *,
        ahead: timedelta,
        busy: Collection[str],
    ) -> list[Held]:
        """Take over other withdrawals of some parties, given as (provider, party).

        Those that are to be looked at within `ahead`: one read of the list tells of all.
        """
        return await self._claim(limit, busy, ahead=ahead, beside=frozenset(parties))

    async def _claim(
        self,
        limit: int,
        busy: Collection[str],
        *,
        ahead: timedelta = timedelta(0),
        **which: Any,  # noqa: ANN401 - the step's own fields
    ) -> list[Held]:
        now = self.now()
        step = claiming.Claim(
            self.replica, now + ahead, now - REPLICA_LIFETIME, limit, frozenset(busy), **which
        )
        tenure = self._tenure
        result: list[Held] = await self._group.do(step)
        return [replace(held, tenure=tenure) for held in result]

    async def mark_announced(self, told: Collection[tuple[int, int]]) -> None:
        """Remember that the broker confirmed these events, given as (row, sequence)."""
        await self._group.do(announcing.Announced(tuple(told), self.now()))

    async def deaths_with(self, identity: bytes) -> int:
        """Return how often a message was being read when its worker died, or still is."""
        return await self._read(lambda connection: queries.deaths_with(connection, identity))

    async def mark(self, identity: bytes, *, unmark: Collection[bytes]) -> None:
        """Remember that a message is about to be read; forget the marks of others."""
        await self._group.do(suspects.Mark(identity, self.now(), frozenset(unmark)))

    async def unmark(self, identities: Collection[bytes]) -> None:
        """Forget the marks of messages that did no harm."""
        await self._group.do(suspects.Unmark(frozenset(identities)))

    async def read_clock(self) -> datetime:
        """Read the database's clock, for whoever gives no signs of life."""
        asked_at, read = await self._read(self._ask_time)
        self._clock.set(read, asked_at=asked_at)
        return read

    async def heartbeat(self) -> None:
        """Read the database's clock, and give a sign of life by it."""
        was_current = self.is_current
        read = await self.read_clock()
        await self._group.do(replicas.Seen(self.replica, read))
        # Until this very commit, the sign of life before was what others saw.
        if not (was_current and self.is_current):
            self._tenure += 1
        self._seen_at = read

    async def reserve(self, budget: str, gap: int, wish: Wish) -> Reserved:
        """Reserve slots of a request budget, which are `gap` microseconds apart.

        What is lost with a crash of the database are the last moments' slots, which have passed by
        the time it is back; so on PostgreSQL nobody waits for the disk.
        """
        step = rate_budget.Reserve(budget, self.replica, gap, wish)
        if self._aside is None:
            got: rate_budget.Got = await self._group.do(step)
        else:
            got = await self._run(
                self._aside,
                lambda connection: rate_budget.reserve(connection, step, in_group=False),
            )
        return self._offset.reserved(got)

    async def leave(self) -> None:
        """Give everything that this replica owns free at once."""
        await self._group.do(replicas.Gone(self.replica))

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

    async def hear(self, provider: str, notices: Sequence[Notice]) -> list[hints.Fate]:
        """Write the events of a webhook delivery down, in one commit, and wake whom they name.

        Returns for each "heard", "duplicate" (its digest is known; nothing is woken) or "unknown"
        (no such withdrawal; nothing is written). Those whose withdrawal is being written are asked
        for again, in commits that follow. Raises LedgerUnavailable when one never came free.
        """
        fates: dict[int, hints.Fate] = {}
        left = list(range(len(notices)))
        for _ in range(hints.TRIES):
            step = hints.Hear(provider, [notices[place] for place in left], self.now())
            fates.update(zip(left, await self._group.do(step), strict=True))
            left = [place for place in left if fates[place] == "occupied"]
            if not left:
                return [fates[place] for place in range(len(notices))]
            await asyncio.sleep(hints.PAUSE_SECONDS)
        raise LedgerUnavailable("a withdrawal is being written")

    async def traces_of(self, provider: str, ids: Collection[str]) -> list[str]:
        """Return the traceparents of the requests that these ids of a provider belong to."""
        return await self._read(lambda connection: hints.traces_of(connection, provider, ids))

    async def forget_hints(self, before: datetime) -> int:
        """Delete some deliveries that were received before a time; return how many."""
        forgotten: int = await self._group.do(hints.Forget(before))
        return forgotten

    async def ask(self, cancel: Cancel, *, waits_until: datetime) -> cancellations.Asked:
        """Write a cancellation down for the first time, or find it known.

        Its withdrawal is taken up at once. While that is not known the cancellation waits for it,
        and is not given up before `waits_until`.
        """
        asked: cancellations.Asked = await self._group.do(
            cancellations.Ask(cancel, self.now(), waits_until)
        )
        return asked

    async def any_overdue(self) -> bool:
        """Tell whether any cancellation has waited in vain until now."""
        now = self.now()
        return await self._read(lambda connection: cancellations.overdue(connection, now))

    async def give_up(self) -> list[cancellations.GivenUp]:
        """Settle some cancellations that have waited in vain until now, and return them."""
        given_up: list[cancellations.GivenUp] = await self._group.do(
            cancellations.GiveUp(self.now())
        )
        return given_up

    async def unanswered(self, *, before: datetime) -> list[cancellations.GivenUp]:
        """Return some that were given up before a time and have no confirmed answer yet."""
        return await self._read(
            lambda connection: cancellations.unanswered(connection, before=before)
        )

    async def mark_answered(self, message_ids: Collection[str]) -> None:
        """Remember that the broker confirmed the answers to these that were given up."""
        await self._group.do(cancellations.Answered(frozenset(message_ids), self.now()))

    async def cancellation(self, message_id: str) -> Mapping[str, Any] | None:
        """Return one cancellation by its own message id as a plain row, or None."""
        return await self._read(lambda connection: cancellations.known(connection, message_id))

    async def cancellations_of(self, message_id: str) -> tuple[Mapping[str, Any], ...]:
        """Return the cancellations that name a request, known or not, as plain rows for people."""
        return await self._read(lambda connection: cancellations.naming(connection, message_id))

    async def forget_replicas(self) -> None:
        """Declare every other replica gone: for a ledger that a lock proves to be ours alone."""
        await self._group.do(replicas.Alone(self.replica))

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

    async def orders_of_others(
        self, provider: str, order_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return those of the provider's ids of orders that belong to another row than `row`."""
        if not order_ids:
            return frozenset()
        return await self._read(
            lambda connection: sales.owned_by_others(connection, provider, order_ids, row=row)
        )

    async def crowd(self, provider: str, party_id: str, *, since: datetime, limit: int) -> int:
        """Count the requests of a party since then, up to `limit`."""
        return await self._read(
            lambda connection: queries.crowd(
                connection, provider, party_id, since=since, limit=limit
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

    async def unfinished(self, *, after: int, limit: int) -> list[Held]:
        """Return what is unfinished beyond the row `after`, in the order of the rows."""
        return await self._read(
            lambda connection: queries.unfinished(connection, after=after, limit=limit)
        )

    async def newest_sign(self) -> datetime | None:
        """Return when a worker was last seen here or changed a withdrawal; None if none ever did.

        Goes through the whole ledger.
        """
        return await self._read(queries.newest_sign)

    async def heard_within(self, span: timedelta) -> frozenset[str]:
        """Return the providers of whose webhooks one was heard within that span."""
        since = self.now() - span
        return await self._read(lambda connection: hints.heard_since(connection, since))

    async def courses(self) -> list[Course]:
        """Return how a bounded number of withdrawals of late went, from beginning to end."""
        now = self.now()
        return await self._read(lambda connection: usual.courses(connection, now=now))

    async def span(self, period: Period) -> tuple[int, int]:
        """Return a number below the first row of a period, and that of the last."""
        return await self._read(lambda connection: reconciling.span(connection, period))

    async def parties(
        self,
        period: Period,
        *,
        after: int,
        last: int,
        provider: str | None = None,
        at_once: int = reconciling.ROWS_AT_ONCE,
    ) -> PartiesPage:
        """Return some of the parties that have requests in a period, beyond the row `after`.

        `at_once` rows are gone through for them.
        """
        return await self._read(
            lambda connection: reconciling.parties(
                connection, period, after=after, last=last, provider=provider, at_once=at_once
            )
        )

    async def booked(
        self, provider: str, party_id: str, period: Period, *, at_once: int = reconciling.PAGE
    ) -> list[Booked]:
        """Return the rows of a party of a period, and those from before that are unfinished.

        They are read `at_once` so many.
        """
        of = partial(reconciling.booked, provider=provider, party_id=party_id, period=period)
        found = await self._read(partial(reconciling.still_open, **of.keywords))
        last: Booked | None = None
        while True:
            # Each page in a transaction of its own: no long one stays open beside the payouts.
            page = await self._read(partial(of, after=last, limit=at_once))
            found += page
            if len(page) < at_once:
                return found
            last = page[-1]

    async def explaining(
        self, provider: str, party_id: str, *, ids: Collection[str], references: Collection[str]
    ) -> list[Booked]:
        """Return the rows that own these ids of the provider's, and the party's with these tokens.

        Nobody knows beforehand when such a row was taken in.
        """
        return await self._read(
            lambda connection: reconciling.explaining(
                connection, provider, party_id, ids=ids, references=references
            )
        )

    async def wake(self, rows: Collection[int]) -> None:
        """Let these rows be taken up now, by whichever worker claims what is due."""
        await self._group.do(reconciling.Wake(tuple(rows), self.now()))

    async def is_served(self) -> bool:
        """Tell whether a worker is running on this ledger, this one or another."""
        alive_since = self.now() - REPLICA_LIFETIME
        return await self._read(
            lambda connection: reconciling.is_served(connection, alive_since=alive_since)
        )

    async def take_round(
        self, *, every: timedelta, period: timedelta, held_for: timedelta
    ) -> Round | None:
        """Go on with the round that nobody holds, or begin one that is due; None for neither."""
        now = self.now()
        step = rounds.TakeRound(self.replica, now, now + held_for, every, period)
        result: Round | None = await self._group.do(step)
        return result

    async def keep_round(self, of: Round, *, held_for: timedelta, is_over: bool = False) -> bool:
        """Remember how far a round has got; False when another replica has it by now."""
        now = self.now()
        step = rounds.KeepRound(self.replica, of, now, now + held_for, is_over)
        result: bool = await self._group.do(step)
        return result

    async def completed_round(self) -> Completed | None:
        """Return what the last round found that came to its end; None before there is one."""
        return await self._read(rounds.completed)

    async def check(self) -> None:
        """Read one value; raises LedgerUnavailable when the ledger does not answer."""
        await self._read(queries.any_replica)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.close()
        await self._readers.close()
        if self._aside is not None:
            await self._aside.close()

    def _ask_time(self, connection: Connection) -> tuple[float, datetime]:
        return self._clock.steady(), queries.database_time(connection)

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        return await self._run(self._readers, work)

    async def _run(self, database: Database, work: Callable[[Connection], _T]) -> _T:
        try:
            async with asyncio.timeout(self._seconds):
                return await database.run(work)
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
    journeys: Journeys = UNTRACED,
) -> AsyncIterator[Ledger]:
    """Open a ledger and run its writer as long as the context lasts."""
    ledger = Ledger(
        url,
        observe_commit=observe_commit,
        clock=clock,
        statement_seconds=statement_seconds,
        journeys=journeys,
    )
    writer = asyncio.create_task(ledger.commit_groups(), name="ledger writer")
    try:
        yield ledger
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await ledger.close()
