"""Who is let in by the simulated Upvest: signatures, tokens, scopes and headers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from upvest_investment_api.http_message_signatures import UpvestHttpMessageSigner

from tests.simulator.upvest_talk import (
    FIELDS,
    GROUP,
    LONG,
    PLAIN,
    RIGHT,
    Signing,
    key_of,
    talking_upvest,
)
from worker.simulator.upvest_client_keys import KeyKind, make_key, read_public_key

UUID_7 = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_what_upvests_own_library_signs_is_accepted() -> None:
    """
    A call with a body, a key and a token, and one with a query: both count.
    """
    async with talking_upvest() as talk:
        signer = UpvestHttpMessageSigner(
            private_key_pem=talk.server.private_pem,
            private_key_passphrase=None,
            key_id="simulator-key",
            client_id=PLAIN.client_id,
        )
        statuses = []
        for method, path, body in (
            ("POST", "/payments/withdrawals", json.dumps(FIELDS)),
            ("GET", f"/account_groups/{GROUP}/payments/withdrawals?limit=2&order=DESC", None),
        ):
            given = {"authorization": f"Bearer {talk.token}"}
            given |= {"content-type": "application/json"} if body else {}
            _, url, made, sent, _ = signer.sign_request(
                method=method,
                url=talk.server.base_url + path,
                headers_in=given,
                body=body,
                idempotency_key=key_of("1") if body else None,
            )
            headers = {name: str(value) for name, value in (given | made).items()}
            response = await talk.http.request(method, url, headers=headers, content=sent)
            statuses.append(response.status_code)

    assert [200, 200] == statuses


@pytest.mark.parametrize("kind", list(KeyKind))
async def test_either_kind_of_registered_key_counts(kind: KeyKind) -> None:
    """
    Only the public half is registered; ECDSA on P-521 and Ed25519 both open the door.
    """
    key = make_key(kind)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    options = replace(PLAIN, public_key=read_public_key(pem))
    async with talking_upvest(options, scope=None) as talk:
        with_another = await talk.ask_token()
        talk.key = key
        with_ours = await talk.ask_token()

    assert [401, 200] == [with_another.status_code, with_ours.status_code]


def _side_by_side(der: bytes) -> bytes:
    return b"".join(number.to_bytes(66) for number in decode_dss_signature(der))


#: How a signature can be wrong, and a word of the reason that is told.
TAMPERINGS: Final = (
    *(
        (Signing(left_out=frozenset({name})), name)
        for name in (
            "@method",
            "@path",
            "accept",
            "authorization",
            "content-type",
            "content-length",
            "content-digest",
            "idempotency-key",
            "upvest-client-id",
        )
    ),
    (Signing(added=("date",)), "not sent"),
    (Signing(added=("@authority",)), "not sent"),
    (Signing(added=("accept",)), "twice"),
    (Signing(changed={"signature": None}), "missing"),
    (Signing(changed={"signature-input": 'sig1=("@method");created'}), "parameters"),
    (Signing(changed={"upvest-signature-version": None}), "15"),
    (Signing(changed={"upvest-signature-version": "6"}), "15"),
    (Signing(changed={"idempotency-key": key_of("2")}), "not that of"),
    (Signing(changed={"content-digest": "sha-512=:AAAA:"}), "content-digest"),
    (Signing(key_id="another"), "keyid"),
    (Signing(created=60), "future"),
    (Signing(created=-60), "expired"),
    (Signing(expires=-1), "expires"),
    (Signing(expires=3600), "expires"),
    (Signing(nonce=""), "nonce"),
    (Signing(rewrite=_side_by_side), "not that of"),
    (Signing(rewrite=lambda made: made[:-1] + bytes([made[-1] ^ 1])), "not that of"),
)


async def test_a_signature_that_is_not_right_is_refused() -> None:
    """
    401, the reason is told, and nothing is executed.
    """
    async with talking_upvest() as talk:
        answers = [await talk.create(signing=signing) for signing, _ in TAMPERINGS]
        effects = await talk.effects()

    assert [401] * len(TAMPERINGS) == [answer.status_code for answer in answers]
    details = [answer.json()["detail"] for answer in answers]
    assert [(word, True) for _, word in TAMPERINGS] == [
        (word, word in detail) for (_, word), detail in zip(TAMPERINGS, details, strict=True)
    ]
    assert [] == effects


async def test_what_was_signed_cannot_be_sent_otherwise() -> None:
    """
    Another body or another query under the same signature is refused, and so is a second time.
    """
    async with talking_upvest() as talk:
        path = f"/account_groups/{GROUP}/payments/withdrawals"
        request = (await talk.call("GET", f"{path}?limit=5")).request
        again = await talk.http.send(request)
        other_query = await talk.http.get(
            f"{talk.server.base_url}{path}?limit=6", headers=request.headers
        )
        made = (await talk.create()).request
        other_body = await talk.http.post(
            made.url, headers=made.headers, content=made.content.replace(b"75.50", b"95.50")
        )
        uncovered = await talk.call(
            "GET", f"{path}?limit=5", signing=Signing(left_out=frozenset({"@query"}))
        )

    refused = [again, other_query, other_body, uncovered]
    assert [401] * 4 == [response.status_code for response in refused]
    assert "nonce" in again.json()["detail"]
    assert "content-digest" in other_body.json()["detail"]
    assert "@query" in uncovered.json()["detail"]


async def test_a_token_is_for_its_scopes_and_its_time() -> None:
    """
    Reading is not writing (403); what is expired, revoked or invented is nothing (401).
    """
    async with talking_upvest(replace(PLAIN, token_lifetime=timedelta(seconds=60))) as talk:
        told = (await talk.ask_token("payments:read")).json()
        await talk.authorise("payments:read")
        may_read = await talk.call("GET", f"/account_groups/{GROUP}/payments/withdrawals")
        may_write = await talk.create()
        await talk.authorise()
        await talk.advance(59)
        still = await talk.create()
        await talk.advance(2)
        expired = await talk.create()
        await talk.authorise()
        revoked_count = (await talk.control("POST", "tokens")).json()["revoked"]
        revoked = await talk.create()
        talk.token = "invented"
        invented = await talk.create()

    assert (60, "bearer", "payments:read") == (
        told["expires_in"],
        told["token_type"],
        told["scope"],
    )
    assert revoked_count >= 1
    assert [200, 403, 200] == [r.status_code for r in (may_read, may_write, still)]
    assert [401, 401, 401] == [r.status_code for r in (expired, revoked, invented)]


#: What a form for a token can have wrong, and what it gets.
FORMS: Final = (
    ({"client_secret": "wrong"}, (401, "unauthorised")),
    ({"client_id": GROUP}, (401, "unauthorised")),
    ({"grant_type": "password"}, (400, "invalid_request")),
    ({"scope": "payments:everything"}, (400, "invalid_scope")),
    ({"scope": "orders:admin"}, (400, "invalid_scope")),
    ({"more": "1"}, (400, "invalid_request")),
)


async def test_a_token_is_not_for_everybody() -> None:
    """
    Wrong credentials, an unknown scope and one that is not granted get a problem and no token.
    """
    scopes = tuple(scope for scope in PLAIN.scopes if scope != "orders:admin")
    seen = []
    async with talking_upvest(replace(PLAIN, scopes=scopes), scope=None) as talk:
        for form, _ in FORMS:
            wanted: dict[str, Any] = {"scope": "payments:read"} | form
            response = await talk.ask_token(wanted.pop("scope"), **wanted)
            word = response.json()["type"].rpartition("/")[2]
            seen.append((form, (response.status_code, word)))
        issued = talk.server.record()["counters"]["tokens"]

    assert list(FORMS) == seen
    assert 0 == issued


async def test_revoked_credentials_open_nothing() -> None:
    """
    Neither tokens nor calls, until they are restored.
    """
    async with talking_upvest() as talk:
        await talk.control("PUT", "credentials", revoked=True)
        refused = [await talk.ask_token(), await talk.create()]
        await talk.control("PUT", "credentials", revoked=False)
        restored = await talk.create()

    assert [401, 401] == [response.status_code for response in refused]
    assert 200 == restored.status_code


#: Headers that are wrong or missing (None), and what they get.
HEADERS: Final = (
    ({"accept": "*/*"}, (406, "not_acceptable")),
    ({"accept": None}, (406, "not_acceptable")),
    ({"upvest_client_id": None}, (400, "missing_client_id")),
    ({"upvest_client_id": GROUP}, (401, "unauthorised")),
    ({"upvest_api_version": '"1"'}, (400, "invalid_request")),
    ({"content_type": "application/json; charset=utf-8"}, (400, "invalid_request")),
    ({"content_digest": None}, (401, "unauthorised")),
    ({"authorization": None}, (401, "unauthorised")),
    ({"idempotency_key": None}, (400, "missing_idempotency_key")),
    ({"idempotency_key": UUID_7}, (400, "invalid_request")),
    ({"idempotency_key": f"wd-{key_of('1')}"}, (400, "invalid_request")),
)


async def test_headers_have_their_rules() -> None:
    """
    A problem document with the response's own id, and nothing is executed.
    """
    body = json.dumps(FIELDS).encode()
    seen = []
    async with talking_upvest() as talk:
        for headers, _ in HEADERS:
            sent: dict[str, Any] = {"idempotency_key": key_of("1")} | headers
            response = await talk.call("POST", "/payments/withdrawals", body=body, **sent)
            problem = response.json()
            seen.append((headers, (response.status_code, problem["type"].rpartition("/")[2])))
            assert "application/problem+json" == response.headers["content-type"]
            assert response.headers["upvest-request-id"] == problem["request_id"]
            assert {"type", "status", "title", "detail", "request_id"} <= set(problem)
        effects = await talk.effects()

    assert list(HEADERS) == seen
    assert [] == effects


async def test_signatures_go_by_real_time() -> None:
    """
    A clock that was put forward lets tokens expire, and does not spoil signatures.
    """
    async with talking_upvest() as talk:
        await talk.advance(24 * LONG)
        response = await talk.ask_token(signing=RIGHT)

    assert 200 == response.status_code


async def test_calls_beyond_the_limit_are_turned_away() -> None:
    """
    429, without a time to come again where that is not told, and nothing of it is executed.
    """
    async with talking_upvest(replace(PLAIN, rate_limit=1, retry_after=False)) as talk:
        responses = await asyncio.gather(*(talk.create(key=key_of(str(n))) for n in range(10)))
        effects = await talk.effects()

    turned_away = [r for r in responses if r.status_code == 429]
    assert turned_away
    assert all("retry-after" not in response.headers for response in turned_away)
    assert len(responses) - len(turned_away) == len(effects)
