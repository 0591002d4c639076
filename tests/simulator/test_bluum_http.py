"""What happens to a call around its answer: credentials, limit, latency, faults, outage."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from tests.no_tls import NO_TLS
from tests.simulator.talk import PLAIN, Talk, talking
from worker.simulator.bluum_server import BluumOptions
from worker.simulator.faults import Fault, Faults, Reach, read_faults

PATH = "/v1/investors/inv_01"


def basic(text: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "BLUM-401-001"),
        ("", "BLUM-401-002"),
        ("Basic", "BLUM-401-002"),
        ("Basic %%%", "BLUM-401-002"),
        (basic("no colon"), "BLUM-401-002"),
        ("Bearer " + basic("simulator-key:simulator-secret").split()[1], "BLUM-401-002"),
        (basic("simulator-key:wrong"), "BLUM-401-003"),
        (basic("wrong:simulator-secret"), "BLUM-401-003"),
    ],
)
async def test_credentials_are_checked(header: str | None, code: str) -> None:
    """
    Missing, malformed and wrong credentials each have their code.
    """
    async with talking() as talk, httpx.AsyncClient(trust_env=False, verify=NO_TLS) as stranger:
        headers = {} if header is None else {"Authorization": header}
        response = await stranger.get(f"{talk.server.origin}{PATH}", headers=headers)

    assert (401, code) == (response.status_code, response.json()["error"]["code"])
    assert "authentication_error" == response.json()["error"]["type"]
    assert response.headers["X-Request-Id"]


async def test_other_credentials_can_be_set() -> None:
    """
    Key and secret are options; the secret may hold a colon.
    """
    async with talking(replace(PLAIN, api_key="k", api_secret="s:t")) as talk:
        response = await talk.get("/investors/inv_01")

    assert 200 == response.status_code


async def test_every_answer_has_a_request_id_of_its_own() -> None:
    """
    Support asks for it, so it is on successes, refusals and control calls alike.
    """
    async with talking() as talk:
        responses = [
            await talk.create(),
            await talk.create(amount="0"),
            await talk.get("/nowhere"),
            await talk.control("GET", "healthz"),
            await talk.control("GET", "nowhere"),
        ]

    assert 5 == len({response.headers["X-Request-Id"] for response in responses})


async def test_calls_above_the_limit_are_turned_away() -> None:
    """
    429-001 with Retry-After for what exceeds the second; a second later calls pass again.
    """
    async with talking(replace(PLAIN, rate_limit=5)) as talk:
        responses = [await talk.create(key=f"wd-{n}") for n in range(7)]
        await talk.advance(1)
        later = await talk.create(key="wd-7")
        record = await talk.record()

    assert [201] * 5 + [429] * 2 == [response.status_code for response in responses]
    assert "BLUM-429-001" == responses[6].json()["error"]["code"]
    assert "1" == responses[6].headers["Retry-After"]
    assert 201 == later.status_code
    assert 2 == record["counters"]["rate_limited"]
    assert 7 == record["counters"]["busiest_second"]
    assert 6 == len(record["effects"])


async def test_production_allows_twenty_five_calls_a_second() -> None:
    """
    The default limit is that of production.
    """
    assert 25 == BluumOptions().rate_limit


async def test_latency_passes_before_the_effect_and_a_client_that_left_does_not_stop_it() -> None:
    """
    A client that lost patience during the latency finds its withdrawal executed.
    """
    options = replace(PLAIN, latency=timedelta(seconds=0.3))
    async with talking(options, patience=0.1) as talk:
        with pytest.raises(httpx.ReadTimeout):
            await talk.create()
        before = len(talk.server.bank.effects)
        # A call made now answers after the first has taken effect.
        await talk.http.get("/investors/inv_01", timeout=5)
        after = len(talk.server.bank.effects)

    assert (0, 1) == (before, after)


def certain(fault: Fault) -> Faults:
    """Return faults of which one strikes every create."""
    return read_faults({fault: 1.0})


async def executed(talk: Talk) -> int:
    """Return how many withdrawals were executed."""
    return len((await talk.record())["effects"])


@pytest.mark.parametrize(("fault", "effects"), [(Fault.DROP_BEFORE, 0), (Fault.DROP_AFTER, 1)])
async def test_a_dropped_connection_tells_nothing_about_the_effect(
    fault: Fault, effects: int
) -> None:
    """
    The connection is cut without an answer, before or after the withdrawal was executed.
    """
    async with talking(replace(PLAIN, faults=certain(fault))) as talk:
        with pytest.raises(httpx.TransportError):
            await talk.create()
        record = await talk.record()

    assert effects == len(record["effects"])
    assert {fault: 1} == record["counters"]["faults"]
    assert {"unanswered": 1} == record["counters"]["responses"]


@pytest.mark.parametrize(("fault", "effects"), [(Fault.ERROR_BEFORE, 0), (Fault.ERROR_AFTER, 12)])
async def test_an_error_tells_nothing_about_the_effect(fault: Fault, effects: int) -> None:
    """
    500 in the envelope, or 502 or 503 without JSON, before or after the execution.
    """
    async with talking(replace(PLAIN, faults=certain(fault))) as talk:
        responses = [await talk.create(key=f"wd-{n}") for n in range(12)]
        count = await executed(talk)

    assert effects == count
    assert {500, 502, 503} == {response.status_code for response in responses}
    for response in responses:
        if response.status_code == 500:
            assert "BLUM-500-001" == response.json()["error"]["code"]
        else:
            with pytest.raises(json.JSONDecodeError):
                response.json()


@pytest.mark.parametrize(("fault", "effects"), [(Fault.HANG_BEFORE, 0), (Fault.HANG_AFTER, 1)])
async def test_a_hanging_call_ends_when_its_client_leaves(fault: Fault, effects: int) -> None:
    """
    There is no answer until the client gives up, before or after the execution.
    """
    async with talking(replace(PLAIN, faults=certain(fault)), patience=0.1) as talk:
        with pytest.raises(httpx.ReadTimeout):
            await talk.create()
        count = await executed(talk)
        async with asyncio.timeout(5):
            while not (await talk.record())["counters"]["responses"]:
                pass

    assert effects == count


async def test_a_body_that_never_ends_gets_no_answer() -> None:
    """
    A client that leaves in the middle of its body has asked for nothing.
    """
    async with talking() as talk:
        _, writer = await asyncio.open_connection("127.0.0.1", talk.server.port)
        head = f"POST {PATH}/withdrawals HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        credentials = basic("simulator-key:simulator-secret")
        writer.write(f'{head}Authorization: {credentials}\r\n\r\n{{"amount":'.encode())
        await writer.drain()
        async with asyncio.timeout(5):
            while not talk.server.simulation.traffic.requests:
                await talk.control("GET", "healthz")
            writer.close()
            await writer.wait_closed()
            while not talk.server.simulation.traffic.responses:
                await talk.control("GET", "healthz")
        record = await talk.record()

    assert {"unanswered": 1} == record["counters"]["responses"]
    assert [] == record["effects"]


async def test_a_hanging_call_does_not_keep_the_server_from_closing() -> None:
    """
    When the server closes, whoever hangs is let go at once.
    """
    loop = asyncio.get_running_loop()
    async with talking(replace(PLAIN, faults=Faults(hang_before=1.0))) as talk:
        hanging = asyncio.create_task(talk.create())
        async with asyncio.timeout(5):
            while not talk.server.simulation.traffic.faults:
                await talk.control("GET", "healthz")
        closed_at = loop.time()

    with pytest.raises(httpx.TransportError):
        await hanging
    assert loop.time() - closed_at < 3


async def test_garbage_hides_a_success() -> None:
    """
    201 and an executed withdrawal, but a body that is cut in half or is another's page.
    """
    async with talking(replace(PLAIN, faults=Faults(garbage_after=1.0))) as talk:
        responses = [await talk.create(key=f"wd-{n}") for n in range(12)]
        count = await executed(talk)

    assert 12 == count
    assert {201} == {response.status_code for response in responses}
    assert {"application/json", "text/html; charset=utf-8"} == {
        response.headers["Content-Type"] for response in responses
    }
    for response in responses:
        with pytest.raises(json.JSONDecodeError):
            response.json()


async def test_garbage_leaves_a_refusal_alone() -> None:
    """
    A refused create is answered as ever: garbage claims a success that was one.
    """
    async with talking(replace(PLAIN, faults=Faults(garbage_after=1.0))) as talk:
        response = await talk.create(amount="0")
        record = await talk.record()

    assert "BLUM-400-005" == response.json()["error"]["code"]
    assert {} == record["counters"]["faults"]


async def test_an_unknown_status_appears_in_what_is_read() -> None:
    """
    Only a single withdrawal that is read has it; create and list tell the truth.
    """
    async with talking(replace(PLAIN, faults=Faults(unknown_status=1.0))) as talk:
        created = (await talk.create()).json()
        read = (await talk.get(f"/investors/inv_01/withdrawals/{created['id']}")).json()
        listed = (await talk.get("/investors/inv_01/withdrawals")).json()["data"]
        missing = await talk.get("/investors/inv_01/withdrawals/wd_none")
        record = await talk.record()

    assert created | {"status": "in_review"} == read
    assert [created] == listed
    assert 404 == missing.status_code
    assert {"unknown_status": 1} == record["counters"]["faults"]


@pytest.mark.parametrize(
    ("calls", "create", "read", "cancel"),
    [
        (Reach.CREATES, False, True, True),
        (Reach.READS, True, False, True),
        (Reach.ALL, False, False, False),
    ],
)
async def test_faults_strike_the_calls_they_are_for(
    calls: Reach, *, create: bool, read: bool, cancel: bool
) -> None:
    """
    Shares are shares of creates, of reads, or of all calls.
    """
    async with talking() as talk:
        withdrawal_id = (await talk.create()).json()["id"]
        talk.server.set_faults(Faults(error_before=1.0, calls=calls))
        answered = [
            await talk.create(key="wd-2"),
            await talk.get("/investors/inv_01"),
            await talk.cancel(withdrawal_id),
        ]

    assert [create, read, cancel] == [response.is_success for response in answered]


async def test_faults_repeat_under_a_seed() -> None:
    """
    The same calls meet the same faults in another run, whatever else was asked in between.
    """

    async def run(*, reads: int) -> list[int]:
        async with talking(replace(PLAIN, faults=Faults(error_after=0.5))) as talk:
            statuses = []
            for number in range(30):
                statuses.append((await talk.create(key=f"wd-{number}")).status_code)
                for _ in range(reads):
                    await talk.get("/investors/inv_01")
            return statuses

    first = await run(reads=0)

    assert first == await run(reads=2)
    assert 1 < first.count(201) < 29


async def test_an_outage_answers_everything_until_it_is_switched_off() -> None:
    """
    503 without JSON for every call, good credentials or not; control calls still work.
    """
    async with talking() as talk:
        await talk.control("PUT", "faults", outage=True)
        during = [await talk.create(), await talk.get("/investors/inv_01"), await talk.get("/x")]
        await talk.control("PUT", "faults", outage=False)
        afterwards = await talk.create()
        record = await talk.record()

    assert [503] * 3 == [response.status_code for response in during]
    assert 201 == afterwards.status_code
    assert {"outage": 3} == record["counters"]["faults"]
