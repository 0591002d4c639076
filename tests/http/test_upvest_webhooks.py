"""Upvest's deliveries over real HTTP, with a real ledger behind and keys made here."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.http.webhook_desk import a_desk, now
from tests.ledger import second
from tests.providers.upvest_signer import COMPONENTS, PATH, KeyDesk, Signer
from worker.flows.hearing import Outcome
from worker.http.webhooks import BODY_LIMIT
from worker.ledger.store import open_ledger
from worker.providers.upvest_keys import VerifyKeys
from worker.providers.upvest_webhooks import UpvestDeliveries, read_delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.http.webhook_desk import Desk

SIGNER: Final = Signer("key-1")
_TOLERANCE: Final = timedelta(seconds=30)


@asynccontextmanager
async def upvest(
    url: str,
    keys: KeyDesk | None = None,
    *,
    path: str = PATH,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[Desk]:
    """A webhooks' port that hears Upvest."""
    verify_keys = VerifyKeys(keys or KeyDesk(SIGNER))
    verifier = UpvestDeliveries(verify_keys, path=path, tolerance=_TOLERANCE, now=now)
    async with a_desk(
        url, provider="upvest", verifier=verifier, read=read_delivery, **changes
    ) as desk:
        yield desk


async def test_each_event_of_a_delivery_is_heard_once(sqlite_url: str) -> None:
    """
    Of a withdrawal, of an order, of an execution by its order; and what is in it beside them.

    A type and a withdrawal that nobody knows, and what is no event, keep it from nobody: 200.
    """
    body = _delivery(
        _event("e1", "WITHDRAWAL.PROCESSING", id="w0", status="PROCESSING", amount="75.50"),
        _event("e2", "ORDER.FILLED", id="o1"),
        _event("e3", "EXECUTION.SETTLED", id="x1", order_id="o2"),
        _event("e4", "WITHDRAWAL.CONFIRMED", id="w99"),
        _event("e5", "NEW.THING", number=7),
        "no event",
        {"type": "WITHDRAWAL.NEW", "object": {"id": "w3"}},
    )
    async with upvest(sqlite_url) as desk:
        rows = [await desk.withdrawal(f"req-{n}", f"w{n}") for n in range(4)]
        await desk.order("req-1", "o1")
        await desk.order("req-2", "o2")
        status = await desk.send(body, headers=SIGNER.headers(body))
        woken = await desk.woken()
        await desk.asleep()
        # In another delivery, signed anew; and one event more.
        more = _delivery(_event("e1", "WITHDRAWAL.PROCESSING", id="w0"), _event("e6", "x", id="w1"))
        again = await desk.send(more, headers=SIGNER.headers(more))

        assert (200, 200) == (status, again)
        assert {*rows[:3]} == woken
        assert {rows[1]} == await desk.woken()
        assert {
            ("upvest", "WITHDRAWAL.PROCESSING", "w0"),
            ("upvest", "ORDER.FILLED", "o1"),
            ("upvest", "EXECUTION.SETTLED", "o2"),
            ("upvest", "x", "w1"),
        } == {*await desk.written()}
        assert {
            Outcome.HEARD: 4,
            Outcome.UNKNOWN: 2,
            Outcome.MALFORMED: 2,
            Outcome.DUPLICATE: 1,
        } == _outcomes(desk)


