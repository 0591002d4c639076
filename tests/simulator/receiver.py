"""Who is told by webhook: a server that keeps what it is sent, and answers as it was told to.

Real HTTP on loopback. It verifies nothing; a test looks at what came."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

#: Longer than anything takes; a wait ends at its event.
PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One delivery as it arrived."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        read: dict[str, Any] = json.loads(self.body)
        return read

    @property
    def event(self) -> str:
        """The name of the event."""
        name: str = self.document["event"]
        return name


@dataclass(slots=True)
class Receiver:
    """Everything that arrived, in order. `answers` are the next statuses; 200 when none is left."""

    url: str = ""
    letters: list[Letter] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        """Keep a delivery."""
        letter = Letter(await request.read(), dict(request.headers))
        async with self._arrived:
            self.letters.append(letter)
            self._arrived.notify_all()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def heard(self, count: int) -> list[str]:
        """Wait until so many deliveries have come; return the events of all of them."""
        return [letter.event for letter in await self.arrived(count)]

    async def arrived(self, count: int) -> list[Letter]:
        """Wait until so many deliveries have come; return all of them."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.letters) >= count)
        return self.letters


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen on a free port of loopback until the block ends."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/hooks", receiver.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        yield receiver
    finally:
        await runner.cleanup()
