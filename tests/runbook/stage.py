"""A worker in trouble: one request in doubt, one late, two unresolved, three dead letters.

Everything is real and on loopback: broker, ledger, simulated provider, worker and commands. Nothing
is compared with the page here."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import httpx

from tests.app.harness import WorkerProcess, a_desk, a_request, settings, until
from tests.cli.graves import a_letter, an_invalid, bury
from tests.cli.running import Commands
from tests.no_tls import NO_TLS
from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.app.harness import Desk
    from tests.runbook.page import Example
    from worker.demo.rabbitmq_node import RabbitmqNode
    from worker.simulator.bluum_server import BluumServer

#: Names of requests: what each is in is said by `_troubled`.
IN_DOUBT: Final = "req-4711"
LATE: Final = "req-4712"
ADOPTED: Final = "req-4713"
BEGUN_ANEW: Final = "req-4714"
#: Of the dead letters, this one is dropped.
TO_DROP: Final = "bad-1"
#: Nobody listens there.
_NOWHERE: Final = "http://127.0.0.1:1/v1"
_STEP: Final = timedelta(minutes=1)
_SECONDS: Final = 90.0
#: What asks before it does something has to be told beforehand, since nobody sits here.
_ASKS: Final = ("--adopt", "--not-created", "replay --reason poison", "drop")


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command."""

    code: int
    output: str


