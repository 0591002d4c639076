"""The routes of Bluum's API that manage webhooks (CW, PW, WHR): from a call to its answer.

Pure. A tenant-wide key is needed for them, and the simulator's key pair is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_documents import Document, envelope, list_document
from worker.simulator.bluum_notices import EVENT_TYPES, WILDCARDS
from worker.simulator.bluum_reading import Rule, is_text, is_text_or_null, one_of, read_fields
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_route import CREATED, OK, Answer, Call, Operation, Route, refused
from worker.simulator.bluum_webhooks import Activity, Subscription, WebhookShape
from worker.simulator.clock import instant
from worker.simulator.faults import CallKind
from worker.simulator.mail import is_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.bluum_house import House

NAME_MAX: Final = 120
_PATH: Final = "/v1/webhooks"
_KNOWN: Final = frozenset((*EVENT_TYPES, *WILDCARDS))


def _are_event_types(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) and name in _KNOWN for name in value)
    )


#: Every field of a subscription. `events` is none of them (WHR).
_FIELDS: Final[Mapping[str, Rule]] = {
    "url": Rule(is_url, Code.BAD_FORMAT, "an http or https URL"),
    "eventTypeNames": Rule(
        _are_event_types, Code.BAD_ENUM, "a list of at least one of " + ", ".join(sorted(_KNOWN))
    ),
    "name": Rule(
        is_text(NAME_MAX, least=1), Code.BAD_FORMAT, f"a string of 1 to {NAME_MAX} characters"
    ),
    "description": Rule(is_text_or_null(500), Code.BAD_FORMAT, "null or at most 500 characters"),
}
#: What a PATCH may change as well (WHR).
_CHANGES: Final[Mapping[str, Rule]] = {**_FIELDS, "status": one_of(Activity)}


def _list_event_types(house: House, _call: Call) -> Answer:
    data: list[Document] = [{"name": name} for name in (*EVENT_TYPES, *WILDCARDS)]
    return _list(house, f"{_PATH}/event-types", data)


def _list_webhooks(house: House, _call: Call) -> Answer:
    data = [_document(house, found) for found in house.webhooks.subscriptions()]
    return _list(house, _PATH, data)


def _create_webhook(house: House, call: Call) -> Answer:
    # `name` is required by WHR and missing in JH's example: the stricter reading.
    fields = read_fields(call.body, _FIELDS, required=("url", "eventTypeNames", "name"))
    if isinstance(fields, Refusal):
        return refused(fields)
    made = house.webhooks.subscribe(
        fields["url"],
        tuple(fields["eventTypeNames"]),
        name=fields["name"],
        description=fields.get("description"),
        now=call.now,
    )
    return _answer(house, made, status=CREATED, secret=True)


def _change_webhook(house: House, call: Call) -> Answer:
    fields = read_fields(call.body, _CHANGES)
    if isinstance(fields, Refusal):
        return refused(fields)
    changed = house.webhooks.change(call.identifiers["webhook_id"], _changes(fields))
    return _answer(house, changed, status=OK, secret=True)


def _delete_webhook(house: House, call: Call) -> Answer:
    return _answer(house, house.webhooks.unsubscribe(call.identifiers["webhook_id"]), status=OK)


def _changes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a PATCH's fields into a subscription's."""
    changes = {name: fields[name] for name in ("url", "name", "description") if name in fields}
    if "eventTypeNames" in fields:
        changes["event_types"] = tuple(fields["eventTypeNames"])
    if "status" in fields:
        changes["activity"] = Activity(fields["status"])
    return changes


def _answer(
    house: House, outcome: Subscription | Refusal, *, status: int, secret: bool = False
) -> Answer:
    if isinstance(outcome, Refusal):
        return refused(outcome)
    document = _document(house, outcome)
    if secret:
        document["secret"] = outcome.secret
    if house.webhooks.terms.shape is WebhookShape.WRAPPED:
        document = {"status": "success", "data": document}
    return Answer(status, document)


def _document(house: House, found: Subscription) -> Document:
    """Return a subscription without its secret, in the shape of the terms."""
    events = list(found.event_types)
    told = {"url": found.url, "name": found.name, "description": found.description}
    if house.webhooks.terms.shape is WebhookShape.FLAT:
        head = envelope(found.id, "webhook", created=int(found.created_at.timestamp()))
        return head | told | {"event_type_names": events, "status": found.activity}
    return {
        "id": found.id,
        **told,
        "eventTypeNames": events,
        "status": found.activity,
        "createdAt": instant(found.created_at),
    }


def _list(house: House, url: str, data: list[Document]) -> Answer:
    if house.webhooks.terms.shape is WebhookShape.FLAT:
        return Answer(OK, list_document(url, data))
    return Answer(OK, {"status": "success", "data": data})


WEBHOOK_ROUTES: Final = (
    Route(
        method="GET",
        path=f"{_PATH}/event-types",
        operation=Operation.LIST_EVENT_TYPES,
        kind=CallKind.READ,
        respond=_list_event_types,
    ),
    Route(
        method="GET",
        path=_PATH,
        operation=Operation.LIST_WEBHOOKS,
        kind=CallKind.READ,
        respond=_list_webhooks,
    ),
    Route(
        method="POST",
        path=_PATH,
        operation=Operation.CREATE_WEBHOOK,
        kind=CallKind.OTHER,
        respond=_create_webhook,
    ),
    Route(
        method="PATCH",
        path=f"{_PATH}/{{webhook_id}}",
        operation=Operation.CHANGE_WEBHOOK,
        kind=CallKind.OTHER,
        respond=_change_webhook,
    ),
    Route(
        method="DELETE",
        path=f"{_PATH}/{{webhook_id}}",
        operation=Operation.DELETE_WEBHOOK,
        kind=CallKind.OTHER,
        respond=_delete_webhook,
    ),
)
