"""The routes of Upvest's API that are about orders (OREF, OINT, S26): from a call to its answer.

Pure. Nobody can buy here."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.faults import CallKind
from worker.simulator.upvest_documents import list_document
from worker.simulator.upvest_order import OrderStatus, OrderType, Ticket
from worker.simulator.upvest_order_documents import execution_document, order_document
from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_reading import (
    PAGING,
    UUID,
    Rule,
    invalid,
    is_match,
    one_of,
    paging_of,
    read_fields,
    read_query,
)
from worker.simulator.upvest_route import (
    ACCEPTED,
    OK,
    Answer,
    Call,
    Operation,
    Scope,
    acting,
    reading,
    refused,
)
from worker.simulator.upvest_terms import CASH_CURRENCIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.upvest_house import House
    from worker.simulator.upvest_order import Order

_NUMBER: Final = r"[0-9]{1,12}(\.[0-9]{1,10})?"
_MONEY: Final = r"[0-9]{1,12}(\.[0-9]{1,2})?"
#: A price that is not given may be an empty text (S26).
_PRICE: Final = rf"({_MONEY})?"


def is_isin(value: object) -> bool:
    """Tell whether this is an ISIN: its form, and its check digit (ISO 6166)."""
    if not is_match(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")(value):
        return False
    digits = "".join(str(int(character, 36)) for character in str(value))
    doubled = (int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits)))
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def _is_time(value: object) -> bool:
    try:
        return datetime.fromisoformat(str(value)) is not None
    except ValueError:
        return False


_FIELDS: Final[Mapping[str, Rule]] = {
    "account_id": UUID,
    "user_id": UUID,
    "business_id": UUID,
    "side": one_of(("SELL",)),
    "instrument_id": Rule(is_isin, "an ISIN"),
    "instrument_id_type": one_of(("ISIN",)),
    "order_type": one_of(OrderType),
    "quantity": Rule(is_match(_NUMBER), "a decimal string"),
    "cash_amount": Rule(is_match(_MONEY), "a decimal string of money"),
    "currency": one_of(CASH_CURRENCIES),
    "limit_price": Rule(is_match(_PRICE), "a decimal string of money"),
    "stop_price": Rule(is_match(_PRICE), "a decimal string of money"),
    "client_reference": Rule(is_match(r"[^\x00-\x1f]{0,100}"), "at most 100 characters"),
    "execution_flow": one_of(("STRAIGHT_THROUGH", "BLOCK")),
    "user_instrument_fit_acknowledgement": Rule(
        lambda value: isinstance(value, bool), "true or false"
    ),
}
_REQUIRED: Final = ("account_id", "side", "instrument_id", "instrument_id_type")
_FILTERS: Final[Mapping[str, Rule]] = {
    **PAGING,
    "account_group_id": UUID,
    "user_id": UUID,
    "status": one_of(OrderStatus),
    "date_created_from": Rule(_is_time, "a time"),
    "date_created_to": Rule(_is_time, "a time"),
}


def _place(house: House, call: Call) -> Answer:
    def execute() -> Answer:
        fields = read_fields(call.body, _FIELDS, required=_REQUIRED)
        ticket = fields if isinstance(fields, Problem) else _ticket(fields)
        if isinstance(ticket, Problem):
            return refused(ticket)
        made = house.market.place(ticket, key=call.key or "", body=call.body, now=call.now)
        if isinstance(made, Problem):
            return refused(made)
        return Answer(ACCEPTED, order_document(made, now=call.now))

    # Before the key is asked for: a call that takes effect late may be due, with this very key.
    house.agenda.run(call.now)
    return house.ground.memory.once(Operation.PLACE_ORDER, call, execute)


def _ticket(fields: Mapping[str, Any]) -> Ticket | Problem:
    ticket = Ticket(
        account_id=fields["account_id"].lower(),
        instrument_id=fields["instrument_id"],
        order_type=OrderType(fields.get("order_type", OrderType.MARKET)),
        quantity=_positive(fields.get("quantity")),
        cash_amount=_positive(fields.get("cash_amount")),
        currency=fields.get("currency", CASH_CURRENCIES[0]),
        client_reference=fields.get("client_reference", ""),
        limit_price=_positive(fields.get("limit_price")),
        stop_price=_positive(fields.get("stop_price")),
        fields=dict(fields),
    )
    if ("user_id" in fields) == ("business_id" in fields):
        return invalid("One of user_id and business_id is required.", "user_id")
    if (ticket.quantity is None) == (ticket.cash_amount is None):
        return invalid("One of quantity and cash_amount is required.", "quantity")
    if ticket.quantity is None and "currency" not in fields:
        return invalid("currency is required with cash_amount.", "currency")
    is_market = ticket.order_type is OrderType.MARKET
    if not is_market and (ticket.quantity is None or ticket.quantity % 1):
        return invalid("Amounts and parts of shares are sold by MARKET alone.", "order_type")
    has_limit, has_stop = ticket.limit_price is not None, ticket.stop_price is not None
    wanted = (ticket.order_type is OrderType.LIMIT, ticket.order_type is OrderType.STOP)
    if (has_limit, has_stop) != wanted:
        return invalid("LIMIT has a limit_price, STOP a stop_price, MARKET none.", "order_type")
    return ticket


def _positive(text: str | None) -> Decimal | None:
    """Read a number; none, an empty text and a zero are all none, as they are told again."""
    return Decimal(text) or None if text else None


def _get(house: House, call: Call) -> Answer:
    found = house.market.order(call.identifiers["order_id"], now=call.now)
    if isinstance(found, Problem):
        return refused(found)
    return Answer(OK, order_document(found, now=house.ground.terms.seen_at(call.now)))


def _get_execution(house: House, call: Call) -> Answer:
    order = house.market.order(call.identifiers["order_id"], now=call.now)
    if isinstance(order, Problem):
        return refused(order)
    seen_at = house.ground.terms.seen_at(call.now)
    for execution in order.executed(seen_at):
        if execution.id == call.identifiers["execution_id"]:
            return Answer(OK, execution_document(order, execution, now=seen_at))
    return refused(Problem(Kind.NOT_FOUND, "No such execution.", "execution_id"))


def _cancel(house: House, call: Call) -> Answer:
    accepted = house.market.cancel(call.identifiers["order_id"], now=call.now)
    if isinstance(accepted, Problem):
        return refused(accepted)
    return Answer(ACCEPTED, {"id": accepted.id})


def _list(house: House, call: Call) -> Answer:
    read = read_query(call.query, _FILTERS)
    if isinstance(read, Problem):
        return refused(read)
    seen_at = house.ground.terms.seen_at(call.now)
    found = [
        order
        for order in house.market.orders(call.identifiers["account_id"], now=call.now)
        if _matches(order, read, house, seen_at)
    ]
    paging = paging_of(read)
    if paging.sort == "id":
        found.sort(key=lambda order: order.id)
    page = [order_document(order, now=seen_at) for order in paging.page(found)]
    return Answer(OK, list_document(page, paging, total=len(found)))


def _matches(order: Order, read: Mapping[str, str], house: House, seen_at: datetime) -> bool:
    group = house.ground.coffers.group_of(order.ticket.account_id)
    since, until = read.get("date_created_from"), read.get("date_created_to")
    return (
        # FILLED is the default of the filter (S26), not no filter.
        order.status(seen_at) == read.get("status", OrderStatus.FILLED)
        and read.get("account_group_id", group).lower() == group
        and read.get("user_id") in (None, order.ticket.fields.get("user_id"))
        and (since is None or order.created_at >= _time(since))
        and (until is None or order.created_at <= _time(until))
    )


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


_ORDERS: Final = "/orders"
_ORDER: Final = f"{_ORDERS}/{{order_id}}"
_READ: Final = frozenset({Scope.ORDERS_READ, Scope.ORDERS_ADMIN})
_WRITE: Final = frozenset({Scope.ORDERS_ADMIN})

ORDER_ROUTES: Final = (
    acting("POST", _ORDERS, Operation.PLACE_ORDER, _place, _WRITE, kind=CallKind.PLACE),
    reading(_ORDER, Operation.GET_ORDER, _get, _READ),
    reading(
        f"{_ORDER}/executions/{{execution_id}}", Operation.GET_EXECUTION, _get_execution, _READ
    ),
    acting("DELETE", _ORDER, Operation.CANCEL_ORDER, _cancel, _WRITE, kind=CallKind.CANCEL),
    reading(f"/accounts/{{account_id}}{_ORDERS}", Operation.LIST_ORDERS, _list, _READ),
)
