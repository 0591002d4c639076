"""How Upvest signs what it tells by webhook: HTTP Message Signatures, draft 6 (C6, D6, SIGV).

Pure: a head in, what was signed out. Whether a key of Upvest's has signed it is asked elsewhere.

One rule is Upvest's own: the names in the base's lines stand without quotes, which it calls a bug
that stays (C6). What a component with parameters of its own would look like then nobody has written
down, so there is none."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from worker.flows.hearing import Head

#: Without it the body would not be authenticated (D6).
DIGEST: Final = "digest"
_DIGEST_BYTES: Final = 32
#: An ECDSA signature on P-521 in DER has 139 bytes at most.
_SIGNATURE_BYTES: Final = 256

_LABEL: Final = "sig1"
_COMPONENT: Final = r'"[a-z0-9!#$%&\'*+.^_`|~@-]{1,64}"'
_PARAMETER: Final = (
    r';[ ]*[a-z*][a-z0-9_.*-]{0,31}=(?:"[ !#-\[\]-~]{0,256}"|[A-Za-z0-9*:/._-]{1,256})'
)
_INPUT: Final = re.compile(
    rf"{_LABEL}=(?P<signed>"
    rf"\((?P<names>{_COMPONENT}(?: {_COMPONENT})*)\)(?P<parameters>(?:{_PARAMETER})*))"
)
_EACH_PARAMETER: Final = re.compile(r';[ ]*([^=]+)=(?:"([^"]*)"|([^;]*))')
_SIGNATURE: Final = re.compile(rf"{_LABEL}=:([A-Za-z0-9+/]+={{0,2}}):")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """What a delivery's head says was signed, by which key and for how long.

    `base` is the text that the signature is over, `digest` what the body's SHA-256 has to be;
    `created` and `expires` are unix seconds.
    """

    key_id: str
    created: int
    expires: int
    base: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def is_timely(self, now: datetime, tolerance: timedelta) -> bool:
        """Tell whether it counts at this time, by clocks that differ by no more than that."""
        at, some = now.timestamp(), tolerance.total_seconds()
        return self.created <= at + some and at <= self.expires + some

    def is_over(self, body: bytes) -> bool:
        """Tell whether these are the bytes that were signed."""
        return sha256(body).digest() == self.digest


def read_signature(head: Head, *, path: str) -> SignedHead | None:
    """Read the signature of a delivery; None when there is none that could be verified.

    `path` is the one that Upvest called, which a proxy of ours may have changed since.
    """
    given = _INPUT.fullmatch(head.headers.get("signature-input", ""))
    written = _SIGNATURE.fullmatch(head.headers.get("signature", ""))
    if given is None or written is None:
        return None
    names = given["names"].replace('"', "").split(" ")
    parameters = _parameters(given["parameters"])
    signature, digest = _decoded(written[1]), _digest(head.headers.get(DIGEST, ""))
    lines = [_line(name, head, path) for name in names]
    if (
        len({*names}) < len(names)
        or DIGEST not in names
        or None in lines
        or not 0 < len(signature) <= _SIGNATURE_BYTES
        or digest is None
        or not _SECONDS.fullmatch(parameters.get("created", ""))
        or not _SECONDS.fullmatch(parameters.get("expires", ""))
        or not parameters.get("keyid")
    ):
        return None
    base = "\n".join([*filter(None, lines), f"@signature-params: {given['signed']}"])
    return SignedHead(
        key_id=parameters["keyid"],
        created=int(parameters["created"]),
        expires=int(parameters["expires"]),
        base=base.encode(errors="surrogateescape"),
        signature=signature,
        digest=digest,
    )


def _parameters(text: str) -> Mapping[str, str]:
    """Return the parameters by name; none of them when one stands there twice."""
    found = [(name, quoted or bare) for name, quoted, bare in _EACH_PARAMETER.findall(text)]
    parameters = dict(found)
    return parameters if len(parameters) == len(found) else {}


def _line(name: str, head: Head, path: str) -> str | None:
    """Return a component's line of the base; None when it has none here."""
    if name.startswith("@"):
        of_request = _OF_REQUEST.get(name)
        value = None if of_request is None else of_request(head, path)
    else:
        value = head.headers.get(name)
    return None if value is None else f"{name}: {value.strip()}"


def _query(head: Head) -> str:
    """Return the query with its question mark; empty where there is none."""
    _, mark, query = head.target.partition("?")
    return mark + query


def _authority(head: Head) -> str:
    """Return the host as the draft wants it: in lower case, without the scheme's own port."""
    return head.headers.get("host", "").strip().lower().removesuffix(":443")


#: What draft 6 (section 2.2) derives from a request, but for `@query-params`, which has parameters.
#: Upvest calls nothing but https (WHR).
_OF_REQUEST: Final[Mapping[str, Callable[[Head, str], str]]] = {
    "@method": lambda head, _: head.method,
    "@target-uri": lambda head, path: f"https://{_authority(head)}{path}{_query(head)}",
    "@authority": lambda head, _: _authority(head),
    "@scheme": lambda _, __: "https",
    "@request-target": lambda head, path: path + _query(head),
    "@path": lambda _, path: path,
    "@query": lambda head, _: _query(head) or "?",
}


def _digest(text: str) -> bytes | None:
    """Return the body's SHA-256 that a `digest` header tells, among others perhaps (RFC 3230)."""
    for each in text.split(","):
        name, _, value = each.strip().partition("=")
        if name.lower() == "sha-256":
            digest = _decoded(value)
            return digest if len(digest) == _DIGEST_BYTES else None
    return None


def _decoded(text: str) -> bytes:
    """Return the bytes that a text stands for; none when it is not base64."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
