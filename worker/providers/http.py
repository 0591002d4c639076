"""One HTTP exchange with a provider, and what silence means.

A reply is what the provider said; everything else is silence, and silence says nothing about money.
That a request never left cannot be told reliably (the transport reports a connection that broke
after sending as one that was never made), so no kind of silence counts as "not sent"."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from worker.flows.journey import UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from worker.flows.journey import Journeys
    from worker.providers.pace import Pace

_log = logging.getLogger(__name__)

#: No answer of a provider is near this; a longer one is not read to its end.
BODY_LIMIT: Final = 4 * 1024 * 1024
#: A provider may ask for patience, but not for days.
RETRY_AFTER_LIMIT: Final = timedelta(hours=1)
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_CONNECT_SECONDS: Final = 5.0
_CONNECTIONS: Final = 300
#: Trusts nobody, and nobody asks it: our sessions check certificates by aiohttp's own defaults.
#: Without it each transport would read all the machine's certificates, for nothing.
_UNUSED: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider answered. `document` is None when the body is not one JSON object.

    `answered_at` is the time by the provider's own clock, where it told that.
    """

    status: int
    document: Mapping[str, Any] | None = field(repr=False)
    request_id: str | None
    retry_after: timedelta | None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """No usable answer came; `why` is one constant word."""

    why: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing was sent: the provider had asked for a pause, or the call is no longer permitted."""

    wait: timedelta


Outcome = Reply | Silence | Postponed


class Line:
    """The connection to one provider: paced, bounded in time and size, and measured.

    `auth` is asked once for each request, last before it leaves. `request_id_header` names the
    header by which the provider's support finds a call. `observe` is told operation, outcome (a
    status class such as "2xx", or the kind of silence) and seconds of each exchange; `journeys` of
    each exchange with this `provider`, without the wait before it. Use it as an asynchronous
    context; it closes its connections.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: httpx.Auth,
        pace: Pace,
        timeout: timedelta,
        observe: Callable[[str, str, float], None],
        request_id_header: str = "x-request-id",
        provider: str = "",
        journeys: Journeys = UNTRACED,
    ) -> None:
        self._provider = provider
        self._journeys = journeys
        self._request_id_header = request_id_header
        self._seconds = timeout.total_seconds()
        self._pace = pace
        self._observe = observe
        self._auth = auth
        # The transport alone, without httpx's client around it: what the client adds (cookies,
        # redirects, proxies from the environment, another parse of the URL) is not wanted for
        # money, and makes a call a third dearer. Not httpx's own transport either: cancelled
        # requests leave its pool exhausted for good.
        self._transport = AiohttpTransport(client=_session, verify=_UNUSED)
        self._base = httpx.URL(base_url)
        self._root = self._base.raw_path.rstrip(b"/")
        self._headers = {
            "Host": self._base.netloc.decode("ascii"),
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "withdrawals-worker",
        }
        connect = min(_CONNECT_SECONDS, self._seconds)
        self._timeouts = {
            "connect": connect,
            "read": self._seconds,
            "write": self._seconds,
            "pool": self._seconds,
        }

    async def __aenter__(self) -> Self:
        """Open the session, so that it is the one that is closed; connections come with need."""
        self._transport.client = _session()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let nothing out any more, and close the connections."""
        self._pace.close()
        await self._transport.aclose()

    async def exchange(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        may_leave: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """Send one request when its turn has come. Never raises, but for cancellation.

        `may_leave` is asked last, after all waiting, right before the request leaves.
        """
        rest = await self._pace.take(operation)
        if rest is not None or not may_leave():
            return Postponed(rest or timedelta(0))
        begun = perf_counter()
        with self._journeys.call(self._provider, operation, method, self._base.host) as call:
            outcome = await self._exchanged(method, path, query, body, headers)
            if isinstance(outcome, Reply):
                call.answered(outcome.status, outcome.request_id)
                if outcome.status == httpx.codes.TOO_MANY_REQUESTS:
                    self._pace.pause(outcome.retry_after or timedelta(seconds=1))
                said = f"{outcome.status // 100}xx"
            else:
                call.silent(outcome.why)
                said = outcome.why
            self._observe(operation, said, perf_counter() - begun)
        return outcome

    async def _exchanged(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Reply | Silence:
        """Send one request, and make whatever goes wrong a kind of silence."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._send(method, path, query, body, headers)
        except TimeoutError:
            return Silence("timeout")
        except httpx.TransportError as error:
            # The adapter calls nearly everything a timeout; what aiohttp said is told apart here.
            is_timeout = isinstance(error.__cause__, TimeoutError)
            return Silence("timeout" if is_timeout else "connection")
        except Exception as error:  # noqa: BLE001
            # The transport's other errors, and bugs: none of them may decide about money.
            _log.warning("exchange failed", extra={"error": type(error).__name__})
            return Silence("transport")

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Reply | Silence:
        target = self._root + path.encode("ascii")
        if query:
            target += b"?" + urlencode(query).encode("ascii")
        request = httpx.Request(
            method,
            self._base.copy_with(raw_path=target),
            headers={**self._headers, **(headers or {})},
            content=body,
            extensions={"timeout": self._timeouts},
        )
        # An auth flow may ask for further requests after an answer; ours only signs this one.
        request = next(self._auth.auth_flow(request))
        response = await self._transport.handle_async_request(request)
        try:
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > BODY_LIMIT:
                    return Silence("oversized")
        finally:
            await response.aclose()
        return Reply(
            status=response.status_code,
            document=_document(content),
            request_id=_printable(response.headers.get(self._request_id_header)),
            retry_after=retry_after(
                response.headers.get_list("retry-after"),
                answered_at=response.headers.get("date"),
                now=datetime.now(UTC),
            ),
            answered_at=_date(response.headers.get("date") or ""),
        )


