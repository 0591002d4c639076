"""A TCP proxy between two parts, by which their connection can be cut, delayed and silenced.

Knows no protocol. Bytes that pass keep their order; bytes that are swallowed never come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PIECE: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5.0

Address = tuple[str, int]


class Mode(StrEnum):
    """What happens to connections and to bytes."""

    OPEN = "open"
    #: Every piece waits, in both directions.
    DELAY = "delay"
    #: Connections stand and say nothing: what is sent is swallowed.
    HOLE = "hole"
    #: Connections are reset as soon as they are made.
    REFUSE = "refuse"


class Proxy:
    """Listens on a port of the loopback interface and passes connections on.

    `targets` is asked at each new connection; the first that accepts gets it. Use it as an
    asynchronous context.
    """

    def __init__(self, targets: Callable[[], Sequence[Address]]) -> None:
        self._targets = targets
        self._mode = Mode.OPEN
        self._delay = 0.0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many connections stand at this moment."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=256)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more, and cut everything."""
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Reset every connection; what is on its way is lost. New ones may be made at once."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def set(self, mode: Mode, *, delay: float = 0.0) -> None:
        """Change what happens from now on; `delay` in seconds is for `Mode.DELAY`.

        A connection that lost bytes is never healed: it is reset.
        """
        was, self._mode, self._delay = self._mode, mode, delay
        if mode is Mode.REFUSE or was is Mode.HOLE:
            await self.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)

        def gone(_task: object) -> None:
            self._connections.discard(connection)
            # Here and not in the task, which may be cancelled before it has begun.
            writer.transport.abort()

        connection.add_done_callback(gone)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.REFUSE:
            return
        if self._mode is Mode.HOLE:
            # Accepted, as by a firewall that drops what follows.
            await _swallow(reader)
            return
        far = await self._connect()
        if far is None:
            return
        far_reader, far_writer = far
        ways = [
            asyncio.create_task(self._pass_on(reader, far_writer)),
            asyncio.create_task(self._pass_on(far_reader, writer)),
        ]
        try:
            # One direction over, both are: a half-closed connection is of use to nobody here.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.transport.abort()
            for way in ways:
                way.cancel()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for host, port in self._targets():
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(host, port)
        return None

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._mode is Mode.DELAY:
                    await asyncio.sleep(self._delay)
                if self._mode is Mode.HOLE:
                    continue
                writer.write(piece)
                await writer.drain()


async def _swallow(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(_PIECE):
            pass
