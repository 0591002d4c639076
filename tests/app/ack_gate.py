"""A way to the broker on which acknowledgements stop: for a kill between a confirm and its ack."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_GREETING: Final = 8
_METHOD: Final = 1
_BASIC_ACK: Final = b"\x00\x3c\x00\x50"


class AckGate:
    """A TCP proxy that lets so many acknowledgements pass; made by `ack_gate_to`."""

    def __init__(self, target: URL, passing: int) -> None:
        self._target = target
        self._passing = passing
        self._calls: set[asyncio.Task[None]] = set()
        #: Set once an acknowledgement was held back; its connection carries nothing any more.
        self.has_held = asyncio.Event()
        self.url = ""

    def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect one caller with the broker."""
        call = asyncio.create_task(self._connect(reader, writer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        """End every connection and wait until nothing is left of it."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            there, away = await asyncio.open_connection(self._target.host, self._target.port)
            ends.append(away)
            calls = [asyncio.create_task(_carry(there, writer))]
            calls.append(asyncio.create_task(self._ask(reader, away)))
            # Whoever hangs up ends both ways.
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        finally:
            for end in ends:
                end.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry frames to the broker; from the held acknowledgement on none."""
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(await reader.readexactly(_GREETING))
            while True:
                head = await reader.readexactly(7)
                rest = await reader.readexactly(int.from_bytes(head[3:]) + 1)
                if self.has_held.is_set():
                    continue
                if head[0] == _METHOD and rest[:4] == _BASIC_ACK:
                    self._passing -= 1
                    if self._passing < 0:
                        self.has_held.set()
                        continue
                writer.write(head + rest)
                await writer.drain()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def ack_gate_to(url: str, *, passing: int) -> AsyncIterator[AckGate]:
    """Open a way to the broker at `url`; the gate's own `url` leads through it."""
    target = URL(url)
    gate = AckGate(target, passing)
    server = await asyncio.start_server(gate.answer, "127.0.0.1", 0)
    gate.url = str(target.with_port(server.sockets[0].getsockname()[1]))
    try:
        yield gate
    finally:
        server.close()
        await gate.close()
