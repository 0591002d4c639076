"""What is told of a broker that cannot be reached: why, where, once, and never the password."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from yarl import URL

from tests.rabbitmq.at_work import broker_at
from tests.rabbitmq.line import line_to
from worker.demo.ports import free_ports
from worker.rabbitmq import failures
from worker.rabbitmq.connection import keep_connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aio_pika.abc import AbstractConnection

PASSWORD: Final = "hunter2-hunter2"
REFUSED: Final = "nobody listens there (connection refused)"
HELLO: Final = (
    "it closed the connection while saying hello: it is starting, wants TLS (amqps://), or is no "
    "AMQP broker"
)
NO_TLS: Final = "no TLS is spoken there: amqp:// in place of amqps://, or another port?"
NO_VHOST: Final = "it has no such virtual host, or this user may not use it"
PURPOSES: Final = ("publisher", "consumer", "cancellations")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url.with_password(PASSWORD), "it refuses the user or the password"),
        (lambda url: url.with_path("/nowhere"), NO_VHOST),
        (lambda url: url.with_scheme("amqps"), NO_TLS),
        (lambda url: url.with_port(free_ports(1)[0]), REFUSED),
        (lambda url: url.with_host("broker.invalid"), "its name is not known"),
        (lambda url: url.update_query(cafile="/nowhere.pem").with_scheme("amqps"), "cafile"),
    ],
    ids=["password", "virtual host", "TLS", "port", "name", "certificates"],
)
async def test_a_wrong_address_is_told_in_words(
    rabbitmq_vhost: str, change: Callable[[URL], URL], why: str
) -> None:
    """
    A real broker, and an address that is wrong in one thing.
    """
    url = change(URL(rabbitmq_vhost))
    told, place = await _why(str(url))

    assert why in told
    assert f"{url.host}:{url.port or url.explicit_port}{url.path}" == place
    assert PASSWORD not in told + place


@pytest.mark.parametrize(
    ("says", "why"),
    [(b"", HELLO), (b"HTTP/1.1 400 Bad Request\r\n\r\n", HELLO), (None, "no answer in time")],
    ids=["nothing", "HTTP", "silence"],
)
async def test_what_is_no_broker_is_told_in_words(says: bytes | None, why: str) -> None:
    """
    Something else listens there: it hangs up, answers in its own tongue, or never answers.
    """
    async with _somebody(says) as port:
        told, _ = await _why(f"amqp://me:{PASSWORD}@127.0.0.1:{port}/")

    assert why == told


def test_an_unknown_certificate_is_told_in_words() -> None:
    """
    Made by hand, as the library wraps it: a broker with TLS of its own costs too much here.
    """
    error = ConnectionError("wrapped")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed")
    error.__cause__.verify_message = "self-signed certificate"

    assert "its certificate is not accepted (self-signed certificate)" == failures.in_words(error)


async def test_three_connections_tell_one_trouble_once_and_its_end_once(
    rabbitmq_vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    However often each of them tries: a line when it begins, where and why, and one when it is over.
    """
    caplog.set_level(logging.INFO, logger="worker")
    (port,) = free_ports(1)
    broker = broker_at(str(URL(rabbitmq_vhost).with_port(port)))
    told, served, stopping = _Count(), _Count(), asyncio.Event()

    async def serve(_connection: AbstractConnection) -> None:
        served.hear("")
        await stopping.wait()

    keeping = [
        asyncio.create_task(
            keep_connected(broker, one, serve, told=told.hear, stopping=stopping, stable_seconds=0)
        )
        for one in PURPOSES
    ]
    async with asyncio.timeout(60):
        await told.reaches(7)
        async with line_to(rabbitmq_vhost, port=port):
            await served.reaches(len(PURPOSES))
            stopping.set()
            await asyncio.gather(*keeping)

    place = f"127.0.0.1:{port}{URL(rabbitmq_vhost).path}"
    assert {f"not connected to {place}: {REFUSED}"} == set(told.heard)
    assert [
        ("broker away", {"broker": place, "reason": REFUSED}),
        ("broker reached", {"broker": place}),
    ] == [
        (
            record.getMessage(),
            {k: vars(record)[k] for k in ("broker", "reason") if k in vars(record)},
        )
        for record in caplog.records
        if record.name.startswith("worker")
    ]


async def test_a_connection_that_falls_as_soon_as_it_stands_is_told_once(
    rabbitmq_vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    However often it is made anew: a line for the loss, and none that the broker was reached.
    """
    caplog.set_level(logging.INFO, logger="worker")
    told, stopping = _Count(), asyncio.Event()

    async def fall(connection: AbstractConnection) -> None:
        await connection.close()
        raise ConnectionResetError

    keeping = asyncio.create_task(
        keep_connected(
            broker_at(rabbitmq_vhost), "publisher", fall, told=told.hear, stopping=stopping
        )
    )
    async with asyncio.timeout(60):
        await told.reaches(3)
        stopping.set()
        await keeping

    assert ["broker away"] == [
        record.getMessage() for record in caplog.records if record.name.startswith("worker")
    ]


class _Count:
    """Hears words, and waits for their number."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._changed = asyncio.Event()

    def hear(self, words: str) -> None:
        """Hear some more."""
        self.heard.append(words)
        self._changed.set()

    async def reaches(self, number: int) -> None:
        """Wait until so many were heard."""
        while len(self.heard) < number:
            self._changed.clear()
            await self._changed.wait()


async def _why(url: str) -> tuple[str, str]:
    """Return in words why that broker cannot be reached, and where it is."""
    broker = broker_at(url, connect=2)
    with pytest.raises(failures.AWAY) as caught:
        async with broker.connect("test"):
            pass
    return failures.in_words(caught.value), broker.place


@asynccontextmanager
async def _somebody(says: bytes | None) -> AsyncIterator[int]:
    """Somebody who hears a hello, says something and hangs up; None says nothing and holds on."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        if says is None:
            await over.wait()
        else:
            writer.write(says)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        over.set()
