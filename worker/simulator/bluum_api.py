"""The routes of Bluum's API (generation G3, investor-scoped): from a call to its answer.

Pure: what arrives as HTTP is already a `Call`, what leaves is a status and a document. The order of
the checks within a call is undocumented: identifiers first, then the body, then the bank."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.simulator import bluum_documents as documents
from worker.simulator.bluum_bank import BluumBank, Created, Replayed, refusal_of_investor
from worker.simulator.bluum_calls import read_filters, read_instruction, refusal_of_identifiers
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.faults import CallKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

_CREATED: Final = 201
_OK: Final = 200


class Operation(StrEnum):
    """What a call wants; the words under which calls are counted."""

    CREATE_WITHDRAWAL = "create_withdrawal"
    LIST_WITHDRAWALS = "list_withdrawals"
    GET_WITHDRAWAL = "get_withdrawal"
    CANCEL_WITHDRAWAL = "cancel_withdrawal"
    LIST_WALLETS = "list_wallets"
    GET_INVESTOR = "get_investor"
    LIST_FUNDING_SOURCES = "list_funding_sources"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorised call. `identifiers` are the path's, `key` is the Idempotency-Key."""

    identifiers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes
    key: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: an HTTP status and a JSON document."""

    status: int
    document: documents.Document


Respond: TypeAlias = "Callable[[BluumBank, Call], Answer]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the API: where a call goes, what it is called, and which function answers."""

    method: str
    path: str
    operation: Operation
    kind: CallKind
    respond: Respond


def answer(route: Route, bank: BluumBank, call: Call) -> Answer:
    """Return the answer of a route; identifiers of a wrong form never reach the bank."""
    if refusal := refusal_of_identifiers(call.identifiers):
        return refused(refusal)
    return route.respond(bank, call)


def refused(refusal: Refusal) -> Answer:
    """Return the answer that carries a refusal."""
    return Answer(refusal.code.http_status, documents.refusal_document(refusal))


def _create_withdrawal(bank: BluumBank, call: Call) -> Answer:
    instruction = read_instruction(call.body)
    if isinstance(instruction, Refusal):
        return refused(instruction)
    investor_id = call.identifiers["investor_id"]
    outcome = bank.create(investor_id, instruction, body=call.body, key=call.key, now=call.now)
    match outcome:
        case Created(withdrawal) | Replayed(withdrawal):
            # A repeat shows the response as it was, hence the time of the execution.
            now = withdrawal.executed_at
            return Answer(_CREATED, documents.withdrawal_document(withdrawal, now=now))
        case Refusal():
            return refused(outcome)


def _list_withdrawals(bank: BluumBank, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    filters = read_filters(call.query)
    if isinstance(filters, Refusal):
        return refused(filters)
    page = bank.withdrawals(investor_id, filters, now=call.now)
    if isinstance(page, Refusal):
        return refused(page)
    return Answer(_OK, documents.page_document(page, investor_id=investor_id, now=call.now))


def _get_withdrawal(bank: BluumBank, call: Call) -> Answer:
    identifiers = call.identifiers
    found = bank.withdrawal(identifiers["investor_id"], identifiers["withdrawal_id"])
    if isinstance(found, Refusal):
        return refused(found)
    return Answer(_OK, documents.withdrawal_document(found, now=call.now))


def _cancel_withdrawal(bank: BluumBank, call: Call) -> Answer:
    identifiers = call.identifiers
    cancelled = bank.cancel(identifiers["investor_id"], identifiers["withdrawal_id"], now=call.now)
    if isinstance(cancelled, Refusal):
        return refused(cancelled)
    return Answer(_OK, documents.withdrawal_document(cancelled, now=call.now))


def _list_wallets(bank: BluumBank, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    wallets = bank.wallets(investor_id, now=call.now)
    if isinstance(wallets, Refusal):
        return refused(wallets)
    return Answer(_OK, documents.wallets_document(wallets, investor_id=investor_id))


def _get_investor(bank: BluumBank, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    wallets = bank.wallets(investor_id, now=call.now)
    if isinstance(wallets, Refusal):
        return refused(wallets)
    return Answer(_OK, documents.investor_document(investor_id, wallets))


def _list_funding_sources(_bank: BluumBank, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    if refusal := refusal_of_investor(investor_id):
        return refused(refusal)
    kind = dict(call.query).get("type", "all")
    if kind not in ("plaid", "manual", "all"):
        return refused(Refusal(Code.BAD_ENUM, "type must be plaid, manual or all.", "type"))
    return Answer(_OK, documents.funding_sources_document(investor_id, kind=kind))


def _unknown_path(_bank: BluumBank, _call: Call) -> Answer:
    return refused(Refusal(Code.UNKNOWN_PATH, "There is nothing at this path and method."))


_INVESTOR: Final = "/v1/investors/{investor_id}"

#: The API. A path that is not here, or has another method, is `UNKNOWN_ROUTE`.
ROUTES: Final = (
    Route(
        method="POST",
        path=f"{_INVESTOR}/withdrawals",
        operation=Operation.CREATE_WITHDRAWAL,
        kind=CallKind.CREATE,
        respond=_create_withdrawal,
    ),
    Route(
        method="GET",
        path=f"{_INVESTOR}/withdrawals",
        operation=Operation.LIST_WITHDRAWALS,
        kind=CallKind.READ,
        respond=_list_withdrawals,
    ),
    Route(
        method="GET",
        path=f"{_INVESTOR}/withdrawals/{{withdrawal_id}}",
        operation=Operation.GET_WITHDRAWAL,
        kind=CallKind.READ,
        respond=_get_withdrawal,
    ),
    Route(
        method="POST",
        path=f"{_INVESTOR}/withdrawals/{{withdrawal_id}}/cancel",
        operation=Operation.CANCEL_WITHDRAWAL,
        kind=CallKind.OTHER,
        respond=_cancel_withdrawal,
    ),
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
)

UNKNOWN_ROUTE: Final = Route(
    method="*",
    path="/{rest:.*}",
    operation=Operation.UNKNOWN,
    kind=CallKind.OTHER,
    respond=_unknown_path,
)
