"""The routes of Bluum's API that are about orders (ORD, ORG, ORL, ORC): from a call to its answer.

Pure, like the routes beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.simulator import bluum_order_documents as documents
from worker.simulator.bluum_market import Placed, PlacedBefore
from worker.simulator.bluum_order_calls import read_order_filters, read_ticket
from worker.simulator.bluum_refusals import Refusal
from worker.simulator.bluum_route import CREATED, OK, Answer, Call, Operation, Route, refused
from worker.simulator.faults import CallKind

if TYPE_CHECKING:
    from worker.simulator.bluum_house import House


def _place_order(house: House, call: Call) -> Answer:
    ticket = read_ticket(call.body)
    if isinstance(ticket, Refusal):
        return refused(ticket)
    investor_id = call.identifiers["investor_id"]
    outcome = house.market.place(investor_id, ticket, body=call.body, key=call.key, now=call.now)
    match outcome:
        case Placed(order) | PlacedBefore(order):
            # A repeat shows the response as it was.
            words = house.ground.terms.order_words
            document = documents.order_document(order, now=order.placed_at, words=words)
            return Answer(CREATED, document)
        case Refusal():
            return refused(outcome)


def _list_orders(house: House, call: Call) -> Answer:
    investor_id = call.identifiers["investor_id"]
    filters = read_order_filters(call.query)
    if isinstance(filters, Refusal):
        return refused(filters)
    page = house.market.orders(investor_id, filters, now=call.now)
    if isinstance(page, Refusal):
        return refused(page)
    terms = house.ground.terms
    document = documents.order_page_document(
        page, investor_id=investor_id, now=terms.seen_at(call.now), words=terms.order_words
    )
    return Answer(OK, document)


def _get_order(house: House, call: Call) -> Answer:
    identifiers = call.identifiers
    found = house.market.order(identifiers["investor_id"], identifiers["order_id"], now=call.now)
    if isinstance(found, Refusal):
        return refused(found)
    terms = house.ground.terms
    seen_at = terms.seen_at(call.now)
    return Answer(OK, documents.order_document(found, now=seen_at, words=terms.order_words))


def _cancel_order(house: House, call: Call) -> Answer:
    identifiers = call.identifiers
    told = house.market.cancel(identifiers["investor_id"], identifiers["order_id"], now=call.now)
    if isinstance(told, Refusal):
        return refused(told)
    words = house.ground.terms.order_words
    return Answer(OK, documents.order_document(told, now=call.now, words=words))


_ORDERS: Final = "/v1/investors/{investor_id}/orders"

ORDER_ROUTES: Final = (
    Route(
        method="POST",
        path=_ORDERS,
        operation=Operation.PLACE_ORDER,
        kind=CallKind.PLACE,
        respond=_place_order,
    ),
    Route(
        method="GET",
        path=_ORDERS,
        operation=Operation.LIST_ORDERS,
        kind=CallKind.READ,
        respond=_list_orders,
    ),
    Route(
        method="GET",
        path=f"{_ORDERS}/{{order_id}}",
        operation=Operation.GET_ORDER,
        kind=CallKind.READ,
        respond=_get_order,
    ),
    Route(
        method="POST",
        path=f"{_ORDERS}/{{order_id}}/cancel",
        operation=Operation.CANCEL_ORDER,
        kind=CallKind.CANCEL,
        respond=_cancel_order,
    ),
)
