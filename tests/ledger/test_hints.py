"""Hints by webhook: each heard once, by the withdrawal that it names."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.ledger import second
from tests.ledger.builders import NOW, moved, take, take_due
from worker.core.withdrawal import Status
from worker.flows.hearing import Hint
from worker.ledger import hints
from worker.ledger.engine import open_database
from worker.ledger.schema import withdrawals
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.store import Ledger

_WOKEN = "SELECT id, woken_at FROM withdrawals WHERE woken_at IS NOT NULL ORDER BY id"


def _hint(*ids: str) -> Hint:
    return Hint("transfer.withdrawal.completed", ids)


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
    order = f"INSERT INTO sale_orders VALUES ('bluum', 'ord-1', {rows[2]})"
    await second.write(url, order)
    fates = [
        await ledger.hear("bluum", b"1", _hint("wd-of-req-1", "evt-1")),
        await ledger.hear("bluum", b"2", _hint("wd-of-req-2")),
        await ledger.hear("bluum", b"2", _hint("wd-of-req-2")),
        await ledger.hear("bluum", b"3", _hint("ord-1")),
        await ledger.hear("upvest", b"4", _hint("wd-of-req-1")),
        await ledger.hear("bluum", b"5", _hint("wd-of-req-9")),
    ]
    written = await second.read(url, "SELECT digest, resource_id FROM webhooks ORDER BY digest")

    assert ["heard", "heard", "duplicate", "heard", "unknown", "unknown"] == fates
    assert [(b"1", "wd-of-req-1"), (b"2", "wd-of-req-2"), (b"3", "ord-1")] == written
    assert rows == [row for row, _ in await second.read(url, _WOKEN)]


async def test_of_many_at_once_each_is_heard_once(ledger: Ledger, url: str) -> None:
    """
    Two replicas with the same deliveries in their hands: one of each pair wakes.
    """
    rows = [await _paid_out(ledger, f"req-{n}") for n in range(5)]
    async with open_ledger(url) as other:
        await other.heartbeat()
        fates = await asyncio.gather(
            *(
                hearing.hear("bluum", b"%d" % n, _hint(f"wd-of-req-{n}"))
                for n in range(5)
                for hearing in (ledger, other, ledger)
            )
        )

    assert (5, 10) == (fates.count("heard"), fates.count("duplicate"))
    assert rows == [row for row, _ in await second.read(url, _WOKEN)]


async def test_who_is_woken_is_taken_up_before_it_is_due(ledger: Ledger, url: str) -> None:
    """
    A flood of hints is one look; a hint that comes during the look is another one.
    """
    freed = await take_due(ledger, "req-1", ledger.now() + timedelta(days=1))
    moving = moved(freed, Status.PENDING, withdrawal_id="wd-1", due_at=freed.withdrawal.due_at)
    assert await ledger.record(freed, moving) is not None
    for n in range(9):
        await ledger.hear("bluum", b"%d" % n, _hint("wd-1"))
    claims = [await ledger.claim_due(5, busy=[])]
    (held,) = claims[0]
    claims.append(await ledger.claim_due(5, busy=["req-1"]))
    await ledger.hear("bluum", b"late", _hint("wd-1"))
    for _ in range(2):
        assert await ledger.record(held, moved(held, Status.PENDING)) is not None
        claims.append(found := await ledger.claim_due(5, busy=[]))
        held = found[0] if found else held
        if not found:
            break

    assert [1, 0, 1, 0] == [len(found) for found in claims]


async def test_a_withdrawal_that_is_being_written_is_waited_for(ledger: Ledger, url: str) -> None:
    """
    Nobody waits for its lock, for two that did could wait for each other: it is asked for again.
    """
    row = await _paid_out(ledger, "req-1")
    database = open_database(url, writer=True, connections=1)
    written, over = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def write(connection: Connection) -> None:
        statement = withdrawals.update().where(withdrawals.c.id == row).values(looks=7)
        connection.execute(statement)
        loop.call_soon_threadsafe(written.set)

    async def hold() -> None:
        await database.run(write)

    await hold()
    over.set()
    fate = await ledger.hear("bluum", b"1", _hint("wd-of-req-1"))
    await database.close()

    assert "heard" == fate


async def test_old_deliveries_are_forgotten(ledger: Ledger, url: str) -> None:
    """
    A few at a time, the oldest first; a forgotten one that comes again is heard again.
    """
    await _paid_out(ledger, "req-1")
    count = hints.FORGET_AT_ONCE + 1
    await second.write(
        url,
        "; ".join(
            f"INSERT INTO webhooks VALUES ({_bytes(url, n)}, 'bluum', NULL, 'wd', {n})"
            for n in range(count)
        ),
    )
    await ledger.hear("bluum", b"young", _hint("wd-of-req-1"))
    forgotten = [await ledger.forget_hints(NOW) for _ in range(3)]

    assert [hints.FORGET_AT_ONCE, 1, 0] == forgotten
    assert [(b"young",)] == await second.read(url, "SELECT digest FROM webhooks")


def _bytes(url: str, number: int) -> str:
    text = f"{number:08x}"
    return f"x'{text}'" if url.startswith("sqlite") else rf"'\x{text}'::bytea"
