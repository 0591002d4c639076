"""No statement of the ledger reads a whole table, however many finished rows lie in it.

The statements are those of a real run, caught on their way to the driver and explained by the
database itself."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from sqlalchemy import Engine, event

from tests.ledger import second
from tests.ledger.builders import (
    FINGERPRINT,
    NOW,
    a_cancel,
    an_attempt,
    an_order,
    answered,
    moved,
    taken_in,
)
from tests.ledger.stories import a_burial
from worker.core.reconciliation import Period
from worker.core.withdrawal import Status
from worker.flows.hearing import Notice
from worker.ledger.migrate import migrate
from worker.ledger.queries import Wanted
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tests.services.postgres_node import PostgresNode
    from worker.ledger.store import Ledger

#: The indexes that hold open rows only: a whole one of them is short.
_SHORT: Final = (
    "ix_withdrawals_due",
    "ix_withdrawals_open",
    "ix_withdrawals_woken",
    "ix_events_unpublished",
    "ix_cancellations_waiting",
    "ix_cancellations_unanswered",
)
_GROWING: Final = ("withdrawals", "events", "transitions", "attempts", "cancellations")
_NUMBERS: Final = {
    "sqlite": (
        "WITH RECURSIVE numbers(n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)"
    ),
    "postgresql": "WITH numbers(n) AS (SELECT * FROM generate_series(1, 20000))",
}
_FINISHED_ROWS: Final = """
INSERT INTO withdrawals (
    message_id, fingerprint, idempotency_key, provider, party_id, amount_minor, currency, method,
    body, request, metadata, taken_at, version, status, sequence, withdrawal_id, in_doubt,
    attempts, empty_lookups, looks, changed_at, finished_at, origin, head, seal,
    errand, cancel_wanted
)
{numbers}
SELECT 'old-' || n, {bytes}, 'wd-' || n, 'bluum', 'inv_' || (n % 2000), 50000, 'USD', 'ach',
    {bytes}, '{{}}', '{{}}', n, 3, 'completed', 2, 'wd_' || n, false,
    1, 0, 2, n, n, {bytes}, {bytes}, {bytes}, 3, false
