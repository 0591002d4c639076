"""Whether a webhook delivery is Upvest's, and which events it holds (WHH, PRX, S19).

Only ids are read, to know which withdrawal to look at: what an event says of it is not believed,
and neither its amount, its status nor its user is taken out of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA512

from worker.flows.hearing import Hint, Outcome
from worker.providers.upvest_delivery_signature import SignedHead, read_signature
from worker.providers.upvest_keys import KeysOutOfReach

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from worker.flows.hearing import Head
    from worker.providers.upvest_keys import VerifyKeys

#: Whose ids: a withdrawal's or an order's own, or the order's that an execution belongs to. Which
#: of them is meant the ledger finds out: an id of something else belongs to nothing there.
_ID_KEYS: Final = ("id", "order_id")
_TYPE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class UpvestDeliveries:
    """Verifies what Upvest delivers to `path`, with its `keys`, by our clock `now`.

    A delivery counts from `created` to `expires`, and `tolerance` more either way. Within that it
    could be sent again by whoever has overheard it, and changes nothing: each event is heard once.
    """

    allows_unsigned = False

    def __init__(
        self, keys: VerifyKeys, *, path: str, tolerance: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._keys = keys
        self._path = path
        self._tolerance = tolerance
        self._now = now

    def of_head(self, head: Head) -> Outcome | None:
        """Return why a delivery is refused by its head alone; None when its body is wanted."""
        signed = self._read(head)
        return signed if isinstance(signed, Outcome) else None

    async def of_whole(self, head: Head, body: bytes) -> Outcome | None:
        """Return why a delivery is refused; None when one of Upvest's keys has signed it."""
        signed = self._read(head)
        if isinstance(signed, Outcome):
            return signed
        if not signed.is_over(body):
            return Outcome.FORGED
        try:
            key = await self._keys.key(signed.key_id)
            if key is None:
                return Outcome.FORGED
            key.verify(signed.signature, signed.base, ECDSA(SHA512()))
        except KeysOutOfReach:
            return Outcome.UNVERIFIED
        except InvalidSignature:
            return Outcome.FORGED
        return None

    def _read(self, head: Head) -> SignedHead | Outcome:
        signed = read_signature(head, path=self._path)
        if signed is None:
            return Outcome.FORGED
        return signed if signed.is_timely(self._now(), self._tolerance) else Outcome.STALE


def read_delivery(body: bytes) -> tuple[Hint | None, ...] | None:
    """Read `{"payload": [{"id", "created_at", "type", "object", "webhook_id"}, …]}` (PRX, S19).

    One such event without the list around it is read as well, as the reference writes it (WREF).
    None when the body is neither, and None in place of an event without an id. An event about
    something else, or of a type that nobody documented, is a hint like every other.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    if isinstance(payload := document.get("payload"), list):
        return tuple(map(_hint, payload))
    return (_hint(document),) if "object" in document else None


def _hint(event: object) -> Hint | None:
    if not isinstance(event, dict):
        return None
    identity = _text(event, "id", _ID)
    if identity is None:
        return None
    resource = event.get("object")
    found = (_text(resource, name, _ID) for name in _ID_KEYS if isinstance(resource, dict))
    ids = tuple(dict.fromkeys(each for each in found if each is not None))
    return Hint(_text(event, "type", _TYPE), ids, identity)


def _text(document: dict[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and form.fullmatch(value) else None
