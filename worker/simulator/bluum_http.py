"""The simulated Bluum API as an aiohttp application: what happens to a call around its answer.

A call passes these stations in this order: it is counted, the outage, the credentials, the rate
limit, the latency, a fault before the effect, the effect (now, or later by the agenda), a fault
after it. A client that goes away does not undo what its call has begun, as with a real server. What
a call means stands in `bluum_api`; nothing in here touches money."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from worker.simulator.bluum_api import ROUTES, UNKNOWN_ROUTE, answer
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_route import Answer, Call, Operation, Route, refused
from worker.simulator.chance import fraction
from worker.simulator.faults import (
    BEFORE,
    UNKNOWN_STATUS,
    Fault,
    fault_of_call,
    has_unknown_status,
)
from worker.simulator.traffic import OUTAGE

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.simulation import Simulation

#: The largest body of a request (CODES 400-008 names no number; ours).
BODY_MAX: Final = 64 * 1024
#: How long a hanging call hangs at most, in seconds; no client should be that patient.
HANG_MAX: Final = 300.0
#: How often a hanging call looks whether its client is still there, in seconds.
HANG_CHECK: Final = 0.05
#: A word that no page documents.
UNDOCUMENTED_STATUS: Final = "in_review"
_READS_OF_ONE: Final = frozenset({Operation.GET_WITHDRAWAL, Operation.GET_ORDER})

_BAD_GATEWAY: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"
_CAPTIVE_PAGE: Final = "<html><body>It works!</body></html>"


class BluumHttp:
    """Answers the calls of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        options = simulation.options
        self._simulation = simulation
        self._credentials = f"{options.api_key}:{options.api_secret}".encode()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the API; the last route takes every path, so others have to come before."""
        for route in (*ROUTES, UNKNOWN_ROUTE):
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
        simulation = self._simulation
        if simulation.faults.outage:
            simulation.traffic.faults[OUTAGE] += 1
            return web.Response(status=503, text="service unavailable")
        if refusal := self._refusal_of_credentials(request.headers.get("Authorization")):
            return _json(refused(refusal))
        if not simulation.traffic.admit(
            simulation.clock.now(), limit=simulation.options.rate_limit
        ):
            refusal = Refusal(Code.RATE_LIMITED, "Too many requests.")
            return _json(refused(refusal), headers={"Retry-After": "1"})
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            message = f"The body is larger than {BODY_MAX} bytes."
            return _json(refused(Refusal(Code.BODY_TOO_LARGE, message)))
        except ConnectionError:
            return None
        if simulation.options.latency:
            await asyncio.sleep(simulation.options.latency.total_seconds())
        return await self._respond_by_chance(route, request, body, name=name)

    async def _respond_by_chance(
        self, route: Route, request: web.Request, body: bytes, *, name: str
    ) -> web.Response | None:
        simulation = self._simulation
        seed = simulation.options.terms.seed
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
            identifiers={} if route is UNKNOWN_ROUTE else request.match_info,
            query=tuple(request.query.items()),
            body=body,
            # An empty key is no key; the pages do not say.
            key=request.headers.get("Idempotency-Key") or None,
            now=self._simulation.clock.now(),
        )

    def _take_effect_late(self, route: Route, call: Call) -> None:
        """Let a call whose client has long given up take effect all the same."""
        house = self._simulation.house

        def take_effect(at: datetime) -> None:
            answer(route, house, replace(call, now=at))

        house.ground.agenda.plan(call.now + self._simulation.options.lateness, take_effect)

    def _take_effect(self, route: Route, call: Call, *, name: str) -> web.Response:
        simulation = self._simulation
        answered = answer(route, simulation.house, call)
        if (
            route.operation in _READS_OF_ONE
            and answered.status == HTTPStatus.OK
            and has_unknown_status(simulation.faults, seed=simulation.options.terms.seed, name=name)
        ):
            simulation.traffic.faults[UNKNOWN_STATUS] += 1
            answered = replace(
                answered, document=answered.document | {"status": UNDOCUMENTED_STATUS}
            )
        return _json(answered)

    async def _strike(
        self, fault: Fault, request: web.Request, response: web.Response | None, *, name: str
    ) -> web.Response | None:
        """Do what the fault does; `response` is None before the effect."""
        seed = self._simulation.options.terms.seed
        match fault:
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                return _error(fraction(seed, "error", name))
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

    async def _hang(self, request: web.Request) -> None:
        """Wait until the client goes away, the server closes or patience ends."""
        checks = int(HANG_MAX / HANG_CHECK)
        for _ in range(checks):
            # A transport that is gone is how aiohttp tells that the client is.
            if request.transport is None or self._simulation.closing.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._simulation.closing.wait(), HANG_CHECK)

    def _refusal_of_credentials(self, header: str | None) -> Refusal | None:
        """Check HTTP Basic authentication, key as user and secret as password (AUTH)."""
        if header is None:
            return Refusal(Code.AUTH_MISSING, "The Authorization header is missing.")
        scheme, _, encoded = header.partition(" ")
        try:
            credentials = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            credentials = b""
        if scheme.lower() != "basic" or b":" not in credentials:
            return Refusal(Code.AUTH_MALFORMED, "The Authorization header is not HTTP Basic.")
        known = hmac.compare_digest(credentials, self._credentials)
        if not known or self._simulation.revoked:
            return Refusal(Code.AUTH_WRONG, "The key or secret is wrong or revoked.")
        return None


def _json(answered: Answer, *, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=answered.status,
        body=json.dumps(answered.document, separators=(",", ":")).encode(),
        content_type="application/json",
        headers=headers,
    )


def _is_success(response: web.Response | None) -> bool:
    return response is not None and response.status < HTTPStatus.BAD_REQUEST


def _error(drawn: float) -> web.Response:
    """Return one of the ways in which a server breaks: half of them as documented (CODES)."""
    if drawn < 0.5:  # noqa: PLR2004 - half
        return _json(refused(Refusal(Code.INTERNAL, "Internal error.")))
    if drawn < 0.75:  # noqa: PLR2004 - a quarter each
        return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
    return web.Response(status=503, text="upstream connect error")


def _garbage(response: web.Response, drawn: float) -> web.Response:
    """Return the success with a body that nobody can read: cut in half, or another's page."""
    if drawn < 0.5:  # noqa: PLR2004 - half
        whole = response.body
        cut = whole[: len(whole) // 2] if isinstance(whole, bytes) else b""
        return web.Response(status=response.status, body=cut, content_type="application/json")
    return web.Response(status=response.status, text=_CAPTIVE_PAGE, content_type="text/html")
