"""A simulated API as an aiohttp application: what happens to a call around its answer.

A call passes these stations in this order: it is counted, the outage, the credentials, the rate
limit, the latency, a fault before the effect, the effect (now, or later by the agenda), a fault
after it. A client that goes away does not undo what its call has begun, as with a real server.
Nothing in here touches money or knows a company: what a call means is answered by `Company`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from aiohttp import web

from worker.simulator.chance import fraction
from worker.simulator.faults import (
    BEFORE,
    UNKNOWN_STATUS,
    Fault,
    fault_of_call,
    has_unknown_status,
)
from worker.simulator.route import Call, Route
from worker.simulator.traffic import OUTAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from worker.simulator.route import Answer, Document
    from worker.simulator.simulation import Simulation

#: The largest body of a request (no page names a number; ours).
BODY_MAX: Final = 64 * 1024
#: How long a hanging call hangs at most, in seconds; no client should be that patient.
HANG_MAX: Final = 300.0
#: How often a hanging call looks whether its client is still there, in seconds.
HANG_CHECK: Final = 0.05

_BAD_GATEWAY: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"
_CAPTIVE_PAGE: Final = "<html><body>It works!</body></html>"

#: A company's own kind of route.
Line = TypeVar("Line", bound=Route)


class Company(Protocol[Line]):
    """What a company has of its own at the door of its API."""

    @property
    def routes(self) -> Sequence[Line]:
        """The API; the last route takes every path that no other takes."""
        ...

    @property
    def reads_of_one(self) -> Collection[str]:
        """The operations whose answer shows the status of one withdrawal or order."""
        ...

    @property
    def undocumented_status(self) -> str:
        """A word for a status that no page documents."""
        ...

    @property
    def key_header(self) -> str:
        """The header with the idempotency key."""
        ...

    @property
    def limit_headers(self) -> Mapping[str, str]:
        """The headers that tell when to come again, if any."""
        ...

    def refusal(
        self, route: Line, request: web.Request, body: bytes, *, now: datetime
    ) -> Answer | None:
        """Return why a caller is not let in, None when it is."""
        ...

    def answer(self, route: Line, call: Call) -> Answer:
        """Let a call take effect, and return what it is answered."""
        ...

    def limited(self) -> Answer:
        """Return what the rate limit answers."""
        ...

    def too_large(self, most: int) -> Answer:
        """Return what a body of more than `most` bytes is answered."""
        ...

    def broken(self) -> Answer:
        """Return what the company's own server error looks like."""
        ...

    def written(self, answer: Answer, *, headers: Mapping[str, str] | None = None) -> web.Response:
        """Write an answer as HTTP."""
        ...


