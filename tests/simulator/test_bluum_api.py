"""The routes over real HTTP: shapes, envelopes, codes and filters as a client sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.simulator.talk import LONG, error, talking


async def test_a_create_answers_with_the_documented_fields() -> None:
    """
    201, the resource envelope, the domain fields of WD, and a request id for support.
    """
    async with talking() as talk:
        response = await talk.create()
        now = talk.server.clock.now()

    document = response.json()
    initiated_at = datetime.fromisoformat(document.pop("initiated_at"))
    assert 201 == response.status_code
    assert response.headers["X-Request-Id"].startswith("req_")
    assert document.pop("id").startswith("wd_")
    assert document.pop("wallet_id").startswith("wlt_")
    assert document.pop("method_details").pop("transfer_id").startswith("t-")
    assert abs(document.pop("created") - now.timestamp()) < 60
    assert abs((initiated_at - now).total_seconds()) < 60
    assert {
        "object": "withdrawal",
        "livemode": False,
        "metadata": {},
        "investor_id": "inv_01",
        "funding_source_id": "fs_01",
        "method": "ach",
        "status": "pending",
        "amount": "250.75",
        "currency": "USD",
        "description": "req 7f3a",
        "destination_details": None,
        "completed_at": None,
        "failure_reason": None,
    } == document


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("ach", {"provider_name", "transfer_id", "alpaca_status"}),
        ("international_wire", {"provider_name", "recipient_bank_action", "alpaca_bank_id"}),
        ("manual_bank_transfer", {"provider_name", "external_withdrawal_id"}),
        ("wire", None),
    ],
)
async def test_method_details_depend_on_the_method(method: str, fields: set[str] | None) -> None:
    """
    Each method has its own details (WD); the pages show none for a plain wire.
    """
    async with talking() as talk:
        details = (await talk.create(method=method)).json()["method_details"]

    assert fields == (None if details is None else set(details))


async def test_a_withdrawal_progresses_with_the_clock() -> None:
    """
    pending, processing, completed; the end has a time and the money is gone.
    """
    async with talking() as talk:
        path = f"/investors/inv_01/withdrawals/{(await talk.create()).json()['id']}"
        seen = []
        for seconds in (0, 2.5, LONG):
            await talk.advance(seconds)
            seen.append((await talk.get(path)).json())
        wallet = await talk.wallet()

    assert ["pending", "processing", "completed"] == [document["status"] for document in seen]
    assert [False, False, True] == [document["completed_at"] is not None for document in seen]
    assert "999749.25" == wallet["balance"]


async def test_a_failing_investors_withdrawal_fails_with_a_reason() -> None:
    """
    It ends failed, says why, has no completion time, and the hold is released.
    """
    async with talking() as talk:
        created = (await talk.create("inv_failing_1")).json()
        await talk.advance(LONG)
        ended = (await talk.get(f"/investors/inv_failing_1/withdrawals/{created['id']}")).json()
        wallet = await talk.wallet("inv_failing_1")

    assert created["failure_reason"] is None
    assert ("failed", None) == (ended["status"], ended["completed_at"])
    assert ended["failure_reason"]
    assert ("1000000.00", "0.00") == (wallet["balance"], wallet["reserved_balance"])


async def test_a_pending_withdrawal_can_be_cancelled() -> None:
    """
    200 with the object, whose status is spelled with two l; the hold is gone.
    """
    async with talking() as talk:
        created = (await talk.create()).json()
        cancelled = await talk.cancel(created["id"])
        wallet = await talk.wallet()

    assert 200 == cancelled.status_code
    assert (
        created
        | {
            "status": "cancelled",
            "method_details": created["method_details"] | {"alpaca_status": "CANCELED"},
        }
        == cancelled.json()
    )
    assert "0.00" == wallet["reserved_balance"]


async def test_a_cancellation_comes_too_late_once_processing() -> None:
    """
    409-003, and the withdrawal goes on.
    """
    async with talking() as talk:
        created = (await talk.create()).json()
        await talk.advance(2.5)
        late = await talk.cancel(created["id"])
        still = await talk.get(f"/investors/inv_01/withdrawals/{created['id']}")

    assert (409, "BLUM-409-003", None) == error(late)
    assert "processing" == still.json()["status"]


@pytest.mark.parametrize(
    ("investor_id", "changed", "expected"),
    [
        ("inv_poor_1", {"amount": "1.01"}, (422, "BLUM-422-001", "amount")),
        ("inv_blocked_1", {}, (403, "BLUM-403-002", "investor_id")),
        ("inv_unknown_1", {}, (404, "BLUM-404-001", "investor_id")),
        (
            "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
            {},
            (400, "BLUM-400-003", "investor_id"),
        ),
        ("inv_1", {"amount": "0"}, (400, "BLUM-400-005", "amount")),
        ("inv_1", {"method": "cash"}, (400, "BLUM-400-004", "method")),
        ("inv_1", {"currency": "CHF"}, (400, "BLUM-400-004", "currency")),
        ("inv_1", {"funding_source_id": ...}, (400, "BLUM-400-002", "funding_source_id")),
        (
            "inv_1",
            {"funding_source_id": "fs_inactive_1"},
            (400, "BLUM-400-001", "funding_source_id"),
        ),
        ("inv_1", {"reference": "x"}, (400, "BLUM-400-001", "reference")),
    ],
)
async def test_a_refused_create_has_no_effect(
    investor_id: str, changed: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    """
    Each refusal has its status, code and param, and nothing is executed.
    """
    async with talking() as talk:
        response = await talk.create(investor_id, **changed)
        record = await talk.record()

    assert expected == error(response)
    assert [] == record["effects"]


async def test_what_is_on_hold_cannot_be_withdrawn() -> None:
    """
    422-005 when the balance would do, but a part of it is on hold.
    """
    async with talking() as talk:
        await talk.create("inv_poor_1", amount="0.60")
        response = await talk.create("inv_poor_1", key="wd-2", amount="0.60")

    assert (422, "BLUM-422-005", "amount") == error(response)


@pytest.mark.parametrize(("size", "expected"), [(65_536, "BLUM-400-001"), (65_537, "BLUM-400-008")])
async def test_a_body_has_a_limit(size: int, expected: str) -> None:
    """
    64 KiB are read (and found to be no JSON), one byte more is too large.
    """
    async with talking() as talk:
        response = await talk.http.post("/investors/inv_1/withdrawals", content=b"x" * size)

    assert (400, expected, None) == error(response)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/investors/inv_unknown_1"),
        ("GET", "/investors/inv_unknown_1/wallets"),
        ("GET", "/investors/inv_unknown_1/funding-sources"),
        ("GET", "/investors/inv_unknown_1/withdrawals"),
        ("GET", "/investors/inv_01/withdrawals/wd_none"),
        ("POST", "/investors/inv_01/withdrawals/wd_none/cancel"),
    ],
)
async def test_what_does_not_exist_is_not_found(method: str, path: str) -> None:
    """
    404-001 for a missing investor or withdrawal.
    """
    async with talking() as talk:
        response = await talk.http.request(method, path)

    assert (404, "BLUM-404-001") == error(response)[:2]
    assert "not_found_error" == response.json()["error"]["type"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/accounts/acc_1"), ("DELETE", "/investors/inv_01/withdrawals"), ("GET", "/")],
)
async def test_an_unknown_path_or_method_is_named_so(method: str, path: str) -> None:
    """
    404-002 for everything that the API does not have.
    """
    async with talking() as talk:
        response = await talk.http.request(method, path)

    assert (404, "BLUM-404-002", None) == error(response)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/investors/3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b/withdrawals", "investor_id"),
        (
            "/investors/inv_01/withdrawals/3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
            "withdrawal_id",
        ),
    ],
)
async def test_a_uuid_in_place_of_a_prefixed_id_is_a_bad_format(path: str, param: str) -> None:
    """
    400 with the part of the path that is wrong (HOW).
    """
    async with talking() as talk:
        response = await talk.get(path)

    assert (400, "BLUM-400-003", param) == error(response)


async def test_wallets_tell_what_is_reserved() -> None:
    """
    One wallet a currency in the list envelope, with the fields of WAL, as decimal strings.
    """
    async with talking() as talk:
        await talk.create(amount="500", currency="EUR")
        document = (await talk.get("/investors/inv_01/wallets")).json()

    wallets = {wallet["currency"]: wallet for wallet in document["data"]}
    assert ("list", "/v1/investors/inv_01/wallets", False) == (
        document["object"],
        document["url"],
        document["has_more"],
    )
    assert ["USD", "EUR", "NGN", "KES", "GBP"] == list(wallets)
    assert "0.00" == wallets["USD"]["reserved_balance"]
    assert wallets["EUR"].pop("id").startswith("wlt_")
    assert {
        "object": "wallet",
        "created": None,
        "livemode": False,
        "metadata": {},
        "currency": "EUR",
        "balance": "1000000.00",
        "available_balance": "999500.00",
        "reserved_balance": "500.00",
        "cash_withdrawable": "999500.00",
        "buying_power": "999500.00",
        "equity": "1000000.00",
        "status": "active",
    } == wallets["EUR"]


@pytest.mark.parametrize(
    ("investor_id", "status"), [("inv_01", "active"), ("inv_blocked_1", "under_review")]
)
async def test_an_investor_tells_its_dollars(investor_id: str, status: str) -> None:
    """
    Balance, what may be withdrawn, and whether it is approved (INV).
    """
    async with talking() as talk:
        document = (await talk.get(f"/investors/{investor_id}")).json()

    assert {
        "id": investor_id,
        "object": "investor",
        "created": None,
        "livemode": False,
        "metadata": {},
        "balance": "1000000.00",
        "cash_withdrawable": "1000000.00",
        "status": status,
    } == document


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({}, ["plaid", "manual", "plaid"]),
        ({"type": "all"}, ["plaid", "manual", "plaid"]),
        ({"type": "manual"}, ["manual"]),
        ({"type": "plaid"}, ["plaid", "plaid"]),
    ],
)
async def test_funding_sources_are_listed_by_type(query: dict[str, str], kinds: list[str]) -> None:
    """
    The filter `type` picks; an active source can be paid to, a disconnected one cannot.
    """
    async with talking() as talk:
        sources = (await talk.get("/investors/inv_01/funding-sources", **query)).json()["data"]
        paid = {
            source["status"]: (
                await talk.create(key=source["id"], funding_source_id=source["id"])
            ).status_code
            for source in sources
        }

    assert kinds == [source["type"] for source in sources]
    assert paid.items() <= {"active": 201, "disconnected": 400}.items()


async def test_funding_sources_have_no_other_type() -> None:
    """
    Another word for `type` is a bad enum value.
    """
    async with talking() as talk:
        response = await talk.get("/investors/inv_01/funding-sources", type="card")

    assert (400, "BLUM-400-004", "type") == error(response)
