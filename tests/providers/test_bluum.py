"""Bluum's words turned into ours, as a table: what came, and the answer it is.

The statuses and envelopes are those of the project's reference; the answers come over real HTTP
from a server that says exactly what the table says."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.providers.builders import a_held, a_permit
from tests.providers.canned import Said, canned
from tests.providers.stages import Options, bluum_request, open_bluum
from worker.core.answers import (
    Conflicted,
    Denied,
    Refused,
    Reported,
    Throttled,
    Trace,
    Unclear,
)
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.providers.bluum import STATUSES
from worker.providers.replies import TEXT_LIMIT

if TYPE_CHECKING:
    from worker.core.answers import Answer

REQUEST_ID = {"X-Request-Id": "req_7f3a"}
NESTED = {"error": {"type": "invalid_request_error", "code": "BLUM-422-001", "message": "no"}}


async def create(said: Said) -> Answer:
    """Send a create call to a server that says this."""
    async with canned(said) as server, open_bluum(server.base_url, Options()) as bluum:
        return await bluum.create(a_permit(a_held(bluum, bluum_request())))


async def look(said: Said, withdrawal_id: str = "wd_01demo") -> Answer:
    """Look at a withdrawal, at a server that says this."""
    async with canned(said) as server, open_bluum(server.base_url, Options()) as bluum:
        return await bluum.look("inv_01", withdrawal_id)


def a_withdrawal(**changes: object) -> dict[str, Any]:
    """The sample of the reference; a field that is changed to ... is left out."""
    sample = {
        "id": "wd_01demo",
        "object": "withdrawal",
        "created": 1780000000,
        "livemode": False,
        "metadata": {},
        "investor_id": "inv_01demo",
        "wallet_id": "wlt_01demo",
        "funding_source_id": "fs_01demo",
        "method": "ach",
        "status": "pending",
        "amount": "250.75",
        "currency": "USD",
        "description": "req 7f3a",
        "method_details": {"provider_name": "alpaca", "transfer_id": "t-1"},
        "destination_details": None,
        "initiated_at": "2026-06-01T10:00:00.000Z",
        "completed_at": None,
        "failure_reason": None,
    }
    return {name: value for name, value in (sample | changes).items() if value is not ...}


#: Every code of the catalogue (CODES), and what it means for a create call.
CATALOGUE = {
    **{f"BLUM-400-00{n}": ReasonCode.REFUSED for n in range(1, 9)},
    **{f"BLUM-401-00{n}": "denied" for n in range(1, 6)},
    "BLUM-403-001": ReasonCode.NOT_PERMITTED,
    "BLUM-403-002": ReasonCode.NOT_PERMITTED,
    "BLUM-403-003": ReasonCode.NOT_PERMITTED,
    "BLUM-403-004": ReasonCode.NOT_PERMITTED,
    "BLUM-404-001": ReasonCode.NOT_FOUND,
    # Unknown path: our base URL is wrong, and no customer is to be told that it was theirs.
    "BLUM-404-002": "unknown_path",
    "BLUM-404-003": ReasonCode.NOT_FOUND,
    **{f"BLUM-409-00{n}": "conflicted" for n in range(1, 4)},
    "BLUM-422-001": ReasonCode.INSUFFICIENT_FUNDS,
    "BLUM-422-002": ReasonCode.REFUSED,
    "BLUM-422-003": ReasonCode.REFUSED,
    "BLUM-422-004": ReasonCode.REFUSED,
    "BLUM-422-005": ReasonCode.INSUFFICIENT_FUNDS,
    "BLUM-429-001": "throttled",
    "BLUM-500-001": "http_500",
    "BLUM-500-017": "http_500",
}


def expected(meaning: str, trace: Trace) -> Answer:
    """The answer that a line of the catalogue means."""
    match meaning:
        case ReasonCode():
            return Refused(Reason(meaning, trace.provider_code), trace)
        case "denied":
            return Denied(trace)
        case "conflicted":
            return Conflicted(trace)
        case "throttled":
            return Throttled(None, trace)
        case _:
            return Unclear(meaning, None, trace)


@pytest.mark.parametrize(("code", "meaning"), CATALOGUE.items())
async def test_every_code_of_the_catalogue_has_its_answer(code: str, meaning: str) -> None:
    """
    In the nested envelope, with its status; code, request id and text are kept for support.
    """
    status = int(code.split("-")[1])
    said = Said(status, {"error": {"type": "x", "code": code, "message": "a text"}}, REQUEST_ID)

    assert expected(meaning, Trace(status, code, "req_7f3a", "a text")) == await create(said)


@pytest.mark.parametrize(
    ("status", "body", "reason", "text"),
    [
        (422, NESTED, Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"), "no"),
        (422, {"error": {"message": "no"}}, Reason(ReasonCode.REFUSED), "no"),
        (422, {"error": {"code": "NEW-1"}}, Reason(ReasonCode.REFUSED, "NEW-1"), None),
        (400, {"error": {}}, Reason(ReasonCode.REFUSED), None),
        # Flat (ERR, CODES), as in G2.
        (422, {"code": "A-1", "message": "no"}, Reason(ReasonCode.REFUSED, "A-1"), "no"),
        (404, {"code": "X", "message": None}, Reason(ReasonCode.NOT_FOUND, "X"), None),
        (
            403,
            {"status": "error", "code": "PRODUCT_NOT_ENABLED", "message": "off"},
            Reason(ReasonCode.NOT_PERMITTED, "PRODUCT_NOT_ENABLED"),
            "off",
        ),
        # A text alone (NB).
        (400, {"error": "no ACH relationship"}, Reason(ReasonCode.REFUSED), "no ACH relationship"),
        (400, {"error": "no", "code": "A-1"}, Reason(ReasonCode.REFUSED, "A-1"), "no"),
        # Insufficient funds as a 400 (NB): the code counts, not the status.
        (
            400,
            {"error": {"code": "BLUM-422-001"}},
            Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"),
            None,
        ),
    ],
    ids=repr,
)
async def test_every_envelope_is_read(
    status: int, body: object, reason: Reason, text: str | None
) -> None:
    """
    A refusal is a refusal in each of the documented envelopes, with a code and without.
    """
    trace = Trace(status, reason.provider_code, None, text)

    assert Refused(reason, trace) == await create(Said(status, body))


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>blocked</html>",
        b"null",
        b'"no"',
        b"[]",
        b'["error"]',
        b"{}",
        b'{"message":"no Route matched with those values"}',
        b'{"status":"error","message":"no"}',
        b'{"error":null}',
        b'{"error":["no"]}',
        b'{"code":404}',
    ],
    ids=repr,
)
async def test_a_refusal_in_other_words_is_not_bluums(status: int, body: bytes) -> None:
    """
    A proxy's page, or what is in no documented envelope: Bluum has said nothing.
    """
    answer = await create(Said(status, body))

    assert isinstance(answer, Unclear)
    assert f"http_{status}" == answer.why


@pytest.mark.parametrize(
    "code", [422, None, True, ["BLUM-422-001"], "", "a b", "x" * 65, "<b>", "é", "A\n", "\x00"]
)
async def test_a_code_of_another_form_is_not_kept(code: object) -> None:
    """
    It goes into events and labels, so it is a short word of plain characters or nothing.
    """
    answer = await create(Said(422, {"error": {"code": code, "message": "no"}}))

    assert Refused(Reason(ReasonCode.REFUSED), Trace(422, None, None, "no")) == answer


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (408, {}, Unclear("http_408", None, Trace(408))),
        (500, {}, Unclear("http_500", None, Trace(500))),
        (502, {}, Unclear("http_502", None, Trace(502))),
        (503, {"Retry-After": "7"}, Unclear("http_503", timedelta(seconds=7), Trace(503))),
        (504, {}, Unclear("http_504", None, Trace(504))),
        (302, {"Location": "/x"}, Unclear("http_302", None, Trace(302))),
        (405, {}, Unclear("http_405", None, Trace(405))),
        (599, {}, Unclear("http_599", None, Trace(599))),
        (401, {}, Denied(Trace(401))),
        (409, {}, Conflicted(Trace(409))),
        (429, {"Retry-After": "3"}, Throttled(timedelta(seconds=3), Trace(429))),
        (429, {"Retry-After": "soon"}, Throttled(None, Trace(429))),
        (201, {}, Unclear("unusable_body", None, Trace(201))),
    ],
    ids=repr,
)
async def test_a_status_without_a_body_has_its_answer(
    status: int, headers: dict[str, str], expected: Answer
) -> None:
    """
    A status counts where it needs no words: 401, 409, 429. All else says nothing.
    """
    assert expected == await create(Said(status, headers=headers))


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", Status.PENDING),
        ("processing", Status.PROCESSING),
        ("submitted", Status.SUBMITTED),
        ("completed", Status.COMPLETED),
        ("cancelled", Status.CANCELLED),
        ("canceled", Status.CANCELLED),
        ("failed", Status.FAILED),
    ],
)
async def test_every_status_word_is_known(word: str, status: Status) -> None:
    """
    In both spellings, as created and as seen.
    """
    said = Said(201, a_withdrawal(status=word))

    assert Reported("wd_01demo", status, word, Trace(201)) == await create(said)
    assert Reported("wd_01demo", status, word, Trace(201)) == await look(said)


def test_no_status_word_is_left_out() -> None:
    """
    What is known is what the reference documents, and nothing more.
    """
    documented = {"pending", "processing", "submitted", "completed", "cancelled", "canceled"}

    assert documented | {"failed"} == set(STATUSES)


@pytest.mark.parametrize("word", ["in_review", "COMPLETED", "Failed", "settled", "on hold", "v2.0"])
async def test_another_word_is_kept_and_says_nothing(word: str) -> None:
    """
    Not guessed at, in capitals least of all: the word is kept, the status is unknown.
    """
    answer = await create(Said(201, a_withdrawal(status=word)))

    assert Reported("wd_01demo", None, word, Trace(201)) == answer


@pytest.mark.parametrize(
    "word", [..., None, 3, True, ["pending"], {"a": 1}, "", " pending\n", "ü", "x" * 65, "<b>"]
)
async def test_what_is_no_word_says_nothing(word: object) -> None:
    """
    A withdrawal without a readable status is still one that exists.
    """
    answer = await create(Said(201, a_withdrawal(status=word)))

    assert Reported("wd_01demo", None, None, Trace(201)) == answer


@pytest.mark.parametrize(
    "identity",
    [
        "wd_01demo",
        "wdr_01demo",
        "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
        "7",
        "a.b:c-d_e",
        "x" * 128,
    ],
)
async def test_an_id_is_opaque(identity: str) -> None:
    """
    `wd_` or `wdr_`, UUID or number: it is taken as it is, under either name.
    """
    expected = Reported(identity, Status.PENDING, "pending", Trace(201))

    assert expected == await create(Said(201, a_withdrawal(id=identity)))
    assert expected == await create(Said(201, a_withdrawal(id=..., withdrawal_id=identity)))
    assert expected == await create(Said(201, a_withdrawal(id=None, withdrawal_id=identity)))
    assert expected == await look(Said(201, a_withdrawal(id=identity)), identity)


@pytest.mark.parametrize(
    "identity",
    [
        ...,
        None,
        "",
        7,
        ["wd_01"],
        "../wd_01",
        "wd_01/cancel",
        ".",
        "wd 01",
        "wd_01\n",
        "é",
        "x" * 129,
    ],
)
async def test_what_is_no_id_is_unclear(identity: object) -> None:
    """
    It goes into paths and into the ledger; without a usable one nobody can follow.
    """
    answer = await create(Said(201, a_withdrawal(id=identity)))

    assert Unclear("unusable_body", None, Trace(201)) == answer


async def test_a_look_at_one_does_not_report_another() -> None:
    """
    An answer about another withdrawal is no answer.
    """
    answer = await look(Said(200, a_withdrawal(id="wd_02")), "wd_01")

    assert Unclear("unusable_body", None, Trace(200)) == answer


async def test_a_refused_look_is_refused() -> None:
    """
    404-001 to a look: what follows from it is not decided here.
    """
    body = {"error": {"code": "BLUM-404-001", "message": "none"}}
    reason = Reason(ReasonCode.NOT_FOUND, "BLUM-404-001")

    assert Refused(reason, Trace(404, "BLUM-404-001", None, "none")) == await look(Said(404, body))


async def test_an_entry_without_an_amount_tells_nothing() -> None:
    """
    It could not be told from another's, so nothing is concluded from it.
    """
    said = Said(200, a_withdrawal(amount=None))
    async with canned(said) as server, open_bluum(server.base_url, Options()) as bluum:
        answer = await bluum.entry("inv_01", "wd_01demo")

    assert Unclear("unusable_entry", None, Trace(200)) == answer


async def test_why_it_failed_is_kept_inside() -> None:
    """
    Free text of Bluum's: kept with the call, never shown.
    """
    said = Said(200, a_withdrawal(status="failed", failure_reason="Jane Doe's account is closed"))
    answer = await look(said)

    assert isinstance(answer, Reported)
    assert "Jane Doe's account is closed" == answer.trace.text
    assert "Jane" not in repr(answer)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a\x00b", "ab"),
        ("\ud800", "?"),
        ("x" * (TEXT_LIMIT + 1), "x" * TEXT_LIMIT),
        ("ümlaut 💶", "ümlaut 💶"),
        (17, None),
    ],
    ids=["NUL", "surrogate", "long", "unicode", "number"],
)
async def test_texts_can_be_stored(written: object, kept: str | None) -> None:
    """
    No ledger can store a NUL or half a character; none should store a novel.
    """
    refused = await create(Said(422, json.dumps({"error": {"message": written}}).encode()))
    reported = await create(Said(201, json.dumps(a_withdrawal(failure_reason=written)).encode()))

    assert [kept, kept] == [answer.trace.text for answer in (refused, reported)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("req_7f3a", "req_7f3a"), ("x" * 200, "x" * 128), ("caf\u00e9", None), ("", None)],
)
async def test_the_request_id_is_kept(name: str, kept: str | None) -> None:
    """
    Support asks for it, whatever the answer was.
    """
    bodies = {201: a_withdrawal(), 200: b"", 422: NESTED, 401: b"", 503: b""}
    answers = [
        await create(Said(status, body, {"X-Request-Id": name})) for status, body in bodies.items()
    ]

    assert {kept} == {answer.trace.request_id for answer in answers}
