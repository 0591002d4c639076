"""What a client gets back about orders: the market's values as Upvest's JSON (OREF, S26).

Pure. Quantities and money leave as strings, never as numbers; what was not given comes back as `0`
or as an empty text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.simulator.clock import instant
from worker.simulator.upvest_documents import money
from worker.simulator.upvest_order import OrderStatus, shares

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from worker.simulator.route import Document
    from worker.simulator.upvest_order import Execution, Order


def order_document(order: Order, *, now: datetime) -> Document:
    """Return an order as it stands at `now`."""
    ticket = order.ticket
    status = order.status(now)
    owner: Document = {
        name: ticket.fields[name] for name in ("user_id", "business_id") if name in ticket.fields
    }
    document: Document = {
        "id": order.id,
        "created_at": instant(order.created_at),
        "updated_at": instant(order.updated_at(now)),
        **owner,
        "account_id": ticket.account_id,
        "cash_amount": "0" if ticket.cash_amount is None else money(ticket.cash_amount),
        "currency": ticket.currency,
        "side": "SELL",
        "instrument_id": ticket.instrument_id,
        "instrument_id_type": "ISIN",
        "order_type": ticket.order_type,
        "quantity": "0" if ticket.quantity is None else shares(ticket.quantity),
        "limit_price": _price(ticket.limit_price),
        "stop_price": _price(ticket.stop_price),
        "status": status,
        "fee": "0.0",
        "executions": [execution_document(order, one, now=now) for one in order.executed(now)],
        "client_reference": ticket.client_reference,
        "initiation_flow": "API",
        "execution_flow": ticket.fields.get("execution_flow", "STRAIGHT_THROUGH"),
    }
    if status is OrderStatus.CANCELLED:
        document["cancellation_reason"] = order.reason
    return document


def execution_document(order: Order, execution: Execution, *, now: datetime) -> Document:
    """Return one execution of an order as it stands at `now`."""
    return {
        "id": execution.id,
        "order_id": order.id,
        "side": "SELL",
        "currency": order.ticket.currency,
        "status": execution.status(now),
        "cash_amount": money(execution.proceeds),
        "share_quantity": shares(execution.quantity),
        "price": money(execution.price),
        "transaction_time": instant(execution.at),
        "settlement_date": execution.settles_at.date().isoformat(),
        "taxes": [],
        "venue_id": "00000000-0000-4000-8000-0000000000fe",
    }


def _price(price: Decimal | None) -> str:
    return "" if price is None else money(price)
