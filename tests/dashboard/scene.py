"""What the dashboard is shown of: real workers with simulated providers, and what is asked of them.

Starts and ends them. What happens when is not decided here, nor who watches."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.app.harness import WorkerProcess
from tests.faults.tongues import TONGUES
from tests.no_tls import NO_TLS
from worker.demo.companies import ACCOUNTS, BLUUM, SECRET, SIGNATURE_HEADER, UPVEST
from worker.demo.mailbox import open_mailbox
from worker.demo.ports import free_ports
from worker.demo.scenario import Message
from worker.simulator.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import WebhookTerms
from worker.simulator.faults import Faults
from worker.simulator.upvest_options import UpvestOptions
from worker.simulator.upvest_server import serve_upvest
from worker.simulator.upvest_terms import UpvestTerms
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from worker.demo.companies import Company
    from worker.demo.mailbox import Mailbox
    from worker.simulator.bluum_generation import Generation
    from worker.simulator.bluum_server import BluumServer
    from worker.simulator.server import Server

_SECONDS_MAX: Final = 10.0

#: What takes minutes to days in production takes seconds here.
_SETTINGS: Final = {
    "WORKER_POLLING__FIRST_DELAY": "1",
    "WORKER_POLLING__CAP": "4",
    "WORKER_RETRY__FIRST_DELAY": "0.2",
    "WORKER_RETRY__CAP": "2",
    "WORKER_RETRY__SETTLING": "0.5",
    "WORKER_CANCELLATIONS__GRACE": "2",
    "WORKER_RECONCILIATION__EVERY": "5",
    # Of one provider a key counts as forgotten soon: whose calls fail is looked up in the list, and
    # with another's like it there nobody can tell.
    "WORKER_BLUUM_ACCOUNTS__IDEMPOTENCY_WINDOW": "1",
    "WORKER_UPVEST__WEBHOOK__ENABLED": "true",
    "WORKER_HTTP__HOST": "127.0.0.1",
    "WORKER_WEBHOOKS__HOST": "127.0.0.1",
    "WORKER_LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How fast all goes: from one status to the next, and what a provider takes a second (0: all).

    `settings` are the workers' besides those that every scene has.
    """

    pace: timedelta
    latency: timedelta
    rate_limit: int
    settings: Mapping[str, str]


class Scene:
    """All that runs, and what can be done to it; made by `a_scene`."""

    def __init__(
        self,
        *,
        workers: Sequence[WorkerProcess],
        providers: Mapping[str, Server[Any]],
        mailbox: Mailbox,
        webhooks_url: str,
    ) -> None:
        self.workers = workers
        self._providers = providers
        self._mailbox = mailbox
        self._webhooks_url = webhooks_url
        self._random = Random(7)  # noqa: S311 - no secret
        self._numbers = count(1)
        self._publishing = asyncio.Lock()

    async def ask(
        self, provider: str, special: str = "", *, times: int = 1, **changes: object
    ) -> str:
        """Publish a request of somebody, or of a special somebody; return its message id."""
        tongue = TONGUES[provider]
        document = tongue.document(self._random) | {"provider": provider}
        if special:
            document |= tongue.special[special].changes
        name = f"{provider}-{next(self._numbers)}"
        for _ in range(times):
            await self.send(name, json.dumps(document | changes).encode())
        return name

    async def send(self, name: str | None, body: bytes) -> None:
        """Publish anything to the request queue."""
        await self._publish(Message(name=name, body=body))

    async def cancel(self, request: str) -> None:
        """Ask for a request to be cancelled."""
        body = json.dumps({"request_message_id": request}).encode()
        await self._publish(Message(name=f"cancel-{request}", body=body, cancels=request))

    async def forge(self) -> None:
        """Tell the first worker, if it is there, something by webhook without the secret."""
        with suppress(httpx.TransportError):
            async with _client() as client:
                await client.post(
                    f"{self._webhooks_url}{BLUUM.webhook_path}",
                    json={"event": "transfer.withdrawal.failed", "data": {"id": "wd_1"}},
                    headers={SIGNATURE_HEADER: "00"},
                )

    async def leave_in_doubt(self) -> None:
        """Lose every call of a request whose customer withdraws the same by another way.

        Once the key counts as forgotten its outcome is a person's to establish.
        """
        party = {"account_id": "d0000000-0000-4000-8000-000000000001", "amount": "77.00"}
        document = TONGUES[ACCOUNTS.name].document(self._random) | party
        server = self._providers[ACCOUNTS.name]
        async with _client(auth=("simulator-key", "simulator-secret")) as client:
            answer = await client.post(
                f"{server.origin}/v1/accounts/{party['account_id']}/withdrawals",
                json={k: v for k, v in document.items() if k != "account_id"},
                headers={"Idempotency-Key": "by another way"},
            )
            answer.raise_for_status()
        self.trouble(ACCOUNTS.name, error_before=1.0)
        await self.send("in-doubt", json.dumps(document | {"provider": ACCOUNTS.name}).encode())

    def trouble(self, provider: str, **faults: Any) -> None:  # noqa: ANN401 - fields
        """Let a provider's calls fail from now on, as `Faults` says; without any: no more."""
        self._providers[provider].set_faults(Faults(**faults))

    def slow_down(self, provider: str, latency: timedelta) -> None:
        """Let each call of a provider take so long from now on."""
        simulation = self._providers[provider].simulation
        simulation.options = replace(simulation.options, latency=latency)

    async def _publish(self, message: Message) -> None:
        async with self._publishing:
            await self._mailbox.publish(message)


