"""Group commit, over a database that does what a test tells it: who waits, who is told what."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.ledger.group import GROUP_LIMIT, GroupCommitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy import Connection

_T = TypeVar("_T")


class ScriptedDatabase:
    """Does the work of each transaction, and commits it once the test leaves the way `open`.

    `groups` are the steps of each transaction that was begun, failed ones included. `reached` says
    that the work of one was done and only its commit is to come.
    """

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.is_away = False
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()
        self.refused: dict[Any, Exception] = {}

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Do the work once the way is open, unless the database is away."""
        result = work(cast("Connection", self))
        self.reached.set()
        await self.open.wait()
        if self.is_away:
            raise OperationalError(None, None, ConnectionResetError())
        return result

    async def close(self) -> None:
        """Nothing is open."""

    def apply(self, _connection: Connection, steps: Sequence[Any]) -> list[Any]:
        """Answer each step with itself, or raise what the test wants for one of them."""
        self.groups.append(list(steps))
        for step in steps:
            if step in self.refused:
                raise self.refused[step]
        return list(steps)


@pytest.fixture
def database() -> ScriptedDatabase:
    """A database that does what it is told."""
    return ScriptedDatabase()


@asynccontextmanager
async def _running(
    database: ScriptedDatabase, *, seconds: float = 60.0, commits: list[float] | None = None
) -> AsyncIterator[GroupCommitter]:
    seen: list[float] = [] if commits is None else commits
    group = GroupCommitter(database, database.apply, observe=seen.append, seconds=seconds)
    writer = asyncio.create_task(group.run())
    yield group
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer


async def test_each_step_gets_its_own_result(database: ScriptedDatabase) -> None:
    """
    Results come back to who asked, in whatever groups the steps were committed.
    """
    steps = list(range(2 * GROUP_LIMIT + 7))
    async with _running(database) as group:
        results = await asyncio.gather(*(group.do(step) for step in steps))

    assert steps == results


async def test_what_waits_together_is_committed_together(database: ScriptedDatabase) -> None:
    """
    While one transaction is under way the next group gathers; each commit is observed once.
    """
    commits: list[float] = []
    async with _running(database, commits=commits) as group:
        database.open.clear()
        first = asyncio.create_task(group.do("first"))
        await database.reached.wait()
        rest = [asyncio.create_task(group.do(number)) for number in range(100)]
        await asyncio.sleep(0)
        database.open.set()
        await asyncio.gather(first, *rest)

    assert [["first"], list(range(100))] == database.groups
    assert 2 == len(commits)


async def test_a_group_has_a_limit(database: ScriptedDatabase) -> None:
    """
    More steps than the limit wait for the next transaction.
    """
    async with _running(database) as group:
        await asyncio.gather(*(group.do(step) for step in range(GROUP_LIMIT + 1)))

    assert [GROUP_LIMIT, 1] == [len(steps) for steps in database.groups]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (IntegrityError(None, None, Exception()), StepRefused),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), StepRefused),
        (OverflowError(), StepRefused),
        (ZeroDivisionError(), ZeroDivisionError),
        (KeyError("a bug"), KeyError),
    ],
)
async def test_the_fault_of_one_is_told_to_that_one(
    database: ScriptedDatabase, error: Exception, told: type[Exception]
) -> None:
    """
    Refused content and a bug harm nobody but the step that brought them.
    """
    database.refused[3] = error
    async with _running(database) as group:
        results = await asyncio.gather(
            *(group.do(step) for step in range(6)), return_exceptions=True
        )

    assert [0, 1, 2, 4, 5] == [result for result in results if isinstance(result, int)]
    assert isinstance(results[3], told)


async def test_every_member_of_a_failed_transaction_is_told(database: ScriptedDatabase) -> None:
    """
    Each gets an exception of its own; the next steps succeed once the database is back.
    """
    async with _running(database) as group:
        database.is_away = True
        results = await asyncio.gather(
            *(group.do(step) for step in range(3)), return_exceptions=True
        )
        database.is_away = False
        after = await group.do("after")

    assert [LedgerUnavailable] * 3 == [type(result) for result in results]
    assert 3 == len({id(result) for result in results})
    assert [[0, 1, 2], ["after"]] == database.groups
    assert "after" == after