class Door:
    """Answers the calls of one simulation."""

    def __init__(self, simulation: Simulation[Any], company: Company[Any]) -> None:
        self._simulation = simulation
        self._company = company

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the API; the last route takes every path, so others have to come before."""
        for route in self._company.routes:
            router.add_route(route.method, route.path, partial(self._serve, route))

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Take one call from arrival to answer; None from within means that it gets none."""
        traffic = self._simulation.traffic
        number = traffic.arrive(route.operation, self._simulation.clock.now())
        response = await self._respond(route, request, name=f"{route.operation}-{number}")
        traffic.answer(None if response is None else response.status)
        if response is not None:
            return response
        if request.transport is not None:
            request.transport.abort()
        # aiohttp wants a response; it finds the connection gone and drops it.
        return web.Response()

    async def _respond(
        self, route: Route, request: web.Request, *, name: str
    ) -> web.Response | None:
        simulation, company = self._simulation, self._company
        if simulation.faults.outage:
            simulation.traffic.faults[OUTAGE] += 1
            return web.Response(status=503, text="service unavailable")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return company.written(company.too_large(BODY_MAX))
        except ConnectionError:
            return None
        now = simulation.clock.now()
        if refused := company.refusal(route, request, body, now=now):
            return company.written(refused)
        if not simulation.traffic.admit(now, limit=simulation.options.rate_limit):
            return company.written(company.limited(), headers=company.limit_headers)
        if simulation.options.latency:
            await asyncio.sleep(simulation.options.latency.total_seconds())
        return await self._respond_by_chance(route, request, body, name=name)

    async def _respond_by_chance(
        self, route: Route, request: web.Request, body: bytes, *, name: str
    ) -> web.Response | None:
        simulation = self._simulation
        seed = simulation.house.seed
        fault = fault_of_call(simulation.faults, route.kind, seed=seed, name=name)
        call = self._call(route, request, body)
        if fault is Fault.LATE:
            self._take_effect_late(route, call)
        spared = fault is not Fault.LATE and fault not in BEFORE
        response = self._take_effect(route, call, name=name) if spared else None
        if fault is None or (fault is Fault.GARBAGE_AFTER and not _is_success(response)):
            # Garbage claims a success, so a refusal stays a refusal.
            return response
        simulation.traffic.faults[fault] += 1
        return await self._strike(fault, request, response, name=name)

    def _call(self, route: Route, request: web.Request, body: bytes) -> Call:
        return Call(
            identifiers={} if route is self._company.routes[-1] else request.match_info,
            query=tuple(request.query.items()),
            body=body,
            # An empty key is no key; the pages do not say.
            key=request.headers.get(self._company.key_header) or None,
            now=self._simulation.clock.now(),
        )

    def _take_effect_late(self, route: Route, call: Call) -> None:
        """Let a call whose client has long given up take effect all the same."""

        def take_effect(at: datetime) -> None:
            self._company.answer(route, replace(call, now=at))

        self._simulation.house.agenda.plan(
            call.now + self._simulation.options.lateness, take_effect
        )

    def _take_effect(self, route: Route, call: Call, *, name: str) -> web.Response:
        simulation = self._simulation
        answered = self._company.answer(route, call)
        if (
            route.operation in self._company.reads_of_one
            and answered.status == HTTPStatus.OK
            and answered.document is not None
            and has_unknown_status(simulation.faults, seed=simulation.house.seed, name=name)
        ):
            simulation.traffic.faults[UNKNOWN_STATUS] += 1
            document = _with_status(answered.document, self._company.undocumented_status)
            answered = replace(answered, document=document)
        return self._company.written(answered)

    async def _strike(
        self, fault: Fault, request: web.Request, response: web.Response | None, *, name: str
    ) -> web.Response | None:
        """Do what the fault does; `response` is None before the effect."""
        seed = self._simulation.house.seed
        match fault:
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                return self._error(fraction(seed, "error", name))
            case Fault.GARBAGE_AFTER:
                return (
                    None
                    if response is None
                    else _garbage(response, fraction(seed, "garbage", name))
                )
            case Fault.HANG_BEFORE | Fault.HANG_AFTER:
                await self._hang(request)
                return None
            case Fault.DROP_BEFORE | Fault.DROP_AFTER | Fault.LATE:
                return None

    def _error(self, drawn: float) -> web.Response:
        """Return one of the ways in which a server breaks: half of them as documented."""
        if drawn < 0.5:  # noqa: PLR2004 - half
            return self._company.written(self._company.broken())
        if drawn < 0.75:  # noqa: PLR2004 - a quarter each
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        return web.Response(status=503, text="upstream connect error")

    async def _hang(self, request: web.Request) -> None:
        """Wait until the client goes away, the server closes or patience ends."""
        checks = int(HANG_MAX / HANG_CHECK)
        for _ in range(checks):
            # A transport that is gone is how aiohttp tells that the client is.
            if request.transport is None or self._simulation.closing.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._simulation.closing.wait(), HANG_CHECK)


def _is_success(response: web.Response | None) -> bool:
    return response is not None and response.status < HTTPStatus.BAD_REQUEST


def _with_status(document: Document, word: str) -> Document:
    """Put another word for the status into a document, inside its envelope where it has one."""
    inner = document.get("data")
    if isinstance(inner, dict):
        return document | {"data": inner | {"status": word}}
    return document | {"status": word}


def _garbage(response: web.Response, drawn: float) -> web.Response:
    """Return the success with a body that nobody can read: cut in half, or another's page."""
    if response.status == HTTPStatus.NO_CONTENT:
        # There is no body to spoil, so it is another's page in its place.
        return web.Response(text=_CAPTIVE_PAGE, content_type="text/html")
    if drawn < 0.5:  # noqa: PLR2004 - half
        whole = response.body
        cut = whole[: len(whole) // 2] if isinstance(whole, bytes) else b""
        return web.Response(status=response.status, body=cut, content_type="application/json")
    return web.Response(status=response.status, text=_CAPTIVE_PAGE, content_type="text/html")
