"""Bluum's orders (section 8 of the reference): the calls that sell, read and cancel them.

Source keys as in `bluum`. Nothing here decides what follows from an answer, and nothing places an
order without a permit."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from worker.core.answers import NO_TRACE, Conflicted, NotNow, Trace
from worker.core.described import only_when, up_to
from worker.core.requests import ORDERS_LIMIT, Price, Quantity, SellOrder, Symbol, orders
from worker.core.sale import OrderReport, OrdersListed, Sale, SaleStatus, sale_key
from worker.providers.answer_table import Meaning, Operation
from worker.providers.bluum_replies import read_list, resource
from worker.providers.http import Reply
from worker.providers.replies import DECIMAL, ID, WORD, is_success, text_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.sale_permit import SalePermit
    from worker.providers.http import Line, Outcome
    from worker.providers.replies import Dialect

#: Every documented word, current and older (CT; PT, PW). Others are looked at again.
ORDER_STATUSES: Final[Mapping[str, SaleStatus]] = {
    "open": SaleStatus.OPEN,
    "pending": SaleStatus.OPEN,
    "accepted": SaleStatus.OPEN,
    "partial": SaleStatus.PARTIAL,
    "partially_filled": SaleStatus.PARTIAL,
    "filled": SaleStatus.FILLED,
    "cancelled": SaleStatus.CANCELLED,
    "canceled": SaleStatus.CANCELLED,
    "failed": SaleStatus.FAILED,
    "rejected": SaleStatus.FAILED,
}
#: A symbol in any of its documented forms, and what we send as `client_order_id`.
_SYMBOL: Final = re.compile(r"[A-Za-z0-9./_-]{1,32}")
_CLIENT_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


class BluumOrder(SellOrder):
    """One order of a request's `sell` (contract section 2; fields as in ORD, CT)."""

    model_config = ConfigDict(
        json_schema_extra=only_when({"type": {"const": "limit"}}, "limit_price", unless_said=False)
    )

    symbol: Symbol
    quantity: Quantity
    type: Literal["market", "limit"] = "market"
    time_in_force: Literal["day", "gtc", "opg", "cls", "ioc", "fok"] = "day"
    limit_price: Price | None = Field(default=None, validate_default=True)

    @field_validator("limit_price", mode="after")
    @classmethod
    def _fits_the_type(cls, price: str | None, info: ValidationInfo) -> str | None:
        if "type" in info.data and (price is None) is (info.data["type"] == "limit"):
            expected = "to be present for a limit order, and absent for any other"
            raise PydanticCustomError("expectation", "expected {expected}", {"expected": expected})
        return price


Orders = Annotated[tuple[BluumOrder, ...], BeforeValidator(orders), up_to(ORDERS_LIMIT)]


def compose_sales(given: Iterable[BluumOrder], message_id: str, currency: str) -> tuple[Sale, ...]:
    """Write the exact body of each order (ORD); `currency` is the wallet the cash goes to."""
    return tuple(
        _sale(order, sale_key(message_id, index), currency) for index, order in enumerate(given)
    )


class BluumOrders:
    """The calls for orders, over one `Line`; `now` and `tenure` as for `Bluum`.

    They are those of the investor-scoped generation: no request of the other one has an order.
    """

    def __init__(
        self,
        line: Line,
        dialect: Dialect,
        *,
        now: Callable[[], datetime],
        tenure: Callable[[], int | None],
    ) -> None:
        self._line = line
        self._dialect = dialect
        self._now = now
        self._tenure = tenure

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """`POST /investors/{id}/orders` (ORD, JO) with the key and bytes of the permit.

        Whether the key is honoured is not documented (section 12): the same key stands in the body
        as `client_order_id`.
        """
        outcome = await self._line.exchange(
            Operation.SELL,
            "POST",
            _path(permit.party_id),
            body=permit.body,
            headers={"Idempotency-Key": permit.key, "Content-Type": "application/json"},
            may_leave=lambda: self._now() < permit.valid_until and self._tenure() == permit.tenure,
        )
        return _answer(self._dialect, Operation.SELL, outcome, expected_key=permit.key)

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """`GET /investors/{id}/orders/{id}` (ORG)."""
        outcome = await self._line.exchange(Operation.ORDER, "GET", _path(party_id, order_id))
        return _answer(self._dialect, Operation.ORDER, outcome, expected_id=order_id)

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """`POST /investors/{id}/orders/{id}/cancel`, no body (JO, ORC)."""
        outcome = await self._line.exchange(
            Operation.CANCEL_ORDER, "POST", f"{_path(party_id, order_id)}/cancel"
        )
        return _answer(self._dialect, Operation.CANCEL_ORDER, outcome, expected_id=order_id)

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:  # noqa: ARG002 - all are in one list
        """`GET /investors/{id}/orders` (ORL), whole.

        Without a filter: how one treats symbols or states that change is not documented, and an
        order that it hides would be placed twice.
        """
        found = await read_list(
            self._line,
            self._dialect,
            Operation.ORDERS,
            _path(party_id),
            query={},
            read=_report,
            identity=_id,
        )
        return OrdersListed(found) if isinstance(found, tuple) else found


