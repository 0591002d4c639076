"""What the simulated Upvest tells by webhook: bundled, signed, repeated, one after the other."""

from __future__ import annotations

import json
import re
from base64 import b64decode, urlsafe_b64decode
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP521R1,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.hashes import SHA512

from tests.simulator.receiver import receiving
from tests.simulator.upvest_talk import GROUP, LONG, PLAIN, key_of, talking_upvest
from worker.simulator.faults import Faults
from worker.simulator.upvest_terms import UpvestTerms
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.receiver import Letter, Receiver
    from tests.simulator.upvest_talk import UpvestTalk

LIFE = ["WITHDRAWAL.NEW", "WITHDRAWAL.PROCESSING", "WITHDRAWAL.CONFIRMED"]


@asynccontextmanager
async def told(
    types: list[str] | None = None,
    *,
    faults: Faults | None = None,
    **webhooks: Any,  # noqa: ANN401 - any term
) -> AsyncIterator[tuple[UpvestTalk, Receiver]]:
    """Talk to an Upvest that tells a receiver of some types, everything at once by default."""
    async with receiving() as receiver:
        terms: dict[str, Any] = {"bundling": timedelta(), "retry_delays": (timedelta(),)} | webhooks
        options = replace(
            PLAIN,
            terms=UpvestTerms(pace=timedelta(seconds=100)),
            webhooks=UpvestWebhookTerms(**terms),
            faults=faults or Faults(),
        )
        async with talking_upvest(options) as talk:
            await subscribe(talk, receiver.url, types or ["WITHDRAWAL"])
            yield talk, receiver


async def subscribe(talk: UpvestTalk, url: str, types: list[str]) -> str:
    """Subscribe and enable."""
    body = json.dumps({"title": "worker", "url": url, "type": types}).encode()
    webhook_id: str = (await talk.call("POST", "/webhooks", body=body)).json()["id"]
    enabled = await talk.call("PATCH", f"/webhooks/{webhook_id}", body=b'{"enabled":true}')
    assert enabled.json()["enabled"]
    return webhook_id


def events(letters: list[Letter]) -> list[str]:
    """Return the types of all events, in the order of their arrival."""
    return [event["type"] for letter in letters for event in letter.document["payload"]]


def is_signed(letter: Letter, keys: dict[str, Any]) -> bool:
    """Verify a delivery as draft 6 has it, with a key of the set."""
    headers = {name.lower(): value for name, value in letter.headers.items()}
    digest = b64decode(headers["digest"].removeprefix("SHA-256="))
    params = headers["signature-input"].removeprefix("sig1=")
    names = re.findall(r'"([^"]+)"', params.partition(")")[0])
    values = {"@method": "POST", "@path": "/hooks"} | headers
    base = "\n".join(
        [*(f"{name}: {values[name]}" for name in names), f"@signature-params: {params}"]
    )
    kid = re.findall(r'keyid="([^"]+)"', params)[0]
    key = next((key for key in keys["keys"] if key["kid"] == kid), None)
    if key is None or digest != sha256(letter.body).digest() or "digest" not in names:
        return False
    x, y = (int.from_bytes(urlsafe_b64decode(key[name] + "==")) for name in ("x", "y"))
    signature = b64decode(headers["signature"].removeprefix("sig1=:").removesuffix(":"))
    try:
        EllipticCurvePublicNumbers(x, y, SECP521R1()).public_key().verify(
            signature, base.encode(), ECDSA(SHA512())
        )
    except InvalidSignature:
        return False
    return True


async def test_a_life_is_told_in_order_and_signed() -> None:
    """
    Each event with the whole resource, under a key that the API shows.
    """
    async with told() as (talk, receiver):
        made = (await talk.create()).json()
        await receiver.arrived(1)
        await talk.advance(LONG)
        letters = await receiver.arrived(2)
        keys = await talk.get("/auth/verify_keys")

    first = letters[0].document["payload"][0]
    assert LIFE == events(letters)
    assert made == first["object"]
    assert {"id", "created_at", "type", "object", "webhook_id"} == set(first)
    assert all(is_signed(letter, keys) for letter in letters)
    assert [("P-521", "EC")] == [(key["crv"], key["kty"]) for key in keys["keys"]]


async def test_events_of_a_while_come_in_one_delivery() -> None:
    """
    Several events, of the types that were asked for, ascending by their time.
    """
    async with told(["ALL"], bundling=timedelta(seconds=1000)) as (talk, receiver):
        await talk.create()
        await talk.place()
        await talk.advance(1100)
        letters = await receiver.arrived(1)

    payload = letters[0].document["payload"]
    created = [event["created_at"] for event in payload]
    assert sorted(created) == created
    assert {
        "WITHDRAWAL.NEW",
        "CASH_BALANCE.UPDATED",
        "ORDER.NEW",
        "ORDER.FILLED",
        "EXECUTION.FILLED",
        "EXECUTION.SETTLED",
    } <= {event["type"] for event in payload}


async def test_a_delivery_that_fails_holds_up_the_later_ones() -> None:
    """
    Whatever is answered but 200, 204 too, is repeated; then the later events come.
    """
    async with told() as (talk, receiver):
        receiver.answers[:] = [500, 204, 401]
        await talk.create()
        await talk.create(key=key_of("2"))
        letters = await receiver.arrived(5)
        outcomes = [attempt["outcome"] for attempt in talk.server.record()["webhooks"]]

    bodies = [letter.body for letter in letters]
    assert bodies[0] == bodies[1] == bodies[2] == bodies[3]
    assert bodies[3] != bodies[4]
    assert ["refused"] * 3 == outcomes[:3]
    assert "delivered" == outcomes[3]


