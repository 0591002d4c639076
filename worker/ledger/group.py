"""Group commit: steps that come together share one transaction and one fsync.

Here stands who waits for whom and what a failure means for each. What a group writes stands in
`writing`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from worker.flows.ports import LedgerUnavailable
from worker.ledger.failures import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from worker.ledger.engine import Database

#: More steps than this wait for the next transaction, so that one commit stays short.
GROUP_LIMIT: Final = 200
#: A transaction that takes longer than this counts as failed: its members are told.
GROUP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Member:
    """A step of a group, and where its result is waited for."""

    step: object
    result: asyncio.Future[Any]

    def succeed(self, value: object) -> None:
        if not self.result.done():
            self.result.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class GroupCommitter:
    """Takes steps from many tasks and commits those that wait together in one transaction.

    `apply` writes a group inside a transaction and returns one result for each step, in order.
    `observe` is told how many seconds each commit took, failed ones included. A transaction that
    takes more than `seconds` counts as failed.
    """

    def __init__(
        self,
        database: Database,
        apply: Callable[[Connection, Sequence[Any]], Sequence[Any]],
        *,
        observe: Callable[[float], None],
        seconds: float = GROUP_SECONDS,
    ) -> None:
        self._database = database
        self._apply = apply
        self._observe = observe
        self._seconds = seconds
        self._waiting: asyncio.Queue[_Member] = asyncio.Queue()
        self._is_closed = False

    async def do(self, step: object) -> Any:  # noqa: ANN401 - each step has its own result
        """Commit one step, together with whatever else waits; return its result.

        Raises LedgerUnavailable when the transaction failed, StepRefused when this step's content
        was refused.
        """
        if self._is_closed:
            raise LedgerUnavailable(_CLOSED)
        member = _Member(step, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(member)
        return await member.result

    async def run(self) -> None:
        """Commit groups for ever; to be run as a task, and cancelled when nobody waits any more."""
        group: list[_Member] = []
        try:
            while True:
                group = [await self._waiting.get()]
                while len(group) < GROUP_LIMIT and not self._waiting.empty():
                    group.append(self._waiting.get_nowait())
                await self._commit(group)
        finally:
            self._is_closed = True
            while not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            _fail(group, LedgerUnavailable(_CLOSED))

    async def _commit(self, group: list[_Member]) -> LedgerUnavailable | None:
        """Commit a group and tell every member; return why the database is away, if it is."""
        try:
            results = await self._transaction([member.step for member in group])
        except Exception as error:  # noqa: BLE001 - a bug that one step sets off ends no writer
            told = meaning(error)
            if isinstance(told, LedgerUnavailable):
                _fail(group, told)
                return told
            if len(group) > 1:
                return await self._isolate(group)
            group[0].fail(told)
        else:
            for member, value in zip(group, results, strict=True):
                member.succeed(value)
        return None

    async def _isolate(self, group: list[_Member]) -> LedgerUnavailable | None:
        """Commit each member on its own: one is at fault, and it must harm no other."""
        for place, member in enumerate(group):
            away = await self._commit([member])
            if away is not None:
                # Each of the others would wait for a time limit of its own.
                _fail(group[place + 1 :], away)
                return away
        return None

    async def _transaction(self, steps: list[Any]) -> Sequence[Any]:
        begun = perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._database.run(lambda connection: self._apply(connection, steps))
        finally:
            self._observe(perf_counter() - begun)


_CLOSED: Final = "the ledger is closed"


def _fail(group: list[_Member], why: LedgerUnavailable) -> None:
    for member in group:
        # One exception for each: whoever raises it adds its own traceback.
        member.fail(LedgerUnavailable(*why.args))
