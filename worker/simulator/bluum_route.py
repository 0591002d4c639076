"""What a call of the simulated Bluum API is, what an answer is, and what a line of the API says.

Values only; the lines themselves stand with the resources they are about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from worker.simulator import bluum_documents as documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.simulator.bluum_house import House
    from worker.simulator.bluum_refusals import Refusal
    from worker.simulator.faults import CallKind

OK = 200
CREATED = 201


class Operation(StrEnum):
    """What a call wants; the words under which calls are counted."""

    CREATE_WITHDRAWAL = "create_withdrawal"
    LIST_WITHDRAWALS = "list_withdrawals"
    GET_WITHDRAWAL = "get_withdrawal"
    CANCEL_WITHDRAWAL = "cancel_withdrawal"
    PLACE_ORDER = "place_order"
    LIST_ORDERS = "list_orders"
    GET_ORDER = "get_order"
    CANCEL_ORDER = "cancel_order"
    LIST_WALLETS = "list_wallets"
    GET_INVESTOR = "get_investor"
    LIST_FUNDING_SOURCES = "list_funding_sources"
    LIST_EVENT_TYPES = "list_event_types"
    LIST_WEBHOOKS = "list_webhooks"
    CREATE_WEBHOOK = "create_webhook"
    CHANGE_WEBHOOK = "change_webhook"
    DELETE_WEBHOOK = "delete_webhook"
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


Respond: TypeAlias = "Callable[[House, Call], Answer]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the API: where a call goes, what it is called, and which function answers."""

    method: str
    path: str
    operation: Operation
    kind: CallKind
    respond: Respond


def refused(refusal: Refusal) -> Answer:
    """Return the answer that carries a refusal."""
    return Answer(refusal.code.http_status, documents.refusal_document(refusal))
