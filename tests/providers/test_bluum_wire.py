"""What leaves for Bluum: the exact bytes of a body, and each call as it stands on the wire."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.providers.builders import NOW, a_held, a_permit
from tests.providers.canned import Said, canned
from tests.providers.stages import API_KEY, API_SECRET, Options, bluum_request, open_bluum
from worker.core.requests import DESCRIPTION_LIMIT, read_request
from worker.core.withdrawal import idempotency_key, reference_token
from worker.providers.bluum import BluumRequest

if TYPE_CHECKING:
    from tests.providers.canned import Heard

KEY = idempotency_key("req-1")
TOKEN = reference_token(KEY)
#: With a space and the reference it fills a description to the last character.
LONGEST = "x" * (DESCRIPTION_LIMIT - len(TOKEN) - 1)
NOWHERE = "http://127.0.0.1:9/v1"


async def composed(*, reference: bool = True, **fields: object) -> bytes:
    """The create body of a request."""
    async with open_bluum(NOWHERE, Options(), reference=reference) as bluum:
        return bluum.compose(bluum_request(funding_source_id="fs_01", **fields), KEY)


async def test_the_body_is_these_bytes() -> None:
    """
    Field by field and byte by byte: another release that writes others would meet a conflict.
    """
    expected = (
        b'{"amount":"250.75","currency":"USD","method":"ach","funding_source_id":"fs_01",'
        b'"description":"rent [wd:60b93432eb52]"}'
    )

    assert expected == await composed(description="rent")


@pytest.mark.parametrize(
    ("asked", "written"),
    [("5", "5.00"), ("5.5", "5.50"), ("0.01", "0.01"), ("999999999999.99", "999999999999.99")],
)
async def test_an_amount_has_two_decimals(asked: str, written: str) -> None:
    """
    However it was written in the request, and without a float in between.
    """
    assert written == json.loads(await composed(amount=asked))["amount"]


@pytest.mark.parametrize(
    ("description", "reference", "written"),
    [
        ("rent", True, f"rent {TOKEN}"),
        ("rent", False, "rent"),
        (None, True, TOKEN),
        ("", True, TOKEN),
        (None, False, None),
        ("", False, None),
        ("Miete für März 💶", True, f"Miete für März 💶 {TOKEN}"),
        ('"quoted" \\ /', True, f'"quoted" \\ / {TOKEN}'),
        (LONGEST, True, f"{LONGEST} {TOKEN}"),
        (LONGEST + "x", True, LONGEST + "x"),
        ("💶" * DESCRIPTION_LIMIT, True, "💶" * DESCRIPTION_LIMIT),
    ],
    # Five hundred characters make no name.
    ids=range(11),
)
async def test_the_reference_is_appended_where_it_fits(
    description: str | None, written: str | None, *, reference: bool
) -> None:
    """
    Into 500 characters, and only when it is wanted; a description is never shortened for it.
    """
    body = json.loads(await composed(description=description, reference=reference))

    assert written == body.get("description")


async def test_unicode_travels_as_plain_characters() -> None:
    """
    The body is ASCII, so no proxy on the way can read it in another encoding.
    """
    body = await composed(description="für 💶")

    assert body.isascii()
    assert f"für 💶 {TOKEN}" == json.loads(body)["description"]


async def calls(investor_id: str = "inv_01", withdrawal_id: str = "wd_01") -> list[Heard]:
    """Make every call there is, and tell what arrived."""
    async with (
        canned(Said(200, {})) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        await bluum.create(a_permit(a_held(bluum, bluum_request())))
        await bluum.look(investor_id, withdrawal_id)
        await bluum.cancel(investor_id, withdrawal_id)
        await bluum.listed(investor_id, NOW.date(), NOW.date())
        await bluum.try_credentials()
    return server.heard


async def test_every_call_has_its_method_and_path() -> None:
    """
    As the reference has them (WD, PF, JW, WDL), below the base URL.
    """
    today = NOW.date().isoformat()
    path = "/v1/investors/inv_01/withdrawals"

    assert [
        ("POST", path),
        ("GET", f"{path}/wd_01"),
        ("POST", f"{path}/wd_01/cancel"),
        ("GET", f"{path}?date_from={today}&date_to={today}&limit=100&offset=0"),
        ("GET", "/v1/investors/inv_credentials_check/withdrawals?limit=1"),
    ] == [(heard.method, heard.path) for heard in await calls()]


async def test_ids_are_quoted() -> None:
    """
    An id is one part of the path, whatever stands in it.
    """
    _, look, cancel, listed, _ = await calls("inv/../01?a", "wd 01/cancel#é%2F")
    party = "/v1/investors/inv%2F..%2F01%3Fa/withdrawals"
    withdrawal = f"{party}/wd%2001%2Fcancel%23%C3%A9%252F"

    assert withdrawal == look.path
    assert f"{withdrawal}/cancel" == cancel.path
    assert listed.path.startswith(f"{party}?date_from=")


async def test_a_create_call_carries_the_permits_key_and_bytes() -> None:
    """
    Exactly what was committed leaves, and says what it is.
    """
    async with (
        canned(Said(200, {})) as server,
        open_bluum(server.base_url, Options()) as bluum,
    ):
        permit = a_permit(a_held(bluum, bluum_request(description="Miete für März 💶")))
        await bluum.create(permit)
    (heard,) = server.heard

    assert permit.body == heard.body
    assert permit.idempotency_key == heard.headers["Idempotency-Key"]
    assert KEY == heard.headers["Idempotency-Key"]
    assert "application/json" == heard.headers["Content-Type"]
    assert str(len(permit.body)) == heard.headers["Content-Length"]


async def test_every_call_is_authorised_and_only_create_has_a_key() -> None:
    """
    Basic authentication with key and secret (AUTH); nothing but a create call has a body.
    """
    basic = "Basic " + base64.b64encode(f"{API_KEY}:{API_SECRET}".encode()).decode()
    create, *others = heard = await calls()

    assert [basic] * 5 == [each.headers.get("Authorization") for each in heard]
    assert create.body
    assert [b""] * 4 == [each.body for each in others]
    assert [None] * 4 == [each.headers.get("Idempotency-Key") for each in others]
    assert [None] * 5 == [each.headers.get("Cookie") for each in heard]


def test_a_request_shows_no_bank_details() -> None:
    """
    Neither the funding source nor the description stands in its `repr`.
    """
    shown = repr(bluum_request(funding_source_id="fs_hidden", description="hidden too"))

    assert "inv_01" in shown
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "ach_plaid"),
        ("method", None),
        ("investor_id", "inv/01"),
        ("investor_id", ".."),
        ("funding_source_id", ""),
        ("description", "x" * (DESCRIPTION_LIMIT + 1)),
        ("wire_options", {}),
        ("provider", "upvest"),
    ],
)
def test_a_request_that_bluum_would_refuse_is_refused_here(field: str, value: object) -> None:
    """
    By name of the field, and without repeating its value.
    """
    plain = {
        "provider": "bluum",
        "investor_id": "inv_01",
        "amount": "5.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_01",
    }
    problem = read_request(BluumRequest, plain | {field: value})

    assert isinstance(problem, str)
    assert problem.startswith(f"{field}: expected ")
