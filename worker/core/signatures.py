"""Whether a delivery was signed by whoever holds the secret, by a scheme that is configured.

Pure: header texts and bytes in, a flaw or none out. Nothing here reads what a delivery says."""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256, sha512
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Algorithm(StrEnum):
    """The hash under the HMAC."""

    SHA256 = "sha256"
    SHA512 = "sha512"


class Encoding(StrEnum):
    """How the signature is written in its header."""

    HEX = "hex"
    BASE64 = "base64"


class SignedContent(StrEnum):
    """What is signed: the body's bytes, or the timestamp's text, a dot, and the body's bytes."""

    BODY = "body"
    TIMESTAMP_AND_BODY = "timestamp.body"


class Flaw(StrEnum):
    """Why a delivery is not believed to come from whom it says."""

    FORGED = "forged"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How deliveries are signed. `secrets` are those that count at present, the newest first.

    Header names are matched without regard to case. With a `timestamp_header` a delivery must carry
    a time (unix seconds or ISO 8601) that is at most `tolerance` away from ours, in either
    direction; that the time was not altered is proven only where it is signed with the body.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    header: str
    algorithm: Algorithm = Algorithm.SHA256
    encoding: Encoding = Encoding.HEX
    prefix: str = ""
    timestamp_header: str | None = None
    tolerance: timedelta = timedelta(minutes=5)
    signed_content: SignedContent = SignedContent.BODY


_HASHES: Final = {Algorithm.SHA256: sha256, Algorithm.SHA512: sha512}
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_HEX: Final = re.compile(r"([0-9A-Fa-f]{2})+")
_URL_SAFE: Final = str.maketrans("-_", "+/")


def is_signed(scheme: Scheme, headers: Mapping[str, str]) -> bool:
    """Tell whether a delivery carries a signature at all. `headers` have names in lower case."""
    return scheme.header.lower() in headers


def flaw_of_head(scheme: Scheme, headers: Mapping[str, str], *, now: datetime) -> Flaw | None:
    """Return what is wrong with a delivery by its headers alone: its body need not be read then.

    Forged: no signature, or a text that can be none; no time where one is wanted. Stale: its time
    is too far from `now`.
    """
    if _signature(scheme, headers) is None:
        return Flaw.FORGED
    if scheme.timestamp_header is None:
        return None
    at = _moment(headers.get(scheme.timestamp_header.lower(), ""))
    if at is None:
        return Flaw.FORGED
    return Flaw.STALE if abs(now - at) > scheme.tolerance else None


def flaw(scheme: Scheme, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Flaw | None:
    """Return what is wrong with a delivery; None when one of the secrets has signed it.

    Every secret is tried, and each comparison takes the same time whatever was sent.
    """
    if (of_head := flaw_of_head(scheme, headers, now=now)) is not None:
        return of_head
    given = _signature(scheme, headers) or b""
    content = body
    if scheme.signed_content is SignedContent.TIMESTAMP_AND_BODY:
        told = headers.get((scheme.timestamp_header or "").lower(), "")
        content = told.encode(errors="surrogateescape") + b"." + body
    expected = [hmac.digest(secret, content, scheme.algorithm.value) for secret in scheme.secrets]
    genuine = [hmac.compare_digest(given, signature) for signature in expected]
    return None if any(genuine) else Flaw.FORGED


def _signature(scheme: Scheme, headers: Mapping[str, str]) -> bytes | None:
    """Read the signature's bytes; None when there are none of the right number."""
    text = headers.get(scheme.header.lower(), "")
    if not text.startswith(scheme.prefix):
        return None
    signature = _decoded(text.removeprefix(scheme.prefix), scheme.encoding)
    is_fit = len(signature) == _HASHES[scheme.algorithm]().digest_size
    return signature if is_fit else None


def _decoded(text: str, encoding: Encoding) -> bytes:
    """Return the bytes that a text stands for; none when it is not in this encoding."""
    if encoding is Encoding.HEX:
        return bytes.fromhex(text) if _HEX.fullmatch(text) else b""
    # Both alphabets, with the padding or without: it is the bytes that are compared.
    padded = text.rstrip("=").translate(_URL_SAFE)
    try:
        return b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _moment(text: str) -> datetime | None:
    """Read unix seconds or an ISO 8601 time; one without a zone is taken as UTC."""
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
