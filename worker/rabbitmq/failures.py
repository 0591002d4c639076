"""What the broker's library raises when the broker is away, and nothing else. Data only."""

from __future__ import annotations

from asyncio import QueueEmpty
from typing import Final

from aio_pika.exceptions import AMQPError
from pamqp.exceptions import PAMQPException

# RuntimeError: the library raises it for a transport or a loop that has just been closed.
#: The broker did not answer, refused, or went away midway.
AWAY: Final = (
    AMQPError,
    PAMQPException,
    OSError,
    TimeoutError,
    RuntimeError,
    QueueEmpty,
    EOFError,
)
