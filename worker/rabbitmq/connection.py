"""How a connection to the broker is made and made again: spelled-out limits, and jitter.

The library's own recovery is not used: it waits a fixed time and hides the moment of loss."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import aio_pika
from yarl import URL

from worker.flows.troubles import Troubles
from worker.rabbitmq import failures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from datetime import timedelta

    from aio_pika.abc import AbstractConnection

_log = logging.getLogger(__name__)

#: Pauses before connecting again are drawn from 0 up to a ceiling that doubles up to this cap.
RECONNECT_CAP_SECONDS: Final = 10.0
_RECONNECT_SECONDS: Final = 0.25
_DOUBLINGS_MAX: Final = 10
#: A connection that stood this long counts as good: the next loss starts with a short pause.
_STABLE_SECONDS: Final = 5.0
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_CLOSE_SECONDS: Final = 3.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how patient we are with it; `url` holds the password.

    `troubles` are those of all who use this very object.
    """

    url: str = field(repr=False)
    heartbeat: timedelta
    connect_timeout: timedelta
    publish_timeout: timedelta
    troubles: Troubles = field(default_factory=Troubles, repr=False, compare=False)

    @property
    def place(self) -> str:
        """Host, port and virtual host, for people: nothing of user and password."""
        url = URL(self.url)
        port = url.explicit_port or _PORTS[url.scheme]
        return f"{url.host}:{port}{url.path.rstrip('/')}"

    @asynccontextmanager
    async def connect(
        self, purpose: str, *, stopping: asyncio.Event | None = None
    ) -> AsyncIterator[AbstractConnection]:
        """Connect once; the connection's name at the broker tells its purpose.

        Raises one of `failures.AWAY` when the broker cannot be reached or refuses the user, or when
        a stop is asked for before it has answered.
        """
        connection = await _unless(stopping or asyncio.Event(), self._connect(purpose))
        try:
            yield connection
        finally:
            with suppress(*failures.AWAY):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await connection.close()

    async def _connect(self, purpose: str) -> AbstractConnection:
        heartbeat = max(1, int(self.heartbeat.total_seconds()))
        connection = aio_pika.Connection(
            URL(self.url).update_query(heartbeat=str(heartbeat)),
            client_properties={"connection_name": f"withdrawals-worker {purpose}"},
        )
        try:
            await connection.connect(timeout=self.connect_timeout.total_seconds())
        except BaseException:
            # Left open it would close itself when it is collected, in a thread without a loop.
            await connection.close()
            raise
        return connection


async def keep_connected(
    broker: Broker,
    purpose: str,
    serve: Callable[[AbstractConnection], Awaitable[None]],
    *,
    told: Callable[[str], None],
    stopping: asyncio.Event,
    stable_seconds: float = _STABLE_SECONDS,
) -> None:
    """Connect and `serve` the connection, again and again, until a stop is asked for.

    `serve` returns when it was asked to stop and raises one of `failures.AWAY` when the connection
    was lost; `told` hears of each loss, in words. Pauses grow with failures that follow each other
    closely. What is news about the broker is logged, once for all its connections; it counts as
    reached when one has stood for `stable_seconds`, since some fall as soon as they are made.
    """
    turn = 0
    while not stopping.is_set():
        begun, stood = time.monotonic(), False
        try:
            with failures.cancellations_told_apart():
                async with broker.connect(purpose, stopping=stopping) as connection:
                    stood = True
                    with _telling_reached(broker, purpose, after=stable_seconds):
                        await serve(connection)
        except failures.AWAY as error:
            if not stopping.is_set():
                told(_tell_away(broker, purpose, error, stood=stood))
        turn = 0 if time.monotonic() - begun > stable_seconds else turn + 1
        # Anywhere between nothing and the most: replicas must not come back all at once.
        pause = random.random() * pause_at_most(turn)  # noqa: S311 - no secret
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stopping.wait()


@contextmanager
def _telling_reached(broker: Broker, purpose: str, *, after: float) -> Iterator[None]:
    telling = asyncio.get_running_loop().call_later(after, _tell_reached, broker, purpose)
    try:
        yield
    finally:
        telling.cancel()


def _tell_reached(broker: Broker, purpose: str) -> None:
    if broker.troubles.ended(purpose):
        _log.info("broker reached", extra={"broker": broker.place})


def _tell_away(broker: Broker, purpose: str, error: BaseException, *, stood: bool) -> str:
    """Log what is news about a connection that could not be made, or was lost; return it."""
    why = failures.in_words(error, stood=stood)
    if broker.troubles.has(purpose, why):
        level = logging.WARNING if why == failures.LOST else logging.ERROR
        extra = {"broker": broker.place, "reason": why, "error": type(error).__name__}
        _log.log(level, "broker away", extra=extra)
    return f"not connected to {broker.place}: {why}"


def pause_at_most(turn: int) -> float:
    """Return how many seconds to wait at most after so many failures that followed closely."""
    # The power is bounded too: after an hour of failures it would not fit into a float.
    return min(_RECONNECT_SECONDS * 2.0 ** min(turn, _DOUBLINGS_MAX), RECONNECT_CAP_SECONDS)


async def _unless(stopping: asyncio.Event, work: Coroutine[None, None, _Result]) -> _Result:
    """Do the work; abort it once a stop is asked for."""
    working, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ConnectionAbortedError("stopping")
    finally:
        stop.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
