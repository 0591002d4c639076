"""Whom Upvest tells by webhook: the calls that manage subscriptions (WHR, WSREF, S26, PRX).

Nothing here takes a delivery, and there is no secret: deliveries are signed with Upvest's keys."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from worker.providers.http import Reply
from worker.providers.replies import ID, text_of
from worker.providers.subscriptions import (
    WHY,
    Registered,
    Subscription,
    Trouble,
    of_address,
    trouble_of,
)
from worker.providers.upvest_access import Scope
from worker.providers.upvest_replies import DIALECT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from worker.providers.http import Outcome
    from worker.providers.upvest_access import UpvestAccess

#: What hastens something of ours: the ends of a withdrawal, and of the orders that raise its cash.
EVENTS: Final = ("WITHDRAWAL", "ORDER", "EXECUTION")
#: All that reference and guides name (S19, S26); others are passed on unchecked where it is said.
KNOWN: Final = frozenset({*EVENTS, "ALL", "CASH_BALANCE", "CASH_TRANSACTION"})
#: Events are bundled for so long (S26: 1 s to 30 s), up to so many bytes (100 to 1048576). So a
#: delivery fits into what the worker keeps free for each connection.
DELAY: Final = "1s"
PACKAGE_BYTES: Final = 60_000
PAGE: Final = 100
PAGES_LIMIT: Final = 20

_PATH: Final = "/webhooks"
_OPERATION: Final = "webhooks"
_TITLE: Final = re.compile(r"[A-Za-z0-9 ()\[\]{}.-]{1,32}")
_NOT_FOUND: Final = 404
_WHY: Final = {
    **WHY,
    403: "this client may not manage webhooks: that takes the scope webhooks:admin",
    404: "it knows no such subscription, or no such path: is WORKER_UPVEST__BASE_URL right?",
}


class UpvestSubscriptions:
    """The subscriptions of the client whose tokens `access` gets. No call raises.

    `path` is what the worker takes for the path that Upvest calls: the signature covers it.
    """

    events: tuple[str, ...] = EVENTS

    def __init__(self, access: UpvestAccess, *, path: str) -> None:
        self._access = access
        self._path = path

    def unfit(self, url: str, name: str) -> str | None:
        """Return why Upvest, or the worker, would not take an address or a name."""
        parts = urlsplit(url)
        if not _is_name(parts.hostname or ""):
            return f"{url}: Upvest wants the name of a host, not an address"
        if parts.path != self._path:
            return (
                f"{url}: its path is not WORKER_UPVEST__WEBHOOK__PATH, which is {self._path}; no"
                " delivery could be verified"
            )
        if not _TITLE.fullmatch(name):
            return f"{name}: Upvest wants 1 to 32 letters, digits, spaces and ()[]{{}}.-"
        return None

    async def unknown(self, events: Collection[str]) -> Trouble | None:
        """Tell of those events that no page names; nothing is called for it."""
        if unknown := [event for event in events if event not in KNOWN]:
            return Trouble(
                f"Upvest documents no event {', '.join(unknown)}, but {', '.join(sorted(KNOWN))}"
                " (--unchecked goes without it)"
            )
        return None

    async def listed(self) -> tuple[Subscription, ...] | Trouble:
        """`GET /webhooks`, page by page where there are several."""
        found: dict[str, Subscription] = {}
        for _ in range(PAGES_LIMIT):
            query = {"limit": str(PAGE), "offset": str(len(found))}
            outcome = await self._call("GET", _PATH, Scope.WEBHOOKS_READ, query=query)
            if (trouble := _trouble(outcome)) is not None:
                return trouble
            data = _document(outcome).get("data")
            read = [_subscription(entry) for entry in data] if isinstance(data, list) else [None]
            fresh = {one.id: one for one in read if one is not None and one.id not in found}
            if None in read:
                return Trouble("Upvest's list of webhooks cannot be read")
            found |= fresh
            if len(read) < PAGE or not fresh:
                return tuple(found.values())
        return Trouble("Upvest's list of webhooks has no end")

    async def register(
        self, url: str, events: Collection[str], *, name: str, renew: bool = False
    ) -> Registered | Trouble:
        """Have `url` told of `events`: make a subscription, change the one it has, or leave it.

        A new one is not enabled (WSREF), so a second call does that (PRX).
        """
        listed = await self.listed()
        if isinstance(listed, Trouble):
            return listed
        first, twins = of_address(listed, url)
        if first is not None and first.is_active and {*first.events} == {*events} and not renew:
            return Registered(subscription=first, how="unchanged", twins=twins)
        wanted = {
            "title": name,
            "url": url,
            "type": list(events),
            "config": {"delay": DELAY, "max_package_size": PACKAGE_BYTES},
        }
        if first is not None:
            written = await self._write("PATCH", _at(first.id), {**wanted, "enabled": True})
            if isinstance(written, Trouble):
                return written
            return Registered(subscription=written, how="changed", twins=twins)
        made = await self._write("POST", _PATH, wanted)
        if isinstance(made, Trouble):
            return made
        enabled = made if made.is_active else await self._enable(made)
        if isinstance(enabled, Trouble):
            return enabled
        return Registered(subscription=enabled, how="created")

    async def remove(self, identity: str) -> bool | Trouble:
        """`DELETE /webhooks/{id}`; False when there was none any more."""
        outcome = await self._call("DELETE", _at(identity), Scope.WEBHOOKS_ADMIN)
        if isinstance(outcome, Reply) and outcome.status == _NOT_FOUND and _word(outcome):
            return False
        trouble = _trouble(outcome)
        return True if trouble is None else trouble

    async def test(self, identity: str) -> Trouble | None:
        """`POST /webhooks/{id}/test`: 202 (S19), or 200 with what the address answered (S26)."""
        outcome = await self._call("POST", f"{_at(identity)}/test", Scope.WEBHOOKS_ADMIN)
        return _trouble(outcome)

    async def _enable(self, made: Subscription) -> Subscription | Trouble:
        enabled = await self._write("PATCH", _at(made.id), {"enabled": True})
        if isinstance(enabled, Trouble):
            return Trouble(f"{enabled.why}; {made.id} is made, and not enabled")
        return enabled

    async def _write(
        self, method: str, path: str, wanted: Mapping[str, Any]
    ) -> Subscription | Trouble:
        outcome = await self._call(method, path, Scope.WEBHOOKS_ADMIN, wanted)
        if (trouble := _trouble(outcome)) is not None:
            return trouble
        if (subscription := _subscription(_document(outcome))) is None:
            return Trouble("Upvest's answer cannot be read; it may be done: see `webhooks list`")
        if wanted.get("enabled") and not subscription.is_active:
            return Trouble(f"Upvest did not enable {subscription.id}")
        return subscription

    async def _call(
        self,
        method: str,
        path: str,
        scope: Scope,
        document: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Outcome:
        body = None if document is None else json.dumps(document).encode()
        return await self._access.exchange(
            _OPERATION, method, path, scope=scope, query=query, body=body
        )


def _at(identity: str) -> str:
    return f"{_PATH}/{quote(identity, safe='')}"


def _is_name(host: str) -> bool:
    """Tell whether it is a DNS name (WHR); for trials this machine itself is one as well."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return "." in host or host == "localhost"


def _trouble(outcome: Outcome) -> Trouble | None:
    return trouble_of(outcome, "Upvest", why=_WHY, word=_word)


def _word(reply: Reply) -> str | None:
    return DIALECT.trace_of(reply).provider_code


def _document(outcome: Outcome) -> Mapping[str, Any]:
    return (outcome.document or {}) if isinstance(outcome, Reply) else {}


def _subscription(entry: object) -> Subscription | None:
    """Read a subscription (WSREF). One that does not say whether it is enabled is not."""
    if not isinstance(entry, dict):
        return None
    identity, url, kinds = (
        text_of(entry.get("id"), ID),
        text_of(entry.get("url")),
        entry.get("type"),
    )
    if identity is None or url is None:
        return None
    return Subscription(
        id=identity,
        url=url,
        events=tuple(kind for kind in kinds if isinstance(kind, str))
        if isinstance(kinds, list)
        else (),
        is_active=entry.get("enabled") is True,
    )
