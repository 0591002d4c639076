"""What the broker's library raises when the broker is away, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aio_pika.exceptions import AMQPError
from pamqp.exceptions import PAMQPException

if TYPE_CHECKING:
    from collections.abc import Iterator

# RuntimeError: the library raises it for a transport or a loop that has just been closed.
#: The broker did not answer, refused, or went away midway.
AWAY: Final = (
    AMQPError,
    PAMQPException,
    OSError,
    TimeoutError,
    RuntimeError,
    asyncio.QueueEmpty,
    EOFError,
)


@contextmanager
def cancellations_told_apart() -> Iterator[None]:
    """Raise one of AWAY where the library cancels what waits on a connection that it gave up.

    Left alone, such a cancellation would end our task as if somebody had asked for it.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionAbortedError("the connection was given up") from error