FROM numbers;
INSERT INTO events (withdrawal, sequence, event_id, type, body, created_at, published_at)
SELECT id, 1, message_id, 'withdrawal.received', body, taken_at, taken_at FROM withdrawals;
INSERT INTO events (withdrawal, sequence, event_id, type, body, created_at, published_at)
SELECT id, 2, message_id, 'withdrawal.completed', body, taken_at, taken_at FROM withdrawals;
INSERT INTO transitions (withdrawal, sequence, status, reversal, cause, at, hash)
SELECT withdrawal, sequence, type, false, 'look', created_at, body FROM events;
INSERT INTO attempts (withdrawal, number, started_at) SELECT id, 1, taken_at FROM withdrawals;
INSERT INTO cancellations (
    message_id, fingerprint, request_message_id, taken_at, waits_until, withdrawal, settled_at,
    outcome, answer, reply_to, published_at
)
SELECT message_id, body, message_id, taken_at, taken_at, id, taken_at, 'cancelled', 2, 'q', taken_at
FROM withdrawals;
ANALYZE;
"""
_BYTES: Final = {"sqlite": "x'78'", "postgresql": r"'\x78'::bytea"}

Statement = tuple[str, tuple[Any, ...]]


async def test_every_statement_of_a_run_uses_an_index_on_sqlite(sqlite_url: str) -> None:
    """
    SQLite's plans know no scan of withdrawals or events, but of the small indexes of what is open.
    """
    statements = await _run_among_finished_rows(sqlite_url)
    with closing(second.sqlite(sqlite_url)) as connection:
        plans = {
            statement: [
                row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            ]
            for statement, given in statements
        }

    assert {} == {
        statement: plan
        for statement, plan in plans.items()
        if any(
            line.startswith(tuple(f"SCAN {table}" for table in _GROWING))
            and not line.endswith(_SHORT)
            for line in plan
        )
    }
    assert len(plans) > 10


async def test_every_statement_of_a_run_uses_an_index_on_postgresql(
    postgres: PostgresNode,
) -> None:
    """
    Nor do PostgreSQL's plans.
    """
    url = postgres.create_database()
    await migrate(url)
    statements = await _run_among_finished_rows(url)
    connection = await asyncpg.connect(url)
    try:
        plans = {
            statement: [row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *given)]
            for statement, given in statements
        }
    finally:
        await connection.close()

    assert {} == {
        statement: plan
        for statement, plan in plans.items()
        if any(f"Seq Scan on {table}" in line for line in plan for table in _GROWING)
    }
    assert len(plans) > 10


async def _run_among_finished_rows(url: str) -> list[Statement]:
    dialect = url.partition(":")[0]
    filling = _FINISHED_ROWS.format(numbers=_NUMBERS[dialect], bytes=_BYTES[dialect])
    await second.write(url, filling)
    with _caught() as statements:
        async with open_ledger(url) as ledger:
            await _everything(ledger)
    return statements


async def _everything(ledger: Ledger) -> None:
    """Do all that a worker does again and again, a few rows at a time."""
    await ledger.heartbeat()
    now = ledger.now()
    held = [
        (
            await ledger.take(taken_in(an_order(f"req-{n}"), now=now), FINGERPRINT, (an_attempt(),))
        ).held
        for n in range(5)
    ]
    await ledger.take(taken_in(an_order("old-77")), FINGERPRINT)
    for n, h in enumerate(held[:3]):
        pending = moved(h, Status.PENDING, withdrawal_id=f"new_{n}", due_at=now)
        await ledger.record(h, pending, (an_attempt(ended_at=now),))
    await ledger.claim_due(2, busy=["req-0", "req-4"])
    await ledger.claim_beside(20, [("bluum", "inv")], ahead=timedelta(minutes=5), busy=[])
    await ledger.rows_unannounced(before=now, limit=200)
    await ledger.unannounced([h.row for h in held])
    await ledger.mark_announced([(h.row, 1) for h in held])
    await _cancellations(ledger, now)
    await ledger.count_unannounced()
    await ledger.count_open()
    await ledger.note_burial(a_burial("req-1"))
    await ledger.dead_letter_left(a_burial("req-1").identity, "replayed")
    await ledger.books_differences()
    await ledger.owned_by_others("bluum", ["wd_5", "wd_6", "new_1"], row=held[0].row)
    await ledger.hear("bluum", [Notice(b"1", None, ("wd_5", "ord_1"))])
    await ledger.forget_hints(now)
    await ledger.history("old-99")
    await ledger.wanted(Wanted(), limit=50)
    await ledger.wanted(Wanted(statuses=frozenset({Status.UNRESOLVED})), limit=50)
    ended = frozenset({Status.COMPLETED})
    await ledger.wanted(Wanted(statuses=ended, since=now, party_id="inv"), limit=50)
    await _reconciliation(ledger, Period(NOW - timedelta(days=7), now))
    await ledger.check()


async def _cancellations(ledger: Ledger, now: datetime) -> None:
    """Take cancellations in, of what is known and of what is not, and answer those in vain."""
    named: list[str | tuple[str, str]] = ["req-0", ("bluum", "new_1"), "later", ("bluum", "later")]
    for number, of in enumerate(named):
        await ledger.ask(a_cancel(f"cancel-{number}", of=of), waits_until=now)
    await ledger.ask(a_cancel("cancel-0"), waits_until=now)
    (held,) = await ledger.claim_due(1, busy=[])
    await ledger.record(held, answered(held, "cancel_refused", Status.PENDING))
    await ledger.any_overdue()
    vain = await ledger.give_up()
    await ledger.unanswered(before=now)
    await ledger.mark_answered([one.cancel.message_id for one in vain])
    await ledger.cancellation("cancel-0")
    await ledger.cancellations_of("req-0")


async def _reconciliation(ledger: Ledger, period: Period) -> None:
    """Do what a round of reconciliation does for a party, and learn how long payouts take."""
    _, last = await ledger.span(period)
    (party,) = (await ledger.parties(period, after=last - 10, last=last)).parties
    of = (party.provider, party.party_id)
    booked = await ledger.booked(*of, period)
    await ledger.explaining(*of, ids=["wd_9", "new_0"], references=[booked[0].reference])
    await ledger.wake([booked[0].row])
    await ledger.courses()


@contextmanager
def _caught() -> Iterator[list[Statement]]:
    """Every statement with parameters that is executed in the meantime."""
    statements: list[Statement] = []

    def catch(
        _connection: object,
        _cursor: object,
        statement: str,
        given: Any,  # noqa: ANN401 - one row of values, or many
        _context: object,
        executemany: bool,
    ) -> None:
        values = given[0] if executemany else given
        if any(f" {table}" in statement for table in _GROWING):
            statements.append((statement, tuple(values)))

    event.listen(Engine, "before_cursor_execute", catch)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", catch)