async def test_a_delivery_that_comes_again_wakes_nobody(sqlite_url: str) -> None:
    """
    The same bytes, also at once: whoever overheard it can do nothing with it.
    """
    body = _delivery(_event("e1", "WITHDRAWAL.CONFIRMED", id="w1"))
    headers = SIGNER.headers(body)
    async with upvest(sqlite_url) as desk:
        await desk.withdrawal("req-1", "w1")
        at_once = await asyncio.gather(*(desk.send(body, headers=headers) for _ in range(10)))

        assert {200} == {*at_once}
        assert {Outcome.HEARD: 1, Outcome.DUPLICATE: 9} == _outcomes(desk)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": ""},
        {"signature-input": ""},
        {"digest": ""},
        {"signature": "sig1=:AAAA:"},
        {"signature": Signer("key-1").headers(b"{}")["signature"]},
        {"content-type": "application/json; charset=utf-8"},
        {"signature-input": ("nonce=", "nonce=x")},
        {"signature-input": ("keyid=", "keyid=x")},
        {"signature-input": ("created=", "created=1")},
        {"signature-input": ('"digest"', '"x-other"')},
        {"signature-input": (' "digest"', "")},
        {"signature-input": ('"@method" "@path"', '"@path" "@method"')},
        {"signature-input": ('"@method"', '"@METHOD"')},
        {"signature-input": ('"@method"', '"@method" "@status"')},
        {"digest": "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
        {"digest": "SHA-512=x"},
    ],
)
async def test_a_forged_delivery_leaves_nothing(
    sqlite_url: str, changes: dict[str, str | tuple[str, str]]
) -> None:
    """
    Another key, another body, other headers, another list of components: 401, nothing written.
    """
    body = _delivery(_event("e1", "WITHDRAWAL.CONFIRMED", id="w1"))
    headers = SIGNER.headers(body)
    for name, change in changes.items():
        headers[name] = change if isinstance(change, str) else headers[name].replace(*change)
    async with upvest(sqlite_url) as desk:
        await desk.withdrawal("req-1", "w1")
        status = await desk.send(body, headers=headers)

        assert headers != SIGNER.headers(body)
        assert 401 == status
        assert set() == await desk.woken()
        assert 1 == _outcomes(desk).get(Outcome.FORGED, 0) + _outcomes(desk).get(Outcome.STALE, 0)


async def test_what_was_signed_is_this_body_on_this_path(sqlite_url: str) -> None:
    """
    Not another body, not one that the signature does not cover, not one sent to another path.
    """
    body, other = _delivery(), _delivery(_event("e1", "WITHDRAWAL.CONFIRMED", id="w1"))
    uncovered = SIGNER.headers(body, components=COMPONENTS[:-1])
    uncovered["digest"] = SIGNER.headers(other)["digest"]
    async with upvest(sqlite_url) as desk:
        statuses = [
            await desk.send(other, headers=SIGNER.headers(body)),
            await desk.send(other, headers=uncovered),
            await desk.send(body, headers=SIGNER.headers(body, path="/webhooks/another")),
            await desk.send(body, headers=SIGNER.headers(body)),
        ]

        assert [401, 401, 401, 200] == statuses


async def test_a_proxy_may_change_the_path(sqlite_url: str) -> None:
    """
    What counts is the one that Upvest called.
    """
    body = _delivery()
    async with upvest(sqlite_url, path="/outside/hooks") as desk:
        statuses = [
            await desk.send(body, headers=SIGNER.headers(body, path=path))
            for path in ("/outside/hooks", PATH)
        ]

        assert [200, 401] == statuses


@pytest.mark.parametrize(
    ("age", "lifetime", "expected"),
    [(-20, 5, 200), (-40, 5, 401), (20, 5, 200), (100, 90, 200), (100, 60, 401), (1e9, 60, 401)],
)
async def test_a_delivery_counts_for_as_long_as_it_says(
    sqlite_url: str, age: float, lifetime: float, expected: int
) -> None:
    """
    From created to expires, by clocks that may differ by the tolerance.
    """
    body = _delivery()
    async with upvest(sqlite_url) as desk:
        headers = SIGNER.headers(body, age=age, lifetime=lifetime)

        assert expected == await desk.send(body, headers=headers)
        assert {Outcome.UNKNOWN if expected == 200 else Outcome.STALE: 1} == _outcomes(desk)


async def test_a_key_of_another_is_no_key(sqlite_url: str) -> None:
    """
    Whatever id it claims: an unknown one is asked for, once for many, and refused.
    """
    body = _delivery()
    stranger, keys = Signer("key-9"), KeyDesk(SIGNER)
    async with upvest(sqlite_url, keys) as desk:
        claims = ["key-1", *(f"key-{n}" for n in range(10, 30))]
        statuses = await asyncio.gather(
            *(desk.send(body, headers=stranger.headers(body, keyid=keyid)) for keyid in claims)
        )

        assert [401] * 21 == statuses
        assert 1 == keys.asked
        assert {Outcome.FORGED: 21} == _outcomes(desk)


async def test_keys_out_of_reach_let_upvest_repeat(sqlite_url: str) -> None:
    """
    503 while nobody can tell; what is known already goes on.
    """
    body = _delivery()
    keys = KeyDesk(SIGNER)
    keys.is_away = True
    async with upvest(sqlite_url, keys) as desk:
        assert 503 == await desk.send(body, headers=SIGNER.headers(body))
        assert {Outcome.UNVERIFIED: 1} == _outcomes(desk)


