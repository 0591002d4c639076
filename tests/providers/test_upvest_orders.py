"""Upvest's orders: what leaves, how its answers are read, and when the cash of a sale is there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers.builders import NOW, Clock, a_sale, a_sale_permit
from tests.providers.canned import Said, canned
from tests.providers.stages import ACCOUNT, TOKEN, USER, Options, open_upvest, upvest_request
from worker.core.answers import Refused, Throttled, Unclear
from worker.core.sale import OrderReport, OrdersListed, Sale, SaleStatus, contradiction, sale_key
from worker.providers.upvest_orders import ORDER_STATES

if TYPE_CHECKING:
    from tests.providers.canned import Answer as Sayable

KEY: Final = sale_key("req-1", 0)
ID: Final = "eb5ba93f-5dfe-4bf1-8571-4da0caacc80c"
NOWHERE: Final = "http://127.0.0.1:9/v1"
SELL: Final[list[dict[str, Any]]] = [
    {"account_id": ACCOUNT, "instrument_id": "US0378331005", "quantity": "3"},
    {"account_id": ACCOUNT, "instrument_id": "DE000A1EWWW0", "cash_amount": "500"},
    {
        "account_id": ACCOUNT,
        "instrument_id": "IE00B4L5Y983",
        "quantity": "2",
        "order_type": "LIMIT",
        "limit_price": "80.5",
    },
]
EXECUTION: Final[dict[str, Any]] = {
    "id": "b9dc0676-8a7d-412d-802a-3b325eefd15e",
    "order_id": ID,
    "side": "SELL",
    "currency": "EUR",
    "status": "FILLED",
    "cash_amount": "391.95",
    "share_quantity": "3",
    "price": "130.65",
    "transaction_time": "2026-03-02T09:15:06Z",
    "taxes": [{"amount": "1.3", "type": "TOTAL"}],
}
#: The sample of the reference of orders, as a sale of ours.
SAMPLE: Final[dict[str, Any]] = {
    "id": ID,
    "created_at": "2026-03-02T09:15:04Z",
    "updated_at": "2026-03-02T09:15:04Z",
    "user_id": USER,
    "account_id": ACCOUNT,
    "cash_amount": "0",
    "currency": "EUR",
    "side": "SELL",
    "instrument_id": "US0378331005",
    "instrument_id_type": "ISIN",
    "order_type": "MARKET",
    "quantity": "3",
    "limit_price": "",
    "stop_price": "",
    "status": "NEW",
    "fee": "0.0",
    "executions": [],
    "client_reference": KEY,
    "initiation_flow": "API",
}
READ: Final = OrderReport(
    order_id=ID,
    status=SaleStatus.OPEN,
    provider_status="NEW",
    client_order_id=KEY,
    symbol="US0378331005",
    side="SELL",
    quantity="3",
    created_at=datetime(2026, 3, 2, 9, 15, 4, tzinfo=UTC),
)


def upvests(*answers: Sayable) -> Any:  # noqa: ANN401 - a context
    """A server in Upvest's place that gives tokens, and answers the calls in turn."""
    return canned(*answers, asides={"/auth/token": TOKEN})


async def sales() -> tuple[Sale, ...]:
    """The sales of a request, one of each kind."""
    async with open_upvest(NOWHERE, Options()) as upvest:
        return upvest.compose_sales(upvest_request(sell=SELL), "req-1")


async def test_the_bodies_are_these_bytes() -> None:
    """
    Field by field and byte by byte, each with its own key; the currency goes with cash alone.
    """
    units, cash, limited = await sales()

    assert (
        '{"account_id":"debf2026-f2da-4ff0-bb84-92e45babb1e3",'
        '"user_id":"2dedfeb0-58cd-44f2-ae08-0e41fe0413d9","side":"SELL",'
        '"instrument_id":"US0378331005","instrument_id_type":"ISIN","order_type":"MARKET",'
        f'"quantity":"3","client_reference":"{KEY}"}}'
    ).encode() == units.body
    assert ("US0378331005", "3", None, KEY) == (
        units.symbol,
        units.quantity,
        units.cash_amount,
        units.key,
    )
    assert {"cash_amount": "500.00", "currency": "EUR"}.items() <= json.loads(cash.body).items()
    assert ("DE000A1EWWW0", None, "500.00") == (cash.symbol, cash.quantity, cash.cash_amount)
    assert {"order_type": "LIMIT", "limit_price": "80.5"}.items() <= json.loads(
        limited.body
    ).items()


