"""What a client gets back about orders (ORD, ORG, ORL).

Pure. Quantities and money leave as strings, never as numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from worker.simulator.bluum_documents import Document, envelope, list_document, money
from worker.simulator.bluum_order import LEGACY_WORDS, OrderStatus, shares
from worker.simulator.bluum_terms import OrderWords
from worker.simulator.clock import instant

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.bluum_market import OrderPage
    from worker.simulator.bluum_order import Order


def order_document(order: Order, *, now: datetime, words: OrderWords) -> Document:
    """Return an order as it stands at `now`."""
    ticket, status, filled = order.ticket, order.status(now), order.filled(now)
    is_filled = status is OrderStatus.FILLED
    is_cancelled = status is OrderStatus.CANCELLED
    return envelope(order.id, "order", created=int(order.placed_at.timestamp())) | {
        "investor_id": order.investor_id,
        "symbol": ticket.symbol,
        "currency": ticket.currency,
        "side": ticket.side,
        "type": ticket.type,
        "time_in_force": ticket.time_in_force,
        "quantity": shares(ticket.quantity),
        "limit_price": _price(ticket.limit_price),
        "stop_price": _price(ticket.stop_price),
        "client_order_id": ticket.client_order_id,
        "status": LEGACY_WORDS[status] if words is OrderWords.LEGACY else status,
        "filled_quantity": shares(filled),
        "remaining_quantity": shares(ticket.quantity - filled),
        "average_price": money(order.proceeds(now) / filled if filled else Decimal(0)),
        "submitted_at": instant(order.placed_at),
        "filled_at": instant(order.fills[-1].at) if is_filled else None,
        "cancelled_at": instant(order.ended_at) if order.ended_at and is_cancelled else None,
        "failure_reason": order.failure_reason if status is OrderStatus.FAILED else None,
        # Bonds only (ORG).
        "settlement_date": None,
    }


def order_page_document(
    page: OrderPage, *, investor_id: str, now: datetime, words: OrderWords
) -> Document:
    """Return a page of orders in the list envelope (HOW)."""
    data = [order_document(order, now=now, words=words) for order in page.orders]
    return list_document(f"/v1/investors/{investor_id}/orders", data, has_more=page.has_more)


def _price(price: Decimal | None) -> str | None:
    return None if price is None else shares(price)
