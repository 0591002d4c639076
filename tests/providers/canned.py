"""A server on loopback that gives the answers it was told to, and remembers what it heard.

For answers that no simulator gives. It knows nothing of any provider."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_CLOSING_TIME: Final = 0.1
_DRIP_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: a status, a body (what is not bytes is written as JSON), headers."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes straight onto the connection, which then ends."""

    sent: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """The beginning of a success that goes on, byte by byte, until the client has had enough."""


Answer = Said | Raw | Drip


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it arrived; `path` is as it stood on the wire, with the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Canned:
    """The server: where it is, all that it heard so far, and what it answers, in turn."""

    base_url: str
    heard: list[Heard]
    answers: tuple[Answer, ...]


@asynccontextmanager
async def canned(
    *answers: Answer, asides: Mapping[str, Said] | None = None
) -> AsyncIterator[Canned]:
    """Serve the answers in turn, the last one for ever, until the block ends.

    `asides` are answered by their paths below `/v1`, and neither take a turn nor are remembered.
    """
    heard: list[Heard] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if aside := (asides or {}).get(request.path.removeprefix("/v1")):
            return _response(aside)
        given = answers[min(len(heard), len(answers) - 1)]
        body = await request.read()
        heard.append(Heard(request.method, request.raw_path, request.headers.copy(), body))
        match given:
            case Said():
                return _response(given)
            case Raw(sent):
                return _end(request, sent)
            case Drip():
                return await _drip(request)

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING_TIME)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Canned(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", heard, answers)
    finally:
        await runner.cleanup()


def _response(said: Said) -> web.Response:
    if isinstance(said.body, bytes):
        return web.Response(status=said.status, body=said.body, headers=said.headers)
    headers = {"Content-Type": "application/json", **said.headers}
    return web.Response(status=said.status, body=json.dumps(said.body).encode(), headers=headers)


def _end(request: web.Request, sent: bytes) -> web.Response:
    if request.transport is not None:
        request.transport.write(sent)
        request.transport.close()
    # aiohttp wants a response; it finds the connection closing and drops it.
    return web.Response()


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=201)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while request.transport is not None:
            await response.write(b" ")
            await asyncio.sleep(_DRIP_SECONDS)
    return response