async def test_a_request_without_orders_has_no_sales() -> None:
    """
    Of a user or of nobody.
    """
    async with open_upvest(NOWHERE, Options()) as upvest:
        for request in (upvest_request(), upvest_request(user_id=None)):
            assert () == upvest.compose_sales(request, "req-1")


async def test_every_call_has_its_method_and_path() -> None:
    """
    As the reference has them; the key in the header is a bare UUID, of one call.
    """
    page = {"meta": {"total_count": 0}, "data": []}
    async with (
        upvests(Said(202, SAMPLE), Said(200, {}), Said(202, {}), Said(200, page)) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        permit = a_sale_permit(a_sale(upvest, upvest_request(sell=SELL)))
        await upvest.sell(permit)
        await upvest.order("grp", "o/1")
        await upvest.cancel_order("grp", "o/1")
        await upvest.orders("grp", (await sales())[0])
    sold, *others = server.heard
    orders = f"/v1/accounts/{ACCOUNT}/orders"

    assert [
        ("POST", "/v1/orders"),
        ("GET", "/v1/orders/o%2F1"),
        ("DELETE", "/v1/orders/o%2F1"),
        *(("GET", f"{orders}?status={state}&limit=200&offset=0") for state in ORDER_STATES),
    ] == [(heard.method, heard.path) for heard in server.heard]
    assert (permit.body, KEY.removeprefix("sell-")) == (
        sold.body,
        sold.headers["Idempotency-Key"],
    )
    assert {(b"", None)} == {(h.body, h.headers.get("Idempotency-Key")) for h in others}


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
    async with (
        upvests(Said(202, SAMPLE)) as server,
        open_upvest(server.base_url, options) as upvest,
    ):
        answer = await upvest.sell(a_sale_permit(a_sale(upvest, upvest_request(sell=SELL))))

    assert ([], Throttled(timedelta(0))) == (server.heard, answer)


async def ask(call: str, *answers: Sayable) -> Any:  # noqa: ANN401 - an answer of any kind
    """Make a call about orders, at a server that gives these answers in turn."""
    async with upvests(*answers) as server, open_upvest(server.base_url, Options()) as upvest:
        if call == "sell":
            return await upvest.sell(a_sale_permit(a_sale(upvest, upvest_request(sell=SELL))))
        if call == "orders":
            return await upvest.orders("grp", (await sales())[0])
        return await getattr(upvest, call)("grp", ID)


async def read(**changes: object) -> OrderReport:
    """Read the sample with some fields changed; `...` leaves one out."""
    item = {name: value for name, value in (SAMPLE | changes).items() if value is not ...}
    report = await ask("order", Said(200, item))
    assert isinstance(report, OrderReport)
    return report


def page(*items: object) -> Said:
    """The one page of a list."""
    return Said(200, {"meta": {"total_count": len(items)}, "data": list(items)})


async def test_an_order_is_read_whole() -> None:
    """
    In the answer to placing it, in a look, and in the list.
    """
    placed = await ask("sell", Said(202, SAMPLE))
    listed = await ask("orders", page(SAMPLE), page())

    assert (READ.order_id, READ.status, KEY) == (
        placed.order_id,
        placed.status,
        placed.client_order_id,
    )
    assert OrdersListed((READ,)) == listed


@pytest.mark.parametrize(
    ("word", "executions", "status", "shown"),
    [
        ("NEW", [], SaleStatus.OPEN, "NEW"),
        ("PROCESSING", [], SaleStatus.OPEN, "PROCESSING"),
        ("PROCESSING", ["FILLED"], SaleStatus.PARTIAL, "PROCESSING"),
        ("PROCESSING", ["SETTLED"], SaleStatus.PARTIAL, "PROCESSING"),
        ("CANCELLED", [], SaleStatus.CANCELLED, "CANCELLED"),
        ("CANCELLED", ["SETTLED"], SaleStatus.CANCELLED, "CANCELLED"),
        ("FILLED", ["SETTLED"], SaleStatus.FILLED, "EXECUTION.SETTLED"),
        ("FILLED", ["SETTLED", "SETTLED"], SaleStatus.FILLED, "EXECUTION.SETTLED"),
        ("FILLED", ["FILLED"], SaleStatus.UNSETTLED, "FILLED"),
        ("FILLED", ["SETTLED", "FILLED"], SaleStatus.UNSETTLED, "FILLED"),
        ("FILLED", ["SETTLED", "PAUSED"], SaleStatus.UNSETTLED, "FILLED"),
        ("FILLED", ["SETTLED", None], SaleStatus.UNSETTLED, "FILLED"),
        ("FILLED", [], SaleStatus.UNSETTLED, "FILLED"),
        ("FILLED", ["CANCELLED"], SaleStatus.FAILED, "EXECUTION.CANCELLED"),
        ("SETTLED", ["SETTLED"], None, "SETTLED"),
        ("filled", ["SETTLED"], None, "filled"),
        (None, ["SETTLED"], None, None),
    ],
)
async def test_an_order_is_filled_once_all_of_it_is_settled(
    word: object,
    executions: list[object],
    status: SaleStatus | None,
    shown: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Sold is not yet withdrawable; what nobody documented is no guess, and told of.
    """
    shares = [EXECUTION | {"status": each} for each in executions]
    report = await read(status=word, executions=shares)
    is_strange = word == "FILLED" and bool({"PAUSED", None} & {*executions})

    assert (status, shown) == (report.status, report.provider_status)
    assert is_strange is ("unknown state of an execution" in caplog.text)


@pytest.mark.parametrize(
    ("executions", "status"),
    [
        ([("SETTLED", "2"), ("CANCELLED", "1")], SaleStatus.FAILED),
        ([("SETTLED", "3"), ("CANCELLED", "1")], SaleStatus.FILLED),
        ([("FILLED", "3"), ("CANCELLED", "3")], SaleStatus.UNSETTLED),
    ],
)
async def test_a_mistrade_takes_the_cash_unless_it_was_sold_again(
    executions: list[tuple[str, str]], status: SaleStatus
) -> None:
    """
    An execution that was cancelled raised nothing.
    """
    shares = [EXECUTION | {"status": word, "share_quantity": sold} for word, sold in executions]
    report = await read(status="FILLED", executions=shares)

    assert status is report.status


@pytest.mark.parametrize("executions", [..., None, "SETTLED", {}, ["SETTLED"]])
async def test_without_executions_nothing_is_settled(executions: object) -> None:
    """
    The list is part of every answer: where it cannot be read, the next look may tell.
    """
    report = await read(status="FILLED", executions=executions)

    assert SaleStatus.UNSETTLED is report.status


async def test_what_was_sold_is_added_up() -> None:
    """
    Over the executions that hold: how much, and at what price on average.
    """
    shares = [
        EXECUTION | {"share_quantity": "1", "price": "100"},
        EXECUTION | {"share_quantity": "2.5", "price": "107"},
        EXECUTION | {"share_quantity": "9", "price": "1", "status": "CANCELLED"},
        EXECUTION | {"share_quantity": "?", "price": None},
        EXECUTION | {"share_quantity": "9" * 63, "price": "9" * 63},
    ]
    report = await read(status="PROCESSING", executions=shares)

    assert ("3.5", "105") == (report.filled_quantity, report.average_price)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"quantity": "0", "cash_amount": "500.00"}, {"quantity": None, "cash_amount": "500"}),
        (
            {"quantity": "0.05", "cash_amount": "56.65", "executions": [EXECUTION]},
            {"quantity": "0.05", "cash_amount": None},
        ),
        ({"client_reference": ""}, {"client_order_id": None}),
        ({"client_reference": ...}, {"client_order_id": None}),
        ({"client_reference": "ü"}, {"client_order_id": None}),
        ({"client_reference": "another's"}, {"client_order_id": "another's"}),
        ({"instrument_id": "AAPL", "side": 7}, {"symbol": None, "side": None}),
        ({"quantity": 3}, {"quantity": None}),
        ({"created_at": "soon"}, {"created_at": None}),
    ],
    ids=repr,
)
async def test_what_is_in_no_documented_form_is_not_shown(
    changes: dict[str, Any], shown: dict[str, Any]
) -> None:
    """
    Zero and an empty text stand for what was not given; an executed amount for none asked for.
    """
    report = await read(**changes)

    assert shown == {name: getattr(report, name) for name in shown}


async def test_an_order_for_cash_is_not_ruled_out_by_what_it_raised() -> None:
    """
    Without a reference of ours a person is to look at it, before it is placed twice.
    """
    _, sale, _ = await sales()
    report = await read(
        client_reference="",
        instrument_id="DE000A1EWWW0",
        quantity="2.7",
        cash_amount="499.80",
        status="FILLED",
        executions=[EXECUTION],
    )
    asked = await read(
        client_reference="",
        instrument_id="DE000A1EWWW0",
        quantity="0",
        cash_amount="499.80",
    )
    placed_at = datetime(2026, 3, 2, tzinfo=UTC)

    assert contradiction(sale, report, taken_at=placed_at) is None
    assert "it raises another amount" == contradiction(sale, asked, taken_at=placed_at)


@pytest.mark.parametrize(
    "document",
    [SAMPLE | {"client_reference": "another's"}, SAMPLE | {"id": "../o"}, {"status": "NEW"}, []],
    ids=["another's", "no id", "none", "list"],
)
async def test_a_success_that_is_about_nothing_of_ours_is_silence(document: object) -> None:
    """
    It may have been carried out all the same: the list is to tell.
    """
    answer = await ask("sell", Said(202, document))

    assert isinstance(answer, Unclear)
    assert "unusable_body" == answer.why


async def test_a_look_is_about_the_order_that_was_asked_for() -> None:
    """
    Another one says nothing of it.
    """
    answer = await ask("order", Said(200, SAMPLE | {"id": USER}))

    assert isinstance(answer, Unclear)


@pytest.mark.parametrize("said", [Said(202, {"id": ID}), Said(204)])
async def test_an_accepted_cancellation_says_nothing_of_the_state(said: Said) -> None:
    """
    It is done later; what came of it a look tells.
    """
    answer = await ask("cancel_order", said)

    assert (ID, None) == (answer.order_id, answer.status)


async def test_an_order_that_moves_on_while_the_list_is_read_is_found() -> None:
    """
    Each state is read after those before it, and the newest word of an order counts.
    """
    later = SAMPLE | {"status": "FILLED", "executions": [EXECUTION]}
    answer = await ask("orders", page(SAMPLE), page(), page(later), page())

    assert [SaleStatus.UNSETTLED] == [order.status for order in answer.orders]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("bad", [page({"status": "NEW"}), Said(503)])
async def test_a_list_that_is_not_whole_is_not_believed(place: int, bad: Said) -> None:
    """
    The order may be in the very part that could not be read.
    """
    answers = [page(SAMPLE), page(), page(), page()]
    answers[place] = bad

    assert isinstance(await ask("orders", *answers), Unclear)


async def test_a_refused_list_is_refused() -> None:
    """
    Upvest's own no is handed on as such.
    """
    answer = await ask("orders", Said(404, {"type": "not_found", "status": 404}))

    assert isinstance(answer, Refused)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"account_id":"../x"}'])
async def test_a_sale_that_names_no_account_is_not_looked_for(body: bytes) -> None:
    """
    Nothing leaves, and nothing is concluded.
    """
    async with upvests(page()) as server, open_upvest(server.base_url, Options()) as upvest:
        answer = await upvest.orders("grp", Sale(key=KEY, body=body))

    assert ([], Unclear("unusable_sale")) == (server.heard, answer)
