"""An event loop in which nothing happens by luck: waiting takes no time, threads are not used.

The same story takes the same course every time, on a busy machine too. What is outside the process
(a database server) is waited for in real time, and the clock stands still meanwhile."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

_T = TypeVar("_T")

#: Only a database server that hangs takes so long; then the run ends instead of hanging as well.
_PATIENT_SECONDS: Final = 60.0


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its clock moves when everybody waits, to the next timer; or by `jump`."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.abroad = 0
        super().__init__(_Idle(self))

    def time(self) -> float:
        """Return the seconds that have passed in the story."""
        return self.slept

    def jump(self, seconds: float) -> None:
        """Let time pass without anybody getting to act in it: all that was due comes late."""
        self.slept += seconds

    @contextmanager
    def waiting_abroad(self) -> Iterator[None]:
        """Let the clock stand still while something outside the process is waited for."""
        self.abroad += 1
        try:
            yield
        finally:
            self.abroad -= 1

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Executor | None,  # noqa: ARG002 - the loop's signature
        func: Callable[..., _T],
        *args: Any,  # noqa: ANN401
    ) -> asyncio.Future[_T]:
        """Do the work at once, and tell of it in the next round as a thread would."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to who waits
            self.call_soon(_fail, future, error)
        else:
            self.call_soon(_succeed, future, result)
        return future


class _Idle(selectors.DefaultSelector):
    """Moves the loop's clock instead of sleeping."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._loop.abroad and (timeout is None or timeout > 0):
            ready = super().select(_PATIENT_SECONDS)
            if not ready:
                message = "the database does not answer"
                raise RuntimeError(message)
            return ready
        if timeout is None:
            message = "everybody waits, and no timer will wake anybody"
            raise RuntimeError(message)
        self._loop.slept += timeout
        return super().select(0)


def _succeed(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
