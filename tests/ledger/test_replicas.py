"""Signs of life: whose withdrawals are whose, and until when, by the one clock that all share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from tests.ledger import second
from tests.ledger.builders import Steady, due, take
from worker.ledger.clock import DatabaseClock
from worker.ledger.rows import micros
from worker.ledger.store import HEARTBEAT, REPLICA_LIFETIME, Ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LIFETIME: Final = REPLICA_LIFETIME.total_seconds()
_NOWS: Final = {
    "sqlite": "SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}


@asynccontextmanager
async def _replica(url: str, steady: Steady) -> AsyncIterator[Ledger]:
    async with open_ledger(url, clock=DatabaseClock(steady=steady)) as ledger:
        await ledger.heartbeat()
        yield ledger


async def test_what_a_dead_replica_owned_is_taken_over(url: str) -> None:
    """
    Once its last sign of life is older than the lifetime, its withdrawals are free for others.
    """
    steady = Steady()
    async with _replica(url, Steady()) as dead, _replica(url, steady) as ledger:
        held = await take(dead, "theirs")
        await dead.record(held, due(held, ledger.now()), keep=True)
        while_alive = await ledger.claim_due(10, busy=())
        steady.seconds += _LIFETIME + 1
        after = await ledger.claim_due(10, busy=())
        [owner] = await second.read(url, "SELECT owner FROM withdrawals")
        too_late = await dead.record(held, due(held, None))

    assert [] == while_alive
    assert ["theirs"] == [h.withdrawal.order.message_id for h in after]
    assert (ledger.replica,) == owner
    assert too_late is None


async def test_what_a_request_left_half_done_is_taken_over(url: str) -> None:
    """
    A replica that dies between intent and outcome leaves its withdrawal due at once.
    """
    steady = Steady()
    async with _replica(url, steady) as ledger:
        async with _replica(url, Steady()) as dead:
            await take(dead, "half done")
        steady.seconds += _LIFETIME + 1

        [held] = await ledger.claim_due(10, busy=())

    assert held.withdrawal.in_doubt


async def test_a_sign_of_life_keeps_what_one_owns(url: str) -> None:
    """
    A heartbeat is what counts, not how long ago the withdrawal was claimed.
    """
    async with _replica(url, Steady()) as other, _replica(url, Steady()) as ledger:
        held = await take(other, "theirs")
        await other.record(held, due(held, ledger.now()), keep=True)
        # As if the last sign of life were long ago, and then one came.
        await second.write(url, "UPDATE replicas SET seen_at = seen_at - 60000000")
        await other.heartbeat()

        assert [] == await ledger.claim_due(10, busy=())


async def test_who_leaves_frees_everything_at_once(url: str) -> None:
    """
    An orderly end does not make anybody wait for the lifetime to pass.
    """
    async with _replica(url, Steady()) as leaving, _replica(url, Steady()) as ledger:
        held = await take(leaving, "theirs")
        await leaving.record(held, due(held, ledger.now()), keep=True)
        await leaving.leave()

        assert 1 == len(await ledger.claim_due(10, busy=()))


async def test_a_ledger_of_ones_own_forgets_all_others(url: str) -> None:
    """
    What the process before left half-done is taken up at once, and one's own stays one's own.
    """
    async with _replica(url, Steady()) as before:
        held = await take(before, "theirs")
        await before.record(held, due(held, before.now()), keep=True)
    async with _replica(url, Steady()) as ledger:
        await ledger.forget_replicas()
        claimed = await ledger.claim_due(10, busy=())
        replicas = await second.read(url, "SELECT id FROM replicas")

    assert 1 == len(claimed)
    assert [(ledger.replica,)] == replicas


async def test_a_heartbeat_reads_the_clock_of_the_database(url: str) -> None:
    """
    Whatever this machine's clock said before, time is the database's from then on.
    """
    steady = Steady()
    clock = DatabaseClock(steady=steady)
    steady.seconds += 1_000_000
    async with open_ledger(url, clock=clock) as ledger:
        wrong = ledger.now()
        [(before,)] = await second.read(url, _NOWS[url.partition(":")[0]])
        await ledger.heartbeat()
        [(after,)] = await second.read(url, _NOWS[url.partition(":")[0]])
        [(seen_at,)] = await second.read(url, "SELECT seen_at FROM replicas")

    assert micros(wrong) > after
    assert before <= seen_at
    # SQLite tells whole seconds here.
    assert seen_at <= after + 1_000_000
    assert micros(ledger.now()) == seen_at


async def test_a_replica_is_current_while_others_see_it_alive(url: str) -> None:
    """
    Not before its first sign of life, and no longer than a heartbeat less than the lifetime.
    """
    steady = Steady()
    async with open_ledger(url, clock=DatabaseClock(steady=steady)) as ledger:
        before = ledger.is_current
        await ledger.heartbeat()
        at_once = ledger.is_current
        steady.seconds += _LIFETIME - HEARTBEAT.total_seconds() - 0.001
        still = ledger.is_current
        steady.seconds += 0.002
        no_more = ledger.is_current
        await ledger.heartbeat()
        again = ledger.is_current

    assert [False, True, True, False, True] == [before, at_once, still, no_more, again]


async def test_a_gap_in_the_signs_of_life_ends_a_tenure(url: str) -> None:
    """
    What a replica held before the gap it may not act on, also once it gives signs of life again.

    Signs of life in time leave no gap, however many there were.
    """
    steady = Steady()
    async with open_ledger(url, clock=DatabaseClock(steady=steady)) as ledger:
        before = ledger.tenure
        await ledger.heartbeat()
        held = await take(ledger, "held")
        for _ in range(5):
            steady.seconds += _LIFETIME - HEARTBEAT.total_seconds() - 1
            await ledger.heartbeat()
        after_many = ledger.tenure

        steady.seconds += _LIFETIME - HEARTBEAT.total_seconds() + 1
        in_the_gap = ledger.tenure
        await ledger.heartbeat()
        after_it = ledger.tenure
        recorded = await ledger.record(held, due(held, ledger.now()))
        [claimed] = await ledger.claim_due(1, busy=())

    assert [None, 1, None, 2] == [before, after_many, in_the_gap, after_it]
    assert 1 == held.tenure
    assert recorded is not None
    assert 2 == recorded.tenure
    assert 2 == claimed.tenure
