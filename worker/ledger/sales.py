"""How the orders that raise cash are stored: as JSON beside their withdrawal, and by their ids.

Nothing is decided here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from worker.core.sale import Sale, SaleStatus
from worker.core.withdrawal import Reason, ReasonCode
from worker.ledger.many import Many
from worker.ledger.schema import sale_orders

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from worker.core.withdrawal import Withdrawal

#: What is stored as it is.
_PLAIN: Final = (
    "key",
    "symbol",
    "quantity",
    "cash_amount",
    "order_id",
    "provider_status",
    "filled_quantity",
    "average_price",
    "attempts",
    "empty_lookups",
)
_TIMES: Final = ("first_attempt_at", "last_attempt_at", "looked_up_at", "sold_at")


def written(sales: Collection[Sale]) -> str | None:
    """Write orders down as JSON; None where there are none."""
    if not sales:
        return None
    return json.dumps([_document(sale) for sale in sales], separators=(",", ":"))


def read(text: str | None) -> tuple[Sale, ...]:
    """Read orders back, exactly as they were written."""
    return () if text is None else tuple(_sale(document) for document in json.loads(text))


def new_ids(row: int, before: Withdrawal, after: Withdrawal) -> list[dict[str, Any]]:
    """Return the rows of `sale_orders` for the ids that a change of the withdrawal in `row` tells.

    An id that belongs to another withdrawal is refused by the table: one order raises cash once.
    """
    if after.sales == before.sales:
        return []
    known = {sale.order_id for sale in before.sales}
    return [
        {"provider": after.order.provider, "order_id": sale.order_id, "withdrawal": row}
        for sale in after.sales
        if sale.order_id is not None and sale.order_id not in known
    ]


def owned_by_others(
    connection: Connection, provider: str, order_ids: Collection[str], *, row: int
) -> frozenset[str]:
    """Return the ids of orders that belong to another row than `row`."""
    statement = select(sale_orders.c.order_id).where(
        sale_orders.c.provider == provider,
        sale_orders.c.order_id.in_(sorted(order_ids)),
        sale_orders.c.withdrawal != row,
    )
    return frozenset(connection.scalars(statement))


def _document(sale: Sale) -> dict[str, Any]:
    reason = sale.reason
    return {
        **{name: getattr(sale, name) for name in _PLAIN},
        **{name: _written(getattr(sale, name)) for name in _TIMES},
        "status": sale.status.value,
        "body": sale.body.decode(),
        "reason": reason and [reason.code.value, reason.provider_code, reason.detail],
    }


def _sale(document: Mapping[str, Any]) -> Sale:
    reason = document["reason"]
    plain: dict[str, Any] = {name: document[name] for name in _PLAIN}
    # What was written by an earlier release may lack one.
    times: dict[str, Any] = {name: _time(document.get(name)) for name in _TIMES}
    return Sale(
        **plain,
        **times,
        status=SaleStatus(document["status"]),
        body=document["body"].encode(),
        reason=reason and Reason(ReasonCode(reason[0]), *reason[1:]),
    )


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _time(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


ORDERS: Final = Many(lambda _: sale_orders.insert())
