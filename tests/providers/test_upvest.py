"""What leaves for Upvest, and how its answers about withdrawals are read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers.builders import NOW, PATIENCE, Clock, a_held, a_permit
from tests.providers.canned import Raw, Said, canned
from tests.providers.stages import (
    ACCOUNT_GROUP,
    REFERENCE_ACCOUNT,
    TOKEN,
    USER,
    Options,
    open_upvest,
    upvest_request,
)
from worker.core.answers import (
    Conflicted,
    Denied,
    Entry,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.decide import decide_cancel, decide_look, says_cancelled
from worker.core.lookup import carries_reference
from worker.core.withdrawal import Reason, ReasonCode, Status, idempotency_key, reference_token
from worker.providers.upvest import REASONS, STATUSES
from worker.providers.upvest_requests import REMITTANCE_LIMIT

if TYPE_CHECKING:
    from tests.providers.canned import Answer as Sayable
    from tests.providers.canned import Canned
    from worker.core.withdrawal import Withdrawal

KEY: Final = idempotency_key("req-1")
MARK: Final = f"({reference_token(KEY)[1:-1]})"
NOWHERE: Final = "http://127.0.0.1:9/v1"
ID: Final = "e2d4b6a8-0c1f-4e3a-9b7d-5a6c8e9f0d33"
REQUEST_ID: Final = "0f9e8d7c-6b5a-4c3d-8e2f-1a0b9c8d7e66"
WITH_ID: Final = {"upvest-request-id": REQUEST_ID}
#: The sample of the reference.
SAMPLE: Final[dict[str, Any]] = {
    "id": ID,
    "created_at": "2026-03-02T09:15:04Z",
    "updated_at": "2026-03-02T09:15:04Z",
    "reference_account_id": REFERENCE_ACCOUNT,
    "account_group_id": ACCOUNT_GROUP,
    "amount": "250.75",
    "currency": "EUR",
    "remittance_information": "Payout WR 10442",
    "status": "NEW",
    "purpose_code": "OTHR",
}
BALANCE: Final[dict[str, Any]] = {
    "account_group_id": ACCOUNT_GROUP,
    "currency": "EUR",
    "balance": "300.00",
    "available_for_withdrawal": "250.749999999999999999999999999",
}


def problem(status: int, kind: str = "https://docs.upvest.co/errors/x") -> Said:
    """An error in Upvest's own words."""
    return Said(status, {"type": kind, "status": status, "title": "no"}, WITH_ID)


def upvests(*answers: Sayable) -> Any:  # noqa: ANN401 - a context
    """A server in Upvest's place that gives tokens, and answers the calls in turn."""
    return canned(*answers, asides={"/auth/token": TOKEN})


async def a_taken() -> Withdrawal:
    """A withdrawal as it was committed before its first call."""
    async with open_upvest(NOWHERE, Options()) as upvest:
        return a_held(upvest, upvest_request()).withdrawal


async def composed(*, reference: bool = False, **fields: object) -> bytes:
    """The create body of a request."""
    async with open_upvest(NOWHERE, Options(), reference=reference) as upvest:
        return upvest.compose(upvest_request(**fields), KEY)


async def test_the_body_is_these_bytes() -> None:
    """
    Field by field and byte by byte: another release that writes others would meet a conflict.
    """
    expected = (
        '{"reference_account_id":"7c1e0d52-1a57-4c8e-9a0a-3f5d1f0c9b11",'
        '"account_group_id":"0b8f6d0e-58f1-4b7b-8a53-6f2f0f7a2c22",'
        '"user_id":"2dedfeb0-58cd-44f2-ae08-0e41fe0413d9","amount":"250.75",'
        '"currency":"EUR","remittance_information":"rent","purpose_code":"OTHR"}'
    )

    assert expected.encode() == await composed(remittance_information="rent")


async def test_what_was_not_given_is_not_sent() -> None:
    """
    Unknown properties are refused, and empty ones say nothing.
    """
    body = await composed(user_id=None, remittance_information="", purpose_code=None)

    assert {"reference_account_id", "account_group_id", "amount", "currency"} == set(
        json.loads(body)
    )


@pytest.mark.parametrize(
    ("asked", "written"),
    [("5", "5.00"), ("5.50", "5.50"), ("0.01", "0.01"), ("999999999.99", "999999999.99")],
)
async def test_an_amount_has_two_decimals(asked: str, written: str) -> None:
    """
    None or two are documented; two are sent.
    """
    assert written == json.loads(await composed(amount=asked))["amount"]


LONGEST: Final = "x" * (REMITTANCE_LIMIT - len(MARK) - 1)


