"""The proxy, between real sockets."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import Mode, Proxy
from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOCAL = "127.0.0.1"
PATIENCE = 60.0


class Echo:
    """A server that sends back what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self._server: asyncio.Server

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return LOCAL, port

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, LOCAL, 0)

    async def stop(self) -> None:
        """Listen no more."""
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1024):
                self.heard += piece
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """A server behind the proxy."""
    running = Echo()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    """A proxy in front of it."""
    async with Proxy(lambda: [echo.address]) as running:
        yield running


@asynccontextmanager
async def a_connection(
    proxy: Proxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through the proxy."""
    reader, writer = await asyncio.open_connection(LOCAL, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(reader: asyncio.StreamReader, count: int) -> bytes:
    """Return what comes, so many bytes of it."""
    async with asyncio.timeout(PATIENCE):
        return await reader.readexactly(count)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection."""
    async with asyncio.timeout(PATIENCE):
        try:
            return not await reader.read()
        except ConnectionError:
            return True


async def test_bytes_pass_both_ways(proxy: Proxy) -> None:
    """
    What goes in comes out, in its order, also more of it than fits into one piece.
    """
    much = bytes(range(256)) * 2000
    async with a_connection(proxy) as (reader, writer):
        writer.write(much)

        assert much == await said(reader, len(much))
        assert 1 == proxy.connections


async def test_a_cut_ends_connections_and_allows_new_ones(proxy: Proxy) -> None:
    """
    The standing connection is reset; the next one works.
    """
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"one")
        await said(reader, 3)
        await proxy.cut()

        assert await ended(reader)
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"two")

        assert b"two" == await said(reader, 3)


async def test_a_delay_delays_and_loses_nothing(proxy: Proxy) -> None:
    """
    A piece arrives no sooner than the delay of both directions together, and whole.
    """
    await proxy.set(Mode.DELAY, delay=0.1)
    async with a_connection(proxy) as (reader, writer):
        begun = time.monotonic()
        writer.write(b"late")

        assert b"late" == await said(reader, 4)
        assert time.monotonic() - begun >= 0.2


async def test_a_hole_swallows_what_is_sent(proxy: Proxy, echo: Echo) -> None:
    """
    It never arrives, not even when the hole closes: then the connection is reset.
    """
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"heard")
        await said(reader, 5)
        await proxy.set(Mode.HOLE)
        writer.write(b"swallowed")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read()
        await proxy.set(Mode.OPEN)

        assert await ended(reader)
    assert b"heard" == bytes(echo.heard)


async def test_a_hole_takes_new_connections(proxy: Proxy, echo: Echo) -> None:
    """
    A connection that is made into a hole stands, and says nothing.
    """
    await proxy.set(Mode.HOLE)
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"swallowed")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read()

        assert 1 == proxy.connections
    assert b"" == bytes(echo.heard)


async def test_a_refusing_proxy_ends_old_and_new_connections(proxy: Proxy) -> None:
    """
    Nobody gets through, until it is open again.
    """
    async with a_connection(proxy) as (old, writer):
        writer.write(b"one")
        await said(old, 3)
        await proxy.set(Mode.REFUSE)

        assert await ended(old)
    async with a_connection(proxy) as (new, _):
        assert await ended(new)
    await proxy.set(Mode.OPEN)
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"two")

        assert b"two" == await said(reader, 3)


async def test_the_first_that_accepts_gets_the_connection(echo: Echo) -> None:
    """
    An address where nobody listens is passed over; where nobody does at all, the connection ends.
    """
    (nobody,) = free_ports(1)
    addresses = [(LOCAL, nobody), echo.address]
    async with Proxy(lambda: addresses) as proxy:
        async with a_connection(proxy) as (reader, writer):
            writer.write(b"here")

            assert b"here" == await said(reader, 4)
        addresses.pop()
        async with a_connection(proxy) as (reader, _):
            assert await ended(reader)


async def test_the_end_of_one_side_ends_the_other(proxy: Proxy) -> None:
    """
    A client that is killed leaves nothing behind in the proxy.
    """
    async with a_connection(proxy) as (reader, writer):
        writer.write(b"one")
        await said(reader, 3)
    async with asyncio.timeout(PATIENCE):
        while proxy.connections:  # noqa: ASYNC110 - the operating system tells the proxy
            await asyncio.sleep(0.01)
