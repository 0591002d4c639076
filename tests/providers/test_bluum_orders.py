"""Bluum's orders: what a request may sell, the exact bytes that leave, and how orders are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers.builders import NOW, Clock, a_sale, a_sale_permit
from tests.providers.canned import Said, canned
from tests.providers.stages import Options, bluum_request, open_bluum
from worker.core.answers import Throttled, Unclear
from worker.core.sale import OrderReport, OrdersListed, Sale, SaleStatus, sale_key
from worker.providers.bluum_orders import ORDER_STATUSES

if TYPE_CHECKING:
    from worker.core.sale import OrderAnswer, OrdersAnswer

KEY: Final = sale_key("req-1", 0)
SELL: Final[list[dict[str, Any]]] = [
    {"symbol": "AAPL", "quantity": "3"},
    {
        "symbol": "BRK.B",
        "quantity": "0.25",
        "type": "limit",
        "time_in_force": "gtc",
        "limit_price": "400.5",
    },
]
#: The sample of the reference, with our key in it.
SAMPLE: Final[dict[str, Any]] = {
    "id": "ord_01demo",
    "object": "order",
    "created": 1780000000,
    "investor_id": "inv_01demo",
    "symbol": "AAPL",
    "currency": "USD",
    "side": "sell",
    "type": "market",
    "time_in_force": "day",
    "quantity": "3",
    "status": "pending",
    "filled_quantity": "0",
    "remaining_quantity": "3",
    "average_price": "0.00",
    "submitted_at": "2026-06-01T14:30:00Z",
    "failure_reason": None,
    "client_order_id": KEY,
}
READ: Final = OrderReport(
    order_id="ord_01demo",
    status=SaleStatus.OPEN,
    provider_status="pending",
    client_order_id=KEY,
    symbol="AAPL",
    side="sell",
    quantity="3",
    filled_quantity="0",
    average_price="0.00",
    created_at=datetime.fromtimestamp(1780000000, UTC),
)


async def test_the_bodies_are_these_bytes() -> None:
    """
    Field by field and byte by byte, each with its own key; the cash goes to the request's wallet.
    """
    async with open_bluum("http://127.0.0.1:9/v1", Options()) as bluum:
        first, second = bluum.compose_sales(bluum_request(sell=SELL), "req-1")

    assert (
        b'{"symbol":"AAPL","side":"sell","type":"market","time_in_force":"day","quantity":"3",'
        b'"wallet_currency":"USD","client_order_id":"%s"}' % KEY.encode()
    ) == first.body
    assert {
        "symbol": "BRK.B",
        "side": "sell",
        "type": "limit",
        "time_in_force": "gtc",
        "quantity": "0.25",
        "wallet_currency": "USD",
        "client_order_id": sale_key("req-1", 1),
        "limit_price": "400.5",
    } == json.loads(second.body)
    assert ("AAPL", "3", KEY) == (first.symbol, first.quantity, first.key)


async def test_every_call_has_its_method_and_path() -> None:
    """
    As the reference has them (ORD, ORG, ORC, ORL); the key stands in header and body of one.
    """
    async with canned(Said(200, {})) as server, open_bluum(server.base_url, Options()) as bluum:
        permit = a_sale_permit(a_sale(bluum, bluum_request(sell=SELL)))
        await bluum.sell(permit)
        await bluum.order("inv_01", "ord 01/?")
        await bluum.cancel_order("inv_01", "ord_01")
        await bluum.orders("inv_01", Sale(key="sell-1"))
    sold, *others = server.heard
    path = "/v1/investors/inv_01/orders"

    assert [
        ("POST", path),
        ("GET", f"{path}/ord%2001%2F%3F"),
        ("POST", f"{path}/ord_01/cancel"),
        ("GET", f"{path}?limit=100&offset=0"),
    ] == [(heard.method, heard.path) for heard in server.heard]
    assert (permit.body, KEY) == (sold.body, sold.headers["Idempotency-Key"])
    assert [(b"", None)] * 3 == [
        (heard.body, heard.headers.get("Idempotency-Key")) for heard in others
    ]


@pytest.mark.parametrize(
    "options",
    [
        Options(clock=Clock(NOW + timedelta(days=1))),
        Options(tenure=lambda: 1),
        Options(tenure=lambda: None),
    ],
    ids=["too late", "another tenure", "none"],
)
async def test_a_permit_that_ended_sells_nothing(options: Options) -> None:
    """
    It is looked at last, right before the call leaves.
    """
    async with canned(Said(201, SAMPLE)) as server, open_bluum(server.base_url, options) as bluum:
        answer = await bluum.sell(a_sale_permit(a_sale(bluum, bluum_request(sell=SELL))))

    assert ([], Throttled(timedelta(0))) == (server.heard, answer)


async def placed(document: object) -> OrderAnswer:
    """Place an order, at a server that answers this."""
    async with (
        canned(Said(201, document)) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        return await bluum.sell(a_sale_permit(a_sale(bluum, bluum_request(sell=SELL))))


async def listed(*items: object) -> OrdersAnswer:
    """List orders, at a server that lists these."""
    page = {"object": "list", "url": "/x", "has_more": False, "data": list(items)}
    async with canned(Said(200, page)) as server, open_bluum(server.base_url, Options()) as bluum:
        return await bluum.orders("inv_01", Sale(key="sell-1"))


async def test_an_order_is_read_whole() -> None:
    """
    The sample of the reference, in the list and as an answer.
    """
    answer = await placed(SAMPLE)

    assert OrdersListed((READ,)) == await listed(SAMPLE)
    assert isinstance(answer, OrderReport)
    assert (READ.order_id, READ.status, KEY) == (
        answer.order_id,
        answer.status,
        answer.client_order_id,
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, SaleStatus.OPEN) for word in ("open", "pending", "accepted")),
        *((word, SaleStatus.PARTIAL) for word in ("partial", "partially_filled")),
        ("filled", SaleStatus.FILLED),
        *((word, SaleStatus.CANCELLED) for word in ("cancelled", "canceled")),
        *((word, SaleStatus.FAILED) for word in ("failed", "rejected")),
        *((word, None) for word in ("expired", "FILLED", "", None, 7)),
    ],
)
async def test_both_vocabularies_are_read(word: object, status: SaleStatus | None) -> None:
    """
    Current and older words (CT; PT, PW); any other is no guess.
    """
    answer = await placed(SAMPLE | {"status": word})

    assert isinstance(answer, OrderReport)
    assert status is answer.status
    assert status is None or word in ORDER_STATUSES


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({"qty": "3", "quantity": ...}, {}),
        ({"filled_qty": "1", "filled_quantity": ...}, {"filled_quantity": "1"}),
        ({"filled_avg_price": "9.5", "average_price": ...}, {"average_price": "9.5"}),
        ({"order_id": "ord_01demo", "id": ...}, {}),
        ({"quantity": 3, "filled_quantity": -1}, {"quantity": None, "filled_quantity": None}),
        ({"symbol": ["AAPL"], "side": 1}, {"symbol": None, "side": None}),
        ({"client_order_id": ""}, {"client_order_id": None}),
        ({"client_order_id": "a b"}, {"client_order_id": None}),
        (
            {"created": None},
            {"created_at": datetime(2026, 6, 1, 14, 30, tzinfo=UTC)},
        ),
        (
            {"created": 0, "submitted_at": "2026-06-01T14:30:00"},
            {"created_at": datetime(2026, 6, 1, 14, 30, tzinfo=UTC)},
        ),
        ({"created": 1e300}, {"created_at": None}),
        ({"created": True, "submitted_at": "yesterday"}, {"created_at": None}),
        ({"created": None, "submitted_at": None}, {"created_at": None}),
    ],
    ids=repr,
)
async def test_every_documented_form_is_read(changes: dict[str, Any], read: dict[str, Any]) -> None:
    """
    Older names too; what is in no documented form counts as not shown.
    """
    item = {name: value for name, value in (SAMPLE | changes).items() if value is not ...}
    answer = await listed(item)

    assert isinstance(answer, OrdersListed)
    (order,) = answer.orders
    assert read == {name: getattr(order, name) for name in read}
    assert "ord_01demo" == order.order_id


@pytest.mark.parametrize(
    "document",
    [
        SAMPLE | {"client_order_id": "another's"},
        SAMPLE | {"id": "../ord"},
        SAMPLE | {"id": None},
        {"status": "filled"},
        [],
    ],
    ids=repr,
)
async def test_a_success_that_is_about_nothing_of_ours_is_silence(document: object) -> None:
    """
    It may have been carried out all the same: the list is to tell.
    """
    answer = await placed(document)

    assert isinstance(answer, Unclear)
    assert "unusable_body" == answer.why


async def test_a_list_with_an_unreadable_order_is_not_believed() -> None:
    """
    It might be the very one that is looked for.
    """
    assert isinstance(await listed(SAMPLE, {"status": "open"}), Unclear)