async def test_a_database_that_goes_while_members_are_told_apart(
    database: ScriptedDatabase,
) -> None:
    """
    Once it is away nobody else waits for a time limit of their own: all that are left are told.
    """
    database.refused[0] = KeyError("a bug")
    async with _running(database) as group:
        doing = [asyncio.create_task(group.do(step)) for step in range(4)]
        database.open.clear()
        await database.reached.wait()
        database.is_away = True
        database.open.set()
        results = await asyncio.gather(*doing, return_exceptions=True)

    assert isinstance(results[0], KeyError)
    assert [LedgerUnavailable] * 3 == [type(result) for result in results[1:]]
    assert [[0, 1, 2, 3], [0], [1]] == database.groups


async def test_a_transaction_that_takes_too_long_counts_as_failed(
    database: ScriptedDatabase,
) -> None:
    """
    Nobody waits for ever for a database that does not answer; the writer goes on.
    """
    async with _running(database, seconds=0.01) as group:
        database.open.clear()
        with pytest.raises(LedgerUnavailable):
            await group.do("hangs")
        database.open.set()
        after = await group.do("after")

    assert "after" == after


async def test_who_stops_waiting_harms_nobody(database: ScriptedDatabase) -> None:
    """
    Callers that are cancelled, before their group or during it, leave the others their results.
    """
    async with _running(database) as group:
        database.open.clear()
        during = [asyncio.create_task(group.do(("during", number))) for number in range(3)]
        await database.reached.wait()
        before = [asyncio.create_task(group.do(("before", number))) for number in range(3)]
        await asyncio.sleep(0)
        during[1].cancel()
        before[1].cancel()
        database.open.set()
        results = await asyncio.gather(*during, *before, return_exceptions=True)
        after = await group.do("after")

    kinds = Counter(type(result) for result in results)
    assert Counter({tuple: 4, asyncio.CancelledError: 2}) == kinds
    assert "after" == after


async def test_closing_fails_all_that_wait(database: ScriptedDatabase) -> None:
    """
    Those in a transaction, those that wait for the next, and those that come too late are told.
    """
    async with _running(database) as group:
        database.open.clear()
        during = asyncio.create_task(group.do("during"))
        await database.reached.wait()
        waiting = asyncio.create_task(group.do("waiting"))
        await asyncio.sleep(0)
    results = await asyncio.gather(during, waiting, group.do("late"), return_exceptions=True)

    assert ["the ledger is closed"] * 3 == [str(result) for result in results]
    assert [LedgerUnavailable] * 3 == [type(result) for result in results]


async def test_closing_while_members_are_told_apart_fails_them(
    database: ScriptedDatabase,
) -> None:
    """
    Also those whose own turn had not come yet.
    """
    database.refused[0] = KeyError("a bug")
    async with _running(database) as group:
        doing = [asyncio.create_task(group.do(step)) for step in range(4)]
        database.open.clear()
        with pytest.raises(KeyError):
            await doing[0]
        await database.reached.wait()
    results = await asyncio.gather(*doing[1:], return_exceptions=True)

    assert [[0, 1, 2, 3], [0], [1]] == database.groups
    assert [LedgerUnavailable] * 3 == [type(result) for result in results]


async def test_the_writer_survives_everything(database: ScriptedDatabase) -> None:
    """
    After a hundred failures of every kind the next step is committed as if nothing had been.
    """
    kinds = [IntegrityError(None, None, Exception()), OSError(), KeyError(), TimeoutError()]
    database.refused = {number: kinds[number % len(kinds)] for number in range(100)}
    async with _running(database) as group:
        results = await asyncio.gather(
            *(group.do(step) for step in range(100)), return_exceptions=True
        )
        after = await group.do("after")

    assert all(isinstance(result, Exception) for result in results)
    assert "after" == after
