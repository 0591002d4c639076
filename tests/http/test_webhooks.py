"""Webhooks over real HTTP, with a real ledger behind: what is heard, and what cannot hurt."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import Final

import httpx
import pytest

from tests.http.webhook_desk import (
    LIMIT_SECONDS,
    SCHEME,
    SECRET,
    a_desk,
    ago,
    delivery,
    signature,
)
from tests.ledger import second
from worker.core.signatures import SignedContent
from worker.flows.hearing import Outcome
from worker.http.webhooks import (
    BODY_LIMIT,
    CONNECTIONS,
    LARGE_BODIES,
    SMALL_BODY,
    open_webhooks,
)
from worker.ledger.store import open_ledger

_TIMED: Final = replace(
    SCHEME, timestamp_header="X-Time", signed_content=SignedContent.TIMESTAMP_AND_BODY
)
_HEAD: Final = b"POST /webhooks/bluum HTTP/1.1\r\nHost: here\r\n"


async def test_a_delivery_is_written_down_and_wakes_its_withdrawal(sqlite_url: str) -> None:
    """
    A withdrawal of ours, and one whose order it tells of; only ids and the event are kept.
    """
    async with a_desk(sqlite_url) as desk:
        rows = [await desk.withdrawal(f"req-{n}", f"wd_{n}") for n in range(3)]
        await desk.order("req-1", "o1")
        statuses = [
            await desk.send(delivery("wd_0", amount="5.00")),
            await desk.send(delivery("o1", "order.filled")),
        ]

        assert [200, 200] == statuses
        assert set(rows[:2]) == await desk.woken()
        assert [
            ("bluum", "transfer.withdrawal.completed", "wd_0"),
            ("bluum", "order.filled", "o1"),
        ] == await desk.written()
        assert {("bluum", Outcome.HEARD): 2} == desk.told


@pytest.mark.parametrize("secret", [None, "", "zz", signature(b"another body"), "é"])
async def test_a_forged_delivery_leaves_nothing(sqlite_url: str, secret: str | None) -> None:
    """
    Without signature, with one that is none, with another's: 401, counted, nothing written.
    """
    headers = {} if secret is None else {"X-Bluum-Signature": secret.encode()}
    async with a_desk(sqlite_url) as desk:
        await desk.withdrawal("req-1", "wd_1")
        status = await desk.send(delivery("wd_1"), headers=headers)  # type: ignore[arg-type]

        assert 401 == status
        assert set() == await desk.woken()
        assert [] == await desk.written()
        assert {("bluum", Outcome.FORGED): 1} == desk.told


async def test_a_stale_delivery_is_refused(sqlite_url: str) -> None:
    """
    Its signature holds, its time is too old: 401. A young one, and one with a wrong time.
    """
    body = delivery("wd_1")

    def timed(told: str, signed: str) -> dict[str, str]:
        return {"X-Time": told, "X-Bluum-Signature": signature(signed.encode() + b"." + body)}

    async with a_desk(sqlite_url, scheme=_TIMED) as desk:
        await desk.withdrawal("req-1", "wd_1")
        old, young = ago(400), ago(20)
        statuses = [
            await desk.send(body, headers=timed(old, old)),
            await desk.send(body, headers=timed(young, old)),
            await desk.send(body, headers=timed(young, young)),
        ]

        assert [401, 401, 200] == statuses
        assert {Outcome.STALE: 1, Outcome.FORGED: 1, Outcome.HEARD: 1} == _outcomes(desk.told)


async def test_a_repeated_delivery_wakes_nobody(sqlite_url: str) -> None:
    """
    However often it comes, also at once: one is heard, the others are 200 and change nothing.
    """
    body = delivery("wd_1")
    async with a_desk(sqlite_url) as desk:
        await desk.withdrawal("req-1", "wd_1")
        at_once = await asyncio.gather(*(desk.send(body) for _ in range(10)))
        await desk.asleep()
        later = await desk.send(body)

        assert {200} == {*at_once, later}
        assert set() == await desk.woken()
        assert 1 == len(await desk.written())
        assert {Outcome.HEARD: 1, Outcome.DUPLICATE: 10} == _outcomes(desk.told)


async def test_order_means_nothing(sqlite_url: str) -> None:
    """
    The end before the beginning: each is a hint, and none is believed.
    """
    async with a_desk(sqlite_url) as desk:
        row = await desk.withdrawal("req-1", "wd_1")
        for event, status in (("completed", "completed"), ("initiated", "pending")):
            await desk.asleep()
            await desk.send(delivery("wd_1", f"transfer.withdrawal.{event}", status=status))

            assert {row} == await desk.woken()
        history = await desk.ledger.history("req-1")

        assert history is not None
        assert "pending" == history.held.withdrawal.status


async def test_other_tenants_are_unknown(sqlite_url: str) -> None:
    """
    An id that is not ours, one of another provider of ours, and a delivery without any: 200.
    """
    async with a_desk(sqlite_url) as desk:
        await desk.withdrawal("req-1", "wd_1")
        await desk.withdrawal("req-2", "wd_2")
        await second.write(
            sqlite_url, "UPDATE withdrawals SET provider = 'upvest' WHERE withdrawal_id = 'wd_2'"
        )
        statuses = [
            await desk.send(body)
            for body in (delivery("wd_9"), delivery("wd_2"), b'{"event": "investor.updated"}')
        ]

        assert [200, 200, 200] == statuses
        assert set() == await desk.woken()
        assert [] == await desk.written()
        assert {Outcome.UNKNOWN: 3} == _outcomes(desk.told)


async def test_what_came_too_early_is_tried_once_more(sqlite_url: str) -> None:
    """
    A delivery overtakes the answer to our own call: it is heard when the row knows the id.
    """
    async with a_desk(sqlite_url, second_try=timedelta(0)) as desk:
        await desk.send(delivery("wd_1"))
        row = await desk.withdrawal("req-1", "wd_1")
        trying = asyncio.create_task(desk.hearing.run())
        async with asyncio.timeout(LIMIT_SECONDS):
            await desk.heard[Outcome.HEARD_LATE].wait()
        trying.cancel()

        assert {row} == await desk.woken()
        assert {Outcome.UNKNOWN: 1, Outcome.HEARD_LATE: 1} == _outcomes(desk.told)


@pytest.mark.parametrize(
    "body", [b"", b"not JSON", b"[" * 200_000, b"[1]", b'"wd_1"', b"\xff\xfe", b'{"data": 1' * 9]
)
async def test_what_is_not_a_json_object_is_not_asked_for_again(
    sqlite_url: str, body: bytes
) -> None:
    """
    Signed as it is: 200, counted. The provider could send nothing better.
    """
    async with a_desk(sqlite_url) as desk:
        assert 200 == await desk.send(body)
        assert {Outcome.MALFORMED: 1} == _outcomes(desk.told)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhooks/bluum", 405),
        ("HEAD", "/webhooks/bluum", 405),
        ("PUT", "/webhooks/bluum", 405),
        ("POST", "/webhooks/upvest", 404),
        ("POST", "/webhooks/bluum/", 404),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
    ],
)
async def test_nothing_else_is_served(sqlite_url: str, method: str, path: str, status: int) -> None:
    """
    Another method 405, another path 404, whatever is sent along.
    """
    async with a_desk(sqlite_url) as desk:
        await desk.withdrawal("req-1", "wd_1")

        assert status == await desk.send(delivery("wd_1"), method=method, path=path)
        assert set() == await desk.woken()
        assert {Outcome.MISDIRECTED: 1} == _outcomes(desk.told)


@pytest.mark.parametrize("chunked", [True, False])
async def test_ten_megabytes_are_not_read(sqlite_url: str, chunked: bool) -> None:
    """
    413, whether the length was told or not; one byte less than too much is read.
    """

    async def parts() -> object:
        for _ in range(160):
            yield b"x" * SMALL_BODY

    async with a_desk(sqlite_url) as desk, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{desk.port}/webhooks/bluum"
        headers = {"X-Bluum-Signature": signature(b"")}
        content = parts() if chunked else b"x" * 10 * BODY_LIMIT
        response = await client.post(url, content=content, headers=headers)  # type: ignore[arg-type]
        largest = json.dumps({"pad": "x" * (BODY_LIMIT - 11)}).encode()

        assert 413 == response.status_code
        assert BODY_LIMIT == len(largest)
        assert 200 == await desk.send(largest)
        assert {Outcome.TOO_LARGE: 1, Outcome.UNKNOWN: 1} == _outcomes(desk.told)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /webhooks/bluum HT",
        _HEAD + b"X-Slow: 1\r\n",
        _HEAD + b"X-Bluum-Signature: " + b"a" * 64 + b"\r\nContent-Length: 9\r\n\r\n{",
    ],
)
async def test_a_slow_sender_is_cut_off(sqlite_url: str, sent: bytes) -> None:
    """
    Nothing, half a line, half a head, half a body: its connection ends when its time is over.
    """
    async with a_desk(sqlite_url, seconds=0.3) as desk:
        reader, writer = await desk.raw()
        writer.write(sent)
        async with asyncio.timeout(LIMIT_SECONDS):
            try:
                rest = await reader.read()
            except ConnectionResetError:
                rest = b""
        writer.close()

        assert b"" == rest
        assert {Outcome.CUT_OFF: 1} == _outcomes(desk.told)


async def test_slow_senders_do_not_keep_a_delivery_out(sqlite_url: str) -> None:
    """
    With every place taken by somebody slow the oldest makes room.
    """
    async with a_desk(sqlite_url) as desk:
        row = await desk.withdrawal("req-1", "wd_1")
        slow = [await desk.raw() for _ in range(CONNECTIONS)]
        for _, writer in slow:
            writer.write(_HEAD)
        status = await desk.send(delivery("wd_1"))
        for _, writer in slow:
            writer.close()

        assert 200 == status
        assert {row} == await desk.woken()
        assert 0 < desk.told[None, Outcome.CUT_OFF] <= 2


async def test_large_bodies_do_not_keep_a_small_one_out(sqlite_url: str) -> None:
    """
    A few at a time are held in memory; one more is 503, a small one is heard.
    """
    body = b"x" * (SMALL_BODY + 1)
    head = _HEAD + f"X-Bluum-Signature: {signature(body)}\r\n".encode()
    head += f"Content-Length: {len(body) + 1}\r\n\r\n".encode()
    async with a_desk(sqlite_url) as desk:
        await desk.withdrawal("req-1", "wd_1")
        slow = [await desk.raw() for _ in range(LARGE_BODIES + 1)]
        for _, writer in slow:
            writer.write(head + body)
        first = asyncio.as_completed([reader.readline() for reader, _ in slow])
        async with asyncio.timeout(LIMIT_SECONDS):
            refused = await next(iter(first))
        status = await desk.send(delivery("wd_1"))
        for _, writer in slow:
            writer.close()

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert 200 == status


async def test_a_flood_fits_into_memory(sqlite_url: str) -> None:
    """
    Slow senders in every place, then hundreds with large bodies: some megabytes, all are answered.
    """
    body = json.dumps({"pad": "x" * (BODY_LIMIT // 2)}).encode()
    head = _HEAD + f"X-Bluum-Signature: {signature(body)}\r\n".encode()
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    # More at once than this, and the system refuses some before they come to us.
    at_once = asyncio.Semaphore(64)

    async def flood(port: int) -> bytes:
        async with at_once:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head + body)
            status = await reader.readline()
            writer.close()
        return status

    async with a_desk(sqlite_url) as desk:
        slow = [await desk.raw() for _ in range(CONNECTIONS)]
        tracemalloc.start()
        try:
            for _, writer in slow:
                writer.write(head + body[: SMALL_BODY - 1])
            answers = await asyncio.gather(*(flood(desk.port) for _ in range(300)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for _, writer in slow:
            writer.close()

        assert {b"HTTP/1.1 200 OK\r\n"} == {*answers}
        assert 300 == desk.told["bluum", Outcome.UNKNOWN]
        assert peak < 2 * (CONNECTIONS * SMALL_BODY + LARGE_BODIES * BODY_LIMIT)


async def test_pipelined_requests_are_not_answered(sqlite_url: str) -> None:
    """
    A connection carries one request: what is behind it is another's, or nobody's.
    """
    body = delivery("wd_1")
    request = _HEAD + f"X-Bluum-Signature: {signature(body)}\r\n".encode()
    request += f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    async with a_desk(sqlite_url) as desk:
        reader, writer = await desk.raw()
        writer.write(request * 50)
        async with asyncio.timeout(LIMIT_SECONDS):
            answer = await reader.read()
        writer.close()

        assert 1 == answer.count(b"HTTP/1.1 ")
        assert b"Connection: close" in answer
        assert {Outcome.UNKNOWN: 1} == _outcomes(desk.told)


async def test_a_sender_that_asks_first_is_told_to_go_on(sqlite_url: str) -> None:
    """
    `Expect: 100-continue`, as some clients send it with every body.
    """
    body = delivery("wd_1")
    head = _HEAD + f"X-Bluum-Signature: {signature(body)}\r\nExpect: 100-continue\r\n".encode()
    async with a_desk(sqlite_url) as desk:
        reader, writer = await desk.raw()
        writer.write(head + f"Content-Length: {len(body)}\r\n\r\n".encode())
        async with asyncio.timeout(LIMIT_SECONDS):
            told = await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
            answer = await reader.read()
        writer.close()

        assert b"HTTP/1.1 100 Continue\r\n\r\n" == told
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_body_in_broken_chunks_is_malformed(sqlite_url: str) -> None:
    """
    And a sender that goes away midway leaves nothing behind.
    """
    head = _HEAD + f"X-Bluum-Signature: {signature(b'')}\r\n".encode()
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    async with a_desk(sqlite_url) as desk:
        _, leaving = await desk.raw()
        leaving.write(head + b"5\r\nabc")
        await leaving.drain()
        leaving.transport.abort()
        reader, writer = await desk.raw()
        writer.write(head + b"zz\r\n")
        async with asyncio.timeout(LIMIT_SECONDS):
            status = (await reader.read()).split()[1]
        writer.close()

        assert b"400" == status
        assert {Outcome.MALFORMED: 1} == _outcomes(desk.told)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"NOT HTTP\r\n\r\n"])
async def test_what_is_not_http_is_refused_in_silence(
    sqlite_url: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    400 and not a word, neither to the sender nor in the log.
    """
    async with a_desk(sqlite_url) as desk:
        reader, writer = await desk.raw()
        writer.write(sent)
        async with asyncio.timeout(LIMIT_SECONDS):
            answer = await reader.read()
        writer.close()

        assert b"400" == answer.split()[1]
        assert answer.endswith(b"\r\n\r\n")
        assert b"aiohttp" not in answer
        assert {(None, Outcome.MALFORMED): 1} == desk.told
        assert [] == caplog.records