@asynccontextmanager
async def a_scene(
    folder: Path,
    *,
    amqp: str,
    ledger: str,
    ports: Sequence[int],
    course: Course,
    program: str | None = None,
) -> AsyncIterator[Scene]:
    """Start all of it in a folder, a worker for each of `ports`; it is ended with the block.

    `program` is what `WorkerProcess` runs: None is quick to start, `worker` is as in production.
    """
    (webhooks_port,) = free_ports(1)
    webhooks_url = f"http://127.0.0.1:{webhooks_port}"
    async with AsyncExitStack() as stack:
        providers, settings = await _providers(stack, folder, webhooks_url, course)
        settings |= _SETTINGS | {"WORKER_RABBITMQ__URL": amqp, "WORKER_LEDGER__URL": ledger}
        settings |= course.settings
        workers: list[WorkerProcess] = []
        for number, port in enumerate(ports):
            # Webhooks come to the first.
            settings["WORKER_WEBHOOKS__PORT"] = "0" if workers else str(webhooks_port)
            worker = WorkerProcess(settings, folder / f"worker-{number}.log", program=program)
            worker.take_port(port)
            workers.append(await stack.enter_async_context(worker))
            await worker.start()
        for worker in workers:
            await worker.ready()
        yield Scene(
            workers=workers,
            providers=providers,
            mailbox=await stack.enter_async_context(open_mailbox(amqp)),
            webhooks_url=webhooks_url,
        )


async def _providers(
    stack: AsyncExitStack, folder: Path, webhooks_url: str, course: Course
) -> tuple[dict[str, Server[Any]], dict[str, str]]:
    """Start the three providers; return them, and the settings of a worker that reaches them."""
    bluum = await stack.enter_async_context(_bluum(BLUUM, INVESTOR_SCOPED, webhooks_url, course))
    accounts = await stack.enter_async_context(
        _bluum(ACCOUNTS, ACCOUNT_SCOPED, webhooks_url, course)
    )
    upvest = await stack.enter_async_context(
        serve_upvest(
            UpvestOptions(
                rate_limit=course.rate_limit,
                latency=course.latency,
                terms=UpvestTerms(pace=course.pace),
                webhooks=UpvestWebhookTerms(
                    url=f"{webhooks_url}{UPVEST.webhook_path}", bundling=timedelta(seconds=0.2)
                ),
            )
        )
    )
    key = folder / "upvest-key.pem"
    key.write_bytes(upvest.private_pem)
    settings = (
        BLUUM.environ(bluum.base_url)
        | ACCOUNTS.environ(accounts.base_url)
        | UPVEST.environ(upvest.base_url)
        | {"WORKER_UPVEST__PRIVATE_KEY_FILE": str(key)}
    )
    return {BLUUM.name: bluum, ACCOUNTS.name: accounts, UPVEST.name: upvest}, settings


@asynccontextmanager
async def _bluum(
    company: Company, generation: Generation, webhooks_url: str, course: Course
) -> AsyncIterator[BluumServer]:
    options = BluumOptions(
        rate_limit=course.rate_limit,
        latency=course.latency,
        terms=Terms(pace=course.pace, generation=generation),
        webhooks=WebhookTerms(
            url=f"{webhooks_url}{company.webhook_path}",
            secret=SECRET,
            header=SIGNATURE_HEADER,
        ),
    )
    async with serve(options) as server:
        yield server


def _client(**options: Any) -> httpx.AsyncClient:  # noqa: ANN401 - httpx's own
    return httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=_SECONDS_MAX, **options)
