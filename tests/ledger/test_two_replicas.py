"""Two replicas that want the same rows in opposite orders: PostgreSQL never finds a deadlock.

A third connection holds a row in the middle until both wait, so that each has locked all that it
can lock by then."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.ledger.builders import FINGERPRINT, an_order, take, taken_in
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_IDS: Final = [f"req-{number}" for number in range(9)]
_TAKE_ONE: Final = """
INSERT INTO withdrawals (
    message_id, fingerprint, idempotency_key, body, request, metadata, taken_at, version, status,
    sequence, in_doubt, attempts, empty_lookups, looks, changed_at, origin, head, seal, errand,
    cancel_wanted
)
VALUES (
    'req-4', '', 'wd-4', '', '{}', '{}', 0, 1, 'received', 1, false, 0, 0, 0, 0, '', '', '', 0,
    false
)
"""
_MARK_ONE: Final = """
UPDATE events SET published_at = 1
WHERE withdrawal = (SELECT id FROM withdrawals WHERE message_id = 'req-4')
"""


async def test_requests_that_come_to_both(postgres_url: str) -> None:
    """
    Each is new at one of them, and nobody is turned away.
    """
    async with open_ledger(postgres_url) as one, open_ledger(postgres_url) as other:
        async with locked(postgres_url, _TAKE_ONE):
            taking = [
                asyncio.create_task(ledger.take(taken_in(an_order(message_id)), FINGERPRINT))
                for ledger, ids in ((one, _IDS), (other, _IDS[::-1]))
                for message_id in ids
            ]
            await both_wait(postgres_url)
        taken = await asyncio.gather(*taking)

    assert _IDS == sorted(t.held.withdrawal.order.message_id for t in taken if t.is_new)


async def test_events_that_both_have_published(postgres_url: str) -> None:
    """
    Both mark them as announced.
    """
    async with open_ledger(postgres_url) as one, open_ledger(postgres_url) as other:
        marks = [((await take(one, message_id)).row, 1) for message_id in _IDS]
        async with locked(postgres_url, _MARK_ONE):
            marking = [
                asyncio.create_task(ledger.mark_announced(told))
                for ledger, told in ((one, marks), (other, marks[::-1]))
            ]
            await both_wait(postgres_url)
        await asyncio.gather(*marking)

        assert 0 == await one.count_unannounced()


@asynccontextmanager
async def locked(url: str, statement: str) -> AsyncIterator[None]:
    """Hold what a statement locks, and take it back in the end."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"BEGIN; {statement}")
        yield
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()


async def both_wait(url: str, count: int = 2) -> None:
    """Wait until so many transactions wait for a lock."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval(_WAITING) < count:
                pass
    finally:
        await connection.close()


_WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
