"""Whether a webhook delivery is Bluum's, and what it is about, in every spelling its pages show.

Only ids are read, to know which withdrawal to look at: what a delivery says of it is not believed,
and neither its amount, its status nor its party is taken out of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from worker.core.signatures import Flaw, Scheme, flaw, flaw_of_head, is_signed
from worker.flows.hearing import Hint, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from worker.flows.hearing import Head

#: The name of the event (PW, WS; NB).
_EVENT_KEYS: Final = ("event", "event_type", "eventType")
#: The ids, of a withdrawal or of an order that raises its cash: `id` (PW, WS), the others in the
#: older generation and its camelCase (WDG, WHR). Which of them is meant the ledger finds out: an id
#: of something else belongs to nothing there.
_ID_KEYS: Final = ("withdrawal_id", "withdrawalId", "order_id", "orderId", "id")

_EVENT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class SharedSecret:
    """Verifies deliveries that are signed with a secret, by a scheme that is configured.

    Without a `scheme` nothing can be verified; that is accepted only with `allows_unsigned`, which
    lets in what carries no signature. `now` tells the time.
    """

    def __init__(
        self, scheme: Scheme | None, *, allows_unsigned: bool, now: Callable[[], datetime]
    ) -> None:
        self.allows_unsigned = allows_unsigned
        self._scheme = scheme
        self._now = now

    def of_head(self, head: Head) -> Outcome | None:
        """Return why a delivery is refused by its headers alone; None when its body is wanted."""
        return self._refusal(head, None)

    async def of_whole(self, head: Head, body: bytes) -> Outcome | None:
        """Return why a delivery is refused; None when it is genuine."""
        return self._refusal(head, body)

    def _refusal(self, head: Head, body: bytes | None) -> Outcome | None:
        found = self._flaw(head, body)
        return None if found is None else Outcome(found.value)

    def _flaw(self, head: Head, body: bytes | None) -> Flaw | None:
        if self.allows_unsigned and not (self._scheme and is_signed(self._scheme, head.headers)):
            return None
        if self._scheme is None:
            return Flaw.FORGED
        if body is None:
            return flaw_of_head(self._scheme, head.headers, now=self._now())
        return flaw(self._scheme, head.headers, body, now=self._now())


def read_delivery(body: bytes) -> tuple[Hint, ...] | None:
    """Read `{"event", "timestamp", "data"}` (PW), or the same without `data` around the fields.

    None when the body is not one JSON object. A hint without ids is about nothing of ours. The
    party (`investor_id` in PW, `account_id` in WS) is not read: the two are different names of one
    investor, so neither can tell whose withdrawal it is; its id can.

    A delivery is one event, and no page shows an id of the event: its repeats have the same bytes.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    data = document.get("data")
    inner = data if isinstance(data, dict) else {}
    ids = dict.fromkeys((*_ids(inner), *_ids(document)))
    event = next(_texts(document, _EVENT_KEYS, _EVENT), None)
    return (Hint(event, tuple(ids)),)


def _ids(document: dict[str, Any]) -> Iterator[str]:
    return _texts(document, _ID_KEYS, _ID)


def _texts(document: dict[str, Any], keys: tuple[str, ...], form: re.Pattern[str]) -> Iterator[str]:
    for key in keys:
        value = document.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            yield value
