"""Signs deliveries as Upvest does (draft 6: C6, D6), by other code than what verifies them."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from worker.providers.http import Reply, Silence

if TYPE_CHECKING:
    from worker.providers.http import Outcome
    from worker.providers.upvest_access import Scope

PATH: Final = "/webhooks/upvest"
COMPONENTS: Final = ("@method", "@path", "content-type", "digest")


class Signer:
    """A key of Upvest's."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._key = ec.generate_private_key(ec.SECP521R1())

    @property
    def jwk(self) -> dict[str, str]:
        """The public key, as `GET /auth/verify_keys` lists it."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_url_safe(number.to_bytes(66)) for number in (numbers.x, numbers.y))
        return {"kid": self.kid, "kty": "EC", "crv": "P-521", "x": x, "y": y}

    def headers(
        self,
        body: bytes,
        *,
        components: tuple[str, ...] = COMPONENTS,
        path: str = PATH,
        age: float = 0.0,
        lifetime: float = 60.0,
        keyid: str | None = None,
    ) -> dict[str, str]:
        """Sign a POST of a body; `age` says how many seconds ago, `keyid` by whom it claims to be.

        Return the headers that go with it.
        """
        created = int(time.time() - age)
        headers = {
            "content-type": "application/json",
            "digest": f"SHA-256={base64.b64encode(hashlib.sha256(body).digest()).decode()}",
        }
        values = {**headers, "@method": "POST", "@path": path}
        listed = " ".join(f'"{name}"' for name in components)
        params = f'({listed});keyid="{keyid or self.kid}";created={created}'
        params += f';expires={created + int(lifetime)};nonce="o085M4cMgpbicuOL"'
        lines = [f"{name}: {values[name]}\n" for name in components]
        text = "".join([*lines, f"@signature-params: {params}"]).encode()
        signature = base64.b64encode(self._key.sign(text, ec.ECDSA(hashes.SHA512()))).decode()
        return headers | {"signature-input": f"sig1={params}", "signature": f"sig1=:{signature}:"}


class KeyDesk:
    """Where Upvest lists its keys: says how often it was asked, and can be out of reach."""

    def __init__(self, *signers: Signer) -> None:
        self.listed: list[Any] = [signer.jwk for signer in signers]
        self.is_away = False
        self.asked = 0

    async def exchange(self, operation: str, method: str, path: str, *, scope: Scope) -> Outcome:
        """Answer `GET /auth/verify_keys`."""
        assert ("keys", "GET", "/auth/verify_keys", "webhooks:read") == (
            operation,
            method,
            path,
            scope,
        )
        self.asked += 1
        if self.is_away:
            return Silence("connection")
        return Reply(200, {"keys": list(self.listed)}, None, None)


def _url_safe(number: bytes) -> str:
    return base64.urlsafe_b64encode(number).decode().rstrip("=")
