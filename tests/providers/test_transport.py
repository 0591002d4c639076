"""What the transport does behind our back: a call that moves money leaves at most once.

HTTP libraries repeat calls by themselves when a kept-alive connection turns out to be dead. For a
create call that must never happen: whether it is repeated is decided by a permit."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

import pytest

from tests.providers.builders import a_held, a_permit
from tests.providers.stages import Options, bluum_request, open_bluum
from worker.core.answers import Reported, Unclear

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DOCUMENT = b'{"id":"wd_01","status":"pending"}'
_CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(_DOCUMENT), _DOCUMENT)
_CUT = b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n" + _DOCUMENT


class Ending(Enum):
    """How a server ends a connection that has served before."""

    #: Before another request comes, though it had promised to stay.
    IN_PEACE = auto()
    ON_ARRIVAL = auto()
    ON_FIRST_BYTE = auto()
    IN_THE_BODY = auto()
    BY_RESET = auto()


@dataclass(slots=True)
class Fickle:
    """A server that answers the first request of a connection, and ends it at the second."""

    ending: Ending
    port: int = 0
    #: The first line of each request of which any byte was read.
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        await self._hear(reader)
        writer.write(_CREATED)
        await writer.drain()
        if self.ending is Ending.ON_FIRST_BYTE:
            self.heard += filter(None, [await reader.read(1)])
        elif self.ending is not Ending.IN_PEACE:
            await self._hear(reader)
        if self.ending is Ending.IN_THE_BODY:
            writer.write(_CUT)
        if self.ending is Ending.BY_RESET:
            writer.transport.abort()
        writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        self.heard.append(head.partition(b"\r\n")[0])
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))


@asynccontextmanager
async def fickle(ending: Ending) -> AsyncIterator[Fickle]:
    """Serve until the block ends."""
    server = Fickle(ending)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@pytest.mark.parametrize("ending", [e for e in Ending if e is not Ending.IN_PEACE])
async def test_a_create_call_is_never_repeated_by_the_transport(ending: Ending) -> None:
    """
    It meets a kept-alive connection that ends under it: one request arrived, and it is unclear.
    """
    async with (
        fickle(ending) as server,
        open_bluum(f"http://127.0.0.1:{server.port}/v1", Options()) as bluum,
    ):
        first = await bluum.create(a_permit(a_held(bluum, bluum_request(), "req-1")))
        second = await bluum.create(a_permit(a_held(bluum, bluum_request(), "req-2")))
        connections, heard = server.connections, len(server.heard)
        third = await bluum.create(a_permit(a_held(bluum, bluum_request(), "req-3")))

    assert isinstance(first, Reported)
    assert isinstance(second, Unclear)
    assert (1, 2) == (connections, heard)
    # The next one finds a connection of its own.
    assert isinstance(third, Reported)


@pytest.mark.parametrize("ending", [Ending.ON_ARRIVAL, Ending.BY_RESET])
async def test_a_cancellation_is_never_repeated_by_the_transport(ending: Ending) -> None:
    """
    A cancellation changes something too.
    """
    async with (
        fickle(ending) as server,
        open_bluum(f"http://127.0.0.1:{server.port}/v1", Options()) as bluum,
    ):
        await bluum.look("inv_01", "wd_01")
        answer = await bluum.cancel("inv_01", "wd_01")

    assert Unclear("connection") == answer
    assert 2 == len(server.heard)


async def test_a_connection_that_ended_in_peace_takes_no_second_copy() -> None:
    """
    Noticed in time or not: each call arrives once or, being unclear, not at all.
    """
    async with (
        fickle(Ending.IN_PEACE) as server,
        open_bluum(f"http://127.0.0.1:{server.port}/v1", Options()) as bluum,
    ):
        arrived = []
        for number in range(20):
            before = len(server.heard)
            answer = await bluum.create(a_permit(a_held(bluum, bluum_request(), f"req-{number}")))
            arrived.append((type(answer), len(server.heard) - before))

    assert (Reported, 1) == arrived[0]
    assert {(Reported, 1), (Unclear, 0)} >= set(arrived)
