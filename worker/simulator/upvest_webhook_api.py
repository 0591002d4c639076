"""The routes of Upvest's API that manage webhooks, and show its keys (WSREF, S26, WHR).

Pure. Only what could be delivered from here can be subscribed to; other event types of Upvest's are
taken, and nothing of them ever comes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.clock import instant
from worker.simulator.mail import is_url
from worker.simulator.upvest_documents import list_document
from worker.simulator.upvest_problems import Problem
from worker.simulator.upvest_reading import (
    PAGING,
    Rule,
    invalid,
    is_match,
    number,
    one_of,
    paging_of,
    read_fields,
    read_query,
)
from worker.simulator.upvest_route import (
    ACCEPTED,
    CREATED,
    NO_CONTENT,
    OK,
    Answer,
    Call,
    Operation,
    Scope,
    acting,
    reading,
    refused,
)
from worker.simulator.upvest_webhooks import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.route import Document
    from worker.simulator.upvest_house import House
    from worker.simulator.upvest_webhooks import Subscription

PACKAGE_MIN: Final = 100
PACKAGE_MAX: Final = 1_048_576
_DELAY_MAX: Final = 30
_CONFIG: Final = frozenset({"delay", "max_package_size"})


def _are_types(value: object) -> bool:
    is_type = is_match(r"[A-Z][A-Z_]{0,63}")
    return isinstance(value, list) and bool(value) and all(map(is_type, value))


def _is_config(value: object) -> bool:
    if not isinstance(value, dict) or not set(value) <= _CONFIG:
        return False
    delay, size = value.get("delay", "1s"), value.get("max_package_size", PACKAGE_MIN)
    is_delay = is_match(r"[0-9]{1,2}s")(delay) and 1 <= int(delay[:-1]) <= _DELAY_MAX
    is_size = isinstance(size, int) and not isinstance(size, bool)
    return is_delay and is_size and PACKAGE_MIN <= size <= PACKAGE_MAX


#: Every field of a subscription that a client may name (S26; S19 has titles of 100 characters).
_FIELDS: Final[Mapping[str, Rule]] = {
    "title": Rule(
        is_match(r"[A-Za-z0-9 ()\[\]{}.\-]{1,32}"), "1 to 32 letters, digits or ()[]{}.-"
    ),
    "url": Rule(is_url, "a URL"),
    "type": Rule(_are_types, "a list of event types"),
    "exclude_type": Rule(_are_types, "a list of event types"),
    "enabled": Rule(lambda value: isinstance(value, bool), "true or false"),
    "config": Rule(
        _is_config,
        f"delay from 1s to {_DELAY_MAX}s and max_package_size from {PACKAGE_MIN} to {PACKAGE_MAX}",
    ),
}
_REQUIRED: Final = ("title", "url", "type")
_SORTING: Final[Mapping[str, Rule]] = {
    **PAGING,
    "sort": one_of(("created_at", "updated_at", "title", "url", "enabled")),
    "limit": number(1, 1000),
}


def _create(house: House, call: Call) -> Answer:
    fields = read_fields(call.body, _FIELDS, required=_REQUIRED)
    changes = fields if isinstance(fields, Problem) else _changes(fields)
    if isinstance(changes, Problem):
        return refused(changes)
    # It begins without deliveries, whatever is asked for (S26's examples, PRX).
    made = house.webhooks.subscribe(now=call.now, **(changes | {"enabled": False}))
    return refused(made) if isinstance(made, Problem) else Answer(CREATED, _document(made))


def _change(house: House, call: Call) -> Answer:
    fields = read_fields(call.body, _FIELDS)
    changes = fields if isinstance(fields, Problem) else _changes(fields)
    if isinstance(changes, Problem):
        return refused(changes)
    changed = house.webhooks.change(call.identifiers["webhook_id"], changes, now=call.now)
    return refused(changed) if isinstance(changed, Problem) else Answer(OK, _document(changed))


def _changes(fields: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """Return the fields of a subscription by its own names."""
    if fields.get("exclude_type") and ALL not in fields.get("type", (ALL,)):
        return invalid("exclude_type needs the type ALL.", "exclude_type")
    names = {"title": "title", "url": "url", "enabled": "enabled"}
    changes = {own: fields[name] for name, own in names.items() if name in fields}
    lists = {"type": "types", "exclude_type": "excluded"}
    changes |= {own: tuple(fields[name]) for name, own in lists.items() if name in fields}
    config = fields.get("config", {})
    if "delay" in config:
        changes["delay"] = timedelta(seconds=int(config["delay"][:-1]))
    if "max_package_size" in config:
        changes["package"] = config["max_package_size"]
    return changes


def _get(house: House, call: Call) -> Answer:
    found = house.webhooks.subscription(call.identifiers["webhook_id"])
    return refused(found) if isinstance(found, Problem) else Answer(OK, _document(found))


def _list(house: House, call: Call) -> Answer:
    read = read_query(call.query, _SORTING)
    if isinstance(read, Problem):
        return refused(read)
    paging = paging_of(read)
    found = sorted(house.webhooks.subscriptions(), key=lambda one: getattr(one, paging.sort))
    page = [_document(one) for one in paging.page(found)]
    return Answer(OK, list_document(page, paging, total=len(found)))


def _delete(house: House, call: Call) -> Answer:
    gone = house.webhooks.unsubscribe(call.identifiers["webhook_id"])
    return refused(gone) if isinstance(gone, Problem) else Answer(NO_CONTENT, None)


def _test(house: House, call: Call) -> Answer:
    problem = house.webhooks.test(call.identifiers["webhook_id"], now=call.now)
    return Answer(ACCEPTED, None) if problem is None else refused(problem)


def _get_keys(house: House, _call: Call) -> Answer:
    return Answer(OK, house.webhooks.keys.document())


def _document(found: Subscription) -> Document:
    document: Document = {
        "id": found.id,
        "created_at": instant(found.created_at),
        "updated_at": instant(found.updated_at),
        "title": found.title,
        "url": found.url,
        "type": list(found.types),
        "enabled": found.enabled,
        "config": {
            "delay": f"{int(found.delay.total_seconds())}s",
            "max_package_size": found.package,
        },
    }
    return document | {"exclude_type": list(found.excluded)} if found.excluded else document


_WEBHOOKS: Final = "/webhooks"
_WEBHOOK: Final = f"{_WEBHOOKS}/{{webhook_id}}"
_READ: Final = frozenset({Scope.WEBHOOKS_READ, Scope.WEBHOOKS_ADMIN})
_WRITE: Final = frozenset({Scope.WEBHOOKS_ADMIN})

WEBHOOK_ROUTES: Final = (
    reading("/auth/verify_keys", Operation.GET_KEYS, _get_keys, _READ),
    reading(_WEBHOOKS, Operation.LIST_WEBHOOKS, _list, _READ),
    reading(_WEBHOOK, Operation.GET_WEBHOOK, _get, _READ),
    acting("POST", _WEBHOOKS, Operation.CREATE_WEBHOOK, _create, _WRITE),
    acting("PATCH", _WEBHOOK, Operation.CHANGE_WEBHOOK, _change, _WRITE),
    acting("DELETE", _WEBHOOK, Operation.DELETE_WEBHOOK, _delete, _WRITE),
    acting("POST", f"{_WEBHOOK}/test", Operation.TEST_WEBHOOK, _test, _WRITE),
)
