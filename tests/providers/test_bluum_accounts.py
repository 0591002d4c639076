"""Bluum's older generation: what leaves for it, and every form in which it may answer.

What both generations share is said by the tests of `bluum` and by the suite; here stand the paths,
the body, the envelopes, the ids and the lists that differ."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.providers.builders import NOW, PATIENCE, a_held, a_permit
from tests.providers.canned import Said, canned
from tests.providers.stages import (
    BLUUM_ACCOUNT,
    ROWS,
    Options,
    bluum_accounts_request,
    open_bluum,
    open_bluum_accounts,
)
from worker.core.answers import Conflicted, Entry, Listed, Refused, Reported, Trace, Unclear
from worker.core.lookup import candidates
from worker.core.withdrawal import Reason, ReasonCode, Status, idempotency_key
from worker.providers.bluum_replies import CUT_PAGE
from worker.simulator.bluum_generation import AnswerShape
from worker.simulator.bluum_terms import ReplayAnswer

if TYPE_CHECKING:
    from tests.providers.canned import Heard
    from tests.providers.stages import Row
    from worker.core.answers import Answer, ListAnswer

SINCE, UNTIL = date(2026, 5, 31), date(2026, 6, 2)
YESTERDAY, TOMORROW = (NOW - timedelta(days=1)).date(), (NOW + timedelta(days=1)).date()
KEY = idempotency_key("req-1")
WIRE = {"bank_code": "021000021", "beneficiary": "Demo"}


def accounts_row() -> Row:
    """The provider in the suite."""
    (row,) = (row for row in ROWS if row.name == "bluum_accounts")
    return row


def a_withdrawal(**changes: object) -> dict[str, Any]:
    """One as the older pages show it (WD, WDG); a field that is changed to ... is left out."""
    sample = {
        "withdrawal_id": "wdr_01demo",
        "account_id": BLUUM_ACCOUNT,
        "method": "ach_plaid",
        "status": "submitted",
        "amount": "250.75",
        "currency": "USD",
        "description": "rent [wd:0123456789ab]",
        "method_details": {"providerName": "alpaca", "transferId": "t-1"},
        "destination_details": {"bankName": "Demo Bank", "accountMask": "6789"},
        "created_at": "2026-06-01T10:00:00.000Z",
        "submitted_at": "2026-06-02T10:00:00.000Z",
        "failure_reason": None,
    }
    return {name: value for name, value in (sample | changes).items() if value is not ...}


#: How a success may be wrapped (WD, G2; NB, WHR).
ENVELOPES = {
    "bare": lambda document: document,
    "data": lambda document: {"data": document},
    "status": lambda document: {"status": "success", "data": document},
}


async def create(said: Said, **fields: object) -> tuple[Answer, list[Heard]]:
    """Send a create call to a server that says this, and tell what it heard."""
    async with canned(said) as server, open_bluum_accounts(server.base_url, Options()) as bluum:
        held = a_held(bluum, bluum_accounts_request(**fields))
        return await bluum.create(a_permit(held)), server.heard


async def look(said: Said, withdrawal_id: str = "wdr_01demo") -> Answer:
    """Look at a withdrawal, at a server that says this."""
    async with canned(said) as server, open_bluum_accounts(server.base_url, Options()) as bluum:
        return await bluum.look(BLUUM_ACCOUNT, withdrawal_id)


async def listed(*pages: Said) -> tuple[ListAnswer, list[Heard]]:
    """Read a list from a server that says these pages, and tell what it was asked."""
    async with canned(*pages) as server, open_bluum_accounts(server.base_url, Options()) as bluum:
        answer = await bluum.listed(BLUUM_ACCOUNT, SINCE, UNTIL)
    return answer, server.heard


async def entry(**changes: object) -> Entry:
    """Read a list of one entry."""
    answer, _ = await listed(Said(200, {"data": [a_withdrawal(**changes)], "total": 1}))
    assert isinstance(answer, Listed)
    (found,) = answer.entries
    return found


@pytest.mark.parametrize(
    ("fields", "destination"),
    [
        (
            {"plaid_options": {"item_id": "item_1", "account_id": "acc_1"}},
            '"method":"ach_plaid","plaid_options":{"item_id":"item_1","account_id":"acc_1"}',
        ),
        (
            {"method": "ach", "plaid_options": {"account_id": "acc_1", "item_id": "item_1"}},
            '"method":"ach","plaid_options":{"item_id":"item_1","account_id":"acc_1"}',
        ),
        (
            {"method": "wire", "plaid_options": None, "wire_options": WIRE},
            '"method":"wire","wire_options":{"bank_code":"021000021","beneficiary":"Demo"}',
        ),
    ],
    ids=["ach_plaid", "ach", "wire"],
)
async def test_the_body_is_these_bytes(fields: dict[str, object], destination: str) -> None:
    """
    Field by field and byte by byte: another release that writes others would meet a conflict.
    """
    _, heard = await create(Said(201, a_withdrawal()), description="rent", **fields)

    text = '"description":"rent [wd:60b93432eb52]"'
    expected = f'{{"amount":"250.75","currency":"USD",{destination},{text}}}'
    assert expected.encode() == heard[0].body
    assert KEY == heard[0].headers["Idempotency-Key"]


async def test_every_call_has_its_path() -> None:
    """
    The twins of the current calls, below the account; what may be withdrawn is asked of nobody.
    """
    async with (
        canned(Said(200, a_withdrawal())) as server,
        open_bluum_accounts(server.base_url, Options()) as bluum,
    ):
        await bluum.create(a_permit(a_held(bluum, bluum_accounts_request())))
        await bluum.look(BLUUM_ACCOUNT, "wdr_1")
        await bluum.entry(BLUUM_ACCOUNT, "wdr_1")
        await bluum.cancel(BLUUM_ACCOUNT, "wdr_1")
        await bluum.listed(BLUUM_ACCOUNT, SINCE, UNTIL)
        available = await bluum.available(BLUUM_ACCOUNT, "USD")
        await bluum.try_credentials()

    withdrawals = f"/v1/accounts/{BLUUM_ACCOUNT}/withdrawals"
    days = "?date_from=2026-05-31&date_to=2026-06-02&limit=100&offset=0"
    assert [
        ("POST", withdrawals),
        ("GET", f"{withdrawals}/wdr_1"),
        ("GET", f"{withdrawals}/wdr_1"),
        ("POST", f"{withdrawals}/wdr_1/cancel"),
        ("GET", f"{withdrawals}{days}"),
        ("GET", "/v1/accounts/00000000-0000-4000-8000-000000000000/withdrawals?limit=1"),
    ] == [(heard.method, heard.path) for heard in server.heard]
    assert available is None


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES)
async def test_a_success_is_read_in_every_envelope(envelope: Any) -> None:  # noqa: ANN401
    """
    Bare, in `data`, or in `data` beside a status of the answer's own, which is not the money's.
    """
    expected = Reported("wdr_01demo", Status.SUBMITTED, "submitted", Trace(200))

    created, _ = await create(Said(200, envelope(a_withdrawal())))
    assert (expected, expected) == (created, await look(Said(200, envelope(a_withdrawal()))))


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES)
async def test_the_current_generation_is_read_in_every_envelope(envelope: Any) -> None:  # noqa: ANN401
    """
    Pages mix the two: what one may write the other may.
    """
    document = envelope({"id": "wd_01", "status": "canceled"})
    async with (
        canned(Said(200, document)) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        answer = await bluum.look("inv_01", "wd_01")

    assert Reported("wd_01", Status.CANCELLED, "canceled", Trace(200)) == answer


@pytest.mark.parametrize(
    "document",
    [
        {"status": "error", "data": a_withdrawal()},
        {"status": "pending", "data": a_withdrawal()},
        {"status": ["success"], "data": a_withdrawal()},
        {"status": {}, "data": a_withdrawal()},
        {"status": "success", "data": None},
        {"status": "success", "data": [a_withdrawal()]},
        {"status": "success", "data": {"data": a_withdrawal()}},
        {"status": "success", "data": a_withdrawal(withdrawal_id=..., account_id="wdr_01demo")},
        {"status": "success", "data": a_withdrawal(withdrawal_id="wdr_02")},
        {"id": "wdr_02", "data": a_withdrawal()},
        {"result": a_withdrawal()},
    ],
    ids=repr,
)
async def test_what_is_in_no_documented_envelope_is_unclear(document: object) -> None:
    """
    What contradicts itself, or is of another withdrawal, says nothing about this one.
    """
    assert Unclear("unusable_body", None, Trace(200)) == await look(Said(200, document))


async def test_its_own_id_goes_before_another() -> None:
    """
    A withdrawal that has both is known by the one that its calls take.
    """
    answer = await look(Said(200, a_withdrawal(id="5f2d3c1b-0000-4000-8000-000000000001")))

    assert isinstance(answer, Reported)
    assert "wdr_01demo" == answer.withdrawal_id


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            422,
            {"code": "BLUM-422-001", "message": "no"},
            Refused(
                Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"),
                Trace(422, "BLUM-422-001", None, "no"),
            ),
        ),
        (
            400,
            {"status": "error", "code": "BLUM-400-003", "message": "no"},
            Refused(
                Reason(ReasonCode.REFUSED, "BLUM-400-003"), Trace(400, "BLUM-400-003", None, "no")
            ),
        ),
        (
            400,
            {"error": "no ACH relationship"},
            Refused(Reason(ReasonCode.REFUSED), Trace(400, None, None, "no ACH relationship")),
        ),
        # The same words under a status that may have paid.
        (500, {"error": "no ACH relationship"}, Unclear),
        (
            409,
            {"status": "error", "code": "BLUM-409-001", "message": "already processed"},
            Conflicted(Trace(409, "BLUM-409-001", None, "already processed")),
        ),
    ],
    ids=["flat", "status", "text", "text under 500", "409"],
)
async def test_errors_are_read_in_every_envelope(
    status: int, body: object, expected: object
) -> None:
    """
    The older ones too (ERR, NB); what is no refusal by its status is none by its words.
    """
    answer, _ = await create(Said(status, body))

    assert expected == (type(answer) if expected is Unclear else answer)


async def test_an_entry_is_read() -> None:
    """
    With all by which one of ours is recognised; the day is that of its creation.
    """
    expected = Entry(
        reported=Reported("wdr_01demo", Status.SUBMITTED, "submitted"),
        amount="250.75",
        currency="USD",
        method="ach_plaid",
        target_id=None,
        text="rent [wd:0123456789ab]",
        created_on=date(2026, 6, 1),
        party_id=BLUUM_ACCOUNT,
    )

    assert expected == await entry()


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"plaid_options": {"item_id": "i_1", "account_id": "a_1"}}, "target_id", "i_1:a_1"),
        ({"plaid_options": {"item_id": "i_1"}}, "target_id", None),
        ({"plaid_options": "i_1:a_1"}, "target_id", None),
        ({"funding_source_id": "fs_1"}, "target_id", None),
        ({"method": "international_wire"}, "method", None),
        ({"method": "wire"}, "method", "wire"),
        ({"created_at": ...}, "created_on", date(2026, 6, 2)),
        ({"created_at": ..., "submitted_at": None}, "created_on", None),
        ({"account_id": ..., "investor_id": "inv_1"}, "party_id", None),
    ],
    ids=repr,
)
async def test_what_an_entry_does_not_show_is_left_open(
    changes: dict[str, object], field: str, expected: object
) -> None:
    """
    Half a name of a bank account is none, and another generation's words are not this one's.
    """
    assert expected == getattr(await entry(**changes), field)


@pytest.mark.parametrize(
    ("page", "complete"),
    [
        ({"data": [a_withdrawal()], "total": 1}, True),
        ({"status": "success", "data": [a_withdrawal()], "total": 1}, True),
        ({"status": "success", "data": {"data": [a_withdrawal()], "total": 1}}, True),
        ({"data": {"withdrawals": [a_withdrawal()], "total": 1}}, True),
        ({"withdrawals": [a_withdrawal()], "has_more": False}, True),
        ({"data": [a_withdrawal()], "has_more": False, "total": 1}, True),
        ({"data": [a_withdrawal()], "has_more": False, "total": 2}, False),
        ({"data": [a_withdrawal()], "has_more": False, "total": "1"}, False),
        ({"data": [a_withdrawal()]}, False),
        ({"data": [a_withdrawal()], "total": None}, False),
        ({"data": [a_withdrawal()], "total": "1"}, False),
        ({"data": [a_withdrawal()], "total": True}, False),
        ({"data": [a_withdrawal()], "total": 1.0}, False),
        ({"data": [a_withdrawal()], "total": 0}, False),
        ({"data": [a_withdrawal()], "total": -1}, False),
        ({"data": [a_withdrawal()], "total": 1, "has_more": "no"}, False),
        ({"data": [a_withdrawal()], "withdrawals": [], "total": 1}, False),
        ({"status": "error", "data": [a_withdrawal()], "total": 1}, False),
        ({"status": ["success"], "data": [a_withdrawal()], "total": 1}, False),
        ({"status": {}, "data": [a_withdrawal()], "total": 1}, False),
        ({"data": [a_withdrawal(), {"status": "pending"}], "total": 2}, False),
    ],
    ids=repr,
)
async def test_a_list_that_cannot_be_known_to_be_complete_is_unclear(
    page: object, *, complete: bool
) -> None:
    """
    The one that is looked for may be among those that it does not show.
    """
    answer, heard = await listed(Said(200, page))

    assert complete is isinstance(answer, Listed)
    assert complete or Unclear("unusable_body", None, Trace(200)) == answer
    assert 1 == len(heard)


def numbered(*numbers: int) -> list[dict[str, Any]]:
    """Entries of a list by their numbers."""
    return [a_withdrawal(withdrawal_id=f"wdr_{number:04}") for number in numbers]


async def test_a_total_is_read_to_its_end() -> None:
    """
    Page by page, each begun with the last entry of the one before.
    """
    first = Said(200, {"data": numbered(*range(100)), "total": 130})
    answer, heard = await listed(
        first, Said(200, {"data": numbered(*range(99, 130)), "total": 130})
    )

    assert isinstance(answer, Listed)
    assert 130 == len(answer.entries)
    assert ["0", "99"] == [parse_qs(urlsplit(each.path).query)["offset"][0] for each in heard]


@pytest.mark.parametrize("count", [CUT_PAGE, 100])
async def test_a_page_that_may_have_been_cut_is_not_taken_for_the_whole(count: int) -> None:
    """
    Should `total` count the page and not the list, the next page tells: more, or only the last.
    """
    first = Said(200, {"data": numbered(*range(count)), "total": count})
    last = Said(200, {"data": numbered(count - 1), "total": count})
    others = Said(200, {"data": numbered(*range(count - 1, 2 * count - 1)), "total": count})
    whole, heard = await listed(first, last)
    cut, _ = await listed(first, others)

    assert isinstance(whole, Listed)
    assert (count, 2) == (len(whole.entries), len(heard))
    assert Unclear("unusable_body", None, Trace(200)) == cut


@pytest.mark.parametrize("shape", AnswerShape)
@pytest.mark.parametrize("replay", ReplayAnswer)
async def test_a_lost_answer_is_found_again(shape: AnswerShape, replay: ReplayAnswer) -> None:
    """
    One withdrawal was made, and the list shows which.

    Whether a repeat is answered by the original or by a conflict, and however answers are wrapped.
    """
    row = accounts_row()
    async with row.staged(terms={"answer_shape": shape, "replay_answer": replay}) as stage:
        stage.company.strike(drop_after=1.0)
        lost = await stage.provider.create(stage.permit())
        stage.company.strike()
        again = await stage.provider.create(stage.permit())
        found = await stage.provider.listed(row.party, YESTERDAY, TOMORROW)
        executed = stage.company.executed()
        held = stage.held()

    assert isinstance(lost, Unclear)
    assert isinstance(again, Reported if replay is ReplayAnswer.ORIGINAL else Conflicted)
    assert isinstance(found, Listed)
    ours = candidates(held.withdrawal, found.entries, window=PATIENCE.window).ours
    assert 1 == len(ours) == executed
    assert ours[0].withdrawal_id.startswith("wdr_")


def test_a_request_shows_no_bank_details() -> None:
    """
    Neither of Plaid's ids, nor what stands in a wire's options, nor the description.
    """
    ach = bluum_accounts_request()
    wire = bluum_accounts_request(method="wire", plaid_options=None, wire_options=WIRE)

    assert not [
        text for text in accounts_row().secrets if text in repr(ach) + repr(ach.plaid_options)
    ]
    assert not [text for text in WIRE.values() if text in f"{wire!r} {wire.target_id}"]
    assert (
        wire.target_id
        != bluum_accounts_request(
            method="wire", plaid_options=None, wire_options=WIRE | {"bank_code": "1"}
        ).target_id
    )
    assert "item_nobody_may_see:acc_nobody_may_see" == ach.target_id
    assert json.dumps(WIRE) not in repr(wire)
