"""What a delivery's head says was signed: read in every form that draft 6 gives it, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flows.hearing import Head
from worker.providers.upvest_delivery_signature import SignedHead, read_signature

#: Of Upvest's own page about the digest (D6).
_BODY: Final = b'{"key": "value"}'
_DIGEST: Final = "SHA-256=lyTB4g5uPk1/V+0l+dTvsAblCFkNUoyQ2ll/andcE+U="
_PARAMS: Final = ';keyid="k-1";created=1633529659;expires=1633529664;nonce="o085M4cMgpbicuOL"'
_PATH: Final = "/webhooks/upvest"


def _signed(
    components: str = '"digest"', params: str = _PARAMS, target: str = _PATH, **headers: str
) -> SignedHead | None:
    plain = {
        "signature-input": f"sig1=({components}){params}",
        "signature": "sig1=:AQID:",
        "digest": _DIGEST,
        "host": "Payouts.Example:443",
        "content-type": " application/json ",
    }
    given_headers = plain | {name.replace("_", "-"): value for name, value in headers.items()}
    head = Head(method="POST", target=target, headers=given_headers)
    return read_signature(head, path="/outside")


def test_the_documented_digest_is_that_of_its_body() -> None:
    """
    The check vector of D6; one byte more is another body.
    """
    signed = _signed()

    assert signed is not None
    assert signed.is_over(_BODY)
    assert not signed.is_over(_BODY + b"\n")


def test_the_base_has_names_without_quotes() -> None:
    """
    As C6 shows it: name, colon, space, value; last the parameters as they came.
    """
    signed = _signed('"@method" "@path" "@query" "content-type" "digest"', target="/in?a=b%20c&d")

    assert signed is not None
    assert (
        "@method: POST\n@path: /outside\n@query: ?a=b%20c&d\ncontent-type: application/json\n"
        f"digest: {_DIGEST}\n"
        '@signature-params: ("@method" "@path" "@query" "content-type" "digest")' + _PARAMS
    ) == signed.base.decode()
    assert ("k-1", 1633529659, 1633529664, b"\1\2\3") == (
        signed.key_id,
        signed.created,
        signed.expires,
        signed.signature,
    )


@pytest.mark.parametrize(
    ("component", "target", "expected"),
    [
        ("@target-uri", "/in?a", "https://payouts.example/outside?a"),
        ("@authority", "/in", "payouts.example"),
        ("@scheme", "/in", "https"),
        ("@request-target", "/in?a=%C3%A4?", "/outside?a=%C3%A4?"),
        ("@request-target", "/in", "/outside"),
        ("@query", "/in", "?"),
        ("@query", "/in?", "?"),
    ],
)
def test_what_draft_6_derives_from_a_request(component: str, target: str, expected: str) -> None:
    """
    By the path that Upvest called, and the query exactly as it came (draft 6, section 2.2).
    """
    signed = _signed(f'"{component}" "digest"', target=target)

    assert signed is not None
    assert f"{component}: {expected}" == signed.base.decode().split("\n")[0]


@pytest.mark.parametrize(
    "params",
    [
        '; keyid="k-1"; created=1633529659; expires=1633529664',
        ';expires=1633529664;created=1633529659;keyid=k-1;alg="x;created=7"',
    ],
)
def test_parameters_stand_in_any_order(params: str) -> None:
    """
    With a space after the semicolon or none; what is inside quotes is a text.
    """
    signed = _signed(params=params)

    assert signed is not None
    assert ("k-1", 1633529659, 1633529664) == (signed.key_id, signed.created, signed.expires)
    assert signed.base.decode().endswith(params)


@pytest.mark.parametrize(
    "changes",
    [
        {"components": ""},
        {"components": '"content-type"'},
        {"components": '"digest" "digest"'},
        {"components": '"digest" "x-missing"'},
        {"components": '"digest" "@status"'},
        {"components": '"digest" "@query-params";name="a"'},
        {"components": '"digest";sf'},
        {"components": "digest"},
        {"components": '"Digest"'},
        {"params": ""},
        {"params": _PARAMS + ";created=1633529659"},
        {"params": _PARAMS.replace("k-1", "")},
        {"params": _PARAMS.replace("expires=1633529664", "expires=soon")},
        {"params": _PARAMS.replace("created=1633529659", "created=-1")},
        {"params": _PARAMS.replace("created=1633529659;", "")},
        {"params": _PARAMS + ', sig2=("digest")'},
        {"signature_input": ""},
        {"signature_input": f'sig2=("digest"){_PARAMS}'},
        {"signature": ""},
        {"signature": "sig1=AQID"},
        {"signature": "sig1=:AQI:"},
        {"signature": "sig2=:AQID:"},
        {"signature": f"sig1=:{'AAAA' * 100}:"},
        {"digest": ""},
        {"digest": "SHA-256=AQID"},
        {"digest": "SHA-512=" + "A" * 86 + "=="},
        {"digest": _DIGEST.replace("=", ":")},
    ],
)
def test_what_could_not_be_verified_is_none(changes: dict[str, str]) -> None:
    """
    No signature, no time, no key; a body that is not covered; a component that nobody knows.
    """
    assert _signed(**changes) is None


def test_the_right_digest_is_found_among_others() -> None:
    """
    Its name counts in any case (RFC 3230).
    """
    signed = _signed(digest=f"UNIXsum=30637, sha-256{_DIGEST[7:]}")

    assert signed is not None
    assert signed.is_over(_BODY)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-31, False), (-30, True), (0, True), (5, True), (35, True), (36, False)],
)
def test_it_counts_from_created_to_expires(seconds: int, expected: bool) -> None:
    """
    By a clock that is off by the tolerance at most.
    """
    signed = _signed()
    now = datetime.fromtimestamp(1633529659, UTC) + timedelta(seconds=seconds)

    assert signed is not None
    assert expected is signed.is_timely(now, timedelta(seconds=30))


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_breaks_it(components: str, params: str, signature: str, digest: str) -> None:
    """
    Whatever stands in the headers is none, and never an error.
    """
    assert _signed(components, params, signature=signature, digest=digest) is None
