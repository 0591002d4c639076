"""The control calls: what they tell, what they turn, and how they refuse."""

from __future__ import annotations

import httpx
import pytest

from tests.no_tls import NO_TLS
from tests.simulator.talk import LONG, talking


async def test_the_record_tells_every_effect_in_order() -> None:
    """
    Withdrawals with all that identifies them and their present status, and cancellations.
    """
    async with talking() as talk:
        first = (await talk.create(key="wd-1")).json()
        second = (await talk.create("inv_02", key=None, amount="1", method="wire")).json()
        cancelled = await talk.cancel(first["id"])
        await talk.advance(LONG)
        record = await talk.record()

    assert 200 == cancelled.status_code
    cancelled_at = record["effects"][2].pop("cancelled_at")
    assert first["initiated_at"] <= cancelled_at < record["now"]
    assert [
        {
            "sequence": 1,
            "effect": "withdrawal",
            "id": first["id"],
            "investor_id": "inv_01",
            "idempotency_key": "wd-1",
            "amount": "250.75",
            "currency": "USD",
            "method": "ach",
            "funding_source_id": "fs_01",
            "description": "req 7f3a",
            "executed_at": first["initiated_at"],
            "status": "cancelled",
        },
        {
            "sequence": 2,
            "effect": "withdrawal",
            "id": second["id"],
            "investor_id": "inv_02",
            "idempotency_key": None,
            "amount": "1.00",
            "currency": "USD",
            "method": "wire",
            "funding_source_id": "fs_01",
            "description": "req 7f3a",
            "executed_at": second["initiated_at"],
            "status": "completed",
        },
        {"sequence": 3, "effect": "cancel", "id": first["id"], "investor_id": "inv_01"},
    ] == record["effects"]


async def test_the_record_counts_calls_and_answers() -> None:
    """
    Calls by operation and answers by status, control calls left out.
    """
    async with talking() as talk:
        created = (await talk.create()).json()
        await talk.create()
        await talk.create(amount="0")
        await talk.cancel(created["id"])
        await talk.get(f"/investors/inv_01/withdrawals/{created['id']}")
        await talk.get("/investors/inv_01/withdrawals")
        await talk.get("/investors/inv_01/wallets")
        await talk.get("/investors/inv_01/funding-sources")
        await talk.get("/investors/inv_01")
        await talk.get("/nowhere")
        record = await talk.record()

    counters = record["counters"]
    assert 1 <= counters.pop("busiest_second") <= 10
    assert {
        "requests": {
            "create_withdrawal": 3,
            "cancel_withdrawal": 1,
            "get_withdrawal": 1,
            "list_withdrawals": 1,
            "list_wallets": 1,
            "list_funding_sources": 1,
            "get_investor": 1,
            "unknown": 1,
        },
        "responses": {"201": 2, "400": 1, "200": 6, "404": 1},
        "rate_limited": 0,
        "faults": {},
        "replays": 1,
        "webhooks": {},
    } == counters


async def test_the_server_tells_the_same_record_without_http() -> None:
    """
    In one process a test may ask the server itself.
    """
    async with talking() as talk:
        await talk.create()
        over_http, directly = await talk.record(), talk.server.record()

    assert over_http["effects"] == directly["effects"]
    assert over_http["counters"] == directly["counters"]


async def test_faults_are_told_and_replaced() -> None:
    """
    What is put is what is told, and what a later call does not name is off again.
    """
    off = {
        "drop_before": 0.0,
        "drop_after": 0.0,
        "error_before": 0.0,
        "error_after": 0.0,
        "hang_before": 0.0,
        "hang_after": 0.0,
        "garbage_after": 0.0,
        "late": 0.0,
        "unknown_status": 0.0,
        "webhook_lost": 0.0,
        "webhook_doubled": 0.0,
        "webhook_delayed": 0.0,
        "calls": "creates",
        "outage": False,
    }
    async with talking() as talk:
        at_first = (await talk.control("GET", "faults")).json()
        await talk.control("PUT", "faults", drop_after=0.25, calls="all")
        then = (await talk.control("GET", "faults")).json()
        answered = (await talk.control("PUT", "faults", outage=True)).json()

    assert off == at_first
    assert off | {"drop_after": 0.25, "calls": "all"} == then
    assert off | {"outage": True} == answered


