"""Webhooks as they arrive: which ones, how they are signed, and what comes of those that do not.

The receiver is a real server; nobody waits for a pause, the simulator's clock is put forward."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.simulator.receiver import PATIENCE, Letter, Receiver, receiving
from tests.simulator.talk import LONG, PLAIN, Talk, talking
from worker.simulator.bluum_webhooks import (
    Algorithm,
    Encoding,
    EventKey,
    SignedContent,
    WebhookTerms,
)
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET: Final = "whsec_of_the_test"
INITIATED: Final = "transfer.withdrawal.initiated"
COMPLETED: Final = "transfer.withdrawal.completed"
FAILED: Final = "transfer.withdrawal.failed"
#: Nobody waits for it: the clock is put forward.
PAUSE: Final = 100


@asynccontextmanager
async def told(
    *,
    faults: Faults | None = None,
    fill_delay: float = 0,
    **terms: Any,  # noqa: ANN401 - any term
) -> AsyncIterator[tuple[Talk, Receiver]]:
    """Serve with one subscriber to everything."""
    async with receiving() as receiver:
        pauses = (timedelta(seconds=PAUSE),) * 2
        options = replace(
            PLAIN,
            faults=faults or Faults(),
            terms=replace(PLAIN.terms, fill_delay=timedelta(seconds=fill_delay)),
            webhooks=WebhookTerms(
                **{"url": receiver.url, "secret": SECRET, "retry_delays": pauses} | terms
            ),
        )
        async with talking(options) as talk:
            yield talk, receiver


async def attempts(talk: Talk) -> list[tuple[str, int, str, int | None]]:
    """Return event, number, outcome and status of every attempt in the record."""
    return [
        (found["event"], found["attempt"], found["outcome"], found["http_status"])
        for found in (await talk.record())["webhooks"]
    ]


async def noted(talk: Talk, count: int) -> list[tuple[str, int, str, int | None]]:
    """Wait until the record has so many attempts: an answer is noted after it was given."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await attempts(talk)) < count:
            pass
    return found


async def test_a_withdrawal_is_told_from_begin_to_end() -> None:
    """
    Its creation and its end, in order, with the documented body, as soon as the clock says so.
    """
    async with told() as (talk, receiver):
        created = (await talk.create()).json()
        await receiver.heard(1)
        await talk.advance(LONG)
        events = await receiver.heard(2)

    first, second = (letter.document for letter in receiver.letters)
    assert [INITIATED, COMPLETED] == events
    assert {
        "event": INITIATED,
        "timestamp": created["initiated_at"],
        "data": {
            "id": created["id"],
            "investor_id": "inv_01",
            "status": "pending",
            "amount": "250.75",
            "currency": "USD",
        },
    } == first
    assert (created["id"], "completed") == (second["data"]["id"], second["data"]["status"])


async def test_processing_and_cancelled_are_not_told() -> None:
    """
    There is no event for a cancellation; the next one told is another withdrawal's.
    """
    async with told() as (talk, receiver):
        created = (await talk.create()).json()
        await talk.cancel(created["id"])
        await talk.advance(LONG)
        await talk.create("inv_failing_1", key="wd-2")
        await talk.advance(LONG)
        events = await receiver.heard(3)

    assert [INITIATED, INITIATED, FAILED] == events


@pytest.mark.parametrize(
    ("symbol", "events"),
    [
        ("AAPL", ["order.accepted", "order.filled"]),
        ("SIM.PARTIAL", ["order.accepted", "order.partially_filled", "order.filled"]),
        ("SIM.CUT", ["order.accepted", "order.partially_filled", "order.canceled"]),
        ("SIM.FAILED", ["order.accepted", "order.rejected"]),
    ],
)
async def test_an_order_is_told_at_every_step(symbol: str, events: list[str]) -> None:
    """
    In the older words, and with what was filled by then.
    """
    async with told(fill_delay=PAUSE) as (talk, receiver):
        order = (await talk.place(symbol=symbol, quantity="4")).json()
        await talk.advance(2 * PAUSE)
        heard = await receiver.heard(len(events))

    assert events == heard
    last = receiver.letters[-1].document["data"]
    assert (order["id"], events[-1].removeprefix("order."), "sell-1") == (
        last["id"],
        last["status"],
        last["client_order_id"],
    )