@pytest.mark.parametrize(
    "body", [b"", b"not JSON", b"[" * 200_000, b"[1]", b"{}", b'{"payload": {}}', b"\xff\xfe"]
)
async def test_what_is_genuine_and_no_delivery_blocks_nothing(sqlite_url: str, body: bytes) -> None:
    """
    200, counted: Upvest would repeat it for ever, and send nothing else.
    """
    async with upvest(sqlite_url) as desk:
        assert 200 == await desk.send(body, headers=SIGNER.headers(body))
        assert {Outcome.MALFORMED: 1} == _outcomes(desk)


async def test_a_ledger_that_is_away_lets_upvest_repeat(sqlite_url: str) -> None:
    """
    503 for the whole delivery; without any id in it there is nothing to write.
    """
    async with open_ledger(sqlite_url) as gone:
        await gone.heartbeat()
    body = _delivery(_event("e1", "x", id="w1"), _event("e2", "x"))
    async with upvest(sqlite_url, ledger=gone) as desk:
        assert 503 == await desk.send(body, headers=SIGNER.headers(body))
        assert {Outcome.NOT_WRITTEN: 1, Outcome.UNKNOWN: 1} == _outcomes(desk)


async def test_a_megabyte_of_events_is_one_delivery(migrated_url: str) -> None:
    """
    Thousands, each of another withdrawal's order; they are written before the answer, and fit.
    """
    async with upvest(migrated_url) as desk:
        row = await desk.withdrawal("req-1", "w1")
        count = 2000
        await second.write(
            migrated_url,
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n"  # noqa: S608
            f" WHERE i < {count - 1})"
            f" INSERT INTO sale_orders SELECT 'upvest', 'order-' || i, {row} FROM n",
        )
        events = [
            _event(f"e{n}", "ORDER.FILLED", id=f"order-{n}", pad="x" * 345) for n in range(count)
        ]
        body = _delivery(*events)
        tracemalloc.start()
        try:
            status = await desk.send(body, headers=SIGNER.headers(body))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert BODY_LIMIT * 0.9 < len(body) <= BODY_LIMIT
        assert 200 == status
        assert {Outcome.HEARD: count} == _outcomes(desk)
        assert count == len(await desk.written())
        assert peak < 16 * BODY_LIMIT


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, 403),
        (0, "192.0.2.7", 403),
        (1, None, 403),
        (1, "192.0.2.7", 200),
        (1, "192.0.2.7, 198.51.100.1", 403),
        (2, "203.0.113.9, 192.0.2.7, 198.51.100.1", 200),
        (2, "192.0.2.7", 403),
    ],
)
async def test_only_listed_addresses_are_listened_to(
    sqlite_url: str, proxies: int, forwarded: str | None, expected: int
) -> None:
    """
    The peer's own, or the one our proxies tell; what a stranger writes to the left means nothing.
    """
    body = _delivery()
    headers = SIGNER.headers(body) | ({"X-Forwarded-For": forwarded} if forwarded else {})
    sources = [ip_network("192.0.2.7")]
    async with upvest(sqlite_url, proxies=proxies, sources=sources) as desk:
        assert expected == await desk.send(body, headers=headers)
        assert {Outcome.UNKNOWN if expected == 200 else Outcome.FOREIGN: 1} == _outcomes(desk)


async def test_without_proxies_the_peer_counts(sqlite_url: str) -> None:
    """
    Here that is this machine itself.
    """
    body = _delivery()
    async with upvest(sqlite_url, sources=[ip_network("127.0.0.0/8")]) as desk:
        assert 200 == await desk.send(body, headers=SIGNER.headers(body))


def _event(event_id: str, kind: str, **resource: Any) -> dict[str, Any]:  # noqa: ANN401
    at = "2026-03-02T09:15:05Z"
    return {
        "id": event_id,
        "created_at": at,
        "type": kind,
        "object": resource,
        "webhook_id": "a1b2c3d4-0000-4000-8000-1234567890ab",
    }


def _delivery(*events: object) -> bytes:
    return json.dumps({"payload": events}).encode()


def _outcomes(desk: Desk) -> dict[Outcome, int]:
    return {outcome: count for (_, outcome), count in desk.told.items()}
