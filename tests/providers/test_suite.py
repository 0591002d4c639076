"""What every provider is held to: the sentences that the flows and the core rely on.

Each runs once a row of `stages.ROWS`. What a company's own words mean stands in its own tests."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.providers.builders import NOW, PATIENCE, a_held, a_permit
from tests.providers.canned import Drip, Raw, Said
from tests.providers.stages import ROWS, Options, Row, until
from worker.core.answers import (
    Conflicted,
    Entry,
    Listed,
    Refused,
    Reported,
    Unclear,
)
from worker.core.decide import says_cancelled
from worker.core.lookup import candidates
from worker.core.withdrawal import ReasonCode, Status
from worker.simulator.faults import BEFORE, Fault

if TYPE_CHECKING:
    from tests.providers.canned import Answer
    from worker.core.answers import ListAnswer
    from worker.providers.contract import Provider

pytestmark = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

DAY = timedelta(days=1)
YESTERDAY, TOMORROW = (NOW - DAY).date(), (NOW + DAY).date()
#: A client's patience with a server that says nothing.
SHORT = timedelta(seconds=0.3)


async def listed(provider: Provider, party_id: str) -> ListAnswer:
    """Look through the list of the days around now."""
    return await provider.listed(party_id, YESTERDAY, TOMORROW)


async def test_a_create_call_reports(row: Row) -> None:
    """
    A withdrawal is carried out once, and its id and status are reported.
    """
    async with row.staged() as stage:
        answer = await stage.provider.create(stage.permit())

        assert isinstance(answer, Reported)
        assert Status.PENDING is answer.status
        assert answer.withdrawal_id
        assert answer.trace.request_id
        assert 1 == stage.company.executed()


async def test_a_repeat_returns_the_original(row: Row) -> None:
    """
    The same permit sent three times is one withdrawal, reported three times.
    """
    async with row.staged() as stage:
        permit = stage.permit()
        answers = [await stage.provider.create(permit) for _ in range(3)]

        assert 1 == len({a.withdrawal_id for a in answers if isinstance(a, Reported)})
        assert all(isinstance(answer, Reported) for answer in answers)
        assert 1 == stage.company.executed()


async def test_key_and_bytes_are_the_same_in_each_attempt(row: Row) -> None:
    """
    What was committed is what is sent, however often: another body would be another payout.
    """
    async with row.staged() as stage, row.canned(Said(503)) as server:
        permit = stage.permit()
        async with row.opened(server.base_url, Options()) as provider:
            for _ in range(3):
                await provider.create(permit)

    sent = [(heard.headers["Idempotency-Key"], heard.body) for heard in server.heard]
    assert [(row.written_key(permit.idempotency_key), permit.body)] * 3 == sent


async def test_repeats_at_once_execute_once(row: Row) -> None:
    """
    Replicas that send the same permit at the same moment pay once.
    """
    async with row.staged() as stage:
        permit = stage.permit()
        await asyncio.gather(*(stage.provider.create(permit) for _ in range(20)))

        assert 1 == stage.company.executed()


async def test_other_bytes_under_a_known_key_conflict(row: Row) -> None:
    """
    A key that comes with another body is a conflict, and nothing is carried out.
    """
    async with row.staged() as stage:
        await stage.provider.create(stage.permit(amount="250.75"))
        answer = await stage.provider.create(stage.permit(amount="250.76"))

        assert isinstance(answer, Conflicted)
        assert 1 == stage.company.executed()


async def test_one_entry_is_as_the_list_shows_it(row: Row) -> None:
    """
    Amount, currency and our reference: a person who points to an id is checked by the same facts.
    """
    async with row.staged() as stage:
        created = await stage.provider.create(stage.permit())
        assert isinstance(created, Reported)
        found = await listed(stage.provider, row.party)
        entry = await stage.provider.entry(row.party, created.withdrawal_id)

    assert isinstance(found, Listed)
    assert isinstance(entry, Entry)
    assert found.entries == (replace(entry, reported=found.entries[0].reported),)
    assert created.withdrawal_id == entry.reported.withdrawal_id
    asked = row.request()
    assert (asked.amount, asked.currency) == (Decimal(entry.amount or ""), entry.currency)


async def test_an_entry_that_is_not_a_partys_is_not_found(row: Row) -> None:
    """
    A mistyped id, or one of somebody else: the provider does not know it.
    """
    async with row.staged() as stage:
        created = await stage.provider.create(stage.permit())
        assert isinstance(created, Reported)
        answers = [
            await stage.provider.entry(row.party, row.unknown_id),
            await stage.provider.entry(row.other_party, created.withdrawal_id),
        ]

    assert [ReasonCode.NOT_FOUND] * 2 == [
        answer.reason.code for answer in answers if isinstance(answer, Refused)
    ]


@pytest.mark.parametrize("fault", Fault)
async def test_silence_is_unclear_and_the_list_tells(row: Row, fault: Fault) -> None:
    """
    However a call is struck, it is unclear; the list shows exactly what happened behind it.
    """
    patience = SHORT if fault.startswith("hang") else timedelta(seconds=20)
    async with row.staged(Options(timeout=patience)) as stage:
        stage.company.strike(**{fault: 1.0})
        effects = 0 if fault in BEFORE else 1
        held = stage.held()
        answer = await stage.provider.create(stage.permit())
        await until(lambda: stage.company.executed() == effects)
        stage.company.strike()
        found = await listed(stage.provider, row.party)

    assert isinstance(answer, Unclear)
    assert isinstance(found, Listed)
    assert effects == len(candidates(held.withdrawal, found.entries, window=PATIENCE.window).ours)


@pytest.mark.parametrize("fault", Fault)
async def test_a_repeat_after_silence_pays_once(row: Row, fault: Fault) -> None:
    """
    Whatever the first attempt did, the second one with the same permit ends the doubt.
    """
    patience = SHORT if fault.startswith("hang") else timedelta(seconds=20)
    async with row.staged(Options(timeout=patience)) as stage:
        stage.company.strike(**{fault: 1.0})
        permit = stage.permit()
        await stage.provider.create(permit)
        stage.company.strike()
        async with row.opened(stage.company.base_url, Options()) as patient:
            answer = await patient.create(permit)

        assert isinstance(answer, Reported)
        assert 1 == stage.company.executed()


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.GARBAGE_AFTER])
async def test_no_kind_of_brokenness_is_a_word_about_money(row: Row, fault: Fault) -> None:
    """
    500, 502 and 503, half bodies and other people's pages: all unclear.
    """
    async with row.staged() as stage:
        stage.company.strike(**{fault: 1.0})
        answers = [await stage.provider.create(stage.permit(f"req-{n}")) for n in range(16)]

    assert {Unclear} == {type(answer) for answer in answers}
    statuses = {answer.trace.http_status or 0 for answer in answers}
    assert {500, 502, 503} == statuses or {2} == {status // 100 for status in statuses}


BROKEN: dict[str, Answer] = {
    "no body": Said(201),
    # Not 204: that is how one company answers a cancellation.
    "no content": Said(205),
    "text": Said(201, b"OK"),
    "list": Said(201, [{"id": "wd_01", "status": "pending"}]),
    "string": Said(201, "wd_01"),
    "null": Said(201, None),
    "empty object": Said(201, {}),
    "odd values": Said(
        201, {"id": {}, "withdrawal_id": [], "status": [], "data": {}, "total": {}, "has_more": []}
    ),
    "odd entries": Said(
        201, {"status": {}, "data": [[], 7, None, {}], "meta": [], "total": True, "error": 7}
    ),
    "truncated": Said(201, b'{"id":"wd_01","status":"pen'),
    "deep": Said(201, b"[" * 100_000),
    "not UTF-8": Said(201, b'{"id":"wd_01","status":"\xff"}'),
    "page": Said(200, b"<html>It works!</html>", {"Content-Type": "text/html"}),
    "not found page": Said(404, b"<html>404</html>", {"Content-Type": "text/html"}),
    "forbidden page": Said(403, b"<html>blocked</html>", {"Content-Type": "text/html"}),
    "bad request page": Said(400, b"<html>400</html>", {"Content-Type": "text/html"}),
    "gateway's 403": Said(403, {"message": "Forbidden"}),
    "lying about gzip": Said(201, b'{"id":"wd_01"}', {"Content-Encoding": "gzip"}),
    "redirect": Said(302, headers={"Location": "/v1/elsewhere"}),
    "redirect of a post": Said(307, headers={"Location": "/v1/elsewhere"}),
    "redirect to nonsense": Said(308, headers={"Location": "http://[::/"}),
    "request timeout": Said(408),
    "gone": Said(410),
    "teapot": Said(418, {"error": {"message": "short and stout"}}),
    "internal error": Said(500, {"error": {"code": "X-500", "message": "sorry"}}),
    "bad gateway": Said(502, b"<html>502</html>"),
    "unavailable": Said(503, headers={"Retry-After": "7"}),
    "gateway timeout": Said(504),
    "nothing": Raw(b""),
    "not HTTP": Raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "half a head": Raw(b"HTTP/1.1 201 Created\r\nContent-Type: appli"),
    "half a body": Raw(b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"id":"wd_01",'),
    "half a chunk": Raw(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"),
    "endless head": Raw(b"HTTP/1.1 201 Created\r\nX: " + b"x" * 100_000),
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_what_cannot_be_read_is_unclear(row: Row, said: Answer) -> None:
    """
    To every call, and never a refusal; none of them is sent a second time, or elsewhere.
    """
    async with row.staged() as stage, row.canned(said) as server:
        permit = stage.permit()
        async with row.opened(server.base_url, Options()) as provider:
            created = await provider.create(permit)
            heard = len(server.heard)
            others = [
                await provider.look(row.party, row.unknown_id),
                await provider.cancel(row.party, row.unknown_id),
                await listed(provider, row.party),
            ]
            accepted = await provider.try_credentials()

    assert isinstance(created, Unclear)
    assert 1 == heard
    assert {Unclear} == {type(answer) for answer in others}
    assert accepted is None


async def test_a_body_without_an_end_is_unclear(row: Row) -> None:
    """
    Neither a flood nor a trickle is read to its end.
    """
    flood = Said(201, b" " * 5_000_000 + b'{"id":"wd_01","status":"pending"}')
    async with row.staged() as stage, row.canned(flood, Drip()) as server:
        permit = stage.permit()
        async with row.opened(server.base_url, Options()) as provider:
            oversized = await provider.create(permit)
        async with row.opened(server.base_url, Options(timeout=SHORT)) as hasty:
            trickling = await hasty.create(permit)

    assert (Unclear("oversized"), Unclear("timeout")) == (oversized, trickling)


async def test_no_server_is_unclear(row: Row) -> None:
    """
    Where nobody listens, nothing is refused, the credentials least of all.
    """
    async with AsyncExitStack() as stack:
        async with row.company() as company:
            provider = await stack.enter_async_context(row.opened(company.base_url, Options()))
            assert await provider.try_credentials() is True
        answer = await provider.create(a_permit(a_held(provider, row.request())))
        accepted = await provider.try_credentials()

    assert Unclear("connection") == answer
    assert accepted is None


async def test_an_unknown_status_is_survived(row: Row) -> None:
    """
    A word that nobody documented is kept and says nothing; the id stays.
    """
    async with row.staged() as stage:
        created = await stage.provider.create(stage.permit())
        assert isinstance(created, Reported)
        stage.company.strike(unknown_status=1.0)
        seen = await stage.provider.look(row.party, created.withdrawal_id)

    assert isinstance(seen, Reported)
    assert (created.withdrawal_id, None) == (seen.withdrawal_id, seen.status)
    assert seen.provider_status


async def test_a_look_tells_what_a_cancellation_did(row: Row) -> None:
    """
    Pending before it, and cancelled after it, whatever it was answered with.

    A second one is refused, or told to be done already.
    """
    async with row.staged() as stage:
        created = await stage.provider.create(stage.permit())
        assert isinstance(created, Reported)
        identity = created.withdrawal_id
        seen = await stage.provider.look(row.party, identity)
        cancelled = await stage.provider.cancel(row.party, identity)
        after = await stage.provider.look(row.party, identity)
        again = await stage.provider.cancel(row.party, identity)

    assert isinstance(seen, Reported)
    assert isinstance(after, Reported)
    assert (identity, Status.PENDING) == (seen.withdrawal_id, seen.status)
    assert isinstance(cancelled, Reported | Unclear)
    assert (identity, Status.CANCELLED) == (after.withdrawal_id, after.status)
    assert isinstance(again, Conflicted | Refused) or says_cancelled(again)


async def test_a_list_tells_all_and_only_of_the_party(row: Row) -> None:
    """
    Three withdrawals of a party are listed with what they are recognised by; another's are not.
    """
    async with row.staged() as stage:
        for number in range(3):
            await stage.provider.create(stage.permit(f"req-{number}", amount=f"{number + 1}.00"))
        mine = await listed(stage.provider, row.party)
        empty = await listed(stage.provider, row.other_party)
        held = stage.held("req-1", amount="2.00")

    assert isinstance(mine, Listed)
    assert [1, 2, 3] == sorted(Decimal(entry.amount or "0") for entry in mine.entries)
    assert 1 == len(candidates(held.withdrawal, mine.entries, window=PATIENCE.window).ours)
    assert Listed(()) == empty
