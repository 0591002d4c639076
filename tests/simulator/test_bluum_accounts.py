"""The older generation at the simulator: its paths, words, envelopes and magic ids.

Bank, keys, clock and faults are those of the current one, and are tested there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.receiver import receiving
from tests.simulator.talk import PLAIN, talking
from worker.simulator.bluum_generation import ACCOUNT_SCOPED, AnswerShape
from worker.simulator.bluum_webhooks import EventKey, WebhookTerms

if TYPE_CHECKING:
    import httpx

    from tests.simulator.talk import Talk
    from worker.simulator.bluum_server import BluumOptions

ACCOUNT = "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"
PLAID = {"item_id": "item_1", "account_id": "acc_1"}
FIELDS = {"amount": "250.75", "method": "ach_plaid", "plaid_options": PLAID, "description": "rent"}


def older(**terms: Any) -> BluumOptions:  # noqa: ANN401 - any of the terms
    """Options of a simulator of this generation."""
    return replace(PLAIN, terms=replace(PLAIN.terms, generation=ACCOUNT_SCOPED, **terms))


async def create(talk: Talk, account: str = ACCOUNT, **changed: object) -> httpx.Response:
    """Ask for a withdrawal; a field that is changed to ... is left out."""
    fields = {name: value for name, value in (FIELDS | changed).items() if value is not ...}
    return await talk.http.post(f"/accounts/{account}/withdrawals", json=fields)


def beginning(digits: str) -> str:
    """An account whose id begins so."""
    return digits + ACCOUNT[8:]


async def test_a_withdrawal_is_told_in_the_older_words() -> None:
    """
    Bare, with ids `wdr_`, ISO times and camelCase inside (G2).
    """
    async with talking(older()) as talk:
        created = await create(talk)

    document = created.json()
    at = document["created_at"]
    assert 201 == created.status_code
    assert document.pop("withdrawal_id").startswith("wdr_")
    assert document["method_details"].pop("transferId")
    assert {
        "account_id": ACCOUNT,
        "method": "ach_plaid",
        "status": "pending",
        "amount": "250.75",
        "currency": "USD",
        "description": "rent",
        "method_details": {"providerName": "alpaca", "alpacaStatus": "QUEUED"},
        "destination_details": {"bankName": "Demo Bank", "accountMask": "6789"},
        "created_at": at,
        "initiated_at": at,
        "submitted_at": None,
        "completed_at": None,
        "failure_reason": None,
    } == document
    assert at.endswith("Z")


async def test_it_is_submitted_on_its_way() -> None:
    """
    Pending, processing, submitted, completed: the words of a whole life, and of the filter.
    """
    seen = []
    async with talking(older()) as talk:
        identity = (await create(talk)).json()["withdrawal_id"]
        path = f"/accounts/{ACCOUNT}/withdrawals"
        for seconds in (0, 2.5, 1, 2):
            await talk.advance(seconds)
            seen.append((await talk.get(f"{path}/{identity}")).json())
            found = await talk.get(path, status=seen[-1]["status"])
            assert 1 == found.json()["total"]

    assert ["pending", "processing", "submitted", "completed"] == [s["status"] for s in seen]
    assert [False, False, True, True] == [s["submitted_at"] is not None for s in seen]


async def test_a_cancellation_has_one_l() -> None:
    """
    In the answer, and in the list, where the other spelling is no word of the filter.
    """
    async with talking(older()) as talk:
        path = f"/accounts/{ACCOUNT}/withdrawals"
        identity = (await create(talk)).json()["withdrawal_id"]
        cancelled = await talk.http.post(f"{path}/{identity}/cancel")
        listed = await talk.get(path, status="canceled")

    assert "canceled" == cancelled.json()["status"]
    assert ["canceled"] == [found["status"] for found in listed.json()["data"]]


@pytest.mark.parametrize(
    ("shape", "around", "error"),
    [
        (AnswerShape.BARE, set(), {"code", "message"}),
        (AnswerShape.DATA, {"data"}, {"code", "message"}),
        (AnswerShape.STATUS, {"status", "data"}, {"status", "code", "message"}),
    ],
)
async def test_answers_are_wrapped_as_it_was_told(
    shape: AnswerShape, around: set[str], error: set[str]
) -> None:
    """
    One withdrawal, a list of them with its `total`, and errors, which are flat (ERR, ORD).
    """
    async with talking(older(answer_shape=shape)) as talk:
        created = (await create(talk)).json()
        page = (await talk.get(f"/accounts/{ACCOUNT}/withdrawals", limit=1)).json()
        refused = await create(talk, amount="0")

    assert around == (set(created) if around else set())
    assert created.get("data", created)["withdrawal_id"] == page["data"][0]["withdrawal_id"]
    assert {"data", "total"} | around == set(page)
    assert 1 == page["total"]
    assert (400, error) == (refused.status_code, set(refused.json()))


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"plaid_options": ...}, 400, "BLUM-400-002"),
        ({"plaid_options": {"item_id": "item_1"}}, 400, "BLUM-400-003"),
        ({"plaid_options": {**PLAID, "mask": "1"}}, 400, "BLUM-400-003"),
        ({"method": "wire"}, 400, "BLUM-400-002"),
        ({"method": "ach", "wire_options": {}}, 400, "BLUM-400-001"),
        ({"method": "manual_bank_transfer"}, 400, "BLUM-400-004"),
        ({"funding_source_id": "fs_1"}, 400, "BLUM-400-001"),
        ({"amount": "2000000.00"}, 422, "BLUM-422-001"),
        ({"method": "ach"}, 201, None),
        ({"method": "wire", "plaid_options": ..., "wire_options": {"bank": "1"}}, 201, None),
    ],
    ids=repr,
)
async def test_each_method_needs_its_options(
    changed: dict[str, Any], status: int, told: str | None
) -> None:
    """
    Plaid's for ACH, those of the wire for a wire, and no funding source (G2).
    """
    async with talking(older()) as talk:
        answer = await create(talk, **changed)

    assert (status, told) == (answer.status_code, answer.json().get("code"))


async def test_what_concerns_the_bank_is_a_text_alone() -> None:
    """
    An item of Plaid that is not active: the envelope that NB shows for it.
    """
    async with talking(older()) as talk:
        answer = await create(talk, plaid_options={**PLAID, "item_id": "item_inactive_1"})

    assert (400, ["error"]) == (answer.status_code, list(answer.json()))
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/accounts/inv_01/withdrawals", 400, "BLUM-400-003"),
        (f"/accounts/{ACCOUNT}/withdrawals/wd_1", 400, "BLUM-400-003"),
        (f"/accounts/{ACCOUNT}/withdrawals/wdr_1", 404, "BLUM-404-001"),
        (f"/accounts/{ACCOUNT}/withdrawals?limit=101", 400, "BLUM-400-003"),
        ("/investors/inv_01/withdrawals", 404, "BLUM-404-002"),
        (f"/accounts/{ACCOUNT}/orders", 404, "BLUM-404-002"),
        (f"/accounts/{ACCOUNT}/wallets", 404, "BLUM-404-002"),
    ],
)
async def test_the_other_generations_paths_are_not_here(path: str, status: int, code: str) -> None:
    """
    Ids have another form, pages are shorter, and there are neither orders nor wallets.
    """
    async with talking(older()) as talk:
        answer = await talk.http.get(path)

    assert (status, code) == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("digits", "status"), [("0bad0404", 404), ("0bad0403", 403), ("0bad0422", 422)]
)
async def test_accounts_are_refused_by_their_first_digits(digits: str, status: int) -> None:
    """
    What an investor is by its name: unknown, not approved, poor.
    """
    async with talking(older()) as talk:
        assert status == (await create(talk, beginning(digits))).status_code


@pytest.mark.parametrize(
    ("digits", "cancels", "words"),
    [
        ("0bad0001", False, ("failed", "failed")),
        ("0bad0002", False, ("completed", "failed")),
        ("0bad0003", False, ("completed", "canceled")),
        ("0bad0010", False, ("pending", "pending")),
        ("0bad0409", True, ("completed", "completed")),
        ("0bad0004", True, ("completed", "completed")),
        ("0bad0005", True, ("completed", "completed")),
    ],
)
async def test_accounts_fare_by_their_first_digits(
    digits: str, words: tuple[str, str], *, cancels: bool
) -> None:
    """
    At the end of a usual life, and later; a cancellation that does nothing changes no end.
    """
    path, seen = f"/accounts/{beginning(digits)}/withdrawals", []
    async with talking(older()) as talk:
        path += "/" + (await create(talk, beginning(digits))).json()["withdrawal_id"]
        if cancels:
            await talk.http.post(f"{path}/cancel")
        for seconds in (5, 5):
            await talk.advance(seconds)
            seen.append((await talk.get(path)).json()["status"])

    assert words == tuple(seen)


async def test_a_wallet_is_filled_and_recorded_by_its_account() -> None:
    """
    The control calls and the record name the party as the API does, and where the money went.
    """
    poor = beginning("0bad0422")
    async with talking(older()) as talk:
        filled = await talk.control("POST", "wallets", account_id=poor, amount="300.00")
        created = await create(talk, poor)
        deposit, withdrawal = (await talk.record())["effects"]

    assert (200, 201) == (filled.status_code, created.status_code)
    assert "deposit" == deposit["effect"]
    assert (poor, PLAID) == (withdrawal["account_id"], withdrawal["plaid_options"])
    assert "investor_id" not in withdrawal


async def test_a_webhook_names_the_account() -> None:
    """
    `account_id` instead of `investor_id` (WS), under the key of the event that it was told (NB).
    """
    async with receiving() as receiver:
        webhooks = WebhookTerms(url=receiver.url, event_key=EventKey.EVENT_TYPE)
        async with talking(replace(older(), webhooks=webhooks)) as talk:
            identity = (await create(talk)).json()["withdrawal_id"]
            document = (await receiver.arrived(1))[0].document

    assert "transfer.withdrawal.initiated" == document["event_type"]
    assert (identity, ACCOUNT) == (document["data"]["id"], document["data"]["account_id"])