def _sale(order: BluumOrder, key: str, currency: str) -> Sale:
    document = {
        "symbol": order.symbol,
        "side": "sell",
        "type": order.type,
        "time_in_force": order.time_in_force,
        "quantity": order.quantity,
        "wallet_currency": currency,
        "client_order_id": key,
    }
    if order.limit_price is not None:
        document["limit_price"] = order.limit_price
    body = json.dumps(document, separators=(",", ":")).encode()
    return Sale(key=key, body=body, symbol=order.symbol, quantity=order.quantity)


def _path(party_id: str, order_id: str | None = None) -> str:
    path = f"/investors/{quote(party_id, safe='')}/orders"
    return path if order_id is None else f"{path}/{quote(order_id, safe='')}"


def _answer(
    dialect: Dialect,
    operation: Operation,
    outcome: Outcome,
    *,
    expected_id: str | None = None,
    expected_key: str | None = None,
) -> OrderAnswer:
    """Turn an exchange about one order into an answer."""
    report = _report_in(outcome, expected_id, expected_key)
    strange = report is not None and report.status is None
    row = dialect.classified(operation, outcome, usable=report is not None, strange=strange)
    if row.meaning is Meaning.REPORTED and report is not None:
        return report
    if row.meaning is Meaning.CONFLICTED:
        return Conflicted(dialect.trace_of(outcome))
    if row.meaning is Meaning.NOT_NOW:
        return NotNow(dialect.trace_of(outcome))
    return dialect.no_success(row, outcome)


def _report_in(
    outcome: Outcome, expected_id: str | None, expected_key: str | None
) -> OrderReport | None:
    """Read the order that a success is about; None unless it is the one that was meant."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    trace = Trace(http_status=outcome.status, request_id=outcome.request_id)
    report = _report(resource(outcome), trace)
    if report is None or expected_id not in {None, report.order_id}:
        return None
    is_anothers = expected_key is not None and report.client_order_id not in {None, expected_key}
    return None if is_anothers else report


def _report(item: object, trace: Trace | None = None) -> OrderReport | None:
    """Read one order (ORD, ORG; older names beside them); None without a usable id.

    Whatever else is not in a documented form counts as not shown.
    """
    if not isinstance(item, dict):
        return None
    identity = text_of(item.get("id") or item.get("order_id"), ID)
    if identity is None:
        return None
    word = text_of(item.get("status"), WORD)
    if trace is not None:
        trace = Trace(trace.http_status, None, trace.request_id, told(item.get("failure_reason")))
    return OrderReport(
        order_id=identity,
        status=ORDER_STATUSES.get(word or ""),
        provider_status=word,
        client_order_id=text_of(item.get("client_order_id") or None, _CLIENT_ID),
        symbol=text_of(item.get("symbol"), _SYMBOL),
        side=text_of(item.get("side"), WORD),
        quantity=_number(item, "quantity", "qty"),
        filled_quantity=_number(item, "filled_quantity", "filled_qty"),
        average_price=_number(item, "average_price", "filled_avg_price"),
        created_at=_created_at(item),
        trace=trace or NO_TRACE,
    )


def _number(item: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of some fields that is a decimal text."""
    found = (text_of(item.get(name), DECIMAL) for name in names)
    return next((text for text in found if text is not None), None)


def _created_at(item: Mapping[str, Any]) -> datetime | None:
    """Read when an order was made: `created` in unix seconds, or ISO times (ORD)."""
    created = item.get("created")
    try:
        if isinstance(created, int | float) and not isinstance(created, bool) and created > 0:
            return datetime.fromtimestamp(created, UTC)
        text = item.get("submitted_at") or item.get("created_at")
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return None if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)


def _id(order: OrderReport) -> str:
    return order.order_id
