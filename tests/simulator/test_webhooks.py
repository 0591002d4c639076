"""The management of webhooks over real HTTP: subscribing, changing, listing, removing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.talk import PLAIN, Talk, error, talking
from worker.simulator.bluum_notices import EVENT_TYPES
from worker.simulator.bluum_webhooks import SUBSCRIPTIONS_MAX, WebhookShape, WebhookTerms

if TYPE_CHECKING:
    import httpx

HOOK = {
    "url": "https://example.com/hooks",
    "eventTypeNames": ["transfer.*", "order.filled"],
    "name": "worker",
}


async def subscribe(talk: Talk, **changed: object) -> httpx.Response:
    """Create a subscription; a field that is changed to ... is left out."""
    fields = {name: value for name, value in (HOOK | changed).items() if value is not ...}
    return await talk.http.post("/webhooks", json=fields)


async def test_a_subscription_lives_from_create_to_delete() -> None:
    """
    Created, listed without its secret, changed with it, removed; then it is not found.
    """
    async with talking() as talk:
        created = await subscribe(talk)
        made = created.json()["data"]
        listed = (await talk.get("/webhooks")).json()
        changed = await talk.http.patch(f"/webhooks/{made['id']}", json={"status": "INACTIVE"})
        deleted = await talk.http.delete(f"/webhooks/{made['id']}")
        again = await talk.http.delete(f"/webhooks/{made['id']}")
        left = (await talk.get("/webhooks")).json()

    secret = made.pop("secret")
    assert 201 == created.status_code
    assert HOOK.items() <= made.items()
    assert ("ACTIVE", None) == (made["status"], made["description"])
    assert made["id"].startswith("wh_")
    assert {"status": "success", "data": [made]} == listed
    assert made | {"status": "INACTIVE", "secret": secret} == changed.json()["data"]
    assert 200 == deleted.status_code
    assert (404, "BLUM-404-001", "webhook_id") == error(again)
    assert [] == left["data"]


async def test_the_flat_shape_is_that_of_every_other_resource() -> None:
    """
    Snake case in the resource and list envelopes, as the other page has it.
    """
    options = replace(PLAIN, webhooks=WebhookTerms(shape=WebhookShape.FLAT))
    async with talking(options) as talk:
        made = (await subscribe(talk)).json()
        listed = (await talk.get("/webhooks")).json()

    assert made.pop("secret")
    assert ("webhook", HOOK["eventTypeNames"]) == (made["object"], made["event_type_names"])
    assert ("list", False, [made]) == (listed["object"], listed["has_more"], listed["data"])


async def test_the_event_types_are_told() -> None:
    """
    Three of withdrawals, five of orders, and the wildcards.
    """
    async with talking() as talk:
        data: list[dict[str, Any]] = (await talk.get("/webhooks/event-types")).json()["data"]

    assert [*EVENT_TYPES, "order.*", "transfer.*"] == [entry["name"] for entry in data]
    assert (3, 5) == (
        sum(name.startswith("transfer.withdrawal.") for name in EVENT_TYPES),
        sum(name.startswith("order.") for name in EVENT_TYPES),
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"url": ...}, (400, "BLUM-400-002", "url")),
        ({"url": "ftp://example.com"}, (400, "BLUM-400-003", "url")),
        ({"url": "https://"}, (400, "BLUM-400-003", "url")),
        ({"eventTypeNames": ...}, (400, "BLUM-400-002", "eventTypeNames")),
        ({"eventTypeNames": []}, (400, "BLUM-400-004", "eventTypeNames")),
        (
            {"eventTypeNames": ["transfer.withdrawal.cancelled"]},
            (400, "BLUM-400-004", "eventTypeNames"),
        ),
        ({"name": ...}, (400, "BLUM-400-002", "name")),
        ({"events": ["order.*"]}, (400, "BLUM-400-001", "events")),
    ],
)
async def test_a_bad_subscription_is_refused(
    changed: dict[str, object], expected: tuple[int, str, str]
) -> None:
    """
    The code of the catalogue and the field at fault; nobody is subscribed.
    """
    async with talking() as talk:
        response = await subscribe(talk, **changed)
        listed = (await talk.get("/webhooks")).json()["data"]

    assert expected == error(response)
    assert [] == listed


async def test_there_is_a_limit_of_subscriptions() -> None:
    """
    One more than the limit is refused with 409-003.
    """
    async with talking() as talk:
        for _ in range(SUBSCRIPTIONS_MAX):
            (await subscribe(talk)).raise_for_status()
        refused = await subscribe(talk)

    assert (409, "BLUM-409-003", None) == error(refused)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"url": "example.com"}, "url"),
        ({"header": ""}, "header"),
        ({"secret": ""}, "secret"),
        ({"signed_content": "timestamp.body"}, "signed_content"),
    ],
)
def test_senseless_terms_are_refused(terms: dict[str, Any], named: str) -> None:
    """
    Terms that make no sense are refused, and the field is named.
    """
    with pytest.raises(ValueError, match=named):
        WebhookTerms(**terms)
