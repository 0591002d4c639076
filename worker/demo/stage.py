"""What the demo runs on: broker, simulator and worker, each a real process on loopback.

Starts, kills and ends them; what is asked of them stands elsewhere."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp

from worker.demo.processes import Program
from worker.demo.rabbitmq_node import NodeFailed, free_ports
from worker.demo.scenarios import FIRST_LOOK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.demo.folder import Folder

_READY_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_ANSWER_SECONDS_MAX: Final = 10.0
_PYTHON: Final = (sys.executable, "-m", "worker")

#: Under which the simulator signs its webhooks.
_SECRET: Final = "whsec-of-the-demo"  # noqa: S105 - nothing real is opened by it
_WEBHOOK_PATH: Final = "/webhooks/bluum"
_SIGNATURE_HEADER: Final = "X-Bluum-Signature"

#: The simulator's options. Slow enough to watch, and to be killed in the middle of a call; Bluum's
#: own limit; a few withdrawals fail, as they do in real life. What the worker misses while it is
#: down is delivered again soon.
_SIMULATOR: Final = {
    "--pace": "1.0",
    "--latency": "0.4",
    "--rate-limit": "25",
    "--failure-share": "0.04",
    "--fill-delay": "0.7",
    "--webhook-secret": _SECRET,
    "--webhook-header": _SIGNATURE_HEADER,
    "--webhook-retries": ",".join(["0.5"] * 40),
}
#: The worker's settings besides its addresses. It looks so rarely that what is known sooner was
#: told by webhook. What else takes minutes in production takes a second. Nothing is compared in the
#: background: that, too, would find out what has happened.
_WORKER: Final = {
    "WORKER_BLUUM__API_KEY": "simulator-key",
    "WORKER_BLUUM__API_SECRET": "simulator-secret",
    "WORKER_BLUUM__RATE_LIMIT": "25",
    "WORKER_BLUUM__WEBHOOK__SECRET": _SECRET,
    "WORKER_BLUUM__WEBHOOK__HEADER": _SIGNATURE_HEADER,
    "WORKER_POLLING__FIRST_DELAY": f"{FIRST_LOOK.total_seconds():g}",
    "WORKER_POLLING__GROWTH": "1.0",
    "WORKER_POLLING__CAP": f"{FIRST_LOOK.total_seconds():g}",
    "WORKER_POLLING__JITTER": "0",
    "WORKER_RETRY__SETTLING": "1",
    "WORKER_CANCELLATIONS__GRACE": "1",
    "WORKER_RECONCILIATION__EVERY": "0",
    "WORKER_HTTP__HOST": "127.0.0.1",
    "WORKER_WEBHOOKS__HOST": "127.0.0.1",
    "WORKER_LOG_FORMAT": "json",
}
#: Beside the worker, which runs in the demo's folder.
_LEDGER: Final = "ledger.db"


class Broker(Protocol):
    """A RabbitMQ that can be started and ended."""

    @property
    def url(self) -> str:
        """Where an AMQP client connects."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes it consists of."""
        ...

    def start(self) -> None:
        """Start it; returns once it answers."""
        ...

    def stop(self) -> None:
        """End it in order."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class StageFailed(Exception):  # noqa: N818 - named by what happened
    """A program did not come up, or ended by itself; the message ends with its last words."""


class Stage:
    """The three of them in one folder, started one by one and ended together."""

    def __init__(self, folder: Folder, broker: Broker) -> None:
        simulator_port, probes_port, webhooks_port = free_ports(3)
        self.folder = folder
        self.broker = broker
        self.simulator_url = f"http://127.0.0.1:{simulator_port}"
        self.probes_url = f"http://127.0.0.1:{probes_port}"
        self.webhooks_url = f"http://127.0.0.1:{webhooks_port}{_WEBHOOK_PATH}"
        self.ledger = folder.path / _LEDGER
        self.simulator = self._program(
            "simulator",
            _simulator_command(simulator_port, webhooks_url=self.webhooks_url),
            self._environ({}),
        )
        settings = _WORKER | {
            "WORKER_RABBITMQ__URL": broker.url,
            "WORKER_LEDGER__URL": f"sqlite:///{_LEDGER}",
            "WORKER_BLUUM__BASE_URL": self.api_url,
            "WORKER_HTTP__PORT": str(probes_port),
            "WORKER_WEBHOOKS__PORT": str(webhooks_port),
        }
        self.worker = self._program("worker", (*_PYTHON, "run"), self._environ(settings))

    @property
    def api_url(self) -> str:
        """Where the simulated API begins."""
        return f"{self.simulator_url}/v1"

    @property
    def record_url(self) -> str:
        """Where the simulator tells what it executed."""
        return f"{self._control_url}/record"

    @property
    def _control_url(self) -> str:
        return f"{self.simulator_url}/_simulator"

    async def start_simulator(self) -> float:
        """Start the simulator; return after how many seconds it answered."""
        return await self._start(self.simulator, f"{self._control_url}/healthz")

    async def start_worker(self) -> float:
        """Start the worker; return after how many seconds it was ready."""
        return await self._start(self.worker, f"{self.probes_url}/readyz")

    def stop_worker(self) -> None:
        """End the worker in order; raises StageFailed when it does not end so."""
        if (code := self.worker.stop()) != 0:
            why = f"the worker ended with {code} when it was asked to stop"
            raise StageFailed(f"{why}:\n{self.worker.last_words()}")

    async def record(self) -> Mapping[str, Any]:
        """Return the simulator's record of every effect on money."""
        async with _client() as client, client.get(self.record_url) as answer:
            document: Mapping[str, Any] = await answer.json()
            return document

    async def deposit(self, investor_id: str, amount: str) -> None:
        """Let cash come into an investor's wallet."""
        await self._order("wallets", {"investor_id": investor_id, "amount": amount})

    async def take_back(self, withdrawal_id: str) -> None:
        """Let the bank return what was paid."""
        await self._order("reversals", {"withdrawal_id": withdrawal_id})

    async def forge(self, withdrawal_id: str) -> int:
        """Tell the worker, without knowing the secret, that a withdrawal failed.

        Returns the HTTP status of the answer, and waits for one while the worker is away.
        """
        event = {"event": "transfer.withdrawal.failed", "data": {"id": withdrawal_id}}
        body = json.dumps(event).encode()
        headers = {_SIGNATURE_HEADER: hmac.new(b"not the secret", body, "sha256").hexdigest()}
        async with _client() as client:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with client.post(self.webhooks_url, data=body, headers=headers) as answer:
                        return answer.status
                await asyncio.sleep(_PAUSE_SECONDS)

    def check(self, *programs: Program) -> None:
        """Raise StageFailed when one of these (else: any) has ended by itself."""
        for program in programs or (self.simulator, self.worker):
            if program.has_ended:
                raise StageFailed(f"the {program.name} ended by itself:\n{program.last_words()}")

    def note_pids(self, *others: int) -> None:
        """Write down all processes, and `others`, for whoever has to end them without us."""
        ours = (self.worker.pid, self.simulator.pid, *self.broker.pids)
        self.folder.note([*others, *(pid for pid in ours if pid is not None)])

    def stop(self) -> None:
        """End everything in order: those who talk before those they talk to."""
        self.worker.stop()
        self.simulator.stop()
        with suppress(NodeFailed, OSError):
            self.broker.stop()

    def kill(self) -> None:
        """End everything at once."""
        self.worker.kill()
        self.simulator.kill()
        with suppress(NodeFailed, OSError):
            self.broker.kill()

    async def _order(self, call: str, document: Mapping[str, str]) -> None:
        """Order something of the simulator. Raises ClientError when it refuses."""
        async with (
            _client() as client,
            client.post(f"{self._control_url}/{call}", json=document) as answer,
        ):
            answer.raise_for_status()

    def _program(self, name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> Program:
        return Program(
            name,
            command,
            log=self.folder.path / f"{name}.log",
            environ=environ,
            kept_open=[self.folder.lock],
        )

    def _environ(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a program: ours, without settings meant for another worker."""
        ours = {name: text for name, text in os.environ.items() if not name.startswith("WORKER_")}
        return ours | dict(settings)

    async def _start(self, program: Program, url: str) -> float:
        begun = time.monotonic()
        program.start()
        self.note_pids(os.getpid())
        async with _client() as client:
            while not await _answers(client, url):
                self.check(program)
                if time.monotonic() - begun > _READY_SECONDS_MAX:
                    why = f"the {program.name} is not ready after {_READY_SECONDS_MAX:g} s"
                    raise StageFailed(f"{why}:\n{program.last_words()}")
                await asyncio.sleep(_PAUSE_SECONDS)
        return time.monotonic() - begun


def _simulator_command(port: int, *, webhooks_url: str) -> tuple[str, ...]:
    named = {**_SIMULATOR, "--webhook-url": webhooks_url}
    options = [word for option in named.items() for word in option]
    return (*_PYTHON, "simulate", "bluum", "--port", str(port), *options)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX))


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with client.get(url) as answer:
            return answer.ok
    return False
