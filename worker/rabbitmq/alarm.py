"""Noticing that the broker takes no messages because of an alarm (memory or disk).

Only noticed here; what to do about it is for whoever is told. The broker says so (`connection.
blocked`) to a connection that publishes, and only to that; one that was made anew hears of an alarm
that still stands when it publishes for the first time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aio_pika.abc import AbstractConnection

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = timedelta(milliseconds=250)
#: The library tells at once, unless the connection is blocked.
_AT_ONCE: Final = timedelta(milliseconds=50)
#: What was unconfirmed before is published again within this time on a new connection; so long
#: without a word, and nothing waits for the broker any more.
GRACE: Final = timedelta(seconds=5)


class Alarm:
    """Tells when the broker's alarm begins and ends, over any number of connections."""

    def __init__(self, told: Callable[[bool], Awaitable[None]]) -> None:
        self._told = told
        self._stands = False

    @property
    def stands(self) -> bool:
        """Whether the broker is known to take nothing."""
        return self._stands

    async def watch(self, connection: AbstractConnection) -> None:
        """Watch one connection that publishes, until it is closed or this is cancelled."""
        quiet_since = asyncio.get_running_loop().time()
        while not connection.is_closed:
            if await _is_blocked(connection):
                await self._tell(stands=True)
                # Ends when the broker takes messages again, and also with the connection: then the
                # next one has to find out.
                await _until_unblocked(connection)
                if not connection.is_closed:
                    await self._tell(stands=False)
            elif asyncio.get_running_loop().time() - quiet_since > GRACE.total_seconds():
                await self._tell(stands=False)
            await asyncio.sleep(_LOOK_EVERY.total_seconds())

    async def _tell(self, *, stands: bool) -> None:
        if stands is not self._stands:
            self._stands = stands
            _log.warning("broker alarm", extra={"stands": stands})
            await self._told(stands)


async def _is_blocked(connection: AbstractConnection) -> bool:
    unblocked = asyncio.ensure_future(_until_unblocked(connection))
    try:
        await asyncio.wait({unblocked}, timeout=_AT_ONCE.total_seconds())
        return not unblocked.done()
    finally:
        unblocked.cancel()


async def _until_unblocked(connection: AbstractConnection) -> None:
    if connection.transport is not None:
        await connection.transport.connection.ready()
