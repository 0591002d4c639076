"""Upvest's orders (section 7 of the reference): the calls that sell, read and cancel them.

Source keys as in `upvest`; SO names the reference of orders in S26 and the guides `inspect`,
`order_states` and `order_execution_states`. Nothing here decides what follows from an answer, and
nothing places an order without a permit.

What travels (SO):

- `POST /orders` with `idempotency-key`: `{"account_id", "user_id", "side": "SELL",
  "instrument_id": ISIN, "instrument_id_type": "ISIN", "order_type": "MARKET"|"LIMIT"|"STOP",
  "quantity" | "cash_amount" + "currency", "limit_price"?, "stop_price"?, "client_reference"}`, in
  this order. Answered by 202 and the order.
- The order, in every answer: `{"id", "created_at", "updated_at", "user_id", "account_id",
  "cash_amount", "currency", "side", "instrument_id", "instrument_id_type", "order_type",
  "quantity", "limit_price", "stop_price", "status", "fee", "executions": […], "client_reference",
  "initiation_flow"}`. What was not given comes back as `"0"` or `""`. `status` is NEW, PROCESSING,
  FILLED or CANCELLED; then `cancellation_reason` stands beside it.
- Its `executions`, a required list: `{"id", "order_id", "side", "currency", "status": FILLED|
  SETTLED|CANCELLED, "cash_amount", "share_quantity", "price", "transaction_time", "taxes",
  "settlement_date"?, "venue_id"}`. One alone can be read as
  `GET /orders/{order_id}/executions/{execution_id}`; there is no list of them but this one.
- `GET /orders/{id}`: 200 and the order. `DELETE /orders/{id}`: 202 and `{"id"}`; what came of it is
  read afterwards.
- `GET /accounts/{account_id}/orders`: `{"meta": {"offset", "limit", "count", "total_count", "sort",
  "order"}, "data": […]}`. Its filter `status` is FILLED where it is left out, so the list is read
  once for each status.
"""

from __future__ import annotations

import json
import logging
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from worker.core.answers import NO_TRACE, Conflicted, Trace, Unclear
from worker.core.sale import OrderReport, OrdersListed, Sale, SaleStatus, sale_key
from worker.providers.answer_table import Meaning, Operation
from worker.providers.http import Reply
from worker.providers.replies import ID, WORD, is_success, text_of
from worker.providers.upvest_access import Scope
from worker.providers.upvest_replies import DIALECT, read_list, time_of
from worker.providers.upvest_requests import ISIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.sale_permit import SalePermit
    from worker.providers.http import Outcome
    from worker.providers.upvest_access import UpvestAccess
    from worker.providers.upvest_requests import UpvestOrder

_log = logging.getLogger(__name__)

#: The documented states of an order (OST), in the order in which it goes through them.
ORDER_STATES: Final = ("NEW", "PROCESSING", "FILLED", "CANCELLED")

#: A number of an order's (S26, where 63 digits may stand before the point: no holding has more than
#: these, and with more nothing could be added up exactly). Zero stands for "not given".
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,27})?")
_REFERENCE = re.compile(r"[\x20-\x7e]{1,100}")
_NO_CONTENT: Final = 204


def bare(key: str) -> str:
    """Cut off what a key of ours begins with: Upvest takes UUIDs alone (S19).

    >>> bare("wd-f3eca9b7-728b-5861-9782-aeb3cdc02f27")
    'f3eca9b7-728b-5861-9782-aeb3cdc02f27'
    """
    return key.partition("-")[2]


def compose_sales(
    given: Iterable[UpvestOrder], message_id: str, *, user_id: str, currency: str
) -> tuple[Sale, ...]:
    """Write the exact body of each order; `currency` is that of the cash to raise."""
    return tuple(
        _sale(order, sale_key(message_id, index), user_id=user_id, currency=currency)
        for index, order in enumerate(given)
    )


