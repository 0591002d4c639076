"""The control calls under `/_simulator/`: record, faults, credentials and clock.

Without authentication, hence a simulator belongs on loopback or a closed network. They are neither
counted nor limited, and no fault or outage touches them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from worker.simulator.bluum_documents import instant
from worker.simulator.clock import seconds
from worker.simulator.faults import faults_document, read_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.simulator.simulation import Simulation

PREFIX: Final = "/_simulator"


class Control:
    """Answers the control calls of one simulation. Bad input gets a 400 that names the field."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the control calls, and a 404 for everything else below their prefix."""
        router.add_route("GET", f"{PREFIX}/healthz", self._tell_health)
        router.add_route("GET", f"{PREFIX}/record", self._tell_record)
        router.add_route("GET", f"{PREFIX}/faults", self._tell_faults)
        router.add_route("PUT", f"{PREFIX}/faults", self._set_faults)
        router.add_route("PUT", f"{PREFIX}/credentials", self._set_credentials)
        router.add_route("POST", f"{PREFIX}/clock", self._advance_clock)
        router.add_route("*", f"{PREFIX}/{{rest:.*}}", self._refuse_path)

    async def _tell_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _tell_record(self, _request: web.Request) -> web.Response:
        return web.json_response(self._simulation.record())

    async def _tell_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(faults_document(self._simulation.faults))

    async def _set_faults(self, request: web.Request) -> web.Response:
        """Replace all faults: one that is not named is off."""

        def replace_faults(document: Mapping[str, Any]) -> dict[str, Any]:
            self._simulation.faults = read_faults(document)
            return faults_document(self._simulation.faults)

        return await _obey(request, replace_faults)

    async def _set_credentials(self, request: web.Request) -> web.Response:
        """Revoke or restore the key pair: `{"revoked": true}`."""

        def revoke(document: Mapping[str, Any]) -> dict[str, Any]:
            revoked = _only_field(document, "revoked")
            if not isinstance(revoked, bool):
                raise ValueError(f"revoked: true or false, not {revoked!r}")  # noqa: TRY004 - one kind of error for one kind of answer
            self._simulation.revoked = revoked
            return {"revoked": revoked}

        return await _obey(request, revoke)

    async def _advance_clock(self, request: web.Request) -> web.Response:
        """Put the clock forward, so that keys expire and statuses progress."""

        def advance(document: Mapping[str, Any]) -> dict[str, Any]:
            name = "advance_seconds"
            self._simulation.clock.advance(seconds(_only_field(document, name), name=name))
            return {"now": instant(self._simulation.clock.now())}

        return await _obey(request, advance)

    async def _refuse_path(self, _request: web.Request) -> web.Response:
        return _refusal(HTTPStatus.NOT_FOUND, "there is no such control call")


async def _obey(
    request: web.Request, act: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> web.Response:
    """Read a JSON object, act on it, and turn a ValueError into a 400 with its words."""
    try:
        return web.json_response(act(_object(await request.read())))
    except ValueError as error:
        return _refusal(HTTPStatus.BAD_REQUEST, str(error))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - one kind of error for one kind of answer
    return document


def _only_field(document: Mapping[str, Any], name: str) -> object:
    for other in document:
        if other != name:
            raise ValueError(f"{other}: not a field here; there is {name}")
    if name not in document:
        raise ValueError(f"{name}: required")
    return document[name]


def _refusal(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
