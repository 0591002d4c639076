"""The request budget in the ledger: no two replicas ever get the same slot, on either database.

Slots are data here, told in the database's time: none of them is waited for, but in the last test.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from tests.ledger import second
from worker.core.budget import HORIZON, NONE, Budget, Rank, Wish, gap_of
from worker.flows.ports import LedgerUnavailable
from worker.ledger.rate_budget import Got, Offset
from worker.ledger.store import open_ledger
from worker.providers.pace import Pace

if TYPE_CHECKING:
    from worker.core.budget import Calls, Reserved
    from worker.ledger.store import Ledger

RATE: Final = 25
GAP: Final = gap_of(RATE)
SECOND: Final = 1_000_000
LOOKS: Final[Calls] = (0, 0, 20)
SUBMISSIONS: Final[Calls] = (0, 20, 0)
#: As if time had passed in which nothing was given away: all of it, or that of three slots.
ALL_FREE: Final = "UPDATE budgets SET next_at = next_at - 60000000"
THREE_FREE: Final = "UPDATE budgets SET next_at = next_at - 129600"
#: As if what replicas left word of had been told in a minute, a minute ago, an hour ago.
TOLD_LATER: Final = "UPDATE budget_demands SET told_at = told_at + 60000000"
TOLD_BEFORE: Final = "UPDATE budget_demands SET told_at = told_at - 120000000"
TOLD_LONG_AGO: Final = "UPDATE budget_demands SET told_at = told_at - 3601000000"
SET_NEXT: Final = "UPDATE budgets SET next_at = $1"
WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def reserve(ledger: Ledger, wanted: Calls, *, pause: int = 0, gap: int = GAP) -> Reserved:
    """Ask for slots of the one budget of these tests."""
    return await ledger.reserve("bluum-test", gap, Wish(wanted, pause=pause))


def slots(*answers: Reserved) -> list[int]:
    """All slots that were given, in the order of time."""
    return sorted(one.first + n * one.gap for one in answers for n in range(one.count))


async def demands(url: str) -> list[tuple[object, ...]]:
    """What replicas left word of."""
    return await second.read(url, "SELECT urgent, submissions, looks FROM budget_demands")


async def test_replicas_that_ask_at_once_share_one_row_of_slots(url: str) -> None:
    """
    Three of them, many times at the same moment: every slot is one gap after the one before.
    """
    async with AsyncExitStack() as stack:
        ledgers = [await stack.enter_async_context(open_ledger(url)) for _ in range(3)]
        answers = []
        for _ in range(5):
            questions = (reserve(one, (1, 2, 3), gap=1000) for one in ledgers * 4)
            answers += await asyncio.gather(*questions)

    given = slots(*answers)
    assert len(given) >= 3 * 4 * 5
    assert min(after - before for before, after in pairwise(given)) >= 1000


async def test_slots_begin_at_the_databases_now(ledger: Ledger) -> None:
    """
    Which is told with them, and known within some milliseconds.
    """
    before = await reserve(ledger, NONE)
    got = await reserve(ledger, (0, 1, 0))

    assert 1 == got.count
    assert before.now - before.doubt - got.doubt <= got.first <= got.now
    assert got.now - got.first == pytest.approx(got.age, abs=1)
    assert got.first + GAP == got.budget.next_at


async def test_every_key_pair_has_a_budget_of_its_own(ledger: Ledger) -> None:
    """
    What one uses up the other has still.
    """
    one = await reserve(ledger, SUBMISSIONS)
    other = await ledger.reserve("bluum-other", GAP, Wish(SUBMISSIONS))

    assert 4 == one.count == other.count


async def test_a_submission_finds_a_slot_where_looks_have_taken_all_theirs(url: str) -> None:
    """
    Of another replica, within the horizon; and a cancellation after that.
    """
    async with open_ledger(url) as one, open_ledger(url) as other:
        looks = await reserve(one, LOOKS)
        submission = await reserve(other, (0, 1, 0))
        cancellation = await reserve(other, (1, 0, 0))

    assert [3, 1, 1] == [looks.count, submission.count, cancellation.count]
    assert cancellation.first - looks.first <= HORIZON[Rank.URGENT]


async def test_who_waits_elsewhere_gets_a_part(url: str) -> None:
    """
    What a replica could not get it leaves word of, and others leave it its part; for a second.
    """
    async with open_ledger(url) as one, open_ledger(url) as other:
        await reserve(one, LOOKS)
        waits = await reserve(other, SUBMISSIONS)
        left_word = await demands(url)
        await second.write(url, f"{ALL_FREE}; {TOLD_LATER}")
        shared = await reserve(one, SUBMISSIONS)
        await second.write(url, f"{ALL_FREE}; {TOLD_BEFORE}")
        alone = await reserve(one, SUBMISSIONS)

    assert {(0, 20 - waits.count, 0), (0, 0, 17)} == set(left_word)
    assert shared.count in {2, 3}
    assert 4 == alone.count


async def test_who_has_all_it_wants_leaves_no_word(url: str) -> None:
    """
    What it said before is taken back; and what those that are gone said, an hour later.
    """
    async with open_ledger(url) as gone:
        await reserve(gone, LOOKS)
    async with open_ledger(url) as ledger:
        await second.write(url, ALL_FREE)
        await reserve(ledger, LOOKS)
        before = await demands(url)
        await second.write(url, f"{ALL_FREE}; {TOLD_LONG_AGO}")
        await reserve(ledger, (0, 1, 0))

    assert 2 == len(before)
    assert [] == await demands(url)


async def test_looks_have_their_turn_while_another_takes_all_there_is(url: str) -> None:
    """
    Slots that passed those who wait elsewhere are counted; after nine of them one is theirs.
    """
    async with open_ledger(url) as greedy, open_ledger(url) as patient:
        await reserve(greedy, SUBMISSIONS)
        await reserve(patient, (0, 0, 100_000))
        await second.write(url, TOLD_LATER)
        passed = []
        for _ in range(3):
            # So much time passes that some slots are free again.
            await second.write(url, THREE_FREE)
            passed.append((await reserve(greedy, SUBMISSIONS)).budget.passed)
        got = await reserve(patient, LOOKS)

    assert sorted(set(passed)) == passed
    assert passed[-1] >= 9
    assert got.count >= 1
    assert 0 == got.budget.passed


async def test_a_pause_is_for_all(url: str) -> None:
    """
    The longest holds, whoever told it; until it is over nobody gets a slot.
    """
    async with open_ledger(url) as one, open_ledger(url) as other:
        told = await reserve(one, SUBMISSIONS, pause=30 * SECOND)
        shorter = await reserve(other, (1, 0, 0), pause=SECOND)
        heard = await reserve(other, (1, 0, 0))

    until = told.budget.paused_until
    assert 30 * SECOND == pytest.approx(until - told.now + told.age, abs=1)
    assert [until, until] == [answer.budget.paused_until for answer in (shorter, heard)]
    assert [0, 0, 0] == [answer.count for answer in (told, shorter, heard)]


async def test_a_budget_that_another_changes_meanwhile_is_read_again(postgres_url: str) -> None:
    """
    What was computed for where it stood before is not written.
    """
    async with open_ledger(postgres_url) as ledger:
        before = await reserve(ledger, NONE)
        other = await asyncpg.connect(postgres_url)
        try:
            await other.execute("BEGIN")
            await other.execute(SET_NEXT, before.now + 2 * SECOND)
            asking = asyncio.create_task(reserve(ledger, (0, 1, 0)))
            while not await other.fetchval(WAITING):
                pass
            await other.execute(SET_NEXT, before.now + 3600 * SECOND)
            await other.execute("COMMIT")
            got = await asking
        finally:
            await other.close()

    assert 0 == got.count


async def test_while_the_database_is_away_there_are_no_slots(sqlite_url: str) -> None:
    """
    Who asks is told so; once it is back there are.
    """
    async with open_ledger(sqlite_url, statement_seconds=0.05) as ledger:
        await reserve(ledger, NONE)
        with closing(second.sqlite(sqlite_url)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="SQLITE_BUSY"):
                await reserve(ledger, (0, 1, 0))
            other.execute("ROLLBACK")
        got = await reserve(ledger, (0, 1, 0))

    assert 1 == got.count


async def test_a_server_that_cannot_be_reached_gives_no_slots(postgres_url: str) -> None:
    """
    It is told as every other absence of the ledger.
    """
    nowhere = f"{postgres_url.rpartition('/')[0]}/nowhere"
    async with open_ledger(nowhere) as ledger:
        with pytest.raises(LedgerUnavailable, match="InvalidCatalogNameError"):
            await reserve(ledger, (0, 1, 0))


def test_the_offset_of_the_databases_clock_is_narrowed_by_every_reading() -> None:
    """
    An answer that was read late spoils nothing; a clock that was set is believed at once.
    """
    seconds = 1000.0
    offset = Offset(steady=lambda: seconds)

    def told(asked_at: float, now: int, answered_at: float) -> Reserved:
        nonlocal seconds
        seconds = answered_at
        return offset.reserved(Got(asked_at, now, answered_at, now, 1, GAP, Budget()))

    # The database's clock is 500 s ahead.
    quick = told(1000.000, 1500_001_000, 1000.002)
    late = told(1001.000, 1501_001_000, 1002.000)
    set_back = told(1003.000, 1403_001_000, 1003.002)

    assert 1500_002_000 == pytest.approx(quick.now, abs=quick.doubt)
    assert 2000 == pytest.approx(quick.doubt, abs=10)
    assert 1502_000_000 == pytest.approx(late.now, abs=late.doubt)
    assert late.doubt < 3000
    assert 1403_002_000 == pytest.approx(set_back.now, abs=set_back.doubt)
    assert 999_000 == pytest.approx(late.age, abs=late.doubt)


async def test_three_replicas_keep_one_limit_in_real_time(postgres_url: str) -> None:
    """
    Each with calls of its own that all wait: they leave no denser than one limit for all.
    """
    rate, calls, left = 50, 25, list[float]()

    async def call(pace: Pace) -> None:
        assert await pace.take("create") is None
        left.append(asyncio.get_running_loop().time())

    async with AsyncExitStack() as stack:
        paces = []
        for _ in range(3):
            ledger = await stack.enter_async_context(open_ledger(postgres_url))
            reserving = partial(ledger.reserve, "bluum-test", gap_of(rate))
            paces.append(Pace(reserving, waited=lambda _operation, _seconds: None))
        await asyncio.gather(*(call(pace) for pace in paces for _ in range(calls)))

    assert 3 * calls == len(left)
    assert max(sum(end - 1 < at <= end for at in left) for end in left) <= rate
