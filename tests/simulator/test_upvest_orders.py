"""The simulated Upvest's sell orders, as a client meets them over HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.simulator.upvest_talk import (
    ACCOUNT,
    GROUP,
    PLAIN,
    SALE,
    isin_of,
    key_of,
    talking_upvest,
)
from worker.simulator.upvest_terms import UpvestTerms

if TYPE_CHECKING:
    from tests.simulator.upvest_talk import UpvestTalk

#: An order is passed on after 50 seconds and filled after 100; its cash is there after 200 more.
UNHURRIED = replace(
    PLAIN,
    terms=UpvestTerms(fill_delay=timedelta(seconds=100), settlement_delay=timedelta(seconds=200)),
)


async def look(talk: UpvestTalk, order_id: str) -> tuple[str, list[tuple[str, str]]]:
    """Read where an order stands, and its executions: status and number of shares."""
    order = await talk.get(f"/orders/{order_id}")
    executions = [(one["status"], one["share_quantity"]) for one in order["executions"]]
    return order["status"], executions


async def test_a_sale_is_filled_then_settled() -> None:
    """
    NEW, PROCESSING, FILLED; its cash is pending until the execution is SETTLED.
    """
    async with talking_upvest(UNHURRIED) as talk:
        placed = await talk.place()
        order_id = placed.json()["id"]
        steps = [await look(talk, order_id)]
        cash = [await talk.cash()]
        for seconds in (60, 50, 200):
            await talk.advance(seconds)
            steps.append(await look(talk, order_id))
            cash.append(await talk.cash())
        order = await talk.get(f"/orders/{order_id}")
        execution = order["executions"][0]
        alone = await talk.get(f"/orders/{order_id}/executions/{execution['id']}")

    assert 202 == placed.status_code
    assert SALE.items() <= placed.json().items()
    assert ("0", "EUR", "MARKET", "") == tuple(
        placed.json()[name] for name in ("cash_amount", "currency", "order_type", "limit_price")
    )
    assert [
        ("NEW", []),
        ("PROCESSING", []),
        ("FILLED", [("FILLED", "3")]),
        ("FILLED", [("SETTLED", "3")]),
    ] == steps
    assert [
        ("1000000.00", "0.00", "1000000.00"),
        ("1000000.00", "0.00", "1000000.00"),
        ("1000300.00", "300.00", "1000000.00"),
        ("1000300.00", "0.00", "1000300.00"),
    ] == cash
    assert execution == alone
    assert ("300.00", "100.00", order_id) == tuple(
        execution[name] for name in ("cash_amount", "price", "order_id")
    )


@pytest.mark.parametrize(
    ("beginning", "end", "sold"),
    [
        ("ZZPARTIAL", ("FILLED", [("SETTLED", "1.5"), ("SETTLED", "1.5")]), "3"),
        ("ZZCUT", ("CANCELLED", [("SETTLED", "1.5")]), "1.5"),
        ("ZZLAPSED", ("CANCELLED", []), "0"),
        ("ZZMISTRADE", ("FILLED", [("CANCELLED", "3")]), "0"),
        ("ZZRESTING", ("NEW", []), "0"),
        ("ZZSTUCK", ("PROCESSING", []), "0"),
    ],
)
async def test_some_instruments_have_a_course_of_their_own(
    beginning: str, end: tuple[str, list[tuple[str, str]]], sold: str
) -> None:
    """
    Filled in parts, cut off, cancelled, taken back or never done; cash comes for what was sold.
    """
    async with talking_upvest(UNHURRIED) as talk:
        await talk.cash()
        order_id = (await talk.place(instrument_id=isin_of(beginning))).json()["id"]
        await talk.advance(1000)
        seen = await look(talk, order_id)
        reason = (await talk.get(f"/orders/{order_id}")).get("cancellation_reason")
        balance = (await talk.cash())[2]
        effects = await talk.effects()

    assert end == seen
    assert ("CANCELLED_BY_TRADING_PARTNER" if end[0] == "CANCELLED" else None) == reason
    assert f"{1_000_000 + 100 * float(sold):.2f}" == balance
    assert (sold, end[0]) == (effects[0]["filled_quantity"], effects[0]["status"])


#: What is changed of a good order, the status that it gets, and the field that is named.
REQUESTS: Final[tuple[tuple[dict[str, Any], int, str | None], ...]] = (
    ({"quantity": ..., "cash_amount": "250.00", "currency": "EUR"}, 202, None),
    ({"quantity": "0.5", "order_type": "MARKET"}, 202, None),
    ({"order_type": "LIMIT", "limit_price": "99.00"}, 202, None),
    ({"order_type": "LIMIT"}, 400, "order_type"),
    ({"order_type": "LIMIT", "limit_price": "99.00", "quantity": "0.5"}, 400, "order_type"),
    ({"cash_amount": "5.00", "currency": "EUR"}, 400, "quantity"),
    ({"quantity": ...}, 400, "quantity"),
    ({"quantity": "0"}, 400, "quantity"),
    ({"quantity": ..., "cash_amount": "5.00"}, 400, "currency"),
    ({"user_id": ...}, 400, "user_id"),
    ({"side": "BUY"}, 400, "side"),
    ({"instrument_id": "US0378331006"}, 400, "instrument_id"),
    ({"instrument_id": isin_of("ZZNONE")}, 422, "instrument_id"),
    ({"instrument_id": isin_of("ZZHALTED")}, 422, "instrument_id"),
    ({"instrument_id": isin_of("ZZSCARCE")}, 422, "quantity"),
    (
        {
            "instrument_id": isin_of("ZZSCARCE"),
            "quantity": ...,
            "cash_amount": "91.00",
            "currency": "EUR",
        },
        422,
        "cash_amount",
    ),
    ({"account_id": f"0bad0403{ACCOUNT[8:]}"}, 403, "account_id"),
    ({"account_id": f"0bad0404{ACCOUNT[8:]}"}, 404, "account_id"),
    ({"client_reference": "x" * 101}, 400, "client_reference"),
    ({"symbol": "AAPL"}, 400, "symbol"),
)


async def test_what_is_to_be_sold_has_its_rules() -> None:
    """
    The problem names the field, and only what is answered by 202 was accepted.
    """
    seen = []
    async with talking_upvest(UNHURRIED) as talk:
        for number, (changed, _, _) in enumerate(REQUESTS):
            response = await talk.place(key=key_of(str(number)), **changed)
            seen.append((changed, response.status_code, response.json().get("instance")))
        effects = await talk.effects()

    assert list(REQUESTS) == seen
    assert len([status for _, status, _ in REQUESTS if status == 202]) == len(effects)


async def test_an_order_is_cancelled_while_it_is_new_and_afterwards() -> None:
    """
    202 with the id alone; what came of it is read. What was passed on is refused.
    """
    async with talking_upvest(UNHURRIED) as talk:
        first, second = [(await talk.place(key=key_of(name))).json()["id"] for name in ("a", "b")]
        accepted = await talk.call("DELETE", f"/orders/{first}")
        cancelled = await talk.get(f"/orders/{first}")
        await talk.advance(60)
        refused = await talk.call("DELETE", f"/orders/{second}")
        unknown = await talk.call("DELETE", f"/orders/{GROUP}")

    assert (202, {"id": first}) == (accepted.status_code, accepted.json())
    assert ("CANCELLED", "CANCELLED_BY_CLIENT") == (
        cancelled["status"],
        cancelled["cancellation_reason"],
    )
    assert [422, 404] == [refused.status_code, unknown.status_code]


async def test_the_list_shows_what_is_filled_unless_told_otherwise() -> None:
    """
    `status` is FILLED by default; times and pages choose among the rest.
    """
    async with talking_upvest(UNHURRIED) as talk:
        filled = (await talk.place(key=key_of("a"))).json()
        await talk.advance(500)
        fresh = (await talk.place(key=key_of("b"))).json()
        path = f"/accounts/{ACCOUNT}/orders"
        by_default = await talk.get(path)
        new = await talk.get(path, status="NEW", limit=1)
        until = await talk.get(path, status="NEW", date_created_to=filled["created_at"])
        since = await talk.get(path, status="NEW", date_created_from=fresh["created_at"][:10])
        wrong = await talk.call("GET", f"{path}?status=OPEN")

    assert [filled["id"]] == [order["id"] for order in by_default["data"]]
    assert [fresh["id"]] == [order["id"] for order in new["data"]]
    assert (1, 1, 1) == tuple(new["meta"][name] for name in ("limit", "count", "total_count"))
    assert [] == until["data"]
    assert [fresh["id"]] == [order["id"] for order in since["data"]]
    assert 400 == wrong.status_code


async def test_whose_cash_an_account_raises_can_be_told() -> None:
    """
    By its last digits, also when the group is first seen after the sale, or by a control call.
    """
    other = "3e9a7e1f-69a2-4c8c-9b64-000000000001"
    async with talking_upvest() as talk:
        await talk.place(key=key_of("a"))
        by_digits = await talk.cash()
        told = await talk.control("POST", "accounts", account_id=other, account_group_id=GROUP)
        await talk.place(key=key_of("b"), account_id=other)
        by_word = await talk.cash()

    assert 200 == told.status_code
    assert ("1000300.00", "1000600.00") == (by_digits[2], by_word[2])


async def test_a_key_places_one_order() -> None:
    """
    A repeat gets the first answer, and nothing is sold twice.
    """
    async with talking_upvest() as talk:
        first, again = await talk.place(), await talk.place()
        effects = await talk.effects()

    assert first.json() == again.json()
    assert ["order", "fill", "settlement"] == [effect["effect"] for effect in effects]
