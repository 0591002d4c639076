"""Upvest's calls about webhooks: what is sent, and what is made of every answer."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.providers.canned import Canned, Said, canned
from tests.providers.stages import TOKEN, Options, open_upvest
from worker.http.webhooks import SMALL_BODY
from worker.providers.subscriptions import Registered, Subscription, Trouble
from worker.providers.upvest_subscriptions import (
    EVENTS,
    PACKAGE_BYTES,
    PAGE,
    PAGES_LIMIT,
    UpvestSubscriptions,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.providers.canned import Answer

_URL: Final = "https://payouts.example/webhooks/upvest"
_NAME: Final = "withdrawals-worker"
_ID: Final = "a1b2c3d4-0000-4000-8000-1234567890ab"


@asynccontextmanager
async def subscriptions(*answers: Answer) -> AsyncIterator[tuple[UpvestSubscriptions, Canned]]:
    """Calls that get these answers in turn."""
    async with (
        canned(*answers, asides={"/auth/token": TOKEN}) as server,
        open_upvest(server.base_url, Options()) as upvest,
    ):
        yield UpvestSubscriptions(upvest.access, path="/webhooks/upvest"), server


async def test_a_new_subscription_is_made_and_then_enabled() -> None:
    """
    Examples come back disabled (WSREF); deliveries are to fit into any connection's share.
    """
    made, enabled = Said(201, _entry(enabled=False)), Said(200, _entry())
    async with subscriptions(_list(), made, enabled) as (upvest, server):
        told = await upvest.register(_URL, EVENTS, name=_NAME)

    subscription = Subscription(id=_ID, url=_URL, events=EVENTS, is_active=True)
    config = {"delay": "1s", "max_package_size": PACKAGE_BYTES}

    assert Registered(subscription=subscription, how="created") == told
    assert [
        ("GET", f"/v1/webhooks?limit={PAGE}&offset=0", None),
        (
            "POST",
            "/v1/webhooks",
            {"title": _NAME, "url": _URL, "type": list(EVENTS), "config": config},
        ),
        ("PATCH", f"/v1/webhooks/{_ID}", {"enabled": True}),
    ] == _calls(server)
    assert PACKAGE_BYTES < SMALL_BODY


async def test_one_that_is_enabled_at_once_needs_no_second_call() -> None:
    """
    What it takes is what it does not say of itself.
    """
    async with subscriptions(_list(), Said(201, _entry())) as (upvest, server):
        told = await upvest.register(_URL, EVENTS, name=_NAME)

    assert isinstance(told, Registered)
    assert ["GET", "POST"] == [heard.method for heard in server.heard]


@pytest.mark.parametrize(
    ("entry", "renew", "how", "methods"),
    [
        ({}, False, "unchanged", ["GET"]),
        ({"type": ["EXECUTION", "ORDER", "WITHDRAWAL"]}, False, "unchanged", ["GET"]),
        ({}, True, "changed", ["GET", "PATCH"]),
        ({"enabled": False}, False, "changed", ["GET", "PATCH"]),
        ({"enabled": None}, False, "changed", ["GET", "PATCH"]),
        ({"type": ["ALL"]}, False, "changed", ["GET", "PATCH"]),
    ],
)
async def test_registering_again_mends_what_is_there(
    entry: dict[str, Any], renew: bool, how: str, methods: list[str]
) -> None:
    """
    The same one, with all that is wanted; its twins are named.
    """
    listed = _list(_entry(**entry), _entry(id="twin", enabled=False))
    async with subscriptions(listed, Said(200, _entry())) as (upvest, server):
        told = await upvest.register(_URL, EVENTS, name=_NAME, renew=renew)

    assert isinstance(told, Registered)
    assert (how, methods) == (told.how, [heard.method for heard in server.heard])
    assert (_ID, ("twin",)) == (told.subscription.id, told.twins)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Said(403, {"type": "https://docs/errors/forbidden", "status": 403})], "403 forbidden:"),
        ([Said(429, {})], "answered 429: there were too many calls"),
        ([Said(200, {"data": {}})], "list of webhooks cannot be read"),
        ([Said(200, {"data": [{"id": "../x", "url": _URL}]})], "list of webhooks cannot be read"),
        ([_NONE := Said(200, {"data": []}), Said(201, {"ok": True})], "it may be done"),
        ([_NONE, Said(400, b"<html>")], "answered 400: it did not understand"),
        (
            [_NONE, _MADE := Said(201, {"id": _ID, "url": _URL}), Said(500)],
            f"{_ID} is made, and not",
        ),
        ([_NONE, _MADE, _MADE], f"did not enable {_ID}"),
    ],
)
async def test_what_was_not_done_is_told(answers: list[Answer], expected: str) -> None:
    """
    Without having read the list nothing is made; what is made and not enabled is named.
    """
    async with subscriptions(*answers) as (upvest, server):
        told = await upvest.register(_URL, EVENTS, name=_NAME)

    assert isinstance(told, Trouble)
    assert expected in told.why
    assert len(answers) == len(server.heard)


async def test_a_list_is_read_to_its_end() -> None:
    """
    Page by page; one without end is given up.
    """
    first = _list(*(_entry(id=f"w{n}") for n in range(PAGE)))
    async with subscriptions(first, _list(_entry(id="last"))) as (upvest, server):
        listed = await upvest.listed()
    pages = (_list(*(_entry(id=f"w{m}-{n}") for n in range(PAGE))) for m in range(PAGES_LIMIT + 1))
    async with subscriptions(*pages) as (upvest, endless):
        given_up = await upvest.listed()

    assert isinstance(listed, tuple)
    assert (PAGE + 1, "last") == (len(listed), listed[-1].id)
    assert f"offset={PAGE}" == server.heard[1].path.rpartition("&")[2]
    assert isinstance(given_up, Trouble)
    assert PAGES_LIMIT == len(endless.heard)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Said(204), True),
        (Said(404, {"type": "https://docs/errors/not_found", "status": 404}), False),
        (Said(404, b"not here"), None),
        (Said(503, {}), None),
    ],
)
async def test_only_upvest_itself_says_that_it_is_gone(
    answer: Answer, expected: bool | None
) -> None:
    """
    Gone by our call, or before it; a page of somebody else's is trouble.
    """
    async with subscriptions(answer) as (upvest, server):
        told = await upvest.remove("a/b")

    assert expected == (None if isinstance(told, Trouble) else told)
    assert [("DELETE", "/v1/webhooks/a%2Fb", None)] == _calls(server)


@pytest.mark.parametrize(("status", "is_done"), [(200, True), (202, True), (404, False)])
async def test_a_test_is_asked_for(status: int, is_done: bool) -> None:
    """
    Both documented answers are a yes (S19, S26).
    """
    async with subscriptions(Said(status, {"type": "x", "status": status})) as (upvest, server):
        told = await upvest.test(_ID)

    assert is_done is (told is None)
    assert [("POST", f"/v1/webhooks/{_ID}/test", None)] == _calls(server)


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        (_URL, _NAME, None),
        ("http://127.0.0.1:8081/webhooks/upvest", _NAME, None),
        ("http://localhost:8081/webhooks/upvest", "a (b) [c] {d} 1.2-3", None),
        ("https://192.0.2.1/webhooks/upvest", _NAME, "the name of a host"),
        ("https://[2001:db8::1]/webhooks/upvest", _NAME, "the name of a host"),
        ("https://payouts/webhooks/upvest", _NAME, "the name of a host"),
        ("https://payouts.example/webhooks/bluum", _NAME, "WORKER_UPVEST__WEBHOOK__PATH"),
        (_URL, "x" * 33, "1 to 32"),
        (_URL, "a_b", "1 to 32"),
        (_URL, "", "1 to 32"),
    ],
)
async def test_rules_are_known_before_anything_is_called(
    url: str, name: str, expected: str | None
) -> None:
    """
    A DNS name, the path that the signature is checked by, a short title (WHR, S26).
    """
    async with subscriptions(_list()) as (upvest, server):
        told = upvest.unfit(url, name)
        unknown = await upvest.unknown([*EVENTS, "ALL"]), await upvest.unknown(["ORDERS"])

    assert told is None if expected is None else expected in (told or "")
    assert [None, Trouble] == [unknown[0], type(unknown[1])]
    assert [] == server.heard


def _entry(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    plain = {"id": _ID, "title": _NAME, "url": _URL, "type": list(EVENTS), "enabled": True}
    return plain | changes


def _list(*entries: dict[str, Any]) -> Said:
    return Said(200, {"meta": {"total_count": len(entries)}, "data": list(entries)})


def _calls(server: Canned) -> list[tuple[str, str, Any]]:
    return [
        (heard.method, heard.path, json.loads(heard.body) if heard.body else None)
        for heard in server.heard
    ]
