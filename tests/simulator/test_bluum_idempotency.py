"""Idempotency keys over real HTTP: what protects, for how long, and what does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.simulator.talk import LONG, PLAIN, error, talking
from worker.simulator.bluum_terms import ReplayAnswer


async def test_a_repeated_call_gets_the_original_response() -> None:
    """
    Same key and body: 201 with the same bytes, even after the withdrawal has moved on.
    """
    async with talking() as talk:
        first = await talk.create()
        await talk.cancel(first.json()["id"])
        await talk.advance(LONG)
        second = await talk.create()
        record = await talk.record()

    assert (201, first.content) == (second.status_code, second.content)
    assert 1 == record["counters"]["replays"]
    assert ["withdrawal", "cancel"] == [effect["effect"] for effect in record["effects"]]


async def test_a_repeated_call_may_get_a_conflict() -> None:
    """
    With `replay_answer` conflict the repeat is a 409-001 that executes nothing.
    """
    terms = replace(PLAIN.terms, replay_answer=ReplayAnswer.CONFLICT)
    async with talking(replace(PLAIN, terms=terms)) as talk:
        await talk.create()
        second = await talk.create()
        record = await talk.record()

    assert (409, "BLUM-409-001", "Idempotency-Key") == error(second)
    assert 1 == len(record["effects"])


async def test_a_key_with_another_body_is_a_conflict() -> None:
    """
    409-002 when the body differs, be it by a blank: bodies are compared byte by byte.
    """
    async with talking() as talk:
        path, headers = "/investors/inv_01/withdrawals", {"Idempotency-Key": "wd-1"}
        body = b'{"amount":"1.00","method":"ach","funding_source_id":"fs_1"}'
        await talk.http.post(path, content=body, headers=headers)
        blank = await talk.http.post(path, content=body + b" ", headers=headers)

    assert (409, "BLUM-409-002", "Idempotency-Key") == error(blank)
    assert "idempotency_error" == blank.json()["error"]["type"]


async def test_a_key_executes_again_after_a_day() -> None:
    """
    The danger itself: 24 hours later the same call pays a second time.
    """
    async with talking() as talk:
        first = await talk.create()
        await talk.advance(24 * 3600)
        second = await talk.create()
        await talk.advance(LONG)
        wallet = await talk.wallet()

    assert first.json()["id"] != second.json()["id"]
    assert "999498.50" == wallet["balance"]


async def test_concurrent_calls_with_one_key_execute_once() -> None:
    """
    Twenty at the same time: one withdrawal, twenty equal answers.
    """
    async with talking() as talk:
        responses = await asyncio.gather(*(talk.create() for _ in range(20)))
        record = await talk.record()

    assert 1 == len({response.content for response in responses})
    assert 1 == len(record["effects"])
    assert 19 == record["counters"]["replays"]


async def test_the_key_is_optional() -> None:
    """
    Without the header, or with an empty one, each call executes and the record shows no key.
    """
    async with talking() as talk:
        await talk.create(key=None)
        await talk.create(key="")
        record = await talk.record()

    assert [None, None] == [effect["idempotency_key"] for effect in record["effects"]]