class UpvestOrders:
    """The calls for orders, over one `UpvestAccess`; `now` and `tenure` as for `Upvest`."""

    def __init__(
        self, access: UpvestAccess, *, now: Callable[[], datetime], tenure: Callable[[], int | None]
    ) -> None:
        self._access = access
        self._now = now
        self._tenure = tenure

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """`POST /orders` with the key and bytes of the permit.

        An order that comes outside trading hours is taken and stays NEW until they begin (OST).
        """
        outcome = await self._access.exchange(
            Operation.SELL,
            "POST",
            "/orders",
            scope=Scope.ORDERS_ADMIN,
            body=permit.body,
            headers={"Idempotency-Key": bare(permit.key)},
            may_leave=lambda: self._now() < permit.valid_until and self._tenure() == permit.tenure,
        )
        return _answer(Operation.SELL, outcome, expected_key=permit.key)

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:  # noqa: ARG002 - the path names no account group
        """`GET /orders/{id}`, with its executions."""
        outcome = await self._access.exchange(
            Operation.ORDER, "GET", _path(order_id), scope=Scope.ORDERS_READ
        )
        return _answer(Operation.ORDER, outcome, expected_id=order_id)

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:  # noqa: ARG002
        """`DELETE /orders/{id}`: accepted, and done later, while it is NEW (PROCESSING: S26)."""
        outcome = await self._access.exchange(
            Operation.CANCEL_ORDER, "DELETE", _path(order_id), scope=Scope.ORDERS_ADMIN
        )
        return _answer(Operation.CANCEL_ORDER, outcome, expected_id=order_id)

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:  # noqa: ARG002
        """`GET /accounts/{account_id}/orders` of the account that the sale is to sell from.

        Once for each state, in the order in which an order goes through them: one that moves on
        while we read is found further on. It is not filtered by time: what a filter hides would be
        placed twice.
        """
        account_id = _account_of(sale)
        if account_id is None:
            return Unclear("unusable_sale")
        found: dict[str, OrderReport] = {}
        for state in ORDER_STATES:
            listed = await read_list(
                self._access,
                Operation.ORDERS,
                f"/accounts/{quote(account_id, safe='')}/orders",
                scope=Scope.ORDERS_READ,
                query={"status": state},
                read=_report,
                identity=lambda order: order.order_id,
            )
            if not isinstance(listed, tuple):
                return listed
            found |= {order.order_id: order for order in listed}
        return OrdersListed(tuple(found.values()))


def _sale(order: UpvestOrder, key: str, *, user_id: str, currency: str) -> Sale:
    document = {
        "account_id": order.account_id,
        "user_id": user_id,
        "side": "SELL",
        "instrument_id": order.instrument_id,
        "instrument_id_type": "ISIN",
        "order_type": order.order_type,
        "quantity": order.quantity,
        "cash_amount": order.cash_amount,
        "currency": None if order.cash_amount is None else currency,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "client_reference": key,
    }
    given = {name: value for name, value in document.items() if value is not None}
    return Sale(
        key=key,
        body=json.dumps(given, separators=(",", ":")).encode(),
        symbol=order.instrument_id,
        quantity=order.quantity,
        cash_amount=order.cash_amount,
    )


def _account_of(sale: Sale) -> str | None:
    """Read from its own bytes which account a sale is to sell from."""
    try:
        document = json.loads(sale.body)
    except ValueError:
        return None
    return text_of(document.get("account_id"), ID) if isinstance(document, dict) else None


def _path(order_id: str) -> str:
    return f"/orders/{quote(order_id, safe='')}"


def _answer(
    operation: Operation,
    outcome: Outcome,
    *,
    expected_id: str | None = None,
    expected_key: str | None = None,
) -> OrderAnswer:
    """Turn an exchange about one order into an answer."""
    report = _report_in(operation, outcome, expected_id, expected_key)
    strange = report is not None and report.status is None
    row = DIALECT.classified(operation, outcome, usable=report is not None, strange=strange)
    if row.meaning is Meaning.REPORTED and report is not None:
        return report
    if row.meaning is Meaning.CONFLICTED:
        return Conflicted(DIALECT.trace_of(outcome))
    return DIALECT.no_success(row, outcome)


def _report_in(
    operation: Operation, outcome: Outcome, expected_id: str | None, expected_key: str | None
) -> OrderReport | None:
    """Read the order that a success is about; None unless it is the one that was meant."""
    if not isinstance(outcome, Reply) or not is_success(outcome):
        return None
    trace = Trace(http_status=outcome.status, request_id=outcome.request_id)
    if operation is Operation.CANCEL_ORDER and outcome.status == _NO_CONTENT and expected_id:
        return OrderReport(order_id=expected_id, status=None, trace=trace)
    report = _report(outcome.document, trace)
    if report is None or expected_id not in {None, report.order_id}:
        return None
    is_anothers = expected_key is not None and report.client_order_id not in {None, expected_key}
    return None if is_anothers else report


