"""The signature of a call, as the simulated Upvest checks it: HTTP Message Signatures, draft 15.

Pure, and written from the draft and Upvest's pages (sources C15, K15, UPG, EX, PRX) alone: clients
are checked against another reading than their own. Why a signature does not count is told in words,
which the real one does not do."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha512
from typing import TYPE_CHECKING, Final

from worker.simulator.upvest_client_keys import PublicKey, has_signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIGNED_INPUT: Final = re.compile(r'sig1=(\(("[a-z0-9@_-]+"( "[a-z0-9@_-]+")*)?\)(;[^()]*)?)')
_SIGNATURE: Final = re.compile(r"sig1=:([A-Za-z0-9+/]+={0,2}):")
_DIGEST: Final = re.compile(r"sha-512=:([A-Za-z0-9+/]+={0,2}):")
_PARAMETER: Final = re.compile(r';([a-z]+)=(?:"([ -!#-\[\]-~]*)"|([0-9]{1,12}))')
#: Covered whenever they are sent (C15, K15); the first two of every request.
_COVERED_HEADERS: Final = (
    "accept",
    "authorization",
    "content-type",
    "content-length",
    "content-digest",
    "idempotency-key",
    "upvest-client-id",
)
_VERSION: Final = "15"
NONCE_LENGTH_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureTerms:
    """How strictly signatures are checked; none of it is documented.

    A client's clock may differ by `tolerance`. A signature may hold for `lifetime_max` (the samples
    are 5, 10 and 60 seconds).
    """

    tolerance: timedelta = timedelta(seconds=10)
    lifetime_max: timedelta = timedelta(seconds=300)

    def __post_init__(self) -> None:
        """Refuse terms that make no sense."""
        if self.tolerance < timedelta():
            raise ValueError(f"tolerance: not negative, but {self.tolerance}")
        if self.lifetime_max <= timedelta():
            raise ValueError(f"lifetime_max: longer than 0 seconds, not {self.lifetime_max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request as far as a signature may cover it. `headers` by names in lower case.

    `target` is path and query as they stood on the wire.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Nonces:
    """The nonces that were seen, each for as long as its signature could count."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def is_new(self, nonce: str, *, until: float, now: float) -> bool:
        """Tell whether a nonce was not seen before, and keep it `until` (unix seconds)."""
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if nonce in self._seen:
            return False
        self._seen[nonce] = until
        return True


class Verifier:
    """Checks the signatures of one client, whose key is registered under `key_id`."""

    def __init__(self, key: PublicKey, key_id: str, terms: SignatureTerms) -> None:
        self._key = key
        self._key_id = key_id
        self._terms = terms
        self._nonces = Nonces()

    def objection(self, request: Signed, *, now: float) -> str | None:
        """Return why a signature does not count, None when it does; `now` is in unix seconds.

        A nonce is spent by the first signature that counts.
        """
        if request.headers.get("upvest-signature-version") != _VERSION:
            return "upvest-signature-version must be 15 here."
        given = _SIGNED_INPUT.fullmatch(request.headers.get("signature-input", ""))
        written = _SIGNATURE.fullmatch(request.headers.get("signature", ""))
        if given is None or written is None:
            return "signature-input or signature is missing or unreadable."
        signed, names = given[1], [name.strip('"') for name in (given[2] or "").split()]
        parameters = _parameters(given[4] or "")
        if parameters is None:
            return "The parameters of signature-input cannot be read."
        return (
            _objection_to_coverage(request, names)
            or _objection_to_body(request)
            or self._objection_to_parameters(parameters, now=now)
            or self._objection_to_signature(request, names, signed, written[1])
            or self._objection_to_nonce(parameters, now=now)
        )

    def _objection_to_parameters(self, parameters: Mapping[str, str], *, now: float) -> str | None:
        if parameters.get("keyid") != self._key_id:
            return "keyid is none of this client's."
        created, expires = parameters.get("created", ""), parameters.get("expires", "")
        if not created.isdigit() or not expires.isdigit():
            return "created and expires are required."
        tolerance = self._terms.tolerance.total_seconds()
        if int(created) > now + tolerance:
            return "created lies in the future."
        if int(expires) < now - tolerance:
            return "The signature has expired."
        if not 0 <= int(expires) - int(created) <= self._terms.lifetime_max.total_seconds():
            return "expires lies before created or too long after it."
        if not 0 < len(parameters.get("nonce", "")) <= NONCE_LENGTH_MAX:
            return "nonce is required."
        return None

    def _objection_to_signature(
        self, request: Signed, names: Sequence[str], signed: str, written: str
    ) -> str | None:
        lines = [f'"{name}": {_value(request, name)}' for name in names]
        base = "\n".join([*lines, f'"@signature-params": {signed}'])
        # What is not UTF-8 in a header was read this way.
        if has_signed(self._key, _decoded(written), base.encode(errors="surrogateescape")):
            return None
        return "The signature is not that of the registered key over this request."

    def _objection_to_nonce(self, parameters: Mapping[str, str], *, now: float) -> str | None:
        # For as long as the longest signature of that nonce could count.
        longest = self._terms.lifetime_max + 2 * self._terms.tolerance
        if self._nonces.is_new(parameters["nonce"], until=now + longest.total_seconds(), now=now):
            return None
        return "The nonce was used before."


def _objection_to_coverage(request: Signed, names: Sequence[str]) -> str | None:
    if len(set(names)) < len(names):
        return "A component is covered twice."
    for name in names:
        if _value(request, name) is None:
            return f"{name} is covered and not sent."
    wanted = ["@method", "@path"]
    if "?" in request.target:
        wanted.append("@query")
    wanted += [name for name in _COVERED_HEADERS if name in request.headers]
    # A request without a body may tell its length or not.
    if not request.body:
        wanted = [name for name in wanted if name != "content-length"]
    for name in wanted:
        if name not in names:
            return f"{name} has to be covered."
    return None


def _objection_to_body(request: Signed) -> str | None:
    if not request.body:
        return None
    for name in ("content-type", "content-length", "content-digest"):
        if name not in request.headers:
            return f"{name} has to be sent with a body."
    if request.headers["content-length"] != str(len(request.body)):
        return "content-length is not that of the body."
    digest = _DIGEST.fullmatch(request.headers["content-digest"])
    if digest is None or _decoded(digest[1]) != sha512(request.body).digest():
        return "content-digest is not that of the body."
    return None


def _value(request: Signed, name: str) -> str | None:
    """Return a component's value; None when the request has none."""
    path, mark, query = request.target.partition("?")
    match name:
        case "@method":
            return request.method.upper()
        case "@path":
            return path
        case "@query":
            return f"?{query}" if mark else None
        case _ if name.startswith("@"):
            return None
        case _:
            value = request.headers.get(name)
            return None if value is None else value.strip()


def _parameters(text: str) -> dict[str, str] | None:
    """Return the parameters by their names; None when they cannot be read or one comes twice."""
    read: dict[str, str] = {}
    end = 0
    for found in _PARAMETER.finditer(text):
        if found.start() != end or found[1] in read:
            return None
        read[found[1]] = found[2] if found[2] is not None else found[3]
        end = found.end()
    return read if end == len(text) else None


def _decoded(text: str) -> bytes:
    """Return the bytes that a text stands for; none when it is not base64."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