@pytest.mark.parametrize(
    ("text", "reference", "written"),
    [
        ("rent", False, "rent"),
        (None, False, None),
        ("rent", True, f"rent {MARK}"),
        (None, True, MARK),
        (LONGEST, True, f"{LONGEST} {MARK}"),
        (LONGEST + "x", True, LONGEST + "x"),
    ],
    ids=range(6),
)
async def test_the_text_is_the_customers(
    text: str | None, written: str | None, *, reference: bool
) -> None:
    """
    Untouched, unless a reference is wanted: then one of the documented characters, where it fits.
    """
    body = json.loads(await composed(remittance_information=text, reference=reference))

    assert written == body.get("remittance_information")
    upvest_request(remittance_information=written)


async def test_every_call_has_its_method_and_path() -> None:
    """
    As the reference has them (WREF, CBREF); the key in the header is a bare UUID, of one call.
    """
    async with upvests(Said(200, {})) as server, open_upvest(server.base_url, Options()) as upvest:
        permit = a_permit(a_held(upvest, upvest_request()))
        await upvest.create(permit)
        await upvest.look("grp 1", "wd/1?")
        await upvest.cancel("grp 1", "wd/1?")
        await upvest.available("grp 1", "EUR")
        await upvest.listed("grp 1", NOW.date(), NOW.date())
        await upvest.try_credentials()
    created, *others = server.heard
    withdrawals = "/v1/account_groups/grp%201/payments/withdrawals"
    nobody = "00000000-0000-0000-0000-000000000000"

    assert [
        ("POST", "/v1/payments/withdrawals"),
        ("GET", "/v1/payments/withdrawals/wd%2F1%3F"),
        ("DELETE", "/v1/payments/withdrawals/wd%2F1%3F"),
        ("GET", "/v1/account_groups/grp%201/payments/cash_balances/EUR"),
        ("GET", f"{withdrawals}?sort=created_at&order=DESC&limit=200&offset=0"),
        ("GET", f"/v1/account_groups/{nobody}/payments/withdrawals?limit=1"),
    ] == [(heard.method, heard.path) for heard in server.heard]
    assert (permit.body, KEY.removeprefix("wd-")) == (
        created.body,
        created.headers["Idempotency-Key"],
    )
    assert [(b"", None)] * 5 == [(h.body, h.headers.get("Idempotency-Key")) for h in others]


@pytest.mark.parametrize(
    "options",
    [
        Options(clock=Clock(NOW + timedelta(days=1))),
        Options(tenure=lambda: 1),
        Options(tenure=lambda: None),
    ],
    ids=["too late", "another tenure", "none"],
)
async def test_a_permit_that_ended_pays_nothing(options: Options) -> None:
    """
    It is looked at last, right before the call leaves.
    """
    async with (
        upvests(Said(200, SAMPLE)) as server,
        open_upvest(server.base_url, options) as upvest,
    ):
        answer = await upvest.create(a_permit(a_held(upvest, upvest_request())))

    assert ([], Throttled(timedelta(0))) == (server.heard, answer)


async def ask(call: str, *answers: Sayable, party: str = ACCOUNT_GROUP) -> tuple[Any, Canned]:
    """Make a call, at a server that gives these answers in turn; the server heard what it did."""
    async with upvests(*answers) as server, open_upvest(server.base_url, Options()) as upvest:
        if call == "create":
            answer: Any = await upvest.create(a_permit(a_held(upvest, upvest_request())))
        else:
            answer = await getattr(upvest, call)(party, "EUR" if call == "available" else ID)
    return answer, server


@pytest.mark.parametrize("status", [200, 201])
async def test_a_withdrawal_is_reported(status: int) -> None:
    """
    The sample of the reference, in the answer to a create call and to a look.
    """
    for call in ("create", "look"):
        answer, _ = await ask(call, Said(status, SAMPLE, WITH_ID))

        assert Reported(ID, Status.PENDING, "NEW", Trace(status, None, REQUEST_ID)) == answer


