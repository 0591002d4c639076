"""The routes of Upvest's API: tokens, withdrawals and cash. From a call to its answer.

Pure: what arrives as HTTP is already a `Call`, what leaves is a status and a document. The order of
the checks within a call is undocumented: identifiers first, then the body, then the house. Orders
and webhooks have files of their own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator import upvest_documents as documents
from worker.simulator.faults import CallKind
from worker.simulator.upvest_ground import problem_of_group
from worker.simulator.upvest_order_api import ORDER_ROUTES
from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_reading import (
    PAGING,
    UUID,
    Rule,
    is_match,
    is_uuid,
    one_of,
    paging_of,
    read_fields,
    read_query,
)
from worker.simulator.upvest_route import (
    NO_CONTENT,
    OK,
    Answer,
    Call,
    Operation,
    Scope,
    UpvestRoute,
    acting,
    reading,
    refused,
)
from worker.simulator.upvest_terms import CASH_CURRENCIES, CURRENCIES
from worker.simulator.upvest_token_api import TOKEN_ROUTE
from worker.simulator.upvest_webhook_api import WEBHOOK_ROUTES
from worker.simulator.upvest_withdrawal import Instruction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.upvest_house import House

#: Every field of a withdrawal that a client may name (WREF, S19, S26).
_FIELDS: Final[Mapping[str, Rule]] = {
    "reference_account_id": UUID,
    "account_group_id": UUID,
    "user_id": UUID,
    "amount": Rule(
        lambda value: is_match(r"[0-9]{1,9}(\.[0-9]{2})?")(value) and Decimal(str(value)) > 0,
        "a positive decimal string with no or two decimals, at most 999999999.99",
    ),
    "currency": one_of(CURRENCIES),
    "remittance_information": Rule(
        is_match(r"[0-9A-Za-z+?/\-:().,';_ ]{0,140}"),
        "at most 140 characters: letters, digits, space and + ? / - : ( ) . , ' ; _",
    ),
    "purpose_code": Rule(is_match(r"[A-Z0-9]{1,4}"), "an ISO 20022 code"),
}
_REQUIRED: Final = ("reference_account_id", "account_group_id", "amount")


def answer(route: UpvestRoute, house: House, call: Call) -> Answer:
    """Return the answer of a route; identifiers of a wrong form never reach the house."""
    for name, value in call.identifiers.items():
        if name.endswith("_id") and not is_uuid(value):
            return refused(Problem(Kind.INVALID_REQUEST, f"{name} must be a UUID.", name))
    lowered = {name: value.lower() for name, value in call.identifiers.items()}
    return route.respond(house, replace(call, identifiers=lowered))


def _create_withdrawal(house: House, call: Call) -> Answer:
    def execute() -> Answer:
        fields = read_fields(call.body, _FIELDS, required=_REQUIRED)
        if isinstance(fields, Problem):
            return refused(fields)
        made = house.bank.create(
            _instruction(fields), key=call.key or "", body=call.body, now=call.now
        )
        if isinstance(made, Problem):
            return refused(made)
        return Answer(OK, documents.withdrawal_document(made, now=call.now))

    # Before the key is asked for: a call that takes effect late may be due, with this very key.
    house.agenda.run(call.now)
    return house.ground.memory.once(Operation.CREATE_WITHDRAWAL, call, execute)


def _instruction(fields: Mapping[str, Any]) -> Instruction:
    return Instruction(
        account_group_id=fields["account_group_id"].lower(),
        reference_account_id=fields["reference_account_id"].lower(),
        amount=Decimal(fields["amount"]),
        currency=fields.get("currency", CURRENCIES[0]),
        fields=dict(fields),
    )


def _get_withdrawal(house: House, call: Call) -> Answer:
    found = house.bank.withdrawal(call.identifiers["withdrawal_id"], now=call.now)
    if isinstance(found, Problem):
        return refused(found)
    seen_at = house.ground.terms.seen_at(call.now)
    return Answer(OK, documents.withdrawal_document(found, now=seen_at))


def _cancel_withdrawal(house: House, call: Call) -> Answer:
    problem = house.bank.cancel(call.identifiers["withdrawal_id"], now=call.now)
    return Answer(NO_CONTENT, None) if problem is None else refused(problem)


def _list_withdrawals(house: House, call: Call) -> Answer:
    read = read_query(call.query, PAGING)
    if isinstance(read, Problem):
        return refused(read)
    paging = paging_of(read)
    found = house.bank.withdrawals(
        call.identifiers["account_group_id"], sort=paging.sort, now=call.now
    )
    if isinstance(found, Problem):
        return refused(found)
    seen_at = house.ground.terms.seen_at(call.now)
    page = [documents.withdrawal_document(one, now=seen_at) for one in paging.page(found)]
    return Answer(OK, documents.list_document(page, paging, total=len(found)))


def _get_balance(house: House, call: Call) -> Answer:
    group, currency = call.identifiers["account_group_id"], call.identifiers["currency"].upper()
    if problem := problem_of_group(group):
        return refused(problem)
    if currency not in CASH_CURRENCIES:
        return refused(Problem(Kind.NOT_FOUND, "There is no balance in this currency.", "currency"))
    house.ground.agenda.run(call.now)
    cash = house.ground.coffers.cash(group, currency)
    return Answer(OK, documents.balance_document(group, currency, cash))


def _list_balances(house: House, call: Call) -> Answer:
    group = call.identifiers["account_group_id"]
    if problem := problem_of_group(group):
        return refused(problem)
    house.ground.agenda.run(call.now)
    balances = [
        documents.balance_document(group, currency, house.ground.coffers.cash(group, currency))
        for currency in CASH_CURRENCIES
    ]
    count = len(balances)
    meta = {"count": count, "total_count": count, "offset": 0, "limit": 100}
    return Answer(OK, {"meta": meta, "data": balances})


def _unknown_path(_house: House, _call: Call) -> Answer:
    return refused(Problem(Kind.NOT_FOUND, "There is nothing at this path and method."))


_WITHDRAWALS: Final = "/payments/withdrawals"
_WITHDRAWAL: Final = f"{_WITHDRAWALS}/{{withdrawal_id}}"
_GROUP: Final = "/account_groups/{account_group_id}"
_BALANCES: Final = f"{_GROUP}/payments/cash_balances"
_READ: Final = frozenset({Scope.PAYMENTS_READ, Scope.PAYMENTS_ADMIN})
_WRITE: Final = frozenset({Scope.PAYMENTS_ADMIN})
_POSITIONS: Final = frozenset({Scope.POSITIONS_READ})

#: The API. A path that is not here, or has another method, is `UNKNOWN_ROUTE`.
ROUTES: Final = (
    TOKEN_ROUTE,
    acting(
        "POST",
        _WITHDRAWALS,
        Operation.CREATE_WITHDRAWAL,
        _create_withdrawal,
        _WRITE,
        kind=CallKind.CREATE,
    ),
    reading(_WITHDRAWAL, Operation.GET_WITHDRAWAL, _get_withdrawal, _READ),
    acting(
        "DELETE",
        _WITHDRAWAL,
        Operation.CANCEL_WITHDRAWAL,
        _cancel_withdrawal,
        _WRITE,
        kind=CallKind.CANCEL,
    ),
    reading(f"{_GROUP}{_WITHDRAWALS}", Operation.LIST_WITHDRAWALS, _list_withdrawals, _READ),
    reading(f"{_BALANCES}/{{currency}}", Operation.GET_BALANCE, _get_balance, _POSITIONS),
    reading(_BALANCES, Operation.LIST_BALANCES, _list_balances, _POSITIONS),
    *ORDER_ROUTES,
    *WEBHOOK_ROUTES,
)

UNKNOWN_ROUTE: Final = UpvestRoute(
    method="*",
    path="/{rest:.*}",
    operation=Operation.UNKNOWN,
    kind=CallKind.OTHER,
    respond=_unknown_path,
)
