"""A telephone line to the broker that can be cut, or go dead without anybody being told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Line:
    """A TCP proxy; made by `line_to`."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._alive = asyncio.Event()
        self._alive.set()
        #: How many connections were made through it.
        self.calls = 0
        self.url = ""

    def cut(self) -> None:
        """End every connection, as a broken router does."""
        for writer in self._writers:
            writer.transport.abort()

    def go_dead(self) -> None:
        """Carry nothing any more, and tell nobody."""
        self._alive.clear()

    def revive(self) -> None:
        """Carry again, for connections to come; those that were dead are cut."""
        self.cut()
        self._alive.set()

    def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect one caller with the broker."""
        self.calls += 1
        call = asyncio.create_task(self._connect(reader, writer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        """End every connection and wait until nothing is left of it."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            there, away = await asyncio.open_connection(self._target.host, self._target.port)
            ends.add(away)
            self._writers |= ends
            await asyncio.gather(self._carry(reader, away), self._carry(there, writer))
        except OSError:
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._alive.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def line_to(url: str, *, port: int = 0) -> AsyncIterator[Line]:
    """Open a line to the broker at `url`; its own `url` leads through it."""
    target = URL(url)
    line = Line(target)
    server = await asyncio.start_server(line.answer, "127.0.0.1", port)
    line.url = str(target.with_port(server.sockets[0].getsockname()[1]))
    try:
        yield line
    finally:
        server.close()
        await line.close()
