"""What a client gets back: the house's values as Upvest's JSON (sources WREF, CBREF, S26).

Pure. Money leaves as a string with two decimals; how Upvest writes an amount that came without
decimals is not documented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.simulator.clock import instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from worker.simulator.route import Document
    from worker.simulator.upvest_cash import Cash
    from worker.simulator.upvest_reading import Paging
    from worker.simulator.upvest_withdrawal import Withdrawal


def withdrawal_document(withdrawal: Withdrawal, *, now: datetime) -> Document:
    """Return a withdrawal as it stands at `now` (WREF)."""
    instruction = withdrawal.instruction
    document: Document = {
        "id": withdrawal.id,
        "created_at": instant(withdrawal.created_at),
        "updated_at": instant(withdrawal.updated_at(now)),
        **instruction.fields,
        "amount": money(instruction.amount),
        "currency": instruction.currency,
        "status": withdrawal.status(now),
    }
    reason = withdrawal.cancellation(now)
    return document if reason is None else document | {"cancellation_reason": reason}


def balance_document(account_group_id: str, currency: str, cash: Cash) -> Document:
    """Return a cash balance (CBREF). Nothing is ever locked here: nobody buys."""
    return {
        "account_group_id": account_group_id,
        "currency": currency,
        "balance": money(cash.balance),
        "locked_for_trading": "0",
        "pending_settlement": money(cash.unsettled),
        "available_for_withdrawal": money(cash.available),
        "available_for_trading": money(cash.available),
    }


def list_document(items: Sequence[Document], paging: Paging, *, total: int) -> Document:
    """Return one page of a list (PAG, S26)."""
    meta = {
        "offset": paging.offset,
        "limit": paging.limit,
        "count": len(items),
        "total_count": total,
        "sort": paging.sort,
        "order": paging.order,
    }
    return {"meta": meta, "data": list(items)}


def money(amount: Decimal) -> str:
    """Write an amount of money."""
    return f"{amount:.2f}"