async def test_credentials_are_revoked_and_restored() -> None:
    """
    401-003 while revoked, without any effect; afterwards the same key pair works again.
    """
    async with talking() as talk:
        await talk.control("PUT", "credentials", revoked=True)
        refused = await talk.create()
        await talk.control("PUT", "credentials", revoked=False)
        restored = await talk.create()
        record = await talk.record()

    assert (401, "BLUM-401-003") == (refused.status_code, refused.json()["error"]["code"])
    assert 201 == restored.status_code
    assert 1 == len(record["effects"])


async def test_the_clock_tells_where_it_stands() -> None:
    """
    The answer of the call is the simulator's new present.
    """
    async with talking() as talk:
        before = (await talk.record())["now"]
        answered = (await talk.control("POST", "clock", advance_seconds=86_400)).json()

    assert before[:10] < answered["now"][:10]


async def test_health_is_told() -> None:
    """
    A container can be probed.
    """
    async with talking() as talk:
        assert {"status": "ok"} == (await talk.control("GET", "healthz")).json()


@pytest.mark.parametrize(
    ("method", "name", "fields", "named"),
    [
        ("PUT", "faults", {"drop_after": 1.5}, "drop_after"),
        ("PUT", "faults", {"drop_after": "0.5"}, "drop_after"),
        ("PUT", "faults", {"drop_after": True}, "drop_after"),
        ("PUT", "faults", {"drop_after": 0.6, "error_after": 0.6}, "drop_after"),
        ("PUT", "faults", {"calls": "some"}, "calls"),
        ("PUT", "faults", {"calls": ["all"]}, "calls"),
        ("PUT", "faults", {"outage": 1}, "outage"),
        ("PUT", "faults", {"earthquake": 1}, "earthquake"),
        ("PUT", "credentials", {"revoked": "yes"}, "revoked"),
        ("PUT", "credentials", {"revoke": True}, "revoke"),
        ("POST", "clock", {"advance_seconds": -1}, "advance_seconds"),
        ("POST", "clock", {"advance_seconds": "60"}, "advance_seconds"),
        ("POST", "clock", {"advance_seconds": True}, "advance_seconds"),
        ("POST", "clock", {"advance_seconds": 1e300}, "advance_seconds"),
        ("POST", "clock", {"advance_seconds": 1e9}, "advance_seconds"),
        ("POST", "clock", {"advance_minutes": 1}, "advance_minutes"),
    ],
)
async def test_bad_control_input_is_refused_by_name(
    method: str, name: str, fields: dict[str, object], named: str
) -> None:
    """
    400, the field is named, and nothing is turned.
    """
    async with talking() as talk:
        before = (await talk.control("GET", "faults")).json()
        response = await talk.control(method, name, **fields)
        after = (await talk.control("GET", "faults")).json()
        created = await talk.create()

    assert 400 == response.status_code
    assert named in response.json()["error"]["message"]
    assert before == after
    assert 201 == created.status_code


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"advance_seconds": NaN}', b"{}"])
async def test_a_control_call_needs_an_object(body: bytes) -> None:
    """
    Whatever is not a JSON object with the field is refused.
    """
    async with talking() as talk, httpx.AsyncClient(trust_env=False, verify=NO_TLS) as stranger:
        response = await stranger.post(f"{talk.server.control_url}/clock", content=body)

    assert 400 == response.status_code


async def test_there_are_no_other_control_calls() -> None:
    """
    404 below the prefix, whatever the credentials, and not counted as a call of the API.
    """
    async with talking() as talk:
        missing = await talk.control("GET", "secrets")
        wrong_method = await talk.control("DELETE", "record")
        record = await talk.record()

    assert [404, 404] == [missing.status_code, wrong_method.status_code]
    assert {} == record["counters"]["requests"]
