"""What can be asked of the simulated Bluum API, and how a refusal is answered.

Values only; the lines of the API stand with the resources they are about."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from worker.simulator import bluum_documents as documents
from worker.simulator.route import Answer, Call, Route

if TYPE_CHECKING:
    from worker.simulator.bluum_refusals import Refusal

__all__ = ["CREATED", "OK", "Answer", "Call", "Operation", "Route", "refused"]

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


def refused(refusal: Refusal) -> Answer:
    """Return the answer that carries a refusal."""
    return Answer(refusal.code.http_status, documents.refusal_document(refusal))
