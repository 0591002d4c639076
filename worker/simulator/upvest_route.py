"""What can be asked of the simulated Upvest API, under which scopes, and how a no is answered.

Values only; the lines of the API stand with the resources they are about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.simulator.faults import CallKind
from worker.simulator.route import Answer, Call, Route

if TYPE_CHECKING:
    from worker.simulator.route import Respond
    from worker.simulator.upvest_problems import Problem

__all__ = ["Answer", "Call", "Operation", "Scope", "UpvestRoute", "acting", "reading", "refused"]

OK: Final = 200
CREATED: Final = 201
ACCEPTED: Final = 202
NO_CONTENT: Final = 204


class Operation(StrEnum):
    """What a call wants; the words under which calls are counted."""

    TOKEN = "token"  # noqa: S105 - a word, no secret
    CREATE_WITHDRAWAL = "create_withdrawal"
    LIST_WITHDRAWALS = "list_withdrawals"
    GET_WITHDRAWAL = "get_withdrawal"
    CANCEL_WITHDRAWAL = "cancel_withdrawal"
    PLACE_ORDER = "place_order"
    LIST_ORDERS = "list_orders"
    GET_ORDER = "get_order"
    GET_EXECUTION = "get_execution"
    CANCEL_ORDER = "cancel_order"
    GET_BALANCE = "get_balance"
    LIST_BALANCES = "list_balances"
    GET_KEYS = "get_keys"
    LIST_WEBHOOKS = "list_webhooks"
    GET_WEBHOOK = "get_webhook"
    CREATE_WEBHOOK = "create_webhook"
    CHANGE_WEBHOOK = "change_webhook"
    DELETE_WEBHOOK = "delete_webhook"
    TEST_WEBHOOK = "test_webhook"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """What a token may be good for (S19, S26)."""

    PAYMENTS_ADMIN = "payments:admin"
    PAYMENTS_READ = "payments:read"
    POSITIONS_READ = "positions:read"
    ORDERS_ADMIN = "orders:admin"
    ORDERS_READ = "orders:read"
    REFERENCE_ACCOUNTS_ADMIN = "reference_accounts:admin"
    REFERENCE_ACCOUNTS_READ = "reference_accounts:read"
    WEBHOOKS_ADMIN = "webhooks:admin"
    WEBHOOKS_READ = "webhooks:read"
    TRANSACTIONS_READ = "transactions:read"
    TESTS_ADMIN = "tests:admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpvestRoute(Route):
    """A line of the API. Each of `scopes` opens it; `needs_key` tells whether a key is required."""

    scopes: frozenset[Scope] = frozenset()
    needs_key: bool = False
    #: The call for a token is made without one, and its body is a form.
    is_token: bool = False


def reading(
    path: str, operation: Operation, respond: Respond, scopes: frozenset[Scope]
) -> UpvestRoute:
    """Return the line of a call that changes nothing."""
    return UpvestRoute(
        method="GET",
        path=path,
        operation=operation,
        kind=CallKind.READ,
        respond=respond,
        scopes=scopes,
    )


def acting(
    method: str,
    path: str,
    operation: Operation,
    respond: Respond,
    scopes: frozenset[Scope],
    *,
    kind: CallKind = CallKind.OTHER,
) -> UpvestRoute:
    """Return the line of a call that changes something; what moves money needs a key."""
    return UpvestRoute(
        method=method,
        path=path,
        operation=operation,
        kind=kind,
        respond=respond,
        scopes=scopes,
        needs_key=kind in {CallKind.CREATE, CallKind.PLACE},
    )


def refused(problem: Problem) -> Answer:
    """Return the answer that carries a problem."""
    return Answer(problem.status, problem.document())
