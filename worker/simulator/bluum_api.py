"""The routes of Bluum's API, in both its generations: from a call to its answer.

Pure: what arrives as HTTP is already a `Call`, what leaves is a status and a document. The order of
the checks within a call is undocumented: identifiers first, then the body, then the house.
Orders and webhooks have files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.simulator import bluum_documents as documents
from worker.simulator.bluum_bank import Created, Replayed
from worker.simulator.bluum_calls import read_filters, read_instruction, refusal_of_identifiers
from worker.simulator.bluum_ground import refusal_of_investor
from worker.simulator.bluum_order_api import ORDER_ROUTES
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_route import CREATED, OK, Answer, Call, Operation, Route, refused
from worker.simulator.bluum_webhook_api import WEBHOOK_ROUTES
from worker.simulator.faults import CallKind

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.bluum_generation import Generation
    from worker.simulator.bluum_house import House
    from worker.simulator.bluum_withdrawal import Withdrawal


def answer(route: Route, house: House, call: Call) -> Answer:
    """Return the answer of a route; identifiers of a wrong form never reach the house."""
    if refusal := refusal_of_identifiers(call.identifiers, house.ground.terms.generation):
        return refused(refusal)
    return route.respond(house, call)


def _create_withdrawal(house: House, call: Call) -> Answer:
    instruction = read_instruction(call.body, house.ground.terms.generation)
    if isinstance(instruction, Refusal):
        return refused(instruction)
    outcome = house.bank.create(
        _party(house, call), instruction, body=call.body, key=call.key, now=call.now
    )
    match outcome:
        case Created(withdrawal) | Replayed(withdrawal):
            # A repeat shows the response as it was, hence the time of the execution.
            return _told(house, CREATED, withdrawal, now=withdrawal.executed_at)
        case Refusal():
            return refused(outcome)


def _list_withdrawals(house: House, call: Call) -> Answer:
    terms, investor_id = house.ground.terms, _party(house, call)
    filters = read_filters(call.query, terms.generation)
    if isinstance(filters, Refusal):
        return refused(filters)
    page = house.bank.withdrawals(investor_id, filters, now=call.now)
    if isinstance(page, Refusal):
        return refused(page)
    document = documents.page_document(
        page, investor_id=investor_id, now=terms.seen_at(call.now), generation=terms.generation
    )
    return Answer(OK, documents.enveloped(document, terms.answer_shape))


def _get_withdrawal(house: House, call: Call) -> Answer:
    withdrawal_id = call.identifiers["withdrawal_id"]
    found = house.bank.withdrawal(_party(house, call), withdrawal_id, now=call.now)
    if isinstance(found, Refusal):
        return refused(found)
    return _told(house, OK, found, now=house.ground.terms.seen_at(call.now))


def _cancel_withdrawal(house: House, call: Call) -> Answer:
    withdrawal_id = call.identifiers["withdrawal_id"]
    cancelled = house.bank.cancel(_party(house, call), withdrawal_id, now=call.now)
    if isinstance(cancelled, Refusal):
        return refused(cancelled)
    return _told(house, OK, cancelled, now=call.now)


def _party(house: House, call: Call) -> str:
    return call.identifiers[house.ground.terms.generation.party_name]


def _told(house: House, status: int, withdrawal: Withdrawal, *, now: datetime) -> Answer:
    """Answer with a withdrawal as it stands at `now`."""
    terms = house.ground.terms
    document = documents.withdrawal_document(withdrawal, now=now, generation=terms.generation)
    return Answer(status, documents.enveloped(document, terms.answer_shape))


def _list_wallets(house: House, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    wallets = house.bank.wallets(investor_id, now=call.now)
    if isinstance(wallets, Refusal):
        return refused(wallets)
    return Answer(OK, documents.wallets_document(wallets, investor_id=investor_id))


def _get_investor(house: House, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    wallets = house.bank.wallets(investor_id, now=call.now)
    if isinstance(wallets, Refusal):
        return refused(wallets)
    return Answer(OK, documents.investor_document(investor_id, wallets))


def _list_funding_sources(_house: House, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    if refusal := refusal_of_investor(investor_id):
        return refused(refusal)
    kind = dict(call.query).get("type", "all")
    if kind not in ("plaid", "manual", "all"):
        return refused(Refusal(Code.BAD_ENUM, "type must be plaid, manual or all.", "type"))
    return Answer(OK, documents.funding_sources_document(investor_id, kind=kind))


def _unknown_path(_house: House, _call: Call) -> Answer:
    return refused(Refusal(Code.UNKNOWN_PATH, "There is nothing at this path and method."))


def _withdrawal_routes(generation: Generation) -> tuple[Route, ...]:
    """Return the calls that both generations have."""
    withdrawals = f"/v1/{generation.scope}/{{{generation.party_name}}}/withdrawals"
    return (
        Route(
            method="POST",
            path=withdrawals,
            operation=Operation.CREATE_WITHDRAWAL,
            kind=CallKind.CREATE,
            respond=_create_withdrawal,
        ),
        Route(
            method="GET",
            path=withdrawals,
            operation=Operation.LIST_WITHDRAWALS,
            kind=CallKind.READ,
            respond=_list_withdrawals,
        ),
        Route(
            method="GET",
            path=f"{withdrawals}/{{withdrawal_id}}",
            operation=Operation.GET_WITHDRAWAL,
            kind=CallKind.READ,
            respond=_get_withdrawal,
        ),
        Route(
            method="POST",
            path=f"{withdrawals}/{{withdrawal_id}}/cancel",
            operation=Operation.CANCEL_WITHDRAWAL,
            kind=CallKind.CANCEL,
            respond=_cancel_withdrawal,
        ),
    )


_INVESTOR: Final = "/v1/investors/{investor_id}"

_INVESTOR_ROUTES: Final = (
    Route(
        method="GET",
        path=f"{_INVESTOR}/wallets",
        operation=Operation.LIST_WALLETS,
        kind=CallKind.READ,
        respond=_list_wallets,
    ),
    Route(
        method="GET",
        path=_INVESTOR,
        operation=Operation.GET_INVESTOR,
        kind=CallKind.READ,
        respond=_get_investor,
    ),
    Route(
        method="GET",
        path=f"{_INVESTOR}/funding-sources",
        operation=Operation.LIST_FUNDING_SOURCES,
        kind=CallKind.READ,
        respond=_list_funding_sources,
    ),
    *ORDER_ROUTES,
)

UNKNOWN_ROUTE: Final = Route(
    method="*",
    path="/{rest:.*}",
    operation=Operation.UNKNOWN,
    kind=CallKind.OTHER,
    respond=_unknown_path,
)


def routes_of(generation: Generation) -> tuple[Route, ...]:
    """Return the API of a generation: a path or method that is not in it takes the last route."""
    own = () if generation.is_older else _INVESTOR_ROUTES
    return (*_withdrawal_routes(generation), *own, *WEBHOOK_ROUTES, UNKNOWN_ROUTE)
