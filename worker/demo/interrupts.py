"""What Ctrl-C does: the first ends the demo in order, a second at once. SIGTERM and SIGHUP as well.

Nothing is cleaned up here; who is to do it is told."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FAILED: Final = 1


class Interrupts:
    """Inside the context no signal ends the process unasked.

    The first raises KeyboardInterrupt inside `raising`, calls back inside `calling`, and is only
    counted elsewhere: cleaning up is not to be interrupted. The second calls `at_once` and ends
    the process, wherever it is.
    """

    def __init__(self, at_once: Callable[[], None]) -> None:
        self._at_once = at_once
        self._heard = 0
        self._react: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at the first signal that comes inside the block."""
        with self.calling(_raise):
            yield

    @contextmanager
    def calling(self, react: Callable[[], object]) -> Iterator[None]:
        """Call `react` at the first signal that comes inside the block."""
        before, self._react = self._react, react
        try:
            yield
        finally:
            self._react = before

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._heard += 1
        if self._heard > 1:
            try:
                self._at_once()
            finally:
                os._exit(_FAILED)
        if self._react is not None:
            self._react()


def _raise() -> None:
    raise KeyboardInterrupt
