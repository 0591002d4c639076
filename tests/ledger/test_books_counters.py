"""The counters of the books: what was taken is counted once, whatever happens on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import OperationalError

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, moved, refused, take, taken_in
from tests.ledger.stories import (
    NOTHING,
    PAID_OUT,
    a_burial,
    audited,
    balance_of,
    lived,
    unbalanced,
)
from worker.core.withdrawal import Status
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger import intake, writing
from worker.ledger.books import Alteration, Books, Sum
from worker.ledger.group import GroupCommitter
from worker.ledger.store import open_ledger
from worker.ledger.tallies import MODULUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.ledger.engine import Database
    from worker.ledger.store import Ledger

_T = TypeVar("_T")

_ROWS: Final = "SELECT replica, provider, currency, taken, taken_minor FROM tallies ORDER BY 1, 2"


async def test_an_empty_ledger_balances(url: str) -> None:
    """
    Where nothing was taken nothing is missing.
    """
    books, found = await audited(url)

    assert ((), True, []) == (books.balances, books.hold, found)


async def test_everything_is_somewhere(ledger: Ledger, url: str) -> None:
    """
    Finished, in flight and unresolved ones stand where they belong, by count and by money.
    """
    await lived(ledger, "done-1")
    await lived(ledger, "done-2", [Status.FAILED])
    await lived(ledger, "new", [])
    await lived(ledger, "under way", [Status.PENDING])
    await lived(ledger, "nobody knows", [Status.UNRESOLVED])
    balance = await balance_of(url)

    one = Sum(1, Decimal(500))
    assert Sum(5, Decimal(2500)) == balance.taken
    assert {"completed": one, "failed": one} == balance.finished
    assert Sum(2, Decimal(1000)) == balance.in_flight
    assert one == balance.unresolved
    assert NOTHING == balance.dead_lettered
    assert NOTHING == balance.difference
    assert [] == await unbalanced(ledger)


async def test_hundreds_of_whole_lives_are_honest(ledger: Ledger, url: str) -> None:
    """
    After hundreds of withdrawals with all kinds of moves nothing is found, over several chunks.
    """
    ways: list[tuple[Status, ...]] = [
        (),
        PAID_OUT,
        (Status.RAISING_CASH, Status.AWAITING_FUNDS, Status.PENDING, Status.CANCELLED),
        (Status.COMPLETED, Status.FAILED, Status.COMPLETED),
        (Status.UNRESOLVED, Status.SUBMITTED, Status.COMPLETED),
        (Status.UNRESOLVED,),
        (Status.REJECTED,),
    ]
    await asyncio.gather(
        *(lived(ledger, f"req-{n}", ways[n % len(ways)]) for n in range(700)),
        *(ledger.take(refused(f"bad-{n}"), FINGERPRINT) for n in range(50)),
    )
    books, found = await audited(url)

    assert [] == found
    assert books.hold
    expected = 50 + sum(1 + len(ways[n % len(ways)]) for n in range(700))
    assert {"withdrawals": 750, "transitions": expected, "dead_letters": 0} == books.checked
    assert [] == await unbalanced(ledger)


async def test_an_invalid_request_counts_without_money(ledger: Ledger, url: str) -> None:
    """
    Of what could not be read nobody knows the amount; it is taken and finished all the same.
    """
    await ledger.take(refused("bad"), FINGERPRINT)
    balance = await balance_of(url, None)

    assert Sum(1, Decimal(0)) == balance.taken
    assert {"rejected": Sum(1, Decimal(0))} == balance.finished
    assert balance.holds


async def test_a_redelivery_counts_nothing(ledger: Ledger, url: str) -> None:
    """
    Neither with the same content nor with another; also not in the same group.
    """
    decision = taken_in(an_order("req-1"))
    others = taken_in(an_order("req-1", amount=Decimal(7)))
    await asyncio.gather(*(ledger.take(decision, FINGERPRINT) for _ in range(3)))
    await ledger.take(others, b"other")
    balance = await balance_of(url)

    assert Sum(1, Decimal(500)) == balance.taken
    assert NOTHING == balance.difference


async def test_a_change_that_came_too_late_counts_nothing(ledger: Ledger, url: str) -> None:
    """
    Who no longer holds a withdrawal finishes it neither in the rows nor in the counters.
    """
    held = await take(ledger, "req-1")
    await ledger.record(held, moved(held, Status.PENDING))
    late = await ledger.record(held, moved(held, Status.COMPLETED))
    balance = await balance_of(url)

    assert late is None
    assert Sum(1, Decimal(500)) == balance.in_flight
    assert NOTHING == balance.miscounted


async def test_a_reversal_is_finished_once(ledger: Ledger, url: str) -> None:
    """
    An end that leads to another end moves no money between taken and finished.
    """
    held = await lived(ledger, "req-1", [Status.COMPLETED])
    await ledger.record(held, moved(held, Status.CANCELLED))
    balance = await balance_of(url)

    assert {"cancelled": Sum(1, Decimal(500))} == balance.finished
    assert NOTHING == balance.miscounted
    assert [] == await unbalanced(ledger)


async def test_steps_that_are_refused_count_nothing(ledger: Ledger, url: str) -> None:
    """
    One bad member makes its group be committed one by one: each good one counts exactly once.
    """
    orders = [an_order(f"req-{n}") for n in range(9)]
    orders[4] = an_order("req-4", party_id="\ud800")
    results = await asyncio.gather(
        *(ledger.take(taken_in(order), FINGERPRINT) for order in orders), return_exceptions=True
    )
    balance = await balance_of(url)

    assert [4] == [n for n, told in enumerate(results) if isinstance(told, StepRefused)]
    assert Sum(8, Decimal(4000)) == balance.taken
    assert balance.holds


class Forgetful:
    """A database that commits, and then says once that it did not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_forgetful = True

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Do the work; the first time nobody learns of it."""
        result = await self._database.run(work)
        if self.is_forgetful:
            self.is_forgetful = False
            raise OperationalError(None, None, ConnectionResetError())
        return result

    async def close(self) -> None:
        """Close what is beneath."""
        await self._database.close()


async def test_a_commit_that_was_told_to_have_failed_counts_once(url: str) -> None:
    """
    The redelivery finds the request known: not new, and not counted again.
    """
    async with open_ledger(url) as ledger:
        database = Forgetful(ledger._writer)  # noqa: SLF001 - the real one, beneath
        group = GroupCommitter(
            database,
            lambda connection, steps: writing.apply(connection, steps, replica="r"),
            observe=lambda _seconds: None,
        )
        writer = asyncio.create_task(group.run())
        step = intake.Take(taken_in(an_order("req-1")), FINGERPRINT, "r", ())
        told: list[Any] = []
        try:
            await group.do(step)
        except LedgerUnavailable as error:
            told.append(error)
        again = await group.do(step)
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        balance = await balance_of(url)

    assert 1 == len(told)
    assert not again.is_new
    assert Sum(1, Decimal(500)) == balance.taken
    assert NOTHING == balance.difference


async def test_replicas_count_apart_and_add_up(url: str) -> None:
    """
    Each has its own row; the same messages at both count once in all.
    """
    async with open_ledger(url) as one, open_ledger(url) as other:
        await one.heartbeat()
        await other.heartbeat()
        results = await asyncio.gather(
            *(
                ledger.take(taken_in(an_order(f"req-{n}")), FINGERPRINT)
                for ledger in (one, other)
                for n in range(100)
            )
        )
        rows = await second.read(url, _ROWS)
        balance = await balance_of(url)

    assert 100 == sum(taken.is_new for taken in results)
    assert Sum(100, Decimal(50000)) == balance.taken
    assert {row[0] for row in rows} <= {one.replica, other.replica}
    assert 100 == sum(row[3] for row in rows)


async def test_a_replica_that_leaves_hands_its_counters_over(url: str) -> None:
    """
    However many workers there were, one row for each provider and currency is left of them.
    """
    for start in range(4):
        async with open_ledger(url) as ledger:
            await ledger.heartbeat()
            await take(ledger, f"req-{start}")
            await ledger.leave()

    assert [("", "bluum", "USD", 4, 200_000)] == await second.read(url, _ROWS)
    assert NOTHING == (await balance_of(url)).difference


async def test_a_replica_that_died_long_ago_is_folded_by_another(url: str) -> None:
    """
    Its counters go to the past with the next sign of life; one that is alive keeps its own.
    """
    async with open_ledger(url) as dead, open_ledger(url) as asleep, open_ledger(url) as alive:
        for ledger in (dead, asleep, alive):
            await ledger.heartbeat()
            await take(ledger, f"of {ledger.replica}")
        named = f"UPDATE replicas SET seen_at = 0 WHERE id = '{dead.replica}'"  # noqa: S608
        await second.write(url, named)
        await alive.heartbeat()
        rows = await second.read(url, _ROWS)

    assert {"", asleep.replica, alive.replica} == {row[0] for row in rows}
    assert [1, 1, 1] == [row[3] for row in rows]


async def test_a_replica_that_was_only_asleep_counts_on(url: str) -> None:
    """
    One whose counters were folded away begins others; nothing is lost and nothing doubled.
    """
    async with open_ledger(url) as asleep, open_ledger(url) as alive:
        await asleep.heartbeat()
        await lived(asleep, "req-1", [])
        await second.write(url, "UPDATE replicas SET seen_at = 0")
        await alive.heartbeat()
        await lived(asleep, "req-2")
        await asleep.heartbeat()
        balance = await balance_of(url)
        differing = await unbalanced(alive)

    assert Sum(2, Decimal(1000)) == balance.taken
    assert balance.holds
    assert [] == differing


async def test_no_sum_of_amounts_stops_the_counters(ledger: Ledger, url: str) -> None:
    """
    Amounts whose sum has more than 64 bits are taken in, and the books balance.
    """
    huge = Decimal(2**63 - 1) / 100
    orders = [an_order(f"req-{n}", amount=huge) for n in range(25)]
    held = [(await ledger.take(taken_in(order), FINGERPRINT)).held for order in orders]
    for one in held[:12]:
        await ledger.record(one, moved(one, Status.FAILED))
    (row,) = await second.read(url, _ROWS)
    balance = await balance_of(url)

    assert row[4] < MODULUS
    assert 12 * huge == balance.finished["failed"].amount
    assert NOTHING == balance.difference
    assert NOTHING == balance.miscounted
    assert [] == await unbalanced(ledger)


async def test_a_lost_open_row_shows_in_the_metric(ledger: Ledger, url: str) -> None:
    """
    One that vanished is missing by count and by money; one that was made up is too many.
    """
    await lived(ledger, "req-1", [])
    await lived(ledger, "req-2", [Status.PENDING])
    await second.write(
        url,
        "DELETE FROM transitions; DELETE FROM events; DELETE FROM attempts;"
        " DELETE FROM withdrawals WHERE message_id = 'req-1'",
    )
    missing = await unbalanced(ledger)
    await second.write(url, "DELETE FROM tallies")
    too_many = await unbalanced(ledger)

    assert [("bluum", 1, Decimal(500))] == missing
    assert [("bluum", -1, Decimal(-500))] == too_many


async def test_the_books_balance_at_any_moment(ledger: Ledger, url: str) -> None:
    """
    Audits and the metric's figures that are taken while others write are of one moment each.
    """
    over = asyncio.Event()

    async def work(worker: int) -> int:
        lives = 0
        while not over.is_set():
            await lived(ledger, f"{worker}/{lives}")
            await ledger.note_burial(a_burial(f"{worker}/{lives}/dead"))
            lives += 1
        return lives

    workers = [asyncio.create_task(work(number)) for number in range(20)]
    seen: list[tuple[Books, list[Alteration]]] = []
    differing: list[tuple[str | None, int, Decimal]] = []
    # Until an audit has seen some work that the one before it had not seen.
    while len({books.checked["transitions"] for books, _ in seen}) < 4:
        seen.append(await audited(url))
        differing += await unbalanced(ledger)
    over.set()
    await asyncio.gather(*workers)

    assert [[]] * len(seen) == [found for _, found in seen]
    assert all(books.hold for books, _ in seen)
    assert [] == differing
