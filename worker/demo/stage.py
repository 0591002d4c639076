"""What the demo runs on: broker, simulators and worker, each a real process on loopback.

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

from worker.demo.companies import BLUUM, COMPANIES, SIGNATURE_HEADER
from worker.demo.ports import free_ports
from worker.demo.processes import Program
from worker.demo.rabbitmq_node import NodeFailed
from worker.demo.scenarios import FIRST_LOOK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.demo.companies import Company
    from worker.demo.folder import Folder

_READY_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_ANSWER_SECONDS_MAX: Final = 10.0
_PYTHON: Final = (sys.executable, "-m", "worker")

#: The worker's settings besides its addresses. It looks so rarely that what is known sooner was
#: told by webhook. What else takes minutes in production takes a second. Nothing is compared in the
#: background: that, too, would find out what has happened.
_WORKER: Final = {
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


class Simulator:
    """One provider's simulator: its process, and where it is."""

    def __init__(self, company: Company, *, port: int, program: Program) -> None:
        self.company = company
        self.program = program
        self._url = f"http://127.0.0.1:{port}"

    @property
    def api_url(self) -> str:
        """Where the simulated API begins."""
        return f"{self._url}{self.company.root}"

    @property
    def record_url(self) -> str:
        """Where it tells what it executed."""
        return self.control_url("record")

    def control_url(self, call: str) -> str:
        """Where one of its control calls is."""
        return f"{self._url}/_simulator/{call}"


class Stage:
    """All of them in one folder, started one by one and ended together."""

    def __init__(self, folder: Folder, broker: Broker) -> None:
        probes_port, webhooks_port, *ports = free_ports(2 + len(COMPANIES))
        self.folder = folder
        self.broker = broker
        self.probes_url = f"http://127.0.0.1:{probes_port}"
        self.webhooks_url = f"http://127.0.0.1:{webhooks_port}"
        self.ledger = folder.path / _LEDGER
        self.simulators = {
            company.name: self._simulator(company, port)
            for company, port in zip(COMPANIES, ports, strict=True)
        }
        settings = _WORKER | {
            "WORKER_RABBITMQ__URL": broker.url,
            "WORKER_LEDGER__URL": f"sqlite:///{_LEDGER}",
            "WORKER_HTTP__PORT": str(probes_port),
            "WORKER_WEBHOOKS__PORT": str(webhooks_port),
        }
        for simulator in self.simulators.values():
            settings |= simulator.company.environ(simulator.api_url)
        self.worker = self._program("worker", (*_PYTHON, "run"), self._environ(settings))

    async def start_simulators(self) -> float:
        """Start the simulators; return after how many seconds all of them answered."""
        begun = time.monotonic()
        for simulator in self.simulators.values():
            simulator.program.start()
        self.note_pids(os.getpid())
        for simulator in self.simulators.values():
            await self._until_ready(simulator.program, simulator.control_url("healthz"))
        return time.monotonic() - begun

    async def start_worker(self) -> float:
        """Start the worker; return after how many seconds it was ready."""
        begun = time.monotonic()
        self.worker.start()
        self.note_pids(os.getpid())
        await self._until_ready(self.worker, f"{self.probes_url}/readyz")
        return time.monotonic() - begun

    def stop_worker(self) -> None:
        """End the worker in order; raises StageFailed when it does not end so."""
        if (code := self.worker.stop()) != 0:
            why = f"the worker ended with {code} when it was asked to stop"
            raise StageFailed(f"{why}:\n{self.worker.last_words()}")

    async def records(self) -> list[Mapping[str, Any]]:
        """Return each simulator's record of every effect on money."""
        records: list[Mapping[str, Any]] = []
        async with _client() as client:
            for simulator in self.simulators.values():
                async with client.get(simulator.record_url) as answer:
                    records.append(await answer.json())
        return records

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
        headers = {SIGNATURE_HEADER: hmac.new(b"not the secret", body, "sha256").hexdigest()}
        url = f"{self.webhooks_url}{BLUUM.webhook_path}"
        async with _client() as client:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with client.post(url, data=body, headers=headers) as answer:
                        return answer.status
                await asyncio.sleep(_PAUSE_SECONDS)

    def check(self, *programs: Program) -> None:
        """Raise StageFailed when one of these (else: any) has ended by itself."""
        for program in programs or self._programs:
            if program.has_ended:
                raise StageFailed(f"the {program.name} ended by itself:\n{program.last_words()}")

    def note_pids(self, *others: int) -> None:
        """Write down all processes, and `others`, for whoever has to end them without us."""
        ours = (*(program.pid for program in self._programs), *self.broker.pids)
        self.folder.note([*others, *(pid for pid in ours if pid is not None)])

    def stop(self) -> None:
        """End everything in order: those who talk before those they talk to."""
        for program in self._programs:
            program.stop()
        with suppress(NodeFailed, OSError):
            self.broker.stop()

    def kill(self) -> None:
        """End everything at once."""
        for program in self._programs:
            program.kill()
        with suppress(NodeFailed, OSError):
            self.broker.kill()

    async def _order(self, call: str, document: Mapping[str, str]) -> None:
        """Order something of Bluum's simulator. Raises ClientError when it refuses."""
        url = self.simulators[BLUUM.name].control_url(call)
        async with _client() as client, client.post(url, json=document) as answer:
            answer.raise_for_status()

    @property
    def _programs(self) -> tuple[Program, ...]:
        """All of them, those who talk before those they talk to."""
        return (self.worker, *(simulator.program for simulator in self.simulators.values()))

    def _simulator(self, company: Company, port: int) -> Simulator:
        named = {**company.options, "--webhook-url": f"{self.webhooks_url}{company.webhook_path}"}
        options = [word for option in named.items() for word in option]
        command = (*_PYTHON, "simulate", company.name, "--port", str(port), *options)
        program = self._program(f"simulator-{company.name}", command, self._environ({}))
        return Simulator(company, port=port, program=program)

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

    async def _until_ready(self, program: Program, url: str) -> None:
        begun = time.monotonic()
        async with _client() as client:
            while not await _answers(client, url):
                self.check(program)
                if time.monotonic() - begun > _READY_SECONDS_MAX:
                    why = f"the {program.name} is not ready after {_READY_SECONDS_MAX:g} s"
                    raise StageFailed(f"{why}:\n{program.last_words()}")
                await asyncio.sleep(_PAUSE_SECONDS)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX))


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with client.get(url) as answer:
            return answer.ok
    return False