async def test_a_ledger_that_is_away_lets_the_provider_repeat(sqlite_url: str) -> None:
    """
    503, and nobody says that it was heard.
    """
    async with open_ledger(sqlite_url) as gone:
        await gone.heartbeat()
    async with a_desk(sqlite_url, ledger=gone) as desk:
        assert 503 == await desk.send(delivery("wd_1"))
        assert {Outcome.NOT_WRITTEN: 1} == _outcomes(desk.told)


async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    """
    Before anything is served.
    """
    async with open_webhooks({}, host="127.0.0.1", port=0, counted=lambda *_: None) as webhooks:
        with pytest.raises(OSError, match="in use"):
            async with open_webhooks(
                {}, host="127.0.0.1", port=webhooks.port, counted=lambda *_: None
            ):
                pass


async def test_what_cannot_be_verified_is_forged(sqlite_url: str) -> None:
    """
    Without a scheme, and without having been told to take what is unsigned.
    """
    async with a_desk(sqlite_url, scheme=None) as desk:
        assert 401 == await desk.send(delivery("wd_1"))
        assert {Outcome.FORGED: 1} == _outcomes(desk.told)


async def test_unsigned_ones_only_where_it_was_said(sqlite_url: str) -> None:
    """
    With it, what carries no signature is heard; a wrong signature is still a wrong one.
    """
    async with a_desk(sqlite_url, allows_unsigned=True) as desk:
        row = await desk.withdrawal("req-1", "wd_1")
        wrong = {"X-Bluum-Signature": signature(b"", SECRET)}
        statuses = [
            await desk.send(delivery("wd_1"), headers=wrong),
            await desk.send(delivery("wd_1"), headers={}),
        ]

        assert [401, 200] == statuses
        assert {row} == await desk.woken()


def _outcomes(told: dict[tuple[str | None, Outcome], int]) -> dict[Outcome, int]:
    return {outcome: count for (_, outcome), count in told.items()}
