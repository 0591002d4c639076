"""Runs real workers, sends them requests, and collects what came of it from outside."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import aio_pika
import httpx
from pamqp.commands import Basic

from tests.app.warm import WarmProcess
from tests.no_tls import NO_TLS
from worker.core.withdrawal import idempotency_key
from worker.demo.audit import Buried, Finding, Heard, Seen, Sent, audit
from worker.demo.evidence import content_of, read_dead_letter, read_event, read_record
from worker.demo.ports import free_ports
from worker.rabbitmq import failures, topology

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from worker.simulator.bluum_server import BluumServer

#: No wait of a test is longer; what takes longer has failed.
LIMIT_SECONDS: Final = 90.0
_PAUSE: Final = 0.05
_WORKER: Final = "worker"
_ENDS: Final = frozenset({"completed", "cancelled", "failed", "rejected"})


class WorkerProcess:
    """One `python -m worker run`, with settings of its own and its output in a file.

    `program` is another module to run in place of `worker`; None is the worker as well. Either is
    forked from a process that has imported the worker already: the same but for the start of
    Python, and a second less. Only `worker` itself is started from nothing.

    As a context it is killed in the end, if it still runs.
    """

    def __init__(
        self, environment: Mapping[str, str], log: Path, *, program: str | None = _WORKER
    ) -> None:
        (self.port,) = free_ports(1)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("WORKER_")
        }
        self._environment |= environment
        self._environment["WORKER_HTTP__PORT"] = str(self.port)
        self._log = log
        self._program = program
        self.process: asyncio.subprocess.Process | WarmProcess

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave no process behind."""
        if hasattr(self, "process") and self.process.returncode is None:
            await self.kill()

    @property
    def environment(self) -> Mapping[str, str]:
        """Its variables, for commands with the same settings."""
        return self._environment

    @property
    def output(self) -> str:
        """All that the process has written."""
        return self._log.read_text(encoding="utf-8")

    def take_port(self, port: int) -> None:
        """Serve probes on this port from the next start on."""
        self.port = port
        self._environment["WORKER_HTTP__PORT"] = str(port)

    async def start(self) -> None:
        """Start the process; it may not be ready yet."""
        if self._program != _WORKER:
            program = self._program or _WORKER
            self.process = await WarmProcess.started(self._environment, self._log, program=program)
            return
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _WORKER, "run"),
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask one of the probes; status 0 when nobody listens."""
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            try:
                response = await client.get(f"http://127.0.0.1:{self.port}{path}")
            except httpx.TransportError:
                return 0, {}
        return response.status_code, response.json()

    async def metrics(self) -> str:
        """Return the metrics page."""
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text

    async def ready(self, *, is_ready: bool = True) -> None:
        """Wait until `/readyz` says so; fail at once when the process ends meanwhile."""

        async def as_wanted() -> bool:
            assert self.process.returncode is None, self.output
            status, _ = await self.probe("/readyz")
            return status == (200 if is_ready else 503)

        await until(as_wanted, lambda: f"ready={is_ready}\n{self.output}")

    async def ended(self) -> int:
        """Wait for the process to end by itself; return its exit code."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.process.wait()

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return await self.ended()

    async def kill(self) -> None:
        """End it as a power cut would."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Desk:
    """An upstream service and its consumers: publishes requests, hears events, counts."""

    def __init__(
        self, connection: aio_pika.abc.AbstractRobustConnection, server: BluumServer
    ) -> None:
        self._connection = connection
        self._server = server
        self.sent: list[Sent] = []
        self.heard: list[Heard] = []
        #: The headers of the dead letters that were taken out.
        self.headers: list[str] = []
        self._channel: aio_pika.abc.AbstractChannel
        self._events: aio_pika.abc.AbstractQueue

    async def open(self) -> None:
        """Declare what is needed and listen to all events."""
        await topology.ensure(self._connection, declare=True)
        # A request that no queue takes raises, instead of vanishing.
        self._channel = await self._connection.channel(on_return_raises=True)
        self._events = await self._channel.declare_queue(
            "tests.events", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await self._events.bind(topology.EVENTS_EXCHANGE, "#")
        await self._events.consume(self._hear)

    async def ask(self, message_id: str | None, **changes: object) -> None:
        """Publish a request, confirmed."""
        await self.send(message_id, json.dumps(a_request(**changes)).encode())

    async def send(self, message_id: str | None, body: bytes) -> None:
        """Publish any message to the request queue, confirmed."""
        kind = _Nameless if message_id is None else Basic.Properties
        underlay = await self._channel.get_underlay_channel()
        await underlay.basic_publish(
            body,
            exchange=topology.COMMANDS_EXCHANGE,
            routing_key=topology.REQUEST_KEY,
            properties=kind(message_id=message_id, delivery_mode=2),
            mandatory=True,
        )
        self.sent.append(Sent(message_id, content_of(body)))

    async def cancel(self, message_id: str, **body: str) -> None:
        """Publish a cancellation, confirmed."""
        exchange = await self._channel.get_exchange(topology.COMMANDS_EXCHANGE)
        message = aio_pika.Message(json.dumps(body).encode(), message_id=message_id)
        await exchange.publish(message, topology.CANCEL_KEY)

    def ended(self) -> set[str]:
        """Return the message ids that have had a terminal event."""
        return {event.message_id for event in self.heard if event.status in _ENDS}

    def statuses(self, message_id: str) -> list[str]:
        """Return the statuses told of one request, repeats left out, in order of arrival."""
        told = {e.event_id: e.status for e in self.heard if e.message_id == message_id}
        return list(told.values())

    async def have_ended(self, count: int) -> None:
        """Wait until at least so many requests have ended."""

        async def enough() -> bool:
            return len(self.ended()) >= count

        await until(enough, lambda: f"{len(self.ended())} of {count} ended")

    async def dead_letters(self) -> list[Buried]:
        """Take out all dead letters."""
        await self._connection.ready()
        channel = await self._connection.channel()
        queue = await channel.get_queue(topology.DEAD_LETTERS)
        letters = []
        while (letter := await queue.get(no_ack=True, fail=False)) is not None:
            buried = read_dead_letter(
                letter.body, message_id=letter.message_id or None, headers=letter.headers
            )
            letters.append(buried)
            self.headers.append(str(letter.headers))
        return letters

    async def waiting(self) -> int:
        """Return how many requests lie in the queue, those in nobody's hands."""
        channel = await self._connection.channel()
        queue = await channel.declare_queue(topology.REQUESTS, passive=True)
        return queue.declaration_result.message_count or 0

    async def delete_request_queue(self) -> None:
        """Take the request queue away, with what is in it."""
        channel = await self._connection.channel()
        await channel.queue_delete(topology.REQUESTS)

    async def verdict(self) -> tuple[Finding, ...]:
        """Return every breach of P1 to P3, from the outside alone."""
        seen = Seen(
            sent=tuple(self.sent),
            executed=read_record(self._server.record()),
            heard=tuple(self.heard),
            buried=tuple(await self.dead_letters()),
        )
        return audit(seen, key_of=idempotency_key)

    async def _hear(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.heard.append(read_event(message.body, event_id=message.message_id))
        # Only now: what a broker takes down with it must come again. A late one is a repeat.
        with suppress(*failures.AWAY):
            await message.ack()


@asynccontextmanager
async def a_desk(amqp: str, server: BluumServer) -> AsyncIterator[Desk]:
    """A desk with a connection that survives the broker's restarts."""
    connection = await aio_pika.connect_robust(amqp, reconnect_interval=0.2)
    async with connection:
        desk = Desk(connection, server)
        await desk.open()
        yield desk


def a_request(**changes: object) -> dict[str, object]:
    """Return a valid request body."""
    return {
        "investor_id": "inv_1",
        "amount": "5.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_secret_1",
    } | changes


def settings(amqp: str, ledger: str, base_url: str, **changes: str) -> dict[str, str]:
    """Return the environment of a worker that polls fast."""
    return {
        "WORKER_RABBITMQ__URL": amqp,
        "WORKER_LEDGER__URL": ledger,
        "WORKER_BLUUM__BASE_URL": base_url,
        "WORKER_BLUUM__API_KEY": "simulator-key",
        "WORKER_BLUUM__API_SECRET": "simulator-secret",
        "WORKER_BLUUM__RATE_LIMIT": "2000",
        "WORKER_BLUUM__TIMEOUT": "5",
        "WORKER_POLLING__FIRST_DELAY": "0.2",
        "WORKER_POLLING__CAP": "1",
        "WORKER_RETRY__FIRST_DELAY": "0.1",
        "WORKER_RETRY__CAP": "1",
        "WORKER_RETRY__SETTLING": "0.5",
        "WORKER_LOG_FORMAT": "json",
    } | changes


async def until(holds: Callable[[], Awaitable[bool]], told: Callable[[], str]) -> None:
    """Ask again and again, until it holds; fail with what is told when it takes too long."""
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not await holds():  # noqa: ASYNC110 - another process knows, and tells if asked
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(told()) from None


class _Nameless(Basic.Properties):
    """Properties without a message id: the library invents one where there is none."""

    def marshal(self) -> bytes:
        self.message_id = None
        return bytes(super().marshal())
