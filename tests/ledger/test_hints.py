"""Hints by webhook: each heard once, by the withdrawal that it names."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from tests.ledger import second
from tests.ledger.builders import Steady, due, moved, take, take_due
from worker.core.withdrawal import Status
from worker.flows.hearing import Notice
from worker.ledger import hints
from worker.ledger.clock import DatabaseClock
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

_ORDER = (
    "INSERT INTO sale_orders SELECT 'bluum', 'ord-1', id FROM withdrawals"
    " WHERE message_id = 'req-3'"
)
_WOKEN = "SELECT id, woken_at FROM withdrawals WHERE woken_at IS NOT NULL ORDER BY id"


async def _hear(ledger: Ledger, provider: str, digest: bytes, *ids: str) -> str:
    """Hear a delivery of one event; return its fate."""
    (fate,) = await ledger.hear(provider, [_notice(digest, *ids)])
    return fate


def _notice(digest: bytes, *ids: str) -> Notice:
    return Notice(digest, "transfer.withdrawal.completed", ids)


async def _paid_out(ledger: Ledger, message_id: str, status: Status = Status.PENDING) -> int:
    held = await take(ledger, message_id)
    moving = moved(held, status, withdrawal_id=f"wd-of-{message_id}")
    assert await ledger.record(held, moving) is not None
    return held.row


async def test_a_hint_wakes_whom_it_names(ledger: Ledger, url: str) -> None:
    """
    By its own id or by that of its order, finished or not; by nobody else's, and once.
    """
    rows = [
        await _paid_out(ledger, "req-1"),
        await _paid_out(ledger, "req-2", Status.COMPLETED),
        await _paid_out(ledger, "req-3"),
    ]
    await second.write(url, _ORDER)
    fates = [
        await _hear(ledger, "bluum", b"1", "wd-of-req-1", "evt-1"),
        await _hear(ledger, "bluum", b"2", "wd-of-req-2"),
        await _hear(ledger, "bluum", b"2", "wd-of-req-2"),
        await _hear(ledger, "bluum", b"3", "ord-1"),
        await _hear(ledger, "upvest", b"4", "wd-of-req-1"),
        await _hear(ledger, "bluum", b"5", "wd-of-req-9"),
    ]
    written = await second.read(url, "SELECT digest, resource_id FROM webhooks ORDER BY digest")

    assert ["heard", "heard", "duplicate", "heard", "unknown", "unknown"] == fates
    assert [(b"1", "wd-of-req-1"), (b"2", "wd-of-req-2"), (b"3", "ord-1")] == written
    assert rows == [row for row, _ in await second.read(url, _WOKEN)]


async def test_a_delivery_of_thousands_is_one_commit(url: str) -> None:
    """
    More ids than one statement takes; each event has its own fate, and repeated all are known.

    An event that is in it twice is heard once.
    """
    commits: list[float] = []
    async with open_ledger(url, observe_commit=commits.append) as ledger:
        await ledger.heartbeat()
        row = await _paid_out(ledger, "req-1")
        ours = [_notice(b"%d" % n, "wd-of-req-1") for n in range(1100)]
        others = [_notice(b"x%d" % n, f"id-{n}", f"order-{n}") for n in range(17_000)]
        before = len(commits)
        fates = await ledger.hear("bluum", [*ours, *others, ours[0]])
        needed = len(commits) - before
        again = await ledger.hear("bluum", [*others, *ours])

    assert ["heard"] * 1100 + ["unknown"] * 17_000 + ["duplicate"] == fates
    assert ["unknown"] * 17_000 + ["duplicate"] * 1100 == again
    assert 1 == needed
    assert [row] == [row for row, _ in await second.read(url, _WOKEN)]


async def test_of_many_at_once_each_is_heard_once(ledger: Ledger, url: str) -> None:
    """
    Two replicas with the same deliveries in their hands: one of each pair wakes.
    """
    rows = [await _paid_out(ledger, f"req-{n}") for n in range(5)]
    async with open_ledger(url) as other:
        await other.heartbeat()
        fates = await asyncio.gather(
            *(
                _hear(hearing, "bluum", b"%d" % n, f"wd-of-req-{n}")
                for n in range(5)
                for hearing in (ledger, other, ledger)
            )
        )

    assert (5, 10) == (fates.count("heard"), fates.count("duplicate"))
    assert rows == [row for row, _ in await second.read(url, _WOKEN)]


async def test_a_flood_of_hints_is_one_look(ledger: Ledger) -> None:
    """
    Who is woken is taken up long before it is due, once; by what comes meanwhile once more.
    """
    freed = await take_due(ledger, "req-1", ledger.now() + timedelta(days=1))
    moving = moved(freed, Status.PENDING, withdrawal_id="wd-1", due_at=freed.withdrawal.due_at)
    assert await ledger.record(freed, moving) is not None
    for n in range(9):
        await _hear(ledger, "bluum", b"%d" % n, "wd-1")
    (first,) = await ledger.claim_due(5, busy=[])
    await _hear(ledger, "bluum", b"meanwhile", "wd-1")
    assert await ledger.record(first, due(first, freed.withdrawal.due_at)) is not None
    (second_,) = await ledger.claim_due(5, busy=[])
    assert await ledger.record(second_, due(second_, freed.withdrawal.due_at)) is not None

    assert [] == await ledger.claim_due(5, busy=[])


async def test_a_clock_that_lags_behind_loses_no_hint(url: str) -> None:
    """
    Replicas know the time a little differently: what is heard later counts as later.
    """
    async with open_ledger(url) as ahead, open_ledger(url, clock=_an_hour_ago()) as behind:
        await ahead.heartbeat()
        await _paid_out(ahead, "req-1")
        await _hear(ahead, "bluum", b"1", "wd-of-req-1")
        before = await second.read(url, _WOKEN)
        await _hear(behind, "bluum", b"2", "wd-of-req-1")

        assert before < await second.read(url, _WOKEN)


async def test_nobody_waits_for_a_withdrawal_that_is_being_written(postgres_url: str) -> None:
    """
    Two replicas that did, each with rows of its own, could wait for each other for ever.

    It is asked for again, in other commits: what others write goes on, and so does what the same
    delivery tells of others.
    """
    async with open_ledger(postgres_url) as ledger:
        await ledger.heartbeat()
        for message_id in ("req-1", "req-2"):
            await _paid_out(ledger, message_id)
        notices = [_notice(b"1", "wd-of-req-1"), _notice(b"2", "wd-of-req-2")]
        connection = await asyncpg.connect(postgres_url)
        async with connection.transaction():
            await connection.execute(
                "SELECT id FROM withdrawals WHERE message_id = 'req-1' FOR UPDATE"
            )
            hearing = asyncio.create_task(ledger.hear("bluum", notices))
            await asyncio.sleep(0)
            await ledger.mark(b"another step, in the same commit", unmark=())
            is_told = hearing.done()
            written = await second.read(postgres_url, "SELECT resource_id FROM webhooks")
        fates = await hearing
        await connection.close()

    assert not is_told
    assert [("wd-of-req-2",)] == written
    assert ["heard", "heard"] == fates


async def test_old_deliveries_are_forgotten(url: str) -> None:
    """
    A few at a time; a forgotten one that comes again is heard again.
    """
    count = hints.FORGET_AT_ONCE + 1
    async with open_ledger(url, clock=_an_hour_ago()) as past:
        await _paid_out(past, "req-1")
        old = [_hear(past, "bluum", b"%d" % n, "wd-of-req-1") for n in range(count)]
        fates = await asyncio.gather(*old)
    async with open_ledger(url) as ledger:
        await ledger.heartbeat()
        await _hear(ledger, "bluum", b"young", "wd-of-req-1")
        before = ledger.now() - timedelta(minutes=30)
        forgotten = [await ledger.forget_hints(before) for _ in range(3)]
        left = await second.read(url, "SELECT digest FROM webhooks")
        again = await _hear(ledger, "bluum", b"0", "wd-of-req-1")

    assert {"heard"} == {*fates}
    assert [hints.FORGET_AT_ONCE, 1, 0] == forgotten
    assert [(b"young",)] == left
    assert "heard" == again


def _an_hour_ago() -> DatabaseClock:
    steady = Steady()
    clock = DatabaseClock(steady=steady)
    clock.set(datetime.now(UTC) - timedelta(hours=1), asked_at=steady())
    return clock
