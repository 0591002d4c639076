"""The simulated Upvest's withdrawals and cash, as a client meets them over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.simulator.upvest_talk import FIELDS, GROUP, LONG, PLAIN, key_of, talking_upvest
from worker.simulator.faults import Faults, Reach
from worker.simulator.route import Call
from worker.simulator.upvest_api import ROUTES, answer
from worker.simulator.upvest_route import Operation
from worker.simulator.upvest_terms import CancelRefusal, FundsRefusal, KeyReuse, UpvestTerms

if TYPE_CHECKING:
    from tests.simulator.upvest_talk import UpvestTalk
    from worker.simulator.route import Answer
    from worker.simulator.upvest_server import UpvestOptions


def under(**terms: Any) -> UpvestOptions:  # noqa: ANN401 - any term
    """Return plain options under some terms."""
    return replace(PLAIN, terms=UpvestTerms(**terms))


def void(_answer: Answer) -> None:
    """Let an answer go nowhere."""


def group(beginning: str) -> str:
    """Return an account group with a meaning of its own."""
    return f"{beginning}{GROUP[len(beginning) :]}"


async def follow(talk: UpvestTalk, withdrawal_id: str) -> list[tuple[str, str | None]]:
    """Look at a withdrawal at each step of a pace of 100 seconds."""
    seen = [await talk.withdrawal(withdrawal_id)]
    for _ in range(3):
        await talk.advance(130)
        seen.append(await talk.withdrawal(withdrawal_id))
    return seen


@pytest.mark.parametrize(
    ("beginning", "end"),
    [
        ("0b8f6d0e", [("CONFIRMED", None)] * 2),
        ("0bad0001", [("CANCELLED", "CANCELLED_BY_UPVEST")] * 2),
        ("0bad0002", [("CONFIRMED", None), ("CANCELLED", "CANCELLED_BY_BANK")]),
    ],
)
async def test_a_withdrawal_takes_its_course(
    beginning: str, end: list[tuple[str, str | None]]
) -> None:
    """
    NEW, PROCESSING, CONFIRMED, or what its account group has coming to it.
    """
    terms = under(pace=timedelta(seconds=100), reversal_delay=timedelta(seconds=130))
    async with talking_upvest(terms) as talk:
        created = await talk.create(account_group_id=group(beginning))
        seen = await follow(talk, created.json()["id"])

    assert 200 == created.status_code
    assert {"status": "NEW"} | FIELDS | {"account_group_id": group(beginning)} == {
        name: value
        for name, value in created.json().items()
        if name not in ("id", "created_at", "updated_at")
    }
    assert [("NEW", None), ("PROCESSING", None), *end] == seen


async def test_cash_is_reserved_then_leaves_or_comes_back() -> None:
    """
    At NEW it is not available, at CONFIRMED it is gone, after a return it is there again.
    """
    async with talking_upvest() as talk:
        before = await talk.cash()
        made = (await talk.create()).json()["id"]
        reserved = await talk.cash()
        await talk.advance(LONG)
        gone = await talk.cash()
        returned = await talk.control("POST", "reversals", withdrawal_id=made)
        again = await talk.control("POST", "reversals", withdrawal_id=made)
        back = await talk.cash()
        every = await talk.get(f"/account_groups/{GROUP}/payments/cash_balances")
        kinds = [effect["effect"] for effect in await talk.effects()]

    assert ("1000000.00", "0.00", "1000000.00") == before == back
    assert ("1000000.00", "0.00", "999924.50") == reserved
    assert ("999924.50", "0.00", "999924.50") == gone
    assert [200, 400] == [returned.status_code, again.status_code]
    assert "CANCELLED_BY_BANK" == returned.json()["cancellation_reason"]
    assert ["EUR", "GBP", "USD"] == [each["currency"] for each in every["data"]]
    assert ["withdrawal", "reversal"] == kinds


@pytest.mark.parametrize(
    ("options", "beginning", "answers", "end"),
    [
        (PLAIN, "0b8f6d0e", [204, 422], "CANCELLED"),
        (under(cancel_refusal=CancelRefusal.CONFLICT), "0b8f6d0e", [204, 409], "CANCELLED"),
        (PLAIN, "0bad0409", [422, 422], "CONFIRMED"),
        (PLAIN, "0bad0004", [204, 204], "CONFIRMED"),
    ],
)
async def test_only_what_is_new_is_cancelled(
    options: UpvestOptions, beginning: str, answers: list[int], end: str
) -> None:
    """
    204 without a body, a refusal for the second one; some groups cancel nothing, or in vain.
    """
    async with talking_upvest(options) as talk:
        made = (await talk.create(account_group_id=group(beginning))).json()["id"]
        told = [await talk.cancel(made), await talk.cancel(made)]
        await talk.advance(LONG)
        status, reason = await talk.withdrawal(made)
        too_late = await talk.cancel(made)

    assert answers == [response.status_code for response in told]
    assert all(not r.content for r in told if r.status_code == 204)
    assert (end, end == "CANCELLED") == (status, reason == "CANCELLED_BY_CLIENT")
    assert too_late.status_code in {409, 422}


async def test_the_list_of_a_group_is_read_in_pages() -> None:
    """
    By its sort and order, with what was asked for and how many there are in all.
    """
    async with talking_upvest() as talk:
        made = [(await talk.create(key=key_of(str(n)))).json()["id"] for n in range(3)]
        await talk.create(key=key_of("other"), account_group_id=group("1b8f6d0e"))
        path = f"/account_groups/{GROUP}/payments/withdrawals"
        whole = await talk.get(path)
        page = await talk.get(path, order="DESC", offset=1, limit=1)
        by_id = await talk.get(path, sort="id")
        wrong = [
            (await talk.call("GET", f"{path}?{query}")).status_code
            for query in ("limit=1001", "limit=0", "offset=-1", "sort=amount", "status=NEW")
        ]

    assert made == [each["id"] for each in whole["data"]]
    assert {"offset": 0, "limit": 100, "count": 3, "total_count": 3} | {
        "sort": "created_at",
        "order": "ASC",
    } == whole["meta"]
    assert [made[1]] == [each["id"] for each in page["data"]]
    assert (1, 3) == (page["meta"]["count"], page["meta"]["total_count"])
    assert sorted(made) == [each["id"] for each in by_id["data"]]
    assert [400] * 5 == wrong


#: What is changed of a good request, the status that it gets, and the field that is named.
REQUESTS: Final[tuple[tuple[dict[str, Any], int, str | None], ...]] = (
    ({"amount": "1"}, 200, None),
    ({"amount": "0.50", "currency": "GBP"}, 200, None),
    ({"amount": "0"}, 400, "amount"),
    ({"amount": "1.5"}, 400, "amount"),
    ({"amount": "1.500"}, 400, "amount"),
    ({"amount": "1000000000"}, 400, "amount"),
    ({"amount": 75.5}, 400, "amount"),
    ({"currency": "USD"}, 400, "currency"),
    ({"remittance_information": "x" * 141}, 400, "remittance_information"),
    ({"remittance_information": "[wd:1]"}, 400, "remittance_information"),
    ({"remittance_information": "(wd:1) _"}, 200, None),
    ({"purpose_code": "OTHER"}, 400, "purpose_code"),
    ({"account_group_id": "inv_1"}, 400, "account_group_id"),
    ({"reference_account_id": ...}, 400, "reference_account_id"),
    ({"user_id": "2dedfeb0-58cd-44f2-ae08-0e41fe0413d9"}, 200, None),
    ({"description": "unknown"}, 400, "description"),
    ({"account_group_id": group("0bad0404")}, 404, "account_group_id"),
    ({"account_group_id": group("0bad0403")}, 403, "account_group_id"),
    ({"account_group_id": group("0bad0422")}, 422, None),
    ({"reference_account_id": group("0bad0404")}, 404, "reference_account_id"),
)


async def test_what_is_asked_for_has_its_rules() -> None:
    """
    The problem names the field, and only what is answered by 200 was executed.
    """
    seen = []
    async with talking_upvest() as talk:
        for number, (changed, _, _) in enumerate(REQUESTS):
            response = await talk.create(key=key_of(str(number)), **changed)
            seen.append((changed, response.status_code, response.json().get("instance")))
        effects = await talk.effects()

    assert list(REQUESTS) == seen
    assert len([status for _, status, _ in REQUESTS if status == 200]) == len(effects)


async def test_the_lack_of_cash_is_told_as_the_terms_say() -> None:
    """
    No page names the code, so it can be chosen; cash that is added helps.
    """
    options = under(funds_refusal=FundsRefusal.INVALID, funds_type="insufficient_funds")
    async with talking_upvest(options) as talk:
        poor: dict[str, Any] = {"account_group_id": group("0bad0422")}
        refused = await talk.create(**poor)
        added = await talk.control("POST", "cash", **poor, amount="75.00")
        created = await talk.create(**poor)

    assert (400, "https://docs.upvest.co/errors/insufficient_funds") == (
        refused.status_code,
        refused.json()["type"],
    )
    assert "76.00" == added.json()["available_for_withdrawal"]
    assert 200 == created.status_code


async def test_a_key_that_succeeded_gets_that_success_again() -> None:
    """
    The same response, executed once; a refusal is forgotten, and so is a key after its lifetime.
    """
    async with talking_upvest() as talk:
        first = await talk.create()
        await talk.advance(LONG)
        again = await talk.create(key=key_of("1").replace("-", "").upper())
        other_body = await talk.create(amount="1.00")
        refused = await talk.create(key=key_of("2"), account_group_id=group("0bad0422"))
        await talk.control("POST", "cash", account_group_id=group("0bad0422"), amount="80.00")
        later = await talk.create(key=key_of("2"), account_group_id=group("0bad0422"))
        await talk.advance(24 * LONG)
        await talk.authorise()
        anew = await talk.create()
        count = len([e for e in await talk.effects() if e["effect"] == "withdrawal"])

    assert first.json() == again.json()
    assert [409, 422, 200] == [r.status_code for r in (other_body, refused, later)]
    assert first.json()["id"] != anew.json()["id"]
    assert 3 == count


async def test_what_no_page_tells_of_keys_can_be_chosen() -> None:
    """
    Another body may get the first success, and a refusal may be remembered.
    """
    options = under(key_reuse=KeyReuse.ORIGINAL, failures_remembered=True)
    async with talking_upvest(options) as talk:
        first = await talk.create()
        other_body = await talk.create(amount="1.00")
        poor: dict[str, Any] = {"account_group_id": group("0bad0422")}
        refused = await talk.create(key=key_of("2"), **poor)
        await talk.control("POST", "cash", **poor, amount="80.00")
        remembered = await talk.create(key=key_of("2"), **poor)

    assert first.json() == other_body.json()
    assert [422, 422] == [refused.status_code, remembered.status_code]


async def test_reads_may_lag_and_calls_may_be_late() -> None:
    """
    What was created is not found for a while, and a call without an answer is executed later.
    """
    options = replace(
        under(list_lag=timedelta(seconds=100)),
        lateness=timedelta(seconds=100),
        faults=Faults(late=1.0),
    )
    async with talking_upvest(options) as talk:
        with pytest.raises(httpx.RemoteProtocolError):
            await talk.create()
        talk.server.set_faults(Faults())
        before = await talk.effects()
        await talk.advance(150)
        path = f"/account_groups/{GROUP}/payments/withdrawals"
        repeated = (await talk.create()).json()["id"]
        unseen = [
            len((await talk.get(path))["data"]),
            (await talk.call("GET", f"/payments/withdrawals/{repeated}")).status_code,
        ]
        await talk.advance(100)
        listed = [each["id"] for each in (await talk.get(path))["data"]]

    assert [] == before
    assert [0, 404] == unseen
    assert [repeated] == listed


async def test_an_undocumented_status_can_be_met() -> None:
    """
    A word that no page has, in the read of one withdrawal; the list still tells the truth.
    """
    async with talking_upvest() as talk:
        made = (await talk.create()).json()["id"]
        talk.server.set_faults(Faults(unknown_status=1.0))
        read = await talk.withdrawal(made)
        listed = await talk.get(f"/account_groups/{GROUP}/payments/withdrawals")

    assert ("IN_REVIEW", "NEW") == (read[0], listed["data"][0]["status"])


async def test_faults_strike_before_and_after_the_effect() -> None:
    """
    An error before leaves nothing, an error after leaves a withdrawal that a repeat finds.
    """
    async with talking_upvest() as talk:
        talk.server.set_faults(Faults(error_before=1.0, calls=Reach.WITHDRAWALS))
        before = await talk.create()
        nothing = await talk.effects()
        talk.server.set_faults(Faults(error_after=1.0, calls=Reach.WITHDRAWALS))
        after = await talk.create()
        talk.server.set_faults(Faults())
        repeated = await talk.create()
        effects = await talk.effects()
        talk.server.set_faults(Faults(outage=True))
        outage = await talk.ask_token()

    assert [5, 5, 2, 5] == [r.status_code // 100 for r in (before, after, repeated, outage)]
    assert [] == nothing
    assert [repeated.json()["id"]] == [effect["id"] for effect in effects]


async def test_the_record_has_the_shape_of_every_simulators() -> None:
    """
    What was executed with all that identifies it and where it stands, then what happened to it.
    """
    async with talking_upvest() as talk:
        created = (await talk.create()).json()
        await talk.cancel(created["id"])
        record = json.loads(json.dumps(talk.server.record()))

    told = record["effects"][1].pop("cancelled_at")
    assert created["created_at"] <= told <= record["now"]
    assert [
        {
            "sequence": 1,
            "effect": "withdrawal",
            "id": created["id"],
            "account_group_id": GROUP,
            "idempotency_key": key_of("1"),
            "amount": "75.50",
            "currency": "EUR",
            "reference_account_id": FIELDS["reference_account_id"],
            "remittance_information": FIELDS["remittance_information"],
            "executed_at": created["created_at"],
            "status": "CANCELLED",
            "cancellation_reason": "CANCELLED_BY_CLIENT",
        },
        {"sequence": 2, "effect": "cancel", "id": created["id"], "account_group_id": GROUP},
    ] == record["effects"]
    assert {"token": 1, "create_withdrawal": 1, "cancel_withdrawal": 1} == record["counters"][
        "requests"
    ]
    assert {"200": 2, "204": 1} == record["counters"]["responses"]


#: Control calls without sense, and the field that is named.
CONTROLS: Final = (
    ("cash", {"account_group_id": GROUP}, "amount"),
    ("cash", {"account_group_id": "inv_1", "amount": "5"}, "account_group_id"),
    ("cash", {"account_group_id": GROUP, "amount": "-5"}, "amount"),
    ("cash", {"account_group_id": GROUP, "amount": "5", "currency": "CHF"}, "currency"),
    ("cash", {"account_group_id": group("0bad0404"), "amount": "5"}, "account_group_id"),
    ("reversals", {"withdrawal_id": GROUP}, "withdrawal_id"),
    ("reversals", {"withdrawal_id": GROUP, "reason": "CANCELLED_BY_CLIENT"}, "reason"),
    ("accounts", {"account_id": GROUP}, "account_group_id"),
    ("webhook-keys", {"overlap": "yes"}, "overlap"),
    ("tokens", {"all": True}, "all"),
)


async def test_a_senseless_control_call_names_the_field() -> None:
    """
    400, and nothing happens.
    """
    seen = []
    async with talking_upvest(scope=None) as talk:
        for name, fields, named in CONTROLS:
            response = await talk.control("POST", name, **fields)
            message = response.json()["error"]["message"]
            seen.append((name, response.status_code, named in message))
        effects = await talk.effects()

    assert [(name, 400, True) for name, _, _ in CONTROLS] == seen
    assert [] == effects


async def test_a_late_call_that_is_due_counts_before_its_repetition() -> None:
    """
    The same key again, in the moment in which the first call takes effect: one withdrawal.
    """
    create = next(one for one in ROUTES if one.operation is Operation.CREATE_WITHDRAWAL)
    async with talking_upvest() as talk:
        house, now = talk.server.simulation.house, talk.server.clock.now()
        body = json.dumps(FIELDS).encode()
        call = Call(identifiers={}, query=(), body=body, key=key_of("1"), now=now)
        house.agenda.plan(now, lambda _at: void(answer(create, house, call)))
        repeated = answer(create, house, call)
        executed = [effect["id"] for effect in house.effects(now) if "executed_at" in effect]

    assert repeated.document is not None
    assert [repeated.document["id"]] == executed