def retry_after(
    values: Collection[str], *, answered_at: str | None, now: datetime
) -> timedelta | None:
    """Read the `Retry-After` headers of an answer: how long to keep away, at most an hour.

    Each is seconds (a fraction counts as a whole one) or an HTTP date in any of its three forms;
    what is neither is left out, and of several the longest holds: waiting longer harms nobody. None
    when there is nothing to read; zero when the date has passed. A date is compared with
    `answered_at`, the answer's own `Date`: both are the server's clock, so ours may be wrong. `now`
    is our clock, for answers without one.
    """
    if not values:
        return None
    since = _date(answered_at or "") or now
    waits = [wait for value in values if (wait := _wait(value.strip(), since)) is not None]
    return max(timedelta(0), min(max(waits), RETRY_AFTER_LIMIT)) if waits else None


def _wait(text: str, since: datetime) -> timedelta | None:
    # A header that came twice may have been joined on the way; commas stand in dates as well.
    parts = [part.strip() for part in text.split(",")]
    if all(_SECONDS.fullmatch(part) for part in parts):
        return max(_seconds(part) for part in parts)
    at = _date(text)
    return None if at is None else at - since


def _seconds(text: str) -> timedelta:
    whole, _, fraction = text.partition(".")
    # A number too long to be a duration is cut; what is left of it is long enough.
    seconds = int(whole.lstrip("0")[:9] or "0")
    return timedelta(seconds=seconds + bool(fraction.strip("0")))


def _date(text: str) -> datetime | None:
    """Read an HTTP date: IMF-fixdate, RFC 850's or asctime's form (RFC 9110, section 5.6.7)."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        # A year of twenty digits is an OverflowError, and not documented.
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _document(content: bytearray) -> Mapping[str, Any] | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _printable(text: str | None) -> str | None:
    return text[:128] if text and text.isascii() and text.isprintable() else None


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=30),
        # Cookies would tie our calls together behind our back.
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # A body that is not there needs no type, and a signature would not cover it.
        skip_auto_headers=("Content-Type",),
    )
