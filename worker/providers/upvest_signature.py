"""The signature of a call to Upvest: HTTP Message Signatures, draft 15, as an `httpx.Auth`.

Pure: the key, the time and the next nonce are arguments, and what is signed is what leaves. Source
keys in capitals (C15, EX, …) name pages and programs of Upvest's, as in the project's reference.
Nothing is verified here: webhooks come under another draft."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from hashlib import sha512
from typing import TYPE_CHECKING, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA512
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from datetime import datetime

#: The keys that sign (ALG): ECDSA on P-521 with SHA-512, and Ed25519.
SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey

#: For how long a signature holds. No maximum is documented; so long does Upvest's own proxy let
#: them hold (PRX), and a clock that is a few seconds wrong, or a slow connection, does no harm.
LIFETIME: Final = timedelta(seconds=60)

#: The headers that are covered when they are sent: those that are listed (C15, K15), and the
#: version of the API, which Upvest's library covers too (EX): it decides what the rest means.
#: Upvest's library also sends and covers `date`. No page asks for one and Upvest's proxy (PRX) adds
#: none, so we send none: `created` tells the time, and a second clock could only contradict it.
#: What is changed on the way (`host`, `user-agent`, `accept-encoding`) is left out (EX, PRX).
COVERED: Final = (
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "content-digest",
    "idempotency-key",
    "upvest-client-id",
    "upvest-api-version",
)

_API_VERSION: Final = "1"
_DRAFT: Final = "15"
_LABEL: Final = "sig1"
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class UpvestSignature(httpx.Auth):
    """Signs each request as it leaves, with a nonce and times of its own.

    `key` is on P-521, or Ed25519; `key_id` and `client_id` are as Upvest issued them. `now` tells
    the time of this machine, `nonce` a text that it never told before.
    """

    def __init__(
        self,
        *,
        key: SigningKey,
        key_id: str,
        client_id: str,
        now: Callable[[], datetime],
        nonce: Callable[[], str],
    ) -> None:
        self._key = key
        self._key_id = key_id
        self._client_id = client_id
        self._now = now
        self._nonce = nonce

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Complete the headers of a request, and sign it. It asks for no answer."""
        self._complete(request)
        params = signature_params(
            [name for name, _ in components_of(request)],
            key_id=self._key_id,
            created=self._now(),
            nonce=self._nonce(),
        )
        base = signature_base(components_of(request), params)
        request.headers["signature-input"] = f"{_LABEL}={params}"
        request.headers["signature"] = f"{_LABEL}=:{b64encode(self._sign(base)).decode()}:"
        yield request

    def _complete(self, request: httpx.Request) -> None:
        """Set the headers of every call, and those that the transport would add unsigned."""
        headers = request.headers
        headers["upvest-client-id"] = self._client_id
        headers["upvest-api-version"] = _API_VERSION
        headers["upvest-signature-version"] = _DRAFT
        if request.content:
            headers.setdefault("content-type", "application/json")
            headers["content-digest"] = content_digest(request.content)
        elif request.method not in _BODILESS:
            headers["content-length"] = "0"

    def _sign(self, base: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(base)
        # In ASN.1 DER; the two numbers side by side, as the draft has it, are refused (S26).
        return self._key.sign(base, ECDSA(SHA512()))


def content_digest(body: bytes) -> str:
    """Return the `content-digest` header of a body (UPG)."""
    return f"sha-512=:{b64encode(sha512(body).digest()).decode()}:"


def components_of(request: httpx.Request) -> list[tuple[str, str]]:
    """Return what is covered of a request, names and values in the order of the signature."""
    # The transport writes the target anew from the address (`%7E` leaves as `~`, dots go): what it
    # will write is what is signed.
    target = URL(str(request.url))
    covered = [("@method", request.method), ("@path", target.raw_path)]
    if target.raw_query_string:
        covered.append(("@query", f"?{target.raw_query_string}"))
    headers = request.headers
    return covered + [(name, headers[name].strip()) for name in COVERED if name in headers]


def signature_params(names: Sequence[str], *, key_id: str, created: datetime, nonce: str) -> str:
    """Return the parameters of a signature (C15): what it covers, by which key, and when."""
    since = int(created.timestamp())
    until = since + int(LIFETIME.total_seconds())
    quoted = " ".join(f'"{name}"' for name in names)
    return f'({quoted});keyid="{key_id}";created={since};expires={until};nonce="{nonce}"'


def signature_base(components: Iterable[tuple[str, str]], params: str) -> bytes:
    """Return the bytes that are signed (C15): a line for each component, the parameters last."""
    lines = [*components, ("@signature-params", params)]
    return "\n".join(f'"{name}": {value}' for name, value in lines).encode()