class Stage:
    """Runs the page's commands against the worker; made by `open_stage`."""

    def __init__(
        self, worker: WorkerProcess, log: Path, node: RabbitmqNode, names: Mapping[str, str]
    ) -> None:
        self._worker = worker
        self._log = log
        self._node = node
        self._names = names
        mine = {n: v for n, v in worker.environment.items() if n.startswith("WORKER_")}
        self._commands = Commands(**mine)
        self._asked: dict[str, Ended] = {}

    async def run(self, example: Example) -> Ended:
        """Run one example as it stands on the page, with its placeholders filled in."""
        line = self._filled(example)
        program = shlex.split(line)[0]
        if program == "withdrawals-worker":
            return await self._command(line)
        if program == "rabbitmqctl":
            # Each begins an Erlang of its own, and they only look: the same is asked once.
            if line not in self._asked:
                self._asked[line] = await asyncio.to_thread(self._at_the_broker, line)
            return self._asked[line]
        assert program in {"curl", "kubectl"}, f"nobody knows how to run: {line}"
        return await self._shell(line)

    def _filled(self, example: Example) -> str:
        """Name what the page leaves open: which request it is depends on what is asked of it."""
        if "--not-created" in example.command:
            request = BEGUN_ANEW
        elif example.section == "WithdrawalUnresolved":
            request = ADOPTED
        else:
            request = LATE if example.section == "WithdrawalOverdue" else IN_DOUBT
        names = {**self._names, "ID": request}
        line = " ".join(names.get(word, word) for word in example.command.split(" "))
        line = line.replace("http://localhost:8080", f"http://127.0.0.1:{self._worker.port}")
        if example.is_for_kubernetes:
            # What a pod has written is in our file; what is done with it is the page's.
            _, _, rest = line.partition(" | ")
            line = f"kubectl | {rest}"
        return line

    async def _command(self, line: str) -> Ended:
        asks = any(words in line for words in _ASKS) and "--dry-run" not in line
        words = [*shlex.split(line)[1:], *["--yes"] * asks]
        result = await asyncio.to_thread(self._commands, *words)
        return Ended(result.exit_code, result.output)

    def _at_the_broker(self, line: str) -> Ended:
        return Ended(0, self._node.ctl(*(word for word in shlex.split(line)[1:] if word != "-q")))

    async def _shell(self, line: str) -> Ended:
        printed = f"kubectl() {{ cat {shlex.quote(str(self._log))}; }}"
        bash = shutil.which("bash")
        assert bash is not None
        process = await asyncio.create_subprocess_exec(
            *(bash, "-c", f"set -o pipefail; {printed}; {line}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate()
        return Ended(process.returncode or 0, output.decode())


@asynccontextmanager
async def open_stage(
    node: RabbitmqNode, vhost: str, ledger: str, log: Path
) -> AsyncIterator[Stage]:
    """A stage on which the trouble has come already; all of it is gone when the block ends."""
    amqp = f"{node.url}{vhost}"
    options = BluumOptions(rate_limit=0, latency=timedelta(0), terms=Terms(pace=_STEP))
    async with serve(options) as server, a_desk(amqp, server) as desk:
        worker = WorkerProcess(settings(amqp, ledger, server.base_url, **_TWO), log, program=None)
        async with worker:
            await worker.start()
            await worker.ready()
            lookalike = await _troubled(desk, worker, server)
            await bury(amqp, *_LETTERS)
            names = {
                "CANCEL_ID": "cancel-4711",
                "WD_ID": lookalike,
                "LETTER": TO_DROP,
                "VHOST": vhost,
            }
            yield Stage(worker, log, node, names)


#: Both of Bluum's APIs, of which one does not answer; what it has heard is soon forgotten.
_TWO: Final[Mapping[str, str]] = {
    "WORKER_BLUUM__IDEMPOTENCY_WINDOW": "1",
    "WORKER_BLUUM_ACCOUNTS__BASE_URL": _NOWHERE,
    "WORKER_BLUUM_ACCOUNTS__API_KEY": "simulator-key",
    "WORKER_BLUUM_ACCOUNTS__API_SECRET": "simulator-secret",
}


async def _troubled(desk: Desk, worker: WorkerProcess, server: BluumServer) -> str:
    """Have some requests end, one be late, one in doubt, two unresolved.

    Returns a withdrawal of the provider's that could be the first of the unresolved.
    """
    await desk.cancel("cancel-4709", request_message_id="req-4709")
    await desk.ask("req-4709", investor_id="inv_9")
    await desk.ask("req-4710", investor_id="inv_9")
    await _told(desk, worker, "req-4710", "pending")
    server.clock.advance(10 * _STEP)
    await desk.have_ended(2)
    await desk.ask(LATE, investor_id="inv_8")
    await _told(desk, worker, LATE, "pending")
    await desk.send(IN_DOUBT, json.dumps(_BY_ACCOUNT).encode())
    lookalike = await _made_elsewhere(server, "inv_1")
    await _made_elsewhere(server, "inv_2")
    server.set_faults(Faults(error_before=1.0))
    await desk.ask(ADOPTED, investor_id="inv_1")
    await desk.ask(BEGUN_ANEW, investor_id="inv_2")
    await _told(desk, worker, ADOPTED, "unresolved")
    await _told(desk, worker, BEGUN_ANEW, "unresolved")
    server.set_faults(Faults())
    server.clock.advance(1.1 * _STEP)
    await _told(desk, worker, LATE, "processing")
    server.simulation.house.webhooks.subscribe(
        "https://pay.example/webhooks/bluum",
        ("order.filled",),
        name="withdrawals-worker",
        now=server.clock.now(),
    )

    async def shown() -> bool:
        return "withdrawals_unresolved 2.0" in (await worker.metrics()).splitlines()

    await until(shown, lambda: worker.output)
    return lookalike


_BY_ACCOUNT: Final = {
    "provider": "bluum_accounts",
    "account_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b",
    "amount": "125.50",
    "currency": "USD",
    "method": "ach_plaid",
    "plaid_options": {"item_id": "item_1", "account_id": "acc_1"},
}


async def _told(desk: Desk, worker: WorkerProcess, message_id: str, status: str) -> None:
    async def told() -> bool:
        return status in desk.statuses(message_id)

    await until(told, lambda: f"{message_id} is not {status}\n{worker.output}")


async def _made_elsewhere(server: BluumServer, investor_id: str) -> str:
    """Withdraw for a customer by another way, alike to what is asked for; return its id."""
    body = {name: given for name, given in a_request().items() if name != "investor_id"}
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, auth=_AUTH) as client:
        made = await client.post(
            f"{server.base_url}/investors/{investor_id}/withdrawals",
            json=body,
            headers={"Idempotency-Key": f"elsewhere-{investor_id}"},
        )
    identity: str = made.json()["id"]
    return identity


_LETTERS: Final = (
    an_invalid(TO_DROP),
    an_invalid("bad-2"),
    a_letter("req-4715", reason="poison", detail="failed unexpectedly 5 times"),
)
_AUTH: Final = ("simulator-key", "simulator-secret")
