"""Finding the one message that kills the worker among those that merely were in the way.

A process that dies takes with it the knowledge of what it was doing. So a message that comes again
is marked in the ledger before it is read and unmarked once it is safely taken in; a mark that was
left behind is a death. Nothing here reads a message.

Why no healthy message is buried. One that was prefetched and not begun has no mark. Those that come
again are read one at a time, so that a death counts for one. And before it is read again a message
waits, the longer the more deaths it was there for: a worker that is killed from outside, again and
again and at once, dies before it comes to the mark. The first delivery is not marked: that would
cost every request a commit, and whatever kills comes again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

#: After this many deaths with one message in hand it is buried as poison.
DEATHS_NEEDED: Final = 5
#: The wait before a message is read again after its first death; doubles with each further one.
FIRST_WAIT: Final = timedelta(seconds=0.5)


class MarkLedger(Protocol):
    """Keeps the marks."""

    async def deaths_with(self, identity: bytes) -> int:
        """Return how many marks of this message were left behind."""
        ...

    async def mark(self, identity: bytes, *, unmark: Collection[bytes]) -> None:
        """Commit that this message is about to be read, and take back earlier marks."""
        ...

    async def unmark(self, identities: Collection[bytes]) -> None:
        """Commit that these messages did no harm."""
        ...


class Mark:
    """One message that is being read; `lift` as soon as that has done no harm."""

    def __init__(self, lift: Callable[[], Awaitable[None]]) -> None:
        self._lift = lift
        self._is_lifted = False

    async def lift(self) -> None:
        """Take the mark back; any further time does nothing."""
        if not self._is_lifted:
            self._is_lifted = True
            await self._lift()


class Suspicion:
    """Marks messages that come again; shared by all deliveries of one worker."""

    def __init__(
        self,
        ledger: MarkLedger,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._sleep = sleep
        self._one_at_a_time = asyncio.Lock()
        #: Marks that could not be taken back because the ledger was away; no deaths.
        self._stale: set[bytes] = set()

    @asynccontextmanager
    async def reading(self, identity: bytes, *, redelivered: bool) -> AsyncIterator[Mark | None]:
        """Mark one message while it is read; yields None when it has proven to be poison.

        Raises LedgerUnavailable before anything was read. The mark is lifted in the end, whatever
        happens short of the death of the process.
        """
        if not redelivered:
            yield Mark(_nothing)
            return
        if identity not in self._stale:
            deaths = await self._ledger.deaths_with(identity)
            if deaths >= DEATHS_NEEDED:
                await self._ledger.unmark((identity,))
                yield None
                return
            if deaths:
                await self._sleep(FIRST_WAIT.total_seconds() * 2.0 ** (deaths - 1))
        await self._one_at_a_time.acquire()
        mark = Mark(lambda: self._lift(identity))
        harmless = self._stale - {identity}
        # Until it is taken back for certain; also a mark that was not confirmed may be there.
        self._stale.add(identity)
        try:
            await self._ledger.mark(identity, unmark=harmless)
            self._stale -= harmless
            yield mark
        finally:
            await mark.lift()

    async def _lift(self, identity: bytes) -> None:
        try:
            await self._ledger.unmark((identity,))
            self._stale.discard(identity)
        finally:
            self._one_at_a_time.release()


async def _nothing() -> None:
    return
