"""What an audit compares a client's story with: effects on money, and webhook deliveries.

Pure. A withdrawal and an order are shown as they are by now, whatever lists and reads lag."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from worker.simulator.bluum_documents import Document, money
from worker.simulator.bluum_journal import Kind
from worker.simulator.bluum_order import shares
from worker.simulator.clock import instant

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.bluum_house import House
    from worker.simulator.bluum_journal import Effect
    from worker.simulator.bluum_webhooks import Webhooks


def effects_document(house: House, *, now: datetime) -> list[Document]:
    """Return every effect on money, in order.

    What was executed with all that identifies it and its present status; what happened to it later
    by its id.
    """
    return [
        {"sequence": sequence, "effect": effect.kind} | _effect_document(house, effect, now=now)
        for sequence, effect in enumerate(house.ground.journal.effects, start=1)
    ]


def attempts_document(webhooks: Webhooks) -> list[Document]:
    """Return every attempt at a webhook delivery, in order; the lost ones are attempts too."""
    return [
        {
            "sequence": sequence,
            "delivery_id": attempt.delivery.id,
            "webhook_id": attempt.delivery.subscription_id,
            "event": attempt.delivery.event,
            "id": attempt.delivery.resource_id,
            "attempt": attempt.delivery.attempt,
            "outcome": attempt.outcome,
            "http_status": attempt.status,
            "at": instant(attempt.at),
        }
        for sequence, attempt in enumerate(webhooks.attempts, start=1)
    ]


def _effect_document(house: House, effect: Effect, *, now: datetime) -> Document:
    match effect.kind:
        case Kind.WITHDRAWAL:
            return _withdrawal(house, effect, now=now)
        case Kind.CANCEL:
            return _named(house, effect) | {"cancelled_at": instant(effect.at)}
        case Kind.REVERSAL:
            to = house.bank.executed(effect.subject_id).reversed_to
            return _named(house, effect) | {"status": to, "reversed_at": instant(effect.at)}
        case Kind.DEPOSIT:
            amount = money(effect.quantity or Decimal(0))
            return {"id": effect.subject_id, "amount": amount, "added_at": instant(effect.at)}
        case Kind.ORDER:
            return _order(house, effect, now=now)
        case Kind.FILL:
            sold = shares(effect.quantity or Decimal(0))
            return _named(house, effect) | {"quantity": sold, "filled_at": instant(effect.at)}
        case Kind.ORDER_CANCEL | Kind.ORDER_FAILURE:
            return _named(house, effect) | {"ended_at": instant(effect.at)}


def _named(house: House, effect: Effect) -> Document:
    is_order = effect.kind in {Kind.ORDER, Kind.FILL, Kind.ORDER_CANCEL, Kind.ORDER_FAILURE}
    found = (house.market if is_order else house.bank).executed(effect.subject_id)
    party_name = house.ground.terms.generation.party_name
    return {"id": effect.subject_id, party_name: found.investor_id}


def _withdrawal(house: House, effect: Effect, *, now: datetime) -> Document:
    withdrawal = house.bank.executed(effect.subject_id)
    instruction = withdrawal.instruction
    target = instruction.options or {"funding_source_id": instruction.funding_source_id}
    return _named(house, effect) | {
        "idempotency_key": withdrawal.idempotency_key,
        "amount": money(instruction.amount),
        "currency": instruction.currency,
        "method": instruction.method,
        **target,
        "description": instruction.description,
        "executed_at": instant(effect.at),
        "status": withdrawal.status(now),
    }


def _order(house: House, effect: Effect, *, now: datetime) -> Document:
    order = house.market.executed(effect.subject_id)
    return _named(house, effect) | {
        "idempotency_key": order.idempotency_key,
        "client_order_id": order.ticket.client_order_id,
        "symbol": order.ticket.symbol,
        "quantity": shares(order.ticket.quantity),
        "filled_quantity": shares(order.filled(now)),
        "proceeds": money(order.proceeds(now)),
        "executed_at": instant(effect.at),
        "status": order.status(now),
    }
