"""The keys with which the simulated Upvest signs its deliveries: shown as a set, rotated at will.

The signature is HTTP Message Signatures, draft 6 (sources C6, D6, SIGV): a `digest` of SHA-256 over
the body, and lines whose names have no quotes, which Upvest calls a bug that stays. Which
components Upvest covers is not documented. No delivery is made here."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP521R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA512

from worker.simulator.chance import token, uuid

if TYPE_CHECKING:
    from worker.simulator.route import Document

#: A number on P-521 has so many bytes.
_NUMBER_BYTES: Final = 66
#: How long a signature holds, in seconds.
_LIFETIME: Final = 60
_CONTENT_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: EllipticCurvePrivateKey = field(repr=False)

    def document(self) -> Document:
        """Return the public half as a JSON Web Key (WSREF, S26)."""
        numbers = self.private.public_key().public_numbers()
        x, y = (urlsafe_b64encode(n.to_bytes(_NUMBER_BYTES)) for n in (numbers.x, numbers.y))
        half = {"x": x.rstrip(b"=").decode(), "y": y.rstrip(b"=").decode()}
        return {"kid": self.kid, "kty": "EC", "crv": "P-521", **half}


class WebhookKeys:
    """The keys that are shown, of which the newest signs."""

    def __init__(self, *, seed: str) -> None:
        self._seed = seed
        self._made = 0
        self._signed = 0
        self._shown = [self._make()]

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of the keys that are shown, the newest last."""
        return tuple(key.kid for key in self._shown)

    def document(self) -> Document:
        """Return the set of keys as `GET /auth/verify_keys` shows it."""
        return {"keys": [key.document() for key in self._shown]}

    def rotate(self, *, overlap: bool) -> str:
        """Sign with a new key from now on; with `overlap` the old ones are still shown."""
        kept = self._shown if overlap else []
        self._shown = [*kept, self._make()]
        return self._shown[-1].kid

    def headers(self, url: str, body: bytes, *, at: int) -> dict[str, str]:
        """Return the headers of a delivery that is sent `at` (unix seconds)."""
        target = urlsplit(url)
        digest = b64encode(sha256(body).digest()).decode()
        headers = {
            "content-type": _CONTENT_TYPE,
            "content-length": str(len(body)),
            "digest": f"SHA-256={digest}",
        }
        covered = {"@method": "POST", "@path": target.path or "/"}
        if target.query:
            covered["@query"] = f"?{target.query}"
        covered |= headers
        key = self._shown[-1]
        self._signed += 1
        nonce = token(self._seed, "nonce", key.kid, str(self._signed))
        names = " ".join(f'"{name}"' for name in covered)
        params = (
            f'({names});keyid="{key.kid}";created={at};expires={at + _LIFETIME};nonce="{nonce}"'
        )
        lines = [f"{name}: {value}" for name, value in covered.items()]
        base = "\n".join([*lines, f"@signature-params: {params}"]).encode()
        signature = b64encode(key.private.sign(base, ECDSA(SHA512()))).decode()
        return headers | {"signature-input": f"sig1={params}", "signature": f"sig1=:{signature}:"}

    def _make(self) -> _Key:
        self._made += 1
        kid = uuid(self._seed, "webhook key", str(self._made))
        return _Key(kid, generate_private_key(SECP521R1()))
