"""Whom Bluum tells by webhook: the calls that manage subscriptions (CW, PW, WHR; JH's spelling).

Nothing here takes a delivery. A subscription's secret is shown once and passed on to who asked for
it, and to nobody else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from worker.providers.http import Outcome, Reply
from worker.providers.subscriptions import (
    WHY,
    Registered,
    Subscription,
    Trouble,
    of_address,
    trouble_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from worker.providers.http import Line
    from worker.providers.subscriptions import How

#: What hastens a withdrawal (PW): its end, and the ends of the orders that raise its cash. There is
#: no event for one that is processing, submitted or cancelled.
EVENTS: Final = (
    "transfer.withdrawal.completed",
    "transfer.withdrawal.failed",
    "order.filled",
    "order.canceled",
    "order.rejected",
)
#: A longer secret is none.
SECRET_MAX: Final = 1000
PAGE: Final = 100
PAGES_LIMIT: Final = 20

_PATH: Final = "/webhooks"
_OPERATION: Final = "webhooks"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ACTIVE: Final = "ACTIVE"
_NOT_FOUND: Final = 404
_WHY: Final = {
    **WHY,
    403: "this key may not manage webhooks: that takes a tenant-wide one",
    404: "it knows no such path: is WORKER_BLUUM__BASE_URL right?",
}


class BluumSubscriptions:
    """The subscriptions of the tenant whose key the line carries. No call raises."""

    events: tuple[str, ...] = EVENTS

    def __init__(self, line: Line) -> None:
        self._line = line

    def unfit(self, url: str, name: str) -> str | None:  # noqa: ARG002 - no page sets limits
        """Return why an address or a name is not taken; None, since Bluum tells no rules."""
        return None

    async def unknown(self, events: Collection[str]) -> Trouble | None:
        """Tell of those events, wildcards included, that Bluum does not have."""
        known = await self.event_types()
        if isinstance(known, Trouble):
            return Trouble(f"{known.why} (--unchecked goes without it)")
        if unknown := unknown_events(events, known):
            return Trouble(
                f"Bluum has no event {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        return None

    async def listed(self) -> tuple[Subscription, ...] | Trouble:
        """`GET /webhooks`, page by page where there are several."""
        entries = await self._entries(_PATH)
        if isinstance(entries, Trouble):
            return entries
        found = [_subscription(entry) for entry in entries]
        read = [one for one in found if one is not None]
        if len(read) < len(found):
            return Trouble("Bluum's list of webhooks holds one that cannot be read")
        return tuple(read)

    async def event_types(self) -> frozenset[str] | Trouble:
        """`GET /webhooks/event-types`: the names that may be subscribed to."""
        entries = await self._entries(f"{_PATH}/event-types")
        if isinstance(entries, Trouble):
            return entries
        names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
        known = frozenset(name for name in names if isinstance(name, str))
        return known or Trouble("Bluum's list of event types cannot be read")

    async def register(
        self, url: str, events: Collection[str], *, name: str, renew: bool = False
    ) -> Registered | Trouble:
        """Have `url` told of `events`: make a subscription, change the one it has, or leave it.

        With `renew` one that is as wanted is written again, since Bluum then shows its secret.
        """
        listed = await self.listed()
        if isinstance(listed, Trouble):
            return listed
        wanted = {"url": url, "eventTypeNames": list(events), "name": name}
        first, twins = of_address(listed, url)
        if first is None:
            return await self._write("POST", _PATH, wanted, "created")
        if first.is_active and set(first.events) == set(events) and not renew:
            return Registered(subscription=first, how="unchanged", twins=twins)
        path = f"{_PATH}/{quote(first.id, safe='')}"
        written = await self._write("PATCH", path, {**wanted, "status": _ACTIVE}, "changed")
        return written if isinstance(written, Trouble) else replace(written, twins=twins)

    async def remove(self, identity: str) -> bool | Trouble:
        """`DELETE /webhooks/{id}`; False when there was none any more."""
        outcome = await self._call("DELETE", f"{_PATH}/{quote(identity, safe='')}")
        if isinstance(outcome, Reply) and outcome.status == _NOT_FOUND and _is_told(outcome):
            return False
        trouble = _trouble(outcome)
        return True if trouble is None else trouble

    async def test(self, identity: str) -> Trouble | None:  # noqa: ARG002 - there is no such call
        """Tell that no page of Bluum's has a call for it."""
        return Trouble("Bluum has no call that tests a subscription")

    async def _write(
        self, method: str, path: str, wanted: Mapping[str, Any], how: How
    ) -> Registered | Trouble:
        outcome = await self._call(method, path, wanted)
        if (trouble := _trouble(outcome)) is not None:
            return trouble
        document = _inner(outcome)
        subscription = _subscription(document)
        if subscription is None:
            return Trouble(f"Bluum's answer cannot be read; it may be {how}: see `webhooks list`")
        secret = document.get("secret")
        is_fit = isinstance(secret, str) and len(secret) <= SECRET_MAX and secret.isprintable()
        return Registered(subscription=subscription, how=how, secret=secret if is_fit else None)

    async def _entries(self, path: str) -> list[Any] | Trouble:
        entries: list[Any] = []
        for _ in range(PAGES_LIMIT):
            query = {"limit": str(PAGE), "offset": str(len(entries))}
            outcome = await self._call("GET", path, query=query)
            if (trouble := _trouble(outcome)) is not None:
                return trouble
            document = (outcome.document or {}) if isinstance(outcome, Reply) else {}
            found = document.get("data")
            if not isinstance(found, list):
                break
            entries += found
            if not found or document.get("has_more") is not True:
                return entries
        return Trouble("Bluum's list cannot be read")

    async def _call(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Outcome:
        body = None if document is None else json.dumps(document).encode()
        headers = None if body is None else {"Content-Type": "application/json"}
        return await self._line.exchange(
            _OPERATION, method, path, query=query, body=body, headers=headers
        )


def unknown_events(events: Collection[str], known: Collection[str]) -> list[str]:
    """Return those of the events, wildcards included, that mean none of the known ones."""
    return [
        event
        for event in events
        if event not in known
        and not (
            event.endswith(".*") and any(name.startswith(event.removesuffix("*")) for name in known)
        )
    ]


def _trouble(outcome: Outcome) -> Trouble | None:
    """Return what is wrong with an answer; None when it is a success."""
    return trouble_of(outcome, "Bluum", why=_WHY, word=lambda reply: next(_codes(reply), None))


def _codes(reply: Reply) -> Iterator[str]:
    """Yield the code of an error (REF, ERR), if there is one that can be shown."""
    document = reply.document or {}
    error = document.get("error")
    code = (error if isinstance(error, dict) else document).get("code")
    if isinstance(code, str) and _CODE.fullmatch(code):
        yield code


def _is_told(reply: Reply) -> bool:
    """Tell whether it is Bluum who says so, and about the subscription: not about the path."""
    codes = [*_codes(reply)]
    return bool(codes) and not codes[0].endswith("404-002")


def _inner(outcome: Outcome) -> Mapping[str, Any]:
    """Return a resource: `{"status", "data": {…}}` (WHR), or flat (JH)."""
    document = (outcome.document or {}) if isinstance(outcome, Reply) else {}
    data = document.get("data")
    return data if isinstance(data, dict) else document


def _subscription(entry: object) -> Subscription | None:
    """Read a subscription, in camelCase (WHR) or in snake_case (JH)."""
    if not isinstance(entry, dict):
        return None
    identity, url = entry.get("id"), entry.get("url")
    names = entry.get("eventTypeNames", entry.get("event_type_names"))
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or not isinstance(url, str):
        return None
    return Subscription(
        id=identity,
        url=url,
        events=tuple(name for name in names if isinstance(name, str))
        if isinstance(names, list)
        else (),
        is_active=entry.get("status", _ACTIVE) == _ACTIVE,
    )
