"""Group commit: steps that come together share one transaction and one fsync.

Here stands who waits for whom and what a failure means for each. What a step writes stands in
`statements`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

#: More steps than this wait for the next transaction, so that one commit stays short.
GROUP_LIMIT: Final = 200
#: A transaction that takes longer than this counts as failed: its members are told.
GROUP_SECONDS: Final = 15.0


class GroupCommitter:
    """Takes steps from many tasks and commits those that wait together in one transaction.

    `apply` writes a group inside a transaction and returns one result for each step, in order.
    `observe` is told how many seconds each commit took, failed ones included.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        apply: Callable[[AsyncConnection, Sequence[Any]], Awaitable[list[Any]]],
        *,
        observe: Callable[[float], None],
    ) -> None:
        self._engine = engine
        self._apply = apply
        self._observe = observe
        self._waiting: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()
        self._connection: AsyncConnection | None = None

    async def do(self, step: object) -> Any:  # noqa: ANN401 - each step has its own result
        """Commit one step, together with whatever else waits; return its result.

        Raises LedgerUnavailable when the transaction failed, StepRefused when this step's content
        was refused.
        """
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((step, result))
        return await result

    async def run(self) -> None:
        """Commit groups for ever; to be run as a task, and cancelled when nobody waits any more."""
        try:
            while True:
                group = [await self._waiting.get()]
                while len(group) < GROUP_LIMIT and not self._waiting.empty():
                    group.append(self._waiting.get_nowait())
                await self._commit(group)
        finally:
            await self._drop_connection()
            while not self._waiting.empty():
                _fail([self._waiting.get_nowait()], LedgerUnavailable("the ledger is closed"))

    async def _commit(self, group: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._transaction([step for step, _ in group])
        except (IntegrityError, DataError) as error:
            await self._isolate(group, StepRefused(type(error).__name__))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            _fail(group, LedgerUnavailable(_told(error)))
            await self._drop_connection()
        except Exception as error:  # noqa: BLE001
            # A bug that one step sets off is told to that step's caller alone.
            await self._isolate(group, error)
        except BaseException:
            _fail(group, LedgerUnavailable("the ledger's writer stopped"))
            raise
        else:
            for (_, result), value in zip(group, results, strict=True):
                if not result.done():
                    result.set_result(value)

    async def _isolate(
        self, group: list[tuple[Any, asyncio.Future[Any]]], error: Exception
    ) -> None:
        """Commit each member on its own: one is at fault, and it must harm no other."""
        if len(group) == 1:
            _fail(group, error)
            return
        for member in group:
            await self._commit([member])

    async def _transaction(self, steps: list[Any]) -> list[Any]:
        begun = perf_counter()
        try:
            async with asyncio.timeout(GROUP_SECONDS):
                if self._connection is None:
                    self._connection = await self._engine.connect()
                async with self._connection.begin():
                    return await self._apply(self._connection, steps)
        finally:
            self._observe(perf_counter() - begun)

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Whatever a broken connection raises while it is thrown away, the writer goes on.
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.invalidate()
                    await connection.close()


def _fail(group: list[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, result in group:
        if not result.done():
            result.set_exception(error)


def _told(error: BaseException) -> str:
    # A database's own text may repeat parameters: only the kinds of the errors are told.
    cause = getattr(error, "orig", None) or error.__cause__
    inner = "" if cause is None else f" ({type(cause).__name__})"
    return f"{type(error).__name__}{inner}"
