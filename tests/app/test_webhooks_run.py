"""Webhooks with a real worker: they hasten, and nothing that comes to their port hurts."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.app.harness import until
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import Algorithm, Encoding, SignedContent, WebhookTerms
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.app.conftest import Start
    from tests.app.harness import Desk

_SECRET: Final = "whsec_of_the_test"
_PREFIX: Final = "WORKER_BLUUM__WEBHOOK__"
_MEGABYTE: Final = 1024 * 1024
_HEAD: Final = b"POST /webhooks/bluum HTTP/1.1\r\nHost: here\r\n"
#: What keeps coming, whole or in part: forged, too large, no HTTP, and without an end.
_FLOOD: Final = (
    _HEAD + b"X-Signed: sha512=AAAA\r\nContent-Length: 2\r\n\r\n{}",
    _HEAD + b"X-Signed: x\r\nContent-Length: 10485760\r\n\r\n" + b"x" * _MEGABYTE,
    _HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 60_000,
    b"\x16\x03\x01\x02\x00" * 100,
    _HEAD + b"X-Slow: ",
)


@pytest.fixture
async def server(port: int) -> AsyncIterator[BluumServer]:
    """A provider that tells the worker of everything, some of it twice and some of it late."""
    webhooks = WebhookTerms(
        url=f"http://127.0.0.1:{port}/webhooks/bluum",
        secret=_SECRET,
        header="X-Signed",
        algorithm=Algorithm.SHA512,
        encoding=Encoding.BASE64,
        prefix="sha512=",
        timestamp_header="X-Time",
        signed_content=SignedContent.TIMESTAMP_AND_BODY,
        retry_delays=(timedelta(seconds=0.5),) * 60,
        delay=timedelta(seconds=0.2),
    )
    terms = Terms(pace=timedelta(seconds=0.3))
    options = BluumOptions(
        rate_limit=0,
        terms=terms,
        webhooks=webhooks,
        faults=Faults(webhook_doubled=0.3, webhook_delayed=0.3),
    )
    async with serve(options) as running:
        yield running


async def test_payouts_end_by_webhook_alone_through_a_flood(
    desk: Desk, start: Start, port: int, tmp_path: Path
) -> None:
    """
    The next look is an hour away, and yet all are told to be completed, once each.

    Meanwhile hundreds of senders try what they can: the worker grows by some megabytes at most.
    """
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_POLLING__FIRST_DELAY="3600",
        WORKER_POLLING__CAP="3600",
        WORKER_WEBHOOKS__HOST="127.0.0.1",
        WORKER_WEBHOOKS__PORT=str(port),
        **{
            f"{_PREFIX}SECRET": "the next one",
            f"{_PREFIX}PREVIOUS_SECRET": _SECRET,
            f"{_PREFIX}HEADER": "X-Signed",
            f"{_PREFIX}ALGORITHM": "sha512",
            f"{_PREFIX}ENCODING": "base64",
            f"{_PREFIX}PREFIX": "sha512=",
            f"{_PREFIX}TIMESTAMP_HEADER": "X-Time",
            f"{_PREFIX}SIGNED_CONTENT": "timestamp.body",
        },
    )
    await worker.ready()
    before = _peak_bytes(worker.process.pid)
    flood = [asyncio.create_task(_flood(port, _FLOOD[n % len(_FLOOD)])) for n in range(200)]
    for number in range(20):
        await desk.ask(f"req-{number}")
    await desk.have_ended(20)

    async def refused() -> bool:
        return _told(await worker.metrics(), "forged") > 100

    await until(refused, lambda: worker.output)
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    grown = _peak_bytes(worker.process.pid) - before
    metrics = await worker.metrics()

    assert ["completed"] == [*{desk.statuses(f"req-{n}")[-1] for n in range(20)}]
    assert 20 <= _told(metrics, "heard") + _told(metrics, "heard_late")
    assert (200, "ok") == ((probe := await worker.probe("/readyz"))[0], probe[1]["status"])
    assert grown < 64 * _MEGABYTE
    assert "unsigned" not in worker.output
    assert () == await desk.verdict()


async def test_unsigned_webhooks_are_told_of_loudly(
    start: Start, port: int, tmp_path: Path
) -> None:
    """
    As an error, at every start.
    """
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_WEBHOOKS__PORT=str(port),
        WORKER_BLUUM__WEBHOOK__ALLOW_UNSIGNED="true",
        WORKER_LOG_LEVEL="ERROR",
    )
    await worker.ready()

    assert "unsigned webhooks are accepted" in worker.output


async def _flood(port: int, sent: bytes) -> None:
    """Send it again and again, and wait for no answer longer than it takes."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError), socket.socket() as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, sent)
            await loop.sock_recv(connection, 1)


def _told(metrics: str, result: str) -> int:
    found = re.search(rf'webhooks_total{{provider="bluum",result="{result}"}} (\S+)', metrics)
    return int(float(found[1])) if found else 0


def _peak_bytes(process: int) -> int:
    """The most memory that a process has ever had in use."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
