"""What a webhook delivery of Bluum's is about, in every spelling that its pages show.

Pure. Only ids are read, to know which withdrawal to look at: what a delivery says of it is not
believed, and neither its amount, its status nor its party is taken out of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from worker.flows.hearing import Hint

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The name of the event (PW, WS; NB).
_EVENT_KEYS: Final = ("event", "event_type", "eventType")
#: The ids, of a withdrawal or of an order that raises its cash: `id` (PW, WS), the others in the
#: older generation and its camelCase (WDG, WHR). Which of them is meant the ledger finds out: an id
#: of something else belongs to nothing there.
_ID_KEYS: Final = ("withdrawal_id", "withdrawalId", "order_id", "orderId", "id")

_EVENT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def read_delivery(body: bytes) -> Hint | None:
    """Read `{"event", "timestamp", "data"}` (PW), or the same without `data` around the fields.

    None when the body is not one JSON object. A hint without ids is about nothing of ours. The
    party (`investor_id` in PW, `account_id` in WS) is not read: the two are different names of one
    investor, so neither can tell whose withdrawal it is; its id can.
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
    return Hint(event, tuple(ids))


def _ids(document: dict[str, Any]) -> Iterator[str]:
    return _texts(document, _ID_KEYS, _ID)


def _texts(document: dict[str, Any], keys: tuple[str, ...], form: re.Pattern[str]) -> Iterator[str]:
    for key in keys:
        value = document.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            yield value
