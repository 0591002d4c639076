"""Sell orders over real HTTP: how they are placed, filled and ended, and what they raise."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.simulator.talk import LONG, PLAIN, Talk, error, talking
from worker.simulator.bluum_terms import OrderWords

#: One fill delay of the slow market, in seconds; nobody waits for it.
FILL = 100
SLOW = replace(PLAIN, terms=replace(PLAIN.terms, fill_delay=timedelta(seconds=FILL)))


def kinds(record: dict[str, Any]) -> list[str]:
    """Return what the effects of a record did."""
    return [effect["effect"] for effect in record["effects"]]


async def test_a_sale_raises_cash_at_once() -> None:
    """
    The answer shows it pending with all its fields; by the next call it is filled and paid.
    """
    async with talking() as talk:
        placed = await talk.place()
        order = await talk.order(placed.json()["id"])
        wallet = await talk.wallet()
        record = await talk.record()

    shown = placed.json()
    assert 201 == placed.status_code
    assert {
        "object": "order",
        "investor_id": "inv_01",
        "symbol": "AAPL",
        "currency": "USD",
        "side": "sell",
        "type": "market",
        "time_in_force": "day",
        "quantity": "3",
        "client_order_id": "sell-1",
        "status": "pending",
        "filled_quantity": "0",
        "remaining_quantity": "3",
        "average_price": "0.00",
        "filled_at": None,
        "cancelled_at": None,
        "failure_reason": None,
    }.items() <= shown.items()
    assert {
        "status": "filled",
        "filled_quantity": "3",
        "remaining_quantity": "0",
        "average_price": "100.00",
    }.items() <= order.items()
    assert order["filled_at"]
    assert ("1000300.00", "1000300.00") == (wallet["balance"], wallet["cash_withdrawable"])
    assert [
        {
            "sequence": 1,
            "effect": "order",
            "id": shown["id"],
            "investor_id": "inv_01",
            "idempotency_key": "sell-1",
            "client_order_id": "sell-1",
            "symbol": "AAPL",
            "quantity": "3",
            "filled_quantity": "3",
            "proceeds": "300.00",
            "executed_at": shown["submitted_at"],
            "status": "filled",
        },
        {
            "sequence": 2,
            "effect": "fill",
            "id": shown["id"],
            "investor_id": "inv_01",
            "quantity": "3",
            "filled_at": order["filled_at"],
        },
    ] == record["effects"]


@pytest.mark.parametrize(
    ("symbol", "courses"),
    [
        ("AAPL", [("pending", "0"), ("filled", "5"), ("filled", "5")]),
        ("SIM.PARTIAL", [("pending", "0"), ("partial", "2.5"), ("filled", "5")]),
        ("SIM.CUT", [("pending", "0"), ("partial", "2.5"), ("cancelled", "2.5")]),
        ("SIM.LAPSED", [("pending", "0"), ("cancelled", "0"), ("cancelled", "0")]),
        ("SIM.FAILED", [("pending", "0"), ("failed", "0"), ("failed", "0")]),
        ("SIM.RESTING", [("open", "0"), ("open", "0"), ("open", "0")]),
    ],
)
async def test_the_symbol_says_how_an_order_fares(
    symbol: str, courses: list[tuple[str, str]]
) -> None:
    """
    At once, after one fill delay and after two; the wallet holds exactly what was sold.
    """
    async with talking(SLOW) as talk:
        placed = (await talk.place(symbol=symbol, quantity="5")).json()
        seen, order = [(placed["status"], placed["filled_quantity"])], placed
        for _ in range(2):
            await talk.advance(FILL)
            order = await talk.order(placed["id"])
            seen.append((order["status"], order["filled_quantity"]))
        wallet = await talk.wallet()

    assert courses == seen
    assert 1_000_000 + 100 * Decimal(seen[-1][1]) == Decimal(wallet["balance"])
    assert (order["status"] == "failed") == (order["failure_reason"] is not None)
    assert (order["status"] == "cancelled") == (order["cancelled_at"] is not None)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"type": "limit", "limit_price": "100.00"}, "filled"),
        ({"type": "limit", "limit_price": "100.01"}, "open"),
        ({"type": "limit", "limit_price": "100.01", "time_in_force": "ioc"}, "cancelled"),
        ({"type": "stop", "stop_price": "100"}, "filled"),
        ({"type": "stop", "stop_price": "99.99"}, "open"),
        ({"type": "stop_limit", "stop_price": "100", "limit_price": "101"}, "open"),
        ({"type": "trailing_stop", "trail_percent": "5"}, "open"),
    ],
)
async def test_an_order_rests_until_the_price_suits_it(
    changed: dict[str, Any], status: str
) -> None:
    """
    At the price of 100 an order is filled that asks for no more, and others rest.
    """
    async with talking() as talk:
        placed = (await talk.place(**changed)).json()
        order = await talk.order(placed["id"])

    assert status == order["status"]


async def test_a_repeated_order_is_one_order() -> None:
    """
    Same key and body: the same answer, nothing executed; with another body a 409-002.
    """
    async with talking() as talk:
        first, second = await talk.place(), await talk.place()
        other = await talk.place(quantity="4")
        record = await talk.record()

    assert first.content == second.content
    assert (409, "BLUM-409-002", "Idempotency-Key") == error(other)
    assert ["order", "fill"] == kinds(record)
    assert 1 == record["counters"]["replays"]


async def test_where_keys_are_ignored_a_repeat_sells_twice() -> None:
    """
    The page of the call knows no key: then the record shows two orders under one.
    """
    options = replace(PLAIN, terms=replace(PLAIN.terms, orders_honour_keys=False))
    async with talking(options) as talk:
        first, second = await talk.place(), await talk.place()
        record = await talk.record()

    assert first.json()["id"] != second.json()["id"]
    assert ["sell-1", "sell-1"] == [
        effect["idempotency_key"] for effect in record["effects"] if effect["effect"] == "order"
    ]


@pytest.mark.parametrize(("is_unique", "status"), [(False, 201), (True, 409)])
async def test_a_client_order_id_may_have_to_be_unique(is_unique: bool, status: int) -> None:
    """
    Nothing is documented about a repeated one, so there is a term for it.
    """
    options = replace(PLAIN, terms=replace(PLAIN.terms, client_order_ids_unique=is_unique))
    async with talking(options) as talk:
        await talk.place(key="sell-1")
        second = await talk.place(key="sell-2")

    assert status == second.status_code


@pytest.mark.parametrize(
    ("investor_id", "changed", "expected"),
    [
        ("inv_01", {"quantity": "0"}, (400, "BLUM-400-006", "quantity")),
        ("inv_01", {"quantity": "-3"}, (400, "BLUM-400-006", "quantity")),
        ("inv_01", {"quantity": 3}, (400, "BLUM-400-006", "quantity")),
        ("inv_01", {"quantity": ...}, (400, "BLUM-400-002", "quantity")),
        ("inv_01", {"symbol": ...}, (400, "BLUM-400-002", "symbol")),
        ("inv_01", {"symbol": "aapl"}, (400, "BLUM-400-003", "symbol")),
        ("inv_01", {"side": "lend"}, (400, "BLUM-400-004", "side")),
        ("inv_01", {"side": "buy"}, (400, "BLUM-400-001", "side")),
        ("inv_01", {"notional": "5"}, (400, "BLUM-400-001", "notional")),
        ("inv_01", {"type": "limit"}, (400, "BLUM-400-002", "limit_price")),
        ("inv_01", {"qty": "3"}, (400, "BLUM-400-001", "qty")),
        ("inv_01", {"wallet_currency": "CHF"}, (400, "BLUM-400-004", "currency")),
        ("inv_01", {"symbol": "SIM.NONE"}, (404, "BLUM-404-003", "symbol")),
        ("inv_01", {"symbol": "SIM.CLOSED"}, (422, "BLUM-422-002", "symbol")),
        ("inv_01", {"symbol": "SIM.HALTED"}, (422, "BLUM-422-003", "symbol")),
        ("inv_01", {"symbol": "SIM.SCARCE", "quantity": "1.5"}, (422, "BLUM-422-004", "quantity")),
        ("inv_blocked_1", {}, (403, "BLUM-403-002", "investor_id")),
        ("inv_unknown_1", {}, (404, "BLUM-404-001", "investor_id")),
        ("nobody", {}, (400, "BLUM-400-003", "investor_id")),
    ],
)
async def test_a_refused_order_has_no_effect(
    investor_id: str, changed: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    """
    The code of the catalogue, the field at fault, and an empty record.
    """
    async with talking() as talk:
        response = await talk.place(investor_id, **changed)
        record = await talk.record()

    assert expected == error(response)
    assert [] == record["effects"]


async def test_shares_are_sold_once() -> None:
    """
    What is set aside for an open order cannot be sold again, until that one is cancelled.
    """
    options = replace(PLAIN, terms=replace(PLAIN.terms, opening_shares=Decimal(5)))
    async with talking(options) as talk:
        resting = (await talk.place(key="1", symbol="SIM.RESTING", quantity="3")).json()
        refused = await talk.place(key="2", symbol="SIM.RESTING", quantity="3")
        cancelled = await talk.cancel_order(resting["id"])
        taken = await talk.place(key="3", symbol="SIM.RESTING", quantity="3")

    assert (422, "BLUM-422-004", "quantity") == error(refused)
    assert [200, 201] == [cancelled.status_code, taken.status_code]


async def test_an_order_can_be_cancelled_until_it_is_filled() -> None:
    """
    What is left of a part-filled order is cancelled, and its fills stay; a filled one is refused.
    """
    async with talking(SLOW) as talk:
        order = (await talk.place(symbol="SIM.PARTIAL", quantity="4")).json()
        await talk.advance(FILL)
        cancelled = await talk.cancel_order(order["id"])
        filled = (await talk.place(key="2")).json()
        await talk.advance(LONG)
        late = await talk.cancel_order(filled["id"])
        unchanged = await talk.order(order["id"])
        record = await talk.record()

    assert ("cancelled", "2", "2") == (
        cancelled.json()["status"],
        cancelled.json()["filled_quantity"],
        cancelled.json()["remaining_quantity"],
    )
    assert cancelled.json() == unchanged
    assert (409, "BLUM-409-003", None) == error(late)
    assert ["order", "fill", "order_cancel", "order", "fill"] == kinds(record)


async def test_an_order_tells_its_status_in_either_words() -> None:
    """
    The same lives in the words of the older pages; filters take both, whatever is told.
    """
    options = replace(SLOW, terms=replace(SLOW.terms, order_words=OrderWords.LEGACY))
    async with talking(options) as talk:
        order = (await talk.place(symbol="SIM.CUT")).json()
        told = [order["status"]]
        for _ in range(2):
            await talk.advance(FILL)
            told.append((await talk.order(order["id"]))["status"])
        found = [await _count(talk, status=word) for word in ("canceled", "cancelled", "open")]

    assert ["accepted", "partially_filled", "canceled"] == told
    assert [1, 1, 0] == found


async def test_orders_are_listed_by_filters_and_pages() -> None:
    """
    Newest first; each filter keeps what it names, `open` all that go on; pages do not overlap.
    """
    async with talking(SLOW) as talk:
        ids = [
            (await talk.place(key=str(n), symbol=symbol)).json()["id"]
            for n, symbol in enumerate(("AAPL", "SIM.RESTING", "SIM.PARTIAL", "MSFT"))
        ]
        await talk.advance(FILL)
        counts = [
            await _count(talk, **query)
            for query in (
                {"status": "open"},
                {"status": "partial"},
                {"status": "filled"},
                {"symbol": "MSFT"},
                {"side": "sell"},
                {"side": "buy"},
            )
        ]
        pages = [
            (await talk.get("/investors/inv_01/orders", limit=3, offset=offset)).json()
            for offset in (0, 3)
        ]
        bad = await talk.get("/investors/inv_01/orders", status="gone")

    assert [2, 1, 2, 1, 4, 0] == counts
    assert [True, False] == [page["has_more"] for page in pages]
    assert ids[::-1] == [order["id"] for page in pages for order in page["data"]]
    assert (400, "BLUM-400-004", "status") == error(bad)


async def test_proceeds_may_leave_once_they_have_settled() -> None:
    """
    Available at the fill, withdrawable a settlement delay later: 422-005 until then.
    """
    terms = replace(PLAIN.terms, settlement_delay=timedelta(seconds=100))
    async with talking(replace(PLAIN, terms=terms)) as talk:
        await talk.place("inv_poor_1")
        filled = await talk.wallet("inv_poor_1")
        early = await talk.create("inv_poor_1", amount="300.00")
        await talk.advance(100)
        settled = await talk.wallet("inv_poor_1")
        later = await talk.create("inv_poor_1", amount="300.00")

    assert ("301.00", "1.00") == (filled["available_balance"], filled["cash_withdrawable"])
    assert (422, "BLUM-422-005", "amount") == error(early)
    assert ("301.00", "301.00") == (settled["available_balance"], settled["cash_withdrawable"])
    assert 201 == later.status_code


async def _count(talk: Talk, **query: str) -> int:
    data = (await talk.get("/investors/inv_01/orders", **query)).json()["data"]
    return len(data)
