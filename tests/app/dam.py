"""A way to the broker that a test can dam up: what is sent meanwhile waits, and arrives later.

Knows no protocol. Nothing is lost in it but by `cut`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable

_PIECE = 64 * 1024


class Dam:
    """Passes connections on to the broker of an AMQP URL; `url` is the same broker through it."""

    def __init__(self, url: str) -> None:
        self._broker = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self._held = bytearray()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        """Where a client connects."""
        host, port = self._server.sockets[0].getsockname()
        netloc = f"{self._broker.username}:{self._broker.password}@{host}:{port}"
        return urlunsplit(self._broker._replace(netloc=netloc))

    @property
    def held(self) -> bytes:
        """What waits behind the dam, of all connections and both directions."""
        return bytes(self._held)

    def shut(self) -> None:
        """Let nothing pass from now on."""
        self._open.clear()

    def open(self) -> None:
        """Let pass what waits, and what comes."""
        self._open.set()

    async def cut(self) -> None:
        """Break every connection, with all that waits in it."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        self._held.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            host, port = self._broker.hostname, self._broker.port
            far_reader, far_writer = await asyncio.open_connection(host, port)
            writers.append(far_writer)
            await _first_of(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            # Broken, as `cut` wants it, or by one of the two.
            pass
        finally:
            self._connections.discard(task)
            for each in writers:
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            if not self._open.is_set():
                self._held += piece
                await self._open.wait()
                self._held.clear()
            writer.write(piece)
            await writer.drain()


async def _first_of(*ways: Awaitable[None]) -> None:
    """Wait until one of the two ways is over: the connection is then of no use."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await task
