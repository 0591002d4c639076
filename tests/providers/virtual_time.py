"""An event loop in which waiting takes no time.

When nothing is ready, its clock jumps to the next timer. What depends on time alone is then exact,
on a busy machine too.

For code without sockets: nothing that happens outside is waited for."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _Idle(selectors.DefaultSelector):
    """Tells how long a loop would sleep, and does not sleep."""

    slept = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            message = "everybody waits, and no timer will wake anybody"
            raise RuntimeError(message)
        self.slept += timeout
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.idle = _Idle()
        super().__init__(self.idle)

    def time(self) -> float:
        return self.idle.slept


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in virtual time, which begins at 0."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(story)


def stall(seconds: float) -> None:
    """Let the loop be busy for so long: everything that is due meanwhile comes late."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _VirtualLoop)
    loop.idle.slept += seconds


def now() -> float:
    """Return the seconds that have passed in the story that runs."""
    return asyncio.get_running_loop().time()