class _Execution(NamedTuple):
    """One execution of an order, as far as it was shown in a documented form."""

    word: str | None
    quantity: Decimal | None
    price: Decimal | None


class _Standing(NamedTuple):
    """Where an order stands, and Upvest's word for it: the order's, or that of its executions."""

    status: SaleStatus | None
    word: str | None


def _report(item: object, trace: Trace = NO_TRACE) -> OrderReport | None:
    """Read one order; None without a usable id.

    Whatever else is not in a documented form counts as not shown.
    """
    if not isinstance(item, dict):
        return None
    identity = text_of(item.get("id"), ID)
    if identity is None:
        return None
    executions = _executions(item.get("executions"))
    quantity = _number(item.get("quantity"))
    word = text_of(item.get("status"), WORD)
    standing = _standing(word, executions, quantity)
    live = [execution for execution in executions if execution.word != "CANCELLED"]
    # Once something is executed it may be what was raised, no longer what was asked for.
    cash = None if executions else _number(item.get("cash_amount"))
    why = text_of(item.get("cancellation_reason"), WORD)
    return OrderReport(
        order_id=identity,
        status=standing.status,
        provider_status=standing.word,
        client_order_id=text_of(item.get("client_reference"), _REFERENCE),
        symbol=text_of(item.get("instrument_id"), ISIN),
        side=text_of(item.get("side"), WORD),
        quantity=_text(quantity),
        cash_amount=_text(cash),
        filled_quantity=_text(_sum(execution.quantity for execution in live)),
        average_price=_text(_average_price(live)),
        created_at=time_of(item.get("created_at")),
        trace=Trace(trace.http_status, why, trace.request_id),
    )


def _standing(
    word: str | None, executions: list[_Execution], quantity: Decimal | None
) -> _Standing:
    match word:
        case "NEW" | "PROCESSING":
            return _Standing(SaleStatus.PARTIAL if executions else SaleStatus.OPEN, word)
        case "FILLED":
            return _sold(executions, quantity)
        case "CANCELLED":
            return _Standing(SaleStatus.CANCELLED, word)
        case _:
            return _Standing(None, word)


def _sold(executions: list[_Execution], quantity: Decimal | None) -> _Standing:
    """Tell whether the cash of an order that is FILLED may be withdrawn (OEX).

    Only once all its executions are SETTLED. Where none is shown, or one in a strange state,
    nothing is settled: the list is required in every answer (S26), so it is only not there yet. An
    execution that was CANCELLED (a mistrade) took the cash with it, unless the others sell all the
    same as much as was to be sold.
    """
    live = [execution for execution in executions if execution.word != "CANCELLED"]
    sold = _sum(execution.quantity for execution in live)
    is_replaced = quantity is not None and sold is not None and sold >= quantity
    if len(live) < len(executions) and not is_replaced:
        return _Standing(SaleStatus.FAILED, "EXECUTION.CANCELLED")
    words = {execution.word for execution in live}
    if words == {"SETTLED"}:
        return _Standing(SaleStatus.FILLED, "EXECUTION.SETTLED")
    if not words <= {"SETTLED", "FILLED"}:
        _log.warning("unknown state of an execution", extra={"provider": "upvest"})
    return _Standing(SaleStatus.UNSETTLED, "FILLED")


def _executions(items: object) -> list[_Execution]:
    return [
        _Execution(
            text_of(item.get("status"), WORD),
            _number(item.get("share_quantity")),
            _number(item.get("price")),
        )
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict)
    ]


def _number(value: object) -> Decimal | None:
    """Read a decimal text; zero is what is written for a number that was not given."""
    text = text_of(value, _NUMBER)
    return (Decimal(text) or None) if text is not None else None


def _sum(numbers: Iterable[Decimal | None]) -> Decimal | None:
    known = [number for number in numbers if number is not None]
    return sum(known, Decimal(0)) if known else None


def _average_price(executions: Iterable[_Execution]) -> Decimal | None:
    known = [(each.quantity, each.price) for each in executions if each.quantity and each.price]
    if not known:
        return None
    cash = sum((quantity * price for quantity, price in known), Decimal(0))
    return round(cash / sum((quantity for quantity, _ in known), Decimal(0)), 6)


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number.normalize():f}"
