"""What is Upvest's own at the door of its simulated API: headers, signatures, tokens, scopes.

HTTP and no effect: the stations of a call stand in `door`, what it means in `upvest_api`. The order
of the checks is undocumented: headers, client, signature, token, scope, content type, key."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from worker.simulator.chance import uuid
from worker.simulator.upvest_api import ROUTES, UNKNOWN_ROUTE, answer
from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_reading import invalid, is_key
from worker.simulator.upvest_route import Answer, Call, Operation, UpvestRoute, refused
from worker.simulator.upvest_signature import Signed, Verifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.simulator.simulation import Simulation
    from worker.simulator.upvest_house import House
    from worker.simulator.upvest_options import UpvestOptions

REQUEST_ID: Final = "upvest-request-id"

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_FORM: Final = "application/x-www-form-urlencoded"
#: What a client may accept (ERR, EX). There is no PDF here.
_ACCEPTED: Final = frozenset({_JSON, "application/pdf"})
_API_VERSION: Final = "1"


class UpvestHttp:
    """Upvest at the door of one simulation; see `door.Company`."""

    routes: Final[Sequence[UpvestRoute]] = (*ROUTES, UNKNOWN_ROUTE)
    reads_of_one: Final[frozenset[str]] = frozenset({Operation.GET_WITHDRAWAL, Operation.GET_ORDER})
    undocumented_status: Final = "IN_REVIEW"
    key_header: Final = "idempotency-key"

    def __init__(self, simulation: Simulation[House], options: UpvestOptions) -> None:
        client = simulation.house.client
        self._simulation = simulation
        self._verifier = Verifier(client.key, client.key_id, options.signatures)
        self.limit_headers: Mapping[str, str] = {"Retry-After": "1"} if options.retry_after else {}
        self._responses = 0

    def refusal(
        self, route: UpvestRoute, request: web.Request, body: bytes, *, now: datetime
    ) -> Answer | None:
        """Check all that every call has to bring, whatever it is about."""
        headers = request.headers
        problem = (
            _problem_of_headers(headers)
            or self._problem_of_client(request, body)
            or self._problem_of_token(route, headers.get("authorization"), now=now)
            or _problem_of_content(route, headers, body)
            or _problem_of_key(route, headers)
        )
        return None if problem is None else refused(problem)

    def answer(self, route: UpvestRoute, call: Call) -> Answer:
        """Let a call take effect."""
        return answer(route, self._simulation.house, call)

    def limited(self) -> Answer:
        """Return 429."""
        return refused(Problem(Kind.TOO_MANY, "Too many requests."))

    def too_large(self, most: int) -> Answer:
        """Return a 400 (no page names a limit)."""
        return refused(invalid(f"The body is larger than {most} bytes."))

    def broken(self) -> Answer:
        """Return 500."""
        return refused(Problem(Kind.INTERNAL, "Internal error."))

    def written(self, answer: Answer, *, headers: Mapping[str, str] | None = None) -> web.Response:
        """Write an answer: JSON, a problem document with its `request_id`, or no body at all."""
        self._responses += 1
        request_id = uuid(self._simulation.house.seed, "response", str(self._responses))
        named = {REQUEST_ID: request_id, **(headers or {})}
        document = answer.document
        if document is None:
            return web.Response(status=answer.status, headers=named)
        is_problem = answer.status >= 400  # noqa: PLR2004 - where errors begin
        if is_problem:
            document = document | {"request_id": request_id}
        return web.Response(
            status=answer.status,
            body=json.dumps(document, separators=(",", ":")).encode(),
            content_type=_PROBLEM if is_problem else _JSON,
            headers=named,
        )

    def _problem_of_client(self, request: web.Request, body: bytes) -> Problem | None:
        """Check who calls: the client id, and that the registered key signed all of it."""
        client_id = request.headers.get("upvest-client-id")
        if client_id is None:
            return Problem(Kind.MISSING_CLIENT_ID, "upvest-client-id is required.")
        if client_id.lower() != self._simulation.house.client.id or self._simulation.revoked:
            return Problem(Kind.UNAUTHORISED, "The client is unknown or revoked.")
        repeated = _repeated(request)
        if repeated is not None:
            return Problem(Kind.UNAUTHORISED, f"{repeated} is sent twice.")
        signed = Signed(
            method=request.method,
            target=request.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        # The real time: clients sign by their own clocks, not by the simulator's.
        objection = self._verifier.objection(signed, now=time.time())
        return None if objection is None else Problem(Kind.UNAUTHORISED, objection)

    def _problem_of_token(
        self, route: UpvestRoute, header: str | None, *, now: datetime
    ) -> Problem | None:
        if route.is_token:
            return None
        scheme, _, text = (header or "").partition(" ")
        token = self._simulation.house.tokens.find(text.strip(), now=now)
        if scheme.lower() != "bearer" or token is None:
            return Problem(Kind.UNAUTHORISED, "The token is missing, unknown or expired.")
        if route.scopes and not route.scopes & token.scopes:
            return Problem(Kind.FORBIDDEN, "The token lacks " + " or ".join(sorted(route.scopes)))
        return None


def _problem_of_headers(headers: Mapping[str, str]) -> Problem | None:
    if headers.get("accept") not in _ACCEPTED:
        return Problem(Kind.NOT_ACCEPTABLE, "accept must be application/json.")
    if headers.get("upvest-api-version", _API_VERSION) != _API_VERSION:
        return invalid("upvest-api-version must be 1, without quotes.", "upvest-api-version")
    return None


def _problem_of_content(
    route: UpvestRoute, headers: Mapping[str, str], body: bytes
) -> Problem | None:
    if not body:
        return None
    wanted = _FORM if route.is_token else _JSON
    if headers.get("content-type") != wanted:
        return invalid(f"Unexpected request Content-Type: it must be {wanted} and nothing more.")
    return None


def _problem_of_key(route: UpvestRoute, headers: Mapping[str, str]) -> Problem | None:
    key = headers.get("idempotency-key")
    if not key:
        detail = "idempotency-key is required."
        return Problem(Kind.MISSING_KEY, detail) if route.needs_key else None
    if not is_key(key):
        return invalid("idempotency-key must be a UUID of version 0 to 5.", "idempotency-key")
    return None


def _repeated(request: web.Request) -> str | None:
    """Return a header that is sent more than once: which of both was signed would be a guess."""
    names = [name.lower() for name in request.headers]
    return next((name for name in names if names.count(name) > 1), None)
