"""The control calls under `/_simulator/`: record, faults, credentials, clock, wallets, reversals.

Without authentication, hence a simulator belongs on loopback or a closed network. They are neither
counted nor limited, and no fault or outage touches them."""

from __future__ import annotations

import json
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web

from worker.simulator.bluum_bank import REVERSALS
from worker.simulator.bluum_calls import CURRENCY_DEFAULT, is_amount, refusal_of_identifiers
from worker.simulator.bluum_documents import instant, wallet_document, withdrawal_document
from worker.simulator.bluum_refusals import Refusal
from worker.simulator.bluum_terms import OPENING_BALANCE_MAX
from worker.simulator.bluum_withdrawal import Status
from worker.simulator.clock import seconds
from worker.simulator.faults import faults_document, read_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.simulator.simulation import Simulation

PREFIX: Final = "/_simulator"

Granted = TypeVar("Granted")


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
        router.add_route("POST", f"{PREFIX}/wallets", self._fill_wallet)
        router.add_route("POST", f"{PREFIX}/reversals", self._reverse)
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
            revoked = _fields(document, "revoked")["revoked"]
            if not isinstance(revoked, bool):
                raise ValueError(f"revoked: true or false, not {revoked!r}")  # noqa: TRY004 - one kind of error for one kind of answer
            self._simulation.revoked = revoked
            return {"revoked": revoked}

        return await _obey(request, revoke)

    async def _advance_clock(self, request: web.Request) -> web.Response:
        """Put the clock forward, so that keys expire and statuses progress."""

        def advance(document: Mapping[str, Any]) -> dict[str, Any]:
            name = "advance_seconds"
            by = seconds(_fields(document, name)[name], name=name)
            self._simulation.clock.advance(by)
            return {"now": instant(self._simulation.clock.now())}

        return await _obey(request, advance)

    async def _fill_wallet(self, request: web.Request) -> web.Response:
        """Add cash: `{"investor_id": "inv_1", "amount": "500.00", "currency": "USD"}`."""

        def fill(document: Mapping[str, Any]) -> dict[str, Any]:
            fields = _fields(document, "investor_id", "amount", currency=CURRENCY_DEFAULT)
            investor_id, currency = _text(fields, "investor_id"), _text(fields, "currency")
            if refusal := refusal_of_identifiers({"investor_id": investor_id}):
                raise ValueError(refusal.message)
            now = self._simulation.clock.now()
            wallet = self._simulation.house.ground.deposit(
                investor_id, currency, _amount(_text(fields, "amount")), now=now
            )
            return wallet_document(_granted(wallet))

        return await _obey(request, fill)

    async def _reverse(self, request: web.Request) -> web.Response:
        """Take back a completed withdrawal: `{"withdrawal_id": "wd_1", "status": "failed"}`."""

        def reverse(document: Mapping[str, Any]) -> dict[str, Any]:
            fields = _fields(document, "withdrawal_id", status=Status.FAILED)
            withdrawal_id, status = _text(fields, "withdrawal_id"), _text(fields, "status")
            if status not in REVERSALS:
                raise ValueError("status: one of " + ", ".join(sorted(REVERSALS)))
            now = self._simulation.clock.now()
            reversed_one = self._simulation.house.bank.reverse(
                withdrawal_id, to=Status(status), now=now
            )
            return withdrawal_document(_granted(reversed_one), now=now)

        return await _obey(request, reverse)

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


def _fields(document: Mapping[str, Any], *required: str, **optional: object) -> dict[str, object]:
    """Return the fields of a call, those that may be missing with their defaults."""
    for name in document:
        if name not in required and name not in optional:
            known = ", ".join((*required, *optional))
            raise ValueError(f"{name}: not a field here; there is {known}")
    for name in required:
        if name not in document:
            raise ValueError(f"{name}: required")
    return optional | dict(document)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ValueError(f"{name}: a string, not {value!r}")  # noqa: TRY004 - one kind of error for one kind of answer
    return value


def _amount(text: str) -> Decimal:
    if not is_amount(text) or (amount := Decimal(text)) > OPENING_BALANCE_MAX:
        raise ValueError(f"amount: a positive decimal string of money, not {text!r}")
    return amount


def _granted(outcome: Granted | Refusal) -> Granted:
    """Turn a refusal of the house into an error of the call."""
    if isinstance(outcome, Refusal):
        raise ValueError(f"{outcome.param}: {outcome.message}")  # noqa: TRY004 - the same
    return outcome


def _refusal(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
