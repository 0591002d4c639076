"""Calls about webhooks: answers that no simulator gives, and what is made of them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.providers.canned import Canned, Raw, Said, canned
from worker.providers.bluum_subscriptions import (
    PAGES_LIMIT,
    BluumSubscriptions,
    unknown_events,
)
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.providers.subscriptions import Registered, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.providers.canned import Answer

_URL = "https://payouts.example/webhooks/bluum"
_NONE = Said(200, {"object": "list", "data": [], "has_more": False})


@asynccontextmanager
async def subscriptions(*answers: Answer) -> AsyncIterator[tuple[BluumSubscriptions, Canned]]:
    """Calls that get these answers in turn."""
    async with canned(*answers) as server:
        line = Line(
            server.base_url,
            auth=httpx.BasicAuth("key", "secret"),
            pace=Pace(Alone(10_000.0).reserve, waited=lambda *_: None),
            timeout=timedelta(seconds=5),
            observe=lambda *_: None,
        )
        async with line:
            yield BluumSubscriptions(line), server


async def test_a_list_is_read_to_its_end() -> None:
    """
    Page by page, each from where the one before ended; a list without end is given up.
    """
    first = Said(200, {"data": [_entry("wh_1"), _entry("wh_2")], "has_more": True})
    last = Said(200, {"data": [_entry("wh_3", event_type_names="x")], "has_more": False})
    async with subscriptions(first, last) as (bluum, server):
        listed = await bluum.listed()
    async with subscriptions(first) as (bluum, endless):
        given_up = await bluum.listed()

    assert isinstance(listed, tuple)
    assert ["wh_1", "wh_2", "wh_3"] == [one.id for one in listed]
    assert ["offset=0", "offset=2"] == [heard.path.rpartition("&")[2] for heard in server.heard]
    assert isinstance(given_up, Trouble)
    assert PAGES_LIMIT == len(endless.heard)


@pytest.mark.parametrize(
    "answer",
    [
        Said(200, {"data": [{"id": "wh_1"}]}),
        Said(200, {"data": ["wh_1"]}),
        Said(200, {"data": [{"id": "../wh", "url": _URL}]}),
        Said(200, {"data": {}}),
        Said(200, [1]),
        Said(200, b"<html>"),
        Said(404, {"error": {"code": "BLUM-404-002", "message": "x"}}),
        Said(429, {}, {"Retry-After": "60"}),
        Raw(b""),
    ],
)
async def test_what_cannot_be_read_changes_nothing(answer: Answer) -> None:
    """
    Without having read the list nothing is registered: it might be there already.
    """
    async with subscriptions(answer) as (bluum, server):
        told = await bluum.register(_URL, ["order.*"], name="worker")
        types = await bluum.event_types()

    assert isinstance(told, Trouble)
    assert isinstance(types, Trouble) or "data" in str(answer)
    assert {"GET"} == {heard.method for heard in server.heard}


async def test_a_pause_that_was_asked_for_is_kept() -> None:
    """
    The second call does not leave.
    """
    async with subscriptions(Said(429, {}, {"Retry-After": "60"})) as (bluum, server):
        told = [await bluum.listed(), await bluum.listed()]

    assert ["Bluum answered 429", "Bluum was not asked"] == [
        isinstance(each, Trouble) and each.why.partition(":")[0] for each in told
    ]
    assert 1 == len(server.heard)


async def test_what_is_sent_has_the_documented_names() -> None:
    """
    `eventTypeNames`, not `events`; a secret that could not stand in a line is none.
    """
    made = Said(201, {"status": "success", "data": _entry("wh_1", secret="a\nb")})
    async with subscriptions(_NONE, made) as (bluum, server):
        told = await bluum.register(_URL, ["order.*"], name="worker")
    sent = server.heard[-1]

    assert isinstance(told, Registered)
    assert ("created", None) == (told.how, told.secret)
    assert ("POST", "application/json") == (sent.method, sent.headers["Content-Type"])
    assert {"url": _URL, "eventTypeNames": ["order.*"], "name": "worker"} == json.loads(sent.body)


async def test_an_unreadable_success_is_told_as_one() -> None:
    """
    It may have been made: the list tells.
    """
    async with subscriptions(_NONE, Said(201, {"ok": True})) as (bluum, _):
        told = await bluum.register(_URL, ["order.*"], name="worker")

    assert Trouble("Bluum's answer cannot be read; it may be created: see `webhooks list`") == told


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Said(204), True),
        (Said(200, {"id": "wh_1"}), True),
        (Said(404, {"error": {"code": "BLUM-404-001"}}), False),
        (Said(404, {"code": "BLUM-404-001"}), False),
        (Said(404, {"error": {"code": "BLUM-404-002"}}), None),
        (Said(404, b"not here"), None),
        (Said(403, {"error": {"code": "<b>"}}), None),
        (Said(500, {}), None),
    ],
)
async def test_only_bluum_itself_says_that_it_is_gone(
    answer: Answer, expected: bool | None
) -> None:
    """
    Gone by our call, or before it; a page of somebody else's is trouble.
    """
    async with subscriptions(answer) as (bluum, server):
        told = await bluum.remove("wh_1")

    assert expected == (None if isinstance(told, Trouble) else told)
    assert ["/v1/webhooks/wh_1"] == [heard.path for heard in server.heard]


async def test_event_types_are_texts_or_have_names() -> None:
    """
    No page shows their list.
    """
    async with subscriptions(Said(200, {"data": ["a.b", {"name": "c.d"}, 7]})) as (bluum, _):
        assert frozenset({"a.b", "c.d"}) == await bluum.event_types()


@pytest.mark.parametrize(
    ("event", "is_known"),
    [("order.filled", True), ("order.*", True), ("transfer.*", False), ("order.", False)],
)
def test_a_wildcard_is_known_where_it_means_something(event: str, is_known: bool) -> None:
    """
    By the names that begin so.
    """
    assert ([] if is_known else [event]) == unknown_events([event], {"order.filled"})


def _entry(identity: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {"id": identity, "url": f"{_URL}/{identity}", "eventTypeNames": ["order.*"]} | changes
