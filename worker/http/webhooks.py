"""`POST /webhooks/<provider>`, on a port of its own (contract section 6), for anybody to call.

Everything has a limit here, so that whatever comes in cannot hurt the payouts: connections at once
and a second, seconds for each, bytes of a head and of a body. What a delivery means is not known
here, and nothing is written down.

A connection carries one request. So the limit on connections is one on requests, and nothing can be
smuggled in behind a request."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import web

from worker.flows.hearing import Head, Outcome
from worker.http.sources import source_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

_log = logging.getLogger(__name__)

#: Contract section 6.
BODY_LIMIT: Final = 1024 * 1024
#: Every connection may hold so much of a body; more than that needs one of a few places.
SMALL_BODY: Final = 64 * 1024
LARGE_BODIES: Final = 4
#: When all of them are taken, the oldest makes room: deliveries take milliseconds.
CONNECTIONS: Final = 128
#: Others wait in the system's queue. A provider of ours that may call 25 times a second cannot
#: have more to tell.
CONNECTIONS_A_SECOND: Final = 200
_BURST: Final = 50
_BACKLOG: Final = 256
#: From the connection to the end of the answer; the provider waits no longer than 5 s.
SECONDS: Final = 10.0
#: How long the rest of a body is read and thrown away, so that its sender hears our answer.
_LINGER_SECONDS: Final = 2.0
_LINE_LIMIT: Final = 8 * 1024
_HEADERS_LIMIT: Final = 64
_STOP_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.1

#: The answer to each outcome. A provider takes 2xx for heard, and repeats everything else; Upvest
#: sends nothing else before. So whatever is genuine is 200, but for what was not written down.
STATUSES: Final[Mapping[Outcome, int]] = {
    Outcome.HEARD: 200,
    Outcome.DUPLICATE: 200,
    Outcome.UNKNOWN: 200,
    Outcome.MALFORMED: 200,
    Outcome.FOREIGN: 403,
    Outcome.FORGED: 401,
    Outcome.STALE: 401,
    Outcome.TOO_LARGE: 413,
    Outcome.CROWDED: 503,
    Outcome.UNVERIFIED: 503,
    Outcome.NOT_WRITTEN: 503,
}

#: What aiohttp has to say of broken requests: whoever sends them shall not fill our log.
_QUIET: Final = logging.Logger("quiet", level=logging.CRITICAL + 1)  # noqa: LOG001 - nobody's child


class Ear(Protocol):
    """Hears the deliveries of one provider. It counts what it tells."""

    provider: str

    def refused(self, head: Head) -> Outcome | None:
        """Return the refusal of a delivery by its head alone; None when its body is wanted."""
        ...

    async def hear(self, head: Head, body: bytes) -> Outcome:
        """Hear a delivery; return what became of it."""
        ...


@asynccontextmanager
async def open_webhooks(
    ears: Mapping[str, Ear],
    *,
    host: str,
    port: int,
    counted: Callable[[str | None, Outcome], None],
    proxies: int = 0,
    seconds: float = SECONDS,
) -> AsyncIterator[Webhooks]:
    """Listen as long as the context lasts; nobody is answered before `Webhooks.run` runs.

    `ears` are by path. `counted` is told provider (None where it is not known) and outcome of what
    no ear has heard. `proxies` is how many of our own every request passes, each of which adds
    whom it heard to X-Forwarded-For. Port 0 takes a free one. Raises OSError when the port is
    taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        listener.setblocking(False)
        webhooks = Webhooks(ears, listener, counted=counted, proxies=proxies, seconds=seconds)
        try:
            yield webhooks
        finally:
            await webhooks.close()