async def test_keys_are_rotated() -> None:
    """
    Later deliveries are signed with a new key; the old one is shown on, or is not.
    """
    async with told() as (talk, receiver):
        await talk.create()
        first = (await receiver.arrived(1))[0]
        overlapping = (await talk.control("POST", "webhook-keys")).json()["kids"]
        both = await talk.get("/auth/verify_keys")
        await talk.control("POST", "webhook-keys", overlap=False)
        await talk.create(key=key_of("2"))
        second = (await receiver.arrived(2))[1]
        newest = await talk.get("/auth/verify_keys")

    assert (2, 1) == (len(overlapping), len(newest["keys"]))
    assert [True, False] == [is_signed(first, both), is_signed(first, newest)]
    assert [False, True] == [is_signed(second, both), is_signed(second, newest)]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(webhook_lost=1.0), []),
        (Faults(webhook_doubled=1.0), ["WITHDRAWAL.NEW"] * 2),
        (Faults(webhook_delayed=1.0), ["WITHDRAWAL.NEW"]),
    ],
)
async def test_events_may_be_lost_doubled_or_late(faults: Faults, expected: list[str]) -> None:
    """
    By the same faults as everywhere; what was lost stands in the record.
    """
    async with told(faults=faults, delay=timedelta(seconds=50)) as (talk, receiver):
        await talk.create()
        await talk.advance(60)
        talk.server.set_faults(Faults())
        await talk.create(key=key_of("last"))
        # The one that is told for certain comes after all that went before it.
        await talk.advance(1)
        letters = receiver.letters
        while len(events(letters)) <= len(expected):
            letters = await receiver.arrived(len(letters) + 1)
        lost = [a["event"] for a in talk.server.record()["webhooks"] if a["outcome"] == "lost"]

    assert [*expected, "WITHDRAWAL.NEW"] == events(letters)
    assert ([] if expected else ["WITHDRAWAL.NEW"]) == lost


async def test_subscriptions_are_managed() -> None:
    """
    Made without deliveries, changed, listed, tested and deleted.
    """
    async with receiving() as receiver, talking_upvest() as talk:
        fields = {
            "title": "all but orders",
            "url": receiver.url,
            "type": ["ALL"],
            "exclude_type": ["ORDER"],
            "enabled": True,
            "config": {"delay": "5s", "max_package_size": 1000},
        }
        made = await talk.call("POST", "/webhooks", body=json.dumps(fields).encode())
        path = f"/webhooks/{made.json()['id']}"
        changed = await talk.call("PATCH", path, body=b'{"title":"other","config":{"delay":"1s"}}')
        listed = await talk.get("/webhooks")
        tested = await talk.call("POST", f"{path}/test")
        letters = await receiver.arrived(1)
        gone = [(await talk.call(method, path)).status_code for method in ("GET", "DELETE", "GET")]

    assert (201, fields | {"enabled": False}) == (
        made.status_code,
        {name: made.json()[name] for name in fields},
    )
    assert ("other", "1s", 1000) == (
        changed.json()["title"],
        *changed.json()["config"].values(),
    )
    assert [changed.json()] == listed["data"]
    assert (202, ["WEBHOOK.TEST"]) == (tested.status_code, events(letters))
    assert [200, 204, 404] == gone


#: What is wrong in a subscription, and the field that is named.
REQUESTS: Final[tuple[tuple[dict[str, object], str], ...]] = (
    ({"title": "x" * 33}, "title"),
    ({"title": "a_b"}, "title"),
    ({"url": "example.com"}, "url"),
    ({"type": []}, "type"),
    ({"type": ["WITHDRAWAL"], "exclude_type": ["ORDER"]}, "exclude_type"),
    ({"config": {"delay": "31s"}}, "config"),
    ({"config": {"max_package_size": 99}}, "config"),
    ({"secret": "x"}, "secret"),
)


async def test_what_is_subscribed_to_has_its_rules() -> None:
    """
    400 and the name of the field.
    """
    fields = {"title": "worker", "url": "https://example.com/hooks", "type": ["ALL"]}
    seen = []
    async with talking_upvest() as talk:
        for changed, _ in REQUESTS:
            body = json.dumps(fields | changed).encode()
            response = await talk.call("POST", "/webhooks", body=body)
            seen.append((response.status_code, response.json()["instance"]))

    assert [(400, named) for _, named in REQUESTS] == seen


async def test_a_big_event_goes_alone() -> None:
    """
    Events beyond the size of a package come in the next one; one big event may exceed it.
    """
    async with receiving() as receiver:
        webhooks = UpvestWebhookTerms(bundling=timedelta(seconds=50))
        async with talking_upvest(replace(PLAIN, webhooks=webhooks)) as talk:
            webhook_id = await subscribe(talk, receiver.url, ["WITHDRAWAL"])
            size = b'{"config":{"max_package_size":100}}'
            await talk.call("PATCH", f"/webhooks/{webhook_id}", body=size)
            for name in ("1", "2"):
                await talk.create(key=key_of(name), account_group_id=GROUP)
            await talk.advance(1)
            await talk.advance(60)
            letters = await receiver.arrived(2)

    assert [1, 1] == [len(letter.document["payload"]) for letter in letters[:2]]