async def test_only_what_was_subscribed_is_told() -> None:
    """
    A wildcard means its whole family, a name itself alone, and an inactive one hears nothing.
    """
    async with told(url=None) as (talk, receiver):
        ids = [
            (
                await talk.http.post("/webhooks", json={"name": "x", "url": receiver.url} | extra)
            ).json()["data"]["id"]
            for extra in ({"eventTypeNames": ["order.filled"]}, {"eventTypeNames": ["transfer.*"]})
        ]
        await talk.http.patch(f"/webhooks/{ids[1]}", json={"status": "INACTIVE"})
        await talk.create()
        await talk.http.patch(f"/webhooks/{ids[1]}", json={"status": "ACTIVE"})
        await talk.place()
        await receiver.heard(1)
        await talk.create(key="wd-2")
        events = await receiver.heard(2)

    assert ["order.filled", INITIATED] == events


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("content", list(SignedContent))
async def test_a_delivery_is_signed_as_the_terms_say(
    algorithm: Algorithm, encoding: Encoding, content: SignedContent
) -> None:
    """
    The HMAC over body or timestamp and body, written as asked for, behind its prefix; real time.
    """
    async with told(
        algorithm=algorithm,
        encoding=encoding,
        signed_content=content,
        header="X-Signed",
        prefix="v1=",
        timestamp_header="X-At",
    ) as (talk, receiver):
        await talk.advance(LONG)
        await talk.create()
        await receiver.heard(1)

    letter = receiver.letters[0]
    assert abs(time.time() - int(letter.headers["X-At"])) < LONG / 2
    assert "v1=" + _signature(letter, algorithm, encoding, content) == letter.headers["X-Signed"]


def _signature(
    letter: Letter, algorithm: Algorithm, encoding: Encoding, content: SignedContent
) -> str:
    at = letter.headers["X-At"].encode() + b"."
    signed = letter.body if content is SignedContent.BODY else at + letter.body
    digest = hmac.new(SECRET.encode(), signed, algorithm.value).digest()
    return digest.hex() if encoding is Encoding.HEX else base64.b64encode(digest).decode()


async def test_the_other_spelling_of_the_event() -> None:
    """
    With `event_type` as the key there is no `event`.
    """
    async with told(event_key=EventKey.EVENT_TYPE) as (talk, receiver):
        await talk.place(symbol="SIM.RESTING")
        await talk.create()
        await noted(talk, 2)

    assert {"order.accepted", INITIATED} == {
        letter.document["event_type"] for letter in receiver.letters
    }
    assert all("event" not in letter.document for letter in receiver.letters)


async def test_what_is_not_taken_comes_again_and_is_given_up() -> None:
    """
    The same bytes after each pause, until a 2xx or the last pause; the record tells each attempt.
    """
    async with told() as (talk, receiver):
        receiver.answers, found = [500, 302, 404, 503, 204], []
        # After the third attempt there is none; the next ones are another order's.
        for key, count in (("given up", 1), (None, 2), (None, 3), ("taken", 4), (None, 5)):
            if key is not None:
                await talk.place(key=key, symbol="SIM.RESTING")
            found = await noted(talk, count)
            await talk.advance(PAUSE)

    accepted = "order.accepted"
    assert [
        (accepted, 1, "refused", 500),
        (accepted, 2, "refused", 302),
        (accepted, 3, "refused", 404),
        (accepted, 1, "refused", 503),
        (accepted, 2, "delivered", 204),
    ] == found
    assert 2 == len({letter.body for letter in receiver.letters})


async def test_nobody_there_is_no_answer() -> None:
    """
    A receiver that cannot be reached is noted and tried again.
    """
    async with told(url="http://127.0.0.1:1/hooks") as (talk, _):
        await talk.create()
        await noted(talk, 1)
        await talk.advance(PAUSE)
        found = await noted(talk, 2)

    assert (INITIATED, 1, "unanswered", None) == found[0]


async def test_a_lost_delivery_never_arrives() -> None:
    """
    The fault is on the record, and what comes later is delivered.
    """
    async with told(faults=Faults(webhook_lost=1.0)) as (talk, receiver):
        await talk.create()
        talk.server.set_faults(Faults())
        await talk.advance(LONG)
        events = await receiver.heard(1)
        found = await noted(talk, 2)
        counters = (await talk.record())["counters"]

    assert [COMPLETED] == events
    assert {"lost": 1, "delivered": 1} == counters["webhooks"]
    assert [(INITIATED, 1, "lost", None), (COMPLETED, 1, "delivered", 200)] == found


async def test_a_doubled_delivery_arrives_twice() -> None:
    """
    Twice the same bytes, without any mark that would tell them apart.
    """
    async with told(faults=Faults(webhook_doubled=1.0)) as (talk, receiver):
        await talk.create()
        await receiver.heard(2)

    first, second = receiver.letters
    assert first == second


async def test_a_delayed_delivery_is_overtaken() -> None:
    """
    The end of a withdrawal may be told before its beginning.
    """
    late = timedelta(seconds=2 * LONG)
    async with told(faults=Faults(webhook_delayed=1.0), delay=late) as (talk, receiver):
        await talk.create()
        talk.server.set_faults(Faults())
        await talk.advance(LONG)
        await receiver.heard(1)
        await talk.advance(2 * LONG)
        events = await receiver.heard(2)

    assert [COMPLETED, INITIATED] == events