async def test_an_id_is_all_that_a_create_call_need_answer() -> None:
    """
    One page shows nothing but an id and a bank's reference (WG): it exists, and is looked at.
    """
    answer, _ = await ask("create", Said(200, {"id": ID, "bank_reference": "x"}))

    assert Reported(ID, None, None, Trace(200)) == answer


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("NEW", Status.PENDING),
        ("PROCESSING", Status.PROCESSING),
        ("CONFIRMED", Status.COMPLETED),
        ("CANCELLED", Status.CANCELLED),
        ("RETURNED", None),
        ("new", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
async def test_every_documented_status_is_read_and_no_other(
    word: object, status: Status | None
) -> None:
    """
    Any other word is survived, and no guess.
    """
    answer, _ = await ask("look", Said(200, SAMPLE | {"status": word}))

    assert (ID, status) == (answer.withdrawal_id, answer.status)
    assert status is None or word in STATUSES


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("CANCELLED_BY_BANK", ReasonCode.CANCELLED_BY_BANK),
        ("CANCELLED_BY_UPVEST", ReasonCode.CANCELLED_BY_PROVIDER),
        ("CANCELLED_BY_CLIENT", ReasonCode.CANCELLED_AT_PROVIDER),
        ("OTHER", ReasonCode.CANCELLED_AT_PROVIDER),
        ("CANCELLED_BY_MOON", ReasonCode.CANCELLED_AT_PROVIDER),
        (None, ReasonCode.CANCELLED_AT_PROVIDER),
        (7, ReasonCode.CANCELLED_AT_PROVIDER),
    ],
)
async def test_every_reason_of_a_cancellation_has_a_code(
    word: object, reason: ReasonCode, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The provider's word stays beside it, and one that nobody documented is told of.
    """
    answer, _ = await ask(
        "look", Said(200, SAMPLE | {"status": "CANCELLED", "cancellation_reason": word})
    )
    is_word = isinstance(word, str)

    assert (reason, word if is_word else None) == (answer.reason, answer.trace.provider_code)
    assert (is_word and word not in REASONS) is ("unknown cancellation reason" in caplog.text)


async def test_only_a_cancellation_has_a_reason() -> None:
    """
    A reason beside another status says nothing.
    """
    said = SAMPLE | {"status": "CONFIRMED", "cancellation_reason": "CANCELLED_BY_BANK"}
    answer, _ = await ask("look", Said(200, said))

    assert (None, None) == (answer.reason, answer.trace.provider_code)


@pytest.mark.parametrize(
    "document",
    [
        SAMPLE | {"id": "../wd"},
        SAMPLE | {"id": "6ffa6b16-2380-4e7a-88b2-ae625c8eef99"},
        SAMPLE | {"account_group_id": USER},
        {"status": "NEW"},
    ],
    ids=["no id", "another", "another's", "none"],
)
async def test_a_success_about_something_else_is_silence(document: dict[str, Any]) -> None:
    """
    A look is about the one that was asked for, and about this party's.
    """
    answer, _ = await ask("look", Said(200, document))

    assert Unclear("unusable_body", trace=Trace(200)) == answer


async def test_a_created_withdrawal_of_another_party_is_none_of_ours() -> None:
    """
    Nobody knows then what became of ours; how an id is spelt makes no difference.
    """
    foreign, _ = await ask("create", Said(200, SAMPLE | {"account_group_id": USER}))
    ours, _ = await ask("create", Said(200, SAMPLE | {"account_group_id": ACCOUNT_GROUP.upper()}))

    assert Unclear("unusable_body", trace=Trace(200)) == foreign
    assert isinstance(ours, Reported)


async def test_an_entry_is_read_with_all_by_which_it_is_recognised() -> None:
    """
    As the list shows it; another party's is not found.
    """
    entry, _ = await ask("entry", Said(200, SAMPLE))
    foreign, _ = await ask("entry", Said(200, SAMPLE), party=USER)
    amountless, _ = await ask("entry", Said(200, {"id": ID, "status": "NEW"}))

    assert (
        Entry(
            reported=Reported(ID, Status.PENDING, "NEW"),
            amount="250.75",
            currency="EUR",
            method=None,
            target_id=REFERENCE_ACCOUNT,
            text="Payout WR 10442",
            created_on=date(2026, 3, 2),
            party_id=ACCOUNT_GROUP,
        )
        == entry
    )
    assert Refused(Reason(ReasonCode.NOT_FOUND), Trace(200)) == foreign
    assert Unclear("unusable_entry", trace=Trace(200)) == amountless


async def test_our_reference_is_recognised_in_round_brackets() -> None:
    """
    What is appended to the text is found again in the list.
    """
    body = json.loads(await composed(reference=True))
    entry, _ = await ask(
        "entry", Said(200, SAMPLE | {"remittance_information": body["remittance_information"]})
    )
    async with open_upvest(NOWHERE, Options(), reference=True) as upvest:
        held = a_held(upvest, upvest_request())

    assert carries_reference(held.withdrawal.order, entry)


# --- cancelling -----------------------------------------------------------------------------------


async def followed() -> Withdrawal:
    """A withdrawal that Upvest holds, and that somebody wants to be cancelled."""
    return replace(
        await a_taken(),
        status=Status.PENDING,
        sequence=2,
        withdrawal_id=ID,
        in_doubt=False,
        cancel_wanted=True,
    )


async def test_an_accepted_cancellation_says_nothing_of_the_state() -> None:
    """
    204 has no body: what came of it a look tells.
    """
    answer, server = await ask("cancel", Said(204, headers=WITH_ID))

    assert Reported(ID, None, None, Trace(204, None, REQUEST_ID)) == answer
    assert ["DELETE"] == [heard.method for heard in server.heard]


@pytest.mark.parametrize("refusal", [problem(422), problem(409), Said(409)])
@pytest.mark.parametrize("word", ["NEW", "PROCESSING", "CANCELLED"])
async def test_a_refused_cancellation_is_held_against_a_look(refusal: Said, word: str) -> None:
    """
    While it is NEW that is no last word, and once it is CANCELLED it was done before.
    """
    answer, server = await ask("cancel", refusal, Said(200, SAMPLE | {"status": word}))

    assert ["DELETE", "GET"] == [heard.method for heard in server.heard]
    if word == "NEW":
        assert isinstance(answer, Unclear)
        assert "still_new" == answer.why
    elif word == "CANCELLED":
        assert says_cancelled(answer)
    else:
        assert isinstance(answer, Conflicted if refusal.status == 409 else Refused)


@pytest.mark.parametrize("refusal", [problem(422), problem(409)])
@pytest.mark.parametrize(
    "look", [Said(503), problem(404), Said(200, SAMPLE | {"status": "LIMBO"})], ids=str
)
async def test_a_refused_cancellation_without_a_look_is_no_last_word(
    refusal: Said, look: Said
) -> None:
    """
    An earlier call, whose answer was lost, may have cancelled it: nobody is told that it did not.
    """
    answer, server = await ask("cancel", refusal, look)

    assert ["DELETE", "GET"] == [heard.method for heard in server.heard]
    assert isinstance(answer, Unclear)


@pytest.mark.parametrize("refusal", [problem(404), problem(403)])
async def test_other_refusals_of_a_cancellation_stand(refusal: Said) -> None:
    """
    They are not about the state.
    """
    answer, server = await ask("cancel", refusal)

    assert isinstance(answer, Refused)
    assert 1 == len(server.heard)


async def test_a_cancellation_that_was_done_before_is_not_refused() -> None:
    """
    A repeated call is refused while an old state is read: nothing is told until that has moved.
    """
    contradicted, _ = await ask("cancel", problem(422), Said(200, SAMPLE))
    seen, _ = await ask("look", Said(200, SAMPLE))
    decision = decide_cancel(
        await followed(), contradicted, seen, now=NOW, patience=PATIENCE, chance=0.5
    )
    done, _ = await ask("look", Said(200, SAMPLE | {"status": "CANCELLED"}))
    after = decide_cancel(
        decision.withdrawal, contradicted, done, now=NOW, patience=PATIENCE, chance=0.5
    )

    assert ((), True) == (decision.changes, decision.withdrawal.cancel_wanted)
    assert [Status.CANCELLED] == [change.status for change in after.changes]


async def test_a_look_right_after_the_creation_may_find_nothing() -> None:
    """
    No state is there at once (SIM): it is looked at again, and nothing is final.
    """
    answer, _ = await ask("look", problem(404))
    pending = replace(await followed(), cancel_wanted=False)
    decision = decide_look(pending, answer, now=NOW, patience=PATIENCE, chance=0.5)

    assert isinstance(answer, Refused)
    assert ((), Status.PENDING) == (decision.changes, decision.withdrawal.status)
    assert decision.withdrawal.due_at is not None


# --- funds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "available", "code"),
    [
        (400, "250.749999999999999999999999999", ReasonCode.INSUFFICIENT_FUNDS),
        (422, "-3.5", ReasonCode.INSUFFICIENT_FUNDS),
        (422, None, ReasonCode.REFUSED),
    ],
)
async def test_a_plain_refusal_is_explained_by_the_balance(
    status: int, available: str | None, code: ReasonCode
) -> None:
    """
    No page tells which refusal is about funds; where too little is there, it may be waited for.
    """
    balance = BALANCE | {"available_for_withdrawal": available}
    answer, server = await ask("create", problem(status), Said(200, balance))

    assert Refused(Reason(code, "x"), Trace(status, "x", REQUEST_ID, "no")) == answer
    assert ["POST", "GET"] == [heard.method for heard in server.heard]


@pytest.mark.parametrize("available", ["250.75", "1000"])
async def test_a_refusal_beside_enough_cash_is_asked_for_once_more(available: str) -> None:
    """
    The cash may have come between the two: only a second refusal, with enough there, is the end.
    """
    enough = Said(200, BALANCE | {"available_for_withdrawal": available})
    gone = Said(200, BALANCE | {"available_for_withdrawal": "0"})
    paid, came = await ask("create", problem(422), enough, Said(200, SAMPLE))
    end, refused = await ask("create", problem(422), enough, problem(422), enough)
    short, _ = await ask("create", problem(422), enough, problem(400), gone)
    unknown, _ = await ask("create", problem(422), enough, Said(503))

    assert (Reported, Unclear) == (type(paid), type(unknown))
    assert [ReasonCode.REFUSED, ReasonCode.INSUFFICIENT_FUNDS] == [
        each.reason.code for each in (end, short)
    ]
    assert ["POST", "GET", "POST"] == [heard.method for heard in came.heard]
    assert ["POST", "GET", "POST", "GET"] == [heard.method for heard in refused.heard]
    first, _, second, _ = refused.heard
    assert (first.body, first.headers["Idempotency-Key"]) == (
        second.body,
        second.headers["Idempotency-Key"],
    )


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (problem(403), ReasonCode.NOT_PERMITTED),
        (problem(404), ReasonCode.NOT_FOUND),
        (problem(422, "insufficient-funds"), ReasonCode.INSUFFICIENT_FUNDS),
        (problem(400, "https://x/errors/insufficient_funds/"), ReasonCode.INSUFFICIENT_FUNDS),
    ],
)
async def test_a_refusal_that_says_enough_is_not_explained(said: Said, code: ReasonCode) -> None:
    """
    Nothing else is asked for it.
    """
    answer, server = await ask("create", said)

    assert (code, 1) == (answer.reason.code, len(server.heard))


async def test_a_balance_that_is_never_told_changes_no_refusal() -> None:
    """
    It is advisory: without the permission to read it a refusal stands as it is.
    """
    for said in (problem(403), problem(404), Said(200, {})):
        answer, _ = await ask("create", problem(422), said)

        assert ReasonCode.REFUSED is answer.reason.code


async def test_a_refusal_whose_reason_is_not_told_yet_is_no_end() -> None:
    """
    Whoever waits for funds would be rejected for good by an unlucky moment.
    """
    for said in (Said(503), Said(429), Raw(b""), Said(401)):
        answer, _ = await ask("create", problem(422), said)

        assert isinstance(answer, Throttled)
        assert 422 == answer.trace.http_status


@pytest.mark.parametrize(
    ("said", "available"),
    [
        (Said(200, BALANCE), Decimal("250.749999999999999999999999999")),
        (Said(200, BALANCE | {"available_for_withdrawal": "-0.01"}), Decimal("-0.01")),
        (Said(200, BALANCE | {"currency": "GBP"}), None),
        (Said(200, BALANCE | {"currency": ["EUR"]}), Decimal("250.749999999999999999999999999")),
        (Said(200, BALANCE | {"available_for_withdrawal": 250.75}), None),
        (Said(200, BALANCE | {"available_for_withdrawal": "NaN"}), None),
        (Said(200, {"data": [BALANCE]}), None),
        (Said(200, b"[]"), None),
        (problem(404), None),
        (Said(500), None),
    ],
)
async def test_the_balance_is_what_may_be_withdrawn(said: Said, available: Decimal | None) -> None:
    """
    Exact to 27 decimals, perhaps negative; None where it could not be read.
    """
    answer, _ = await ask("available", said)

    assert available == answer


# --- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "said", "accepted"),
    [
        (TOKEN, problem(404), True),
        (TOKEN, problem(403), True),
        (TOKEN, Said(401), False),
        (TOKEN, problem(406), None),
        (TOKEN, Said(404, b"<html>"), None),
        (Said(401, {"type": "unauthorised", "status": 401}), problem(404), False),
        (Said(400, {"error": "invalid_client"}), problem(404), False),
        (Said(503), problem(404), None),
    ],
)
async def test_credentials_are_tried_by_token_and_read(
    token: Said, said: Said, *, accepted: bool | None
) -> None:
    """
    Refused at either, they are refused; whoever is told no for another reason was let in.
    """
    async with (
        canned(said, asides={"/auth/token": token}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        assert accepted is await upvest.try_credentials()


async def test_a_401_is_never_the_messages_fault() -> None:
    """
    The token is renewed and the call sent once more; then it is the operator's.
    """
    answer, server = await ask("create", Said(401))

    assert isinstance(answer, Denied)
    assert 2 == len(server.heard)
