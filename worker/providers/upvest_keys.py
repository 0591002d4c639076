"""The keys that Upvest signs its webhooks with: fetched when needed, and kept (WSREF, S26).

However many deliveries name a key that nobody knows, Upvest is asked once in some seconds. No
secret is here: these are public."""

from __future__ import annotations

import asyncio
import binascii
import logging
from base64 import urlsafe_b64decode
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP521R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)

from worker.providers.http import Postponed, Reply, Silence
from worker.providers.upvest_access import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.providers.http import Outcome

_log = logging.getLogger(__name__)

#: Whoever invents key ids has Upvest asked no more often; a new key is known after so long at most.
PAUSE_SECONDS: Final = 5.0
#: A delivery waits no longer for the keys. It is to come again then, and finds them.
WAIT_SECONDS: Final = 3.0
#: So old they are fetched anew, so that one that Upvest has withdrawn ends to count.
RENEW_SECONDS: Final = 3600.0
#: Nobody has more keys than that.
KEYS_LIMIT: Final = 100

_PATH: Final = "/auth/verify_keys"
_OK: Final = 200
#: A coordinate on P-521 has 66 bytes: 88 characters.
_COORDINATE_LIMIT: Final = 100
_ID_LIMIT: Final = 256


class Access(Protocol):
    """What calls Upvest."""

    async def exchange(self, operation: str, method: str, path: str, *, scope: Scope) -> Outcome:
        """Send one request with a token for `scope`. Never raises, but for cancellation."""
        ...


class KeysOutOfReach(Exception):  # noqa: N818 - named by what is wrong
    """Upvest did not tell its keys, so nobody knows whether there is such a one."""


class VerifyKeys:
    """Upvest's public keys by id. A fetch that fails takes none away."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._was_told = False
        # By the loop's clock.
        self._ask_at = self._renew_at = 0.0

    async def key(self, key_id: str) -> EllipticCurvePublicKey | None:
        """Return a key; None when Upvest has none of that id. Raises KeysOutOfReach."""
        now = asyncio.get_running_loop().time()
        if (key := self._keys.get(key_id)) is not None:
            if now >= self._renew_at:
                self._fetch(now)
            return key
        fetching = self._fetch(now)
        if fetching is not None:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    # It goes on for the others, and for whoever comes later.
                    await asyncio.shield(fetching)
            except TimeoutError:
                raise KeysOutOfReach from None
        key = self._keys.get(key_id)
        if key is None and not self._was_told:
            raise KeysOutOfReach
        return key

    def _fetch(self, now: float) -> asyncio.Task[None] | None:
        """Return the fetch that is under way, or a new one; None when it is too soon for one."""
        if self._fetching is None and now >= self._ask_at:
            # Not in the context of whoever lacked them first: they are for all.
            self._fetching = asyncio.create_task(self._fetched(), context=Context())
        return self._fetching

    async def _fetched(self) -> None:
        loop = asyncio.get_running_loop()
        self._was_told = False
        try:
            outcome = await self._access.exchange("keys", "GET", _PATH, scope=Scope.WEBHOOKS_READ)
            keys = _keys(outcome)
            if keys:
                self._keys, self._was_told = keys, True
                self._renew_at = loop.time() + RENEW_SECONDS
            else:
                _log.warning(
                    "keys of webhooks not told",
                    extra={"provider": "upvest", "error": _error(outcome)},
                )
        finally:
            self._ask_at = loop.time() + PAUSE_SECONDS
            self._fetching = None


def _error(outcome: Outcome) -> str:
    """Say in a word why an answer holds no keys."""
    match outcome:
        case Reply(status=status):
            return f"http_{status}"
        case Silence(why=why):
            return why
        case Postponed():
            return "postponed"
        case _:  # pragma: no cover
            assert_never(outcome)


def _keys(outcome: Outcome) -> dict[str, EllipticCurvePublicKey]:
    """Read `{"keys": [{kid, kty, crv, x, y}]}`; a key of another kind is left out."""
    if not isinstance(outcome, Reply) or outcome.status != _OK:
        return {}
    told = (outcome.document or {}).get("keys")
    keys: dict[str, EllipticCurvePublicKey] = {}
    for jwk in told[:KEYS_LIMIT] if isinstance(told, list) else ():
        key_id = jwk.get("kid") if isinstance(jwk, dict) else None
        if isinstance(key_id, str) and len(key_id) <= _ID_LIMIT and (key := _key(jwk)) is not None:
            keys[key_id] = key
    return keys


def _key(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey | None:
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-521"):
        return None
    x, y = _number(jwk.get("x")), _number(jwk.get("y"))
    try:
        return EllipticCurvePublicNumbers(x, y, SECP521R1()).public_key()
    except ValueError:
        # Not a point of the curve.
        return None


def _number(text: object) -> int:
    """Read a coordinate (RFC 7518, section 6.2.1.2); 0 when it is none, which is on no curve."""
    if not isinstance(text, str) or len(text) > _COORDINATE_LIMIT:
        return 0
    try:
        return int.from_bytes(
            urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
        )
    except (binascii.Error, ValueError):
        return 0
