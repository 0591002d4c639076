"""What the broker's library raises when the broker is away, and what to tell of it.

Nothing is caught here."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aio_pika.exceptions import AMQPError
from aiormq.exceptions import (
    AuthenticationError,
    ChannelClosed,
    ConnectionClosed,
    InvalidFrameError,
)
from aiormq.exceptions import ProbableAuthenticationError as LoginRefused
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

#: Said of a connection that stood; it is made anew at once.
LOST: Final = "the connection was lost"
#: Of the broker's own words so much is told.
_TOLD_MAX: Final = 200


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


def in_words(error: BaseException, *, stood: bool = False) -> str:
    """Return why a connection to the broker could not be made, or why one that `stood` was lost.

    In words for an operator. They hold no password and no address.
    """
    cause = _cause(error)
    match cause:
        case LoginRefused() | AuthenticationError():
            return "it refuses the user or the password"
        case InvalidFrameError() if "Connection.Close " in str(cause):
            # The library drops the broker's own words at this place.
            return "it has no such virtual host, or this user may not use it"
        case ChannelClosed() | ConnectionClosed() if cause.args:
            told = " ".join(map(str, cause.args))
            return f"it closed the connection: {told[:_TOLD_MAX]}"
        case asyncio.IncompleteReadError() if not stood:
            return (
                "it closed the connection while saying hello: it is starting, wants TLS "
                "(amqps://), or is no AMQP broker"
            )
        case ConnectionResetError() | ConnectionAbortedError():
            return LOST
        case OSError() if words := _of_the_network(cause):
            return words
        case _:
            return LOST if stood else type(cause).__name__


def _of_the_network(cause: OSError) -> str | None:
    match cause:
        case socket.gaierror():
            return f"its name is not known ({cause.strerror})"
        case ConnectionRefusedError():
            return "nobody listens there (connection refused)"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted ({cause.verify_message})"
        case ssl.SSLError() if cause.reason == "WRONG_VERSION_NUMBER":
            return "no TLS is spoken there: amqp:// in place of amqps://, or another port?"
        case ssl.SSLError():
            return f"TLS failed ({cause.reason})"
        case FileNotFoundError():
            # Which of them, the library does not say.
            return "a file that its URL names is not there (cafile, capath, certfile, keyfile)"
        case TimeoutError():
            return "no answer in time"
        case _:
            return cause.strerror.lower() if cause.strerror else None


def _cause(error: BaseException) -> BaseException:
    """Return what the library wrapped: an error of the system's says more than the library's."""
    inner = error.__cause__
    return inner if isinstance(inner, (OSError, EOFError)) else error
