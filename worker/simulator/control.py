"""The control calls under `/_simulator/`: record, faults, credentials, clock, and a company's own.

Without authentication, hence a simulator belongs on loopback or a closed network. They are neither
counted nor limited, and no fault or outage touches them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web

from worker.simulator.clock import instant, seconds
from worker.simulator.faults import faults_document, read_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.simulator.simulation import Simulation

PREFIX: Final = "/_simulator"

#: Acts on a JSON object and returns what is answered; ValueError naming the field at fault.
Act: TypeAlias = "Callable[[Mapping[str, Any]], dict[str, Any]]"


@dataclass(frozen=True, slots=True)
class Command:
    """One control call that changes something: a method, a name below the prefix, what it does."""

    method: str
    name: str
    act: Act


class Control:
    """Answers the control calls of one simulation. Bad input gets a 400 that names the field.

    `commands` are those that only this company has.
    """

    def __init__(self, simulation: Simulation[Any], commands: Sequence[Command] = ()) -> None:
        self._simulation = simulation
        self._commands = (
            Command("PUT", "faults", self._set_faults),
            Command("PUT", "credentials", self._set_credentials),
            Command("POST", "clock", self._advance_clock),
            *commands,
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the control calls, and a 404 for everything else below their prefix."""
        router.add_route("GET", f"{PREFIX}/healthz", self._tell_health)
        router.add_route("GET", f"{PREFIX}/record", self._tell_record)
        router.add_route("GET", f"{PREFIX}/faults", self._tell_faults)
        for command in self._commands:
            obey = partial(_obey, command.act)
            router.add_route(command.method, f"{PREFIX}/{command.name}", obey)
        router.add_route("*", f"{PREFIX}/{{rest:.*}}", self._refuse_path)

    async def _tell_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _tell_record(self, _request: web.Request) -> web.Response:
        return web.json_response(self._simulation.record())

    async def _tell_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(faults_document(self._simulation.faults))

    async def _refuse_path(self, _request: web.Request) -> web.Response:
        return _refusal(HTTPStatus.NOT_FOUND, "there is no such control call")

    def _set_faults(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Replace all faults: one that is not named is off."""
        self._simulation.faults = read_faults(document)
        return faults_document(self._simulation.faults)

    def _set_credentials(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Revoke or restore the credentials: `{"revoked": true}`."""
        revoked = fields(document, "revoked")["revoked"]
        if not isinstance(revoked, bool):
            raise ValueError(f"revoked: true or false, not {revoked!r}")  # noqa: TRY004 - one kind of error for one kind of answer
        self._simulation.revoked = revoked
        return {"revoked": revoked}

    def _advance_clock(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Put the clock forward, so that keys expire and statuses progress."""
        name = "advance_seconds"
        self._simulation.clock.advance(seconds(fields(document, name)[name], name=name))
        return {"now": instant(self._simulation.clock.now())}


def fields(document: Mapping[str, Any], *required: str, **optional: object) -> dict[str, object]:
    """Return the fields of a call, those that may be missing with their defaults.

    ValueError naming one that is unknown or missing.
    """
    for name in document:
        if name not in required and name not in optional:
            known = ", ".join((*required, *optional))
            raise ValueError(f"{name}: not a field here; there is {known}")
    for name in required:
        if name not in document:
            raise ValueError(f"{name}: required")
    return optional | dict(document)


def text(given: Mapping[str, object], name: str) -> str:
    """Return a field that has to be a string; ValueError otherwise."""
    value = given[name]
    if not isinstance(value, str):
        raise ValueError(f"{name}: a string, not {value!r}")  # noqa: TRY004 - one kind of error for one kind of answer
    return value


async def _obey(act: Act, request: web.Request) -> web.Response:
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


def _refusal(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
