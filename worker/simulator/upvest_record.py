"""What an audit compares a client's story with: effects on money, and what was told by webhook.

Pure. In the shape of every simulator's record; a withdrawal and an order are shown as they are by
now, whatever lists and reads lag."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from worker.simulator.clock import instant
from worker.simulator.upvest_documents import money
from worker.simulator.upvest_journal import Kind
from worker.simulator.upvest_order import shares

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.route import Document
    from worker.simulator.upvest_house import House
    from worker.simulator.upvest_journal import Effect
    from worker.simulator.upvest_webhooks import UpvestWebhooks


def effects_document(house: House, *, now: datetime) -> list[Document]:
    """Return every effect on money, in order.

    What was executed with all that identifies it and its present status; what happened to it later
    by its id.
    """
    return [
        {"sequence": sequence, "effect": effect.kind} | _effect_document(house, effect, now=now)
        for sequence, effect in enumerate(house.ground.journal.effects, start=1)
    ]


def attempts_document(webhooks: UpvestWebhooks) -> list[Document]:
    """Return every attempt at telling an event, in order; the lost ones are attempts too."""
    return [
        {
            "sequence": sequence,
            "delivery_id": None if attempt.delivery is None else attempt.delivery.id,
            "webhook_id": attempt.subscription_id,
            "event_id": attempt.event.id,
            "event": attempt.event.notice.type,
            "id": attempt.event.notice.resource_id,
            "attempt": 1 if attempt.delivery is None else attempt.delivery.attempt,
            "outcome": attempt.outcome,
            "http_status": attempt.status,
            "at": instant(attempt.at),
        }
        for sequence, attempt in enumerate(webhooks.attempts, start=1)
    ]


def _effect_document(house: House, effect: Effect, *, now: datetime) -> Document:
    at = instant(effect.at)
    match effect.kind:
        case Kind.WITHDRAWAL:
            return _withdrawal(house, effect, now=now)
        case Kind.CANCEL:
            return _of_withdrawal(house, effect) | {"cancelled_at": at}
        case Kind.REVERSAL:
            withdrawal = house.bank.executed(effect.subject_id)
            told = {"status": withdrawal.status(now), "reason": withdrawal.return_reason}
            return _of_withdrawal(house, effect) | told | {"reversed_at": at}
        case Kind.DEPOSIT:
            amount = money(effect.quantity or Decimal(0))
            return {"id": effect.subject_id, "amount": amount, "added_at": at}
        case Kind.ORDER:
            return _order(house, effect, now=now)
        case Kind.FILL:
            sold = shares(effect.quantity or Decimal(0))
            return _of_order(house, effect) | {"quantity": sold, "filled_at": at}
        case Kind.SETTLEMENT:
            return _of_order(house, effect) | {"settled_at": at}
        case Kind.MISTRADE | Kind.ORDER_CANCEL:
            return _of_order(house, effect) | {"ended_at": at}


def _of_withdrawal(house: House, effect: Effect) -> Document:
    withdrawal = house.bank.executed(effect.subject_id)
    return {"id": effect.subject_id, "account_group_id": withdrawal.account_group_id}


def _withdrawal(house: House, effect: Effect, *, now: datetime) -> Document:
    withdrawal = house.bank.executed(effect.subject_id)
    instruction = withdrawal.instruction
    return _of_withdrawal(house, effect) | {
        "idempotency_key": withdrawal.idempotency_key,
        "amount": money(instruction.amount),
        "currency": instruction.currency,
        "reference_account_id": instruction.reference_account_id,
        "remittance_information": instruction.fields.get("remittance_information"),
        "executed_at": instant(effect.at),
        "status": withdrawal.status(now),
        "cancellation_reason": withdrawal.cancellation(now),
    }


def _of_order(house: House, effect: Effect) -> Document:
    order = house.market.accepted(effect.subject_id)
    return {"id": effect.subject_id, "account_id": order.ticket.account_id}


def _order(house: House, effect: Effect, *, now: datetime) -> Document:
    order = house.market.accepted(effect.subject_id)
    sold, proceeds = order.kept(now)
    return _of_order(house, effect) | {
        "idempotency_key": order.idempotency_key,
        "client_order_id": order.ticket.client_reference,
        "symbol": order.ticket.instrument_id,
        "quantity": shares(order.shares),
        "filled_quantity": shares(sold),
        "proceeds": money(proceeds),
        "executed_at": instant(effect.at),
        "status": order.status(now),
        "executions": [one.status(now) for one in order.executed(now)],
    }