class Webhooks:
    """The server. Made by `open_webhooks`."""

    def __init__(
        self,
        ears: Mapping[str, Ear],
        listener: socket.socket,
        *,
        counted: Callable[[str | None, Outcome], None],
        proxies: int,
        seconds: float,
    ) -> None:
        self._ears = ears
        self._listener = listener
        self._counted = counted
        self._proxies = proxies
        self._seconds = seconds
        self._large = 0
        # The oldest first.
        self._connections: dict[_Connection, None] = {}
        self._server = web.Server(self._answered)
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    async def run(self) -> None:
        """Take connections in, for ever."""
        allowance, since = float(_BURST), self._loop.time()
        while True:
            now = self._loop.time()
            allowance = min(_BURST, allowance + (now - since) * CONNECTIONS_A_SECOND)
            since = now
            if allowance < 1:
                await asyncio.sleep(1 / CONNECTIONS_A_SECOND)
                continue
            allowance -= 1
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError as error:
                # Out of file descriptors, or gone already.
                _log.warning("connection not taken", extra={"error": type(error).__name__})
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._make_room()
            with suppress(OSError):
                await self._loop.connect_accepted_socket(self._connection, connection)

    async def close(self) -> None:
        """Give requests in work a moment, then end them all."""
        await self._server.shutdown(_STOP_SECONDS)

    def _make_room(self) -> None:
        if len(self._connections) >= CONNECTIONS:
            next(iter(self._connections)).cut_off()

    def _connection(self) -> _Connection:
        return _Connection(
            self._server,
            self._connections,
            seconds=self._seconds,
            cut=lambda: self._counted(None, Outcome.CUT_OFF),
            broken=lambda: self._counted(None, Outcome.MALFORMED),
        )

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, and end its connection."""
        try:
            response = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - a bug of ours is silence to the provider
            _log.error("webhook not answered", extra={"error": type(error).__name__})
            response = _response(500)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        ear = self._ears.get(request.path)
        if ear is None:
            self._counted(None, Outcome.MISDIRECTED)
            return _response(404)
        if request.method != "POST":
            self._counted(ear.provider, Outcome.MISDIRECTED)
            return _response(405, Allow="POST")
        head = self._head(request)
        with ExitStack() as places:
            outcome = ear.refused(head)
            if outcome is None:
                body = await self._body(request, places)
                if body is None:
                    return _response(400)
                if isinstance(body, Outcome):
                    outcome = body
                    self._counted(ear.provider, outcome)
                    if outcome is Outcome.MALFORMED:
                        return _response(400)
                else:
                    outcome = await ear.hear(head, body)
        return _response(STATUSES[outcome])

    def _head(self, request: web.BaseRequest) -> Head:
        headers = _headers(request)
        return Head(
            method=request.method,
            target=request.raw_path,
            headers=headers,
            source=source_of(
                request.remote, headers.get("x-forwarded-for", ""), proxies=self._proxies
            ),
        )

    async def _body(self, request: web.BaseRequest, places: ExitStack) -> bytes | Outcome | None:
        """Read a body, as much of it as is allowed; or tell why not. None when nobody is there."""
        if (request.content_length or 0) > BODY_LIMIT:
            return Outcome.TOO_LARGE
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body, has_place = bytearray(), False
        try:
            async for part in request.content.iter_any():
                body += part
                if len(body) > BODY_LIMIT:
                    return Outcome.TOO_LARGE
                if len(body) > SMALL_BODY and not has_place:
                    if self._large == LARGE_BODIES:
                        return Outcome.CROWDED
                    places.enter_context(self._large_place())
                    has_place = True
        except ConnectionError:
            # Cut off, which is counted there; or the sender went away.
            return None
        except web.RequestPayloadError:
            return Outcome.MALFORMED
        return bytes(body)

    @contextmanager
    def _large_place(self) -> Iterator[None]:
        self._large += 1
        try:
            yield
        finally:
            self._large -= 1


class _Connection(web.RequestHandler):
    """One connection, which is one request: cut off when its time is over."""

    __slots__ = ("_broken", "_cut", "_deadline", "_others", "_seconds")

    def __init__(
        self,
        server: web.Server,
        others: dict[_Connection, None],
        *,
        seconds: float,
        cut: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            # Our own time limit runs from the connection on, whatever has come by then.
            keepalive_timeout=0,
            tcp_keepalive=False,
            logger=_QUIET,
            access_log=_QUIET,
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            max_headers=_HEADERS_LIMIT,
            lingering_time=_LINGER_SECONDS,
            # What was signed are the bytes that came; and a bomb stays packed.
            auto_decompress=False,
        )
        self._others = others
        self._seconds = seconds
        self._cut = cut
        self._broken = broken
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count the seconds."""
        super().connection_made(transport)
        self._others[self] = None
        self._deadline = asyncio.get_running_loop().call_later(self._seconds, self.cut_off)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place free."""
        super().connection_lost(exc)
        self._others.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()

    def cut_off(self) -> None:
        """End it at once; whatever is being written down for it goes on."""
        self._others.pop(self, None)
        self._cut()
        if self.transport is not None:
            self.transport.abort()

    def handle_error(self, *_: Any, **__: Any) -> web.StreamResponse:  # noqa: ANN401
        """Answer what is not HTTP, without a word about it."""
        self._broken()
        return _response(400)


def _response(status: int, **headers: str) -> web.Response:
    """Make an answer that ends its connection and tells nothing about us."""
    response = web.Response(status=status, headers={"Server": "withdrawals-worker", **headers})
    response.force_close()
    return response


def _headers(request: web.BaseRequest) -> dict[str, str]:
    """Return the headers by name in lower case; those that came twice as one text (RFC 9110)."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        before = headers.get(name.lower())
        headers[name.lower()] = value if before is None else f"{before}, {value}"
    return headers
