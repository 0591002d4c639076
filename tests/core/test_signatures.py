"""Signatures of deliveries: what is believed to come from whom it says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.signatures import (
    Algorithm,
    Encoding,
    Flaw,
    Scheme,
    SignedContent,
    flaw,
    flaw_of_head,
    is_signed,
)

NOW: Final = datetime(2026, 6, 2, 9, 0, tzinfo=UTC)
SECRET: Final = b"the secret"
BODY: Final = b'{"event":"order.filled"}'
PLAIN: Final = Scheme(secrets=(SECRET,), header="X-Bluum-Signature")
TIMED: Final = replace(
    PLAIN, timestamp_header="X-Time", signed_content=SignedContent.TIMESTAMP_AND_BODY
)
_HASHES: Final = {Algorithm.SHA256: hashlib.sha256, Algorithm.SHA512: hashlib.sha512}


def _signature(scheme: Scheme = PLAIN, content: bytes = BODY, secret: bytes = SECRET) -> str:
    """Sign as a provider would, by other means than the code's own."""
    digest = hmac.new(secret, content, _HASHES[scheme.algorithm])
    if scheme.encoding is Encoding.HEX:
        return scheme.prefix + digest.hexdigest()
    return scheme.prefix + base64.b64encode(digest.digest()).decode()


def _flaw(scheme: Scheme, *, body: bytes = BODY, **headers: str) -> Flaw | None:
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return flaw(scheme, given_headers, body, now=NOW)


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("prefix", ["", "sha256=", "v1,"])
@pytest.mark.parametrize("content", list(SignedContent))
def test_every_scheme_accepts_its_own_and_nothing_else(
    algorithm: Algorithm, encoding: Encoding, prefix: str, content: SignedContent
) -> None:
    """
    The signature over this very content; none over another body, by another secret, or cut short.
    """
    scheme = replace(
        TIMED, algorithm=algorithm, encoding=encoding, prefix=prefix, signed_content=content
    )
    at = str(int(NOW.timestamp()))
    signed = BODY if content is SignedContent.BODY else f"{at}.".encode() + BODY
    true = _signature(scheme, signed)

    def found(signature: str, body: bytes = BODY) -> Flaw | None:
        return _flaw(scheme, body=body, x_bluum_signature=signature, x_time=at)

    assert found(true) is None
    assert {Flaw.FORGED} == {
        found(true, body=BODY + b" "),
        found(_signature(scheme, signed, b"another")),
        found(true[:-4]),
        found(true[len(prefix) :]) if prefix else Flaw.FORGED,
        found(f"{true}, {true}"),
        found(""),
    }


def test_two_secrets_count_during_a_rotation() -> None:
    """
    The new and the previous one; a third does not.
    """
    scheme = replace(PLAIN, secrets=(b"new", b"old"))
    flaws = [
        _flaw(scheme, x_bluum_signature=_signature(secret=secret))
        for secret in (b"new", b"old", b"older")
    ]

    assert [None, None, Flaw.FORGED] == flaws


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("{unix}", None),
        ("{unix}.25", None),
        ("2026-06-02T09:00:00Z", None),
        ("2026-06-02T11:00:00+02:00", None),
        ("2026-06-02T09:00:00", None),
        ("2026-06-02T08:55:00Z", None),
        ("2026-06-02T08:54:59Z", Flaw.STALE),
        ("2026-06-02T09:05:01Z", Flaw.STALE),
        ("0001-01-01T00:00:00+23:59", Flaw.STALE),
        ("9999-12-31T23:59:59-23:59", Flaw.STALE),
        ("999999999999", Flaw.FORGED),
        ("0", Flaw.STALE),
        ("-1", Flaw.FORGED),
        ("nan", Flaw.FORGED),
        ("yesterday", Flaw.FORGED),
        ("", Flaw.FORGED),
        ("9" * 400, Flaw.FORGED),
    ],
)
def test_the_time_is_read_and_bounded(told: str, expected: Flaw | None) -> None:
    """
    Unix seconds or ISO 8601, five minutes either way; what is no time is no delivery.
    """
    text = told.format(unix=int(NOW.timestamp()))
    signature = _signature(content=text.encode() + b"." + BODY)

    assert expected == _flaw(TIMED, x_bluum_signature=signature, x_time=text)


def test_the_head_alone_tells_what_need_not_be_read() -> None:
    """
    No signature, no possible one, an old one: known before the body; the rest needs the body.
    """
    fit = "0" * 64

    def found(**headers: str) -> Flaw | None:
        given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return flaw_of_head(TIMED, given_headers, now=NOW)

    assert Flaw.FORGED is found()
    assert Flaw.FORGED is found(x_bluum_signature="0" * 63, x_time=NOW.isoformat())
    assert Flaw.FORGED is found(x_bluum_signature=fit)
    assert Flaw.STALE is found(x_bluum_signature=fit, x_time="2020-01-01T00:00:00Z")
    assert found(x_bluum_signature=fit, x_time=NOW.isoformat()) is None
    assert flaw_of_head(PLAIN, {"x-bluum-signature": fit}, now=NOW) is None


def test_whether_there_is_a_signature_is_a_matter_of_the_header() -> None:
    """
    Its name counts in any case; an empty one is one.
    """
    assert is_signed(PLAIN, {"x-bluum-signature": ""})
    assert not is_signed(PLAIN, {"x-signature": "00"})


@pytest.mark.parametrize("rewrite", [str.upper, lambda text: text])
def test_hex_counts_in_either_case(rewrite: object) -> None:
    """
    The bytes are compared.
    """
    assert callable(rewrite)
    assert _flaw(PLAIN, x_bluum_signature=rewrite(_signature())) is None


def test_base64_counts_in_either_alphabet() -> None:
    """
    With padding or without it.
    """
    scheme = replace(PLAIN, encoding=Encoding.BASE64)
    body = next(
        body
        for body in (b"%d" % n for n in range(1000))
        if {"+", "/"} <= set(_signature(scheme, body))
    )
    true = _signature(scheme, body)
    texts = (true, true.rstrip("="), true.replace("+", "-").replace("/", "_"))

    assert {None} == {_flaw(scheme, body=body, x_bluum_signature=text) for text in texts}


@given(st.text(), st.text(), st.binary(max_size=64), st.sampled_from(list(Encoding)))
def test_no_text_breaks_it(signature: str, time: str, body: bytes, encoding: Encoding) -> None:
    """
    Whatever stands in the headers: it is a flaw, and never an error.
    """
    scheme = replace(TIMED, encoding=encoding, tolerance=timedelta.max)

    assert _flaw(scheme, body=body, x_bluum_signature=signature, x_time=time) is Flaw.FORGED


def test_secrets_are_not_shown() -> None:
    """
    A scheme can be logged whole.
    """
    assert "the secret" not in repr(PLAIN)
