"""How a connection to the broker is made and made again: spelled-out limits, and jitter.

The library's own recovery is not used: it waits a fixed time and hides the moment of loss."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aio_pika
from yarl import URL

from worker.rabbitmq import failures, tolerance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import timedelta

    from aio_pika.abc import AbstractConnection

#: Pauses before connecting again are drawn from 0 up to a ceiling that doubles up to this cap.
RECONNECT_CAP_SECONDS: Final = 10.0
_RECONNECT_SECONDS: Final = 0.25
#: A connection that stood this long counts as good: the next loss starts with a short pause.
_STABLE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 3.0

tolerance.install()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how patient we are with it; `url` holds the password."""

    url: str = field(repr=False)
    heartbeat: timedelta
    connect_timeout: timedelta
    publish_timeout: timedelta

    @asynccontextmanager
    async def connect(self, purpose: str) -> AsyncIterator[AbstractConnection]:
        """Connect once; the connection's name at the broker tells its purpose.

        Raises one of `failures.AWAY` when the broker cannot be reached or refuses the user.
        """
        target = URL(self.url).update_query(
            heartbeat=str(max(1, int(self.heartbeat.total_seconds())))
        )
        connection = await aio_pika.connect(
            target,
            timeout=self.connect_timeout.total_seconds(),
            client_properties={"connection_name": f"withdrawals-worker {purpose}"},
        )
        try:
            yield connection
        finally:
            with suppress(*failures.AWAY):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await connection.close()


async def keep_connected(
    broker: Broker,
    purpose: str,
    serve: Callable[[AbstractConnection], Awaitable[None]],
    *,
    told: Callable[[BaseException], None],
    stopping: asyncio.Event,
) -> None:
    """Connect and `serve` the connection, again and again, until a stop is asked for.

    `serve` returns when it was asked to stop and raises one of `failures.AWAY` when the connection
    was lost; `told` hears of each loss. Pauses grow with failures that follow each other closely.
    """
    turn = 0
    while not stopping.is_set():
        begun = time.monotonic()
        try:
            async with broker.connect(purpose) as connection:
                await serve(connection)
        except failures.AWAY as error:
            told(error)
        turn = 0 if time.monotonic() - begun > _STABLE_SECONDS else turn + 1
        ceiling = min(_RECONNECT_SECONDS * 2**turn, RECONNECT_CAP_SECONDS)
        with suppress(TimeoutError):
            # Anywhere between nothing and the ceiling: replicas must not come back all at once.
            async with asyncio.timeout(random.random() * ceiling):  # noqa: S311 - no secret
                await stopping.wait()
