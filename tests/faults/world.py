"""The parts of one run and the proxies between them: they are started, broken and healed here.

When that happens is not decided here, and nothing is judged."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tests.app.harness import WorkerProcess
from tests.faults.client import Client, a_client
from tests.faults.ground import LOOPBACK
from tests.faults.plan import SETTLING, Ledger, Link
from tests.faults.proxy import Mode, Proxy
from tests.faults.stands import a_stand
from worker.demo.ports import free_ports
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from tests.faults.ground import Broker, Ground
    from tests.faults.plan import Plan
    from tests.faults.proxy import Address
    from tests.faults.stands import Stand

#: How long a worker may take to end in order: its own limit, and what a busy machine adds.
_STOP_SECONDS: Final = 30.0
_SUPERVISION: Final = 0.2
#: A supervisor does not start again at once what has just failed to start.
_BACK_OFF: Final = 0.5

#: What takes minutes in production takes a moment; how long is bounded all the same.
_SETTINGS: Final = {
    "WORKER_RETRY__FIRST_DELAY": "0.1",
    "WORKER_RETRY__SETTLING": f"{SETTLING.total_seconds()}",
    "WORKER_RETRY__ATTEMPTS": "2",
    "WORKER_RETRY__CAP": "0.8",
    "WORKER_POLLING__FIRST_DELAY": "0.3",
    "WORKER_POLLING__CAP": "1",
    "WORKER_RABBITMQ__HEARTBEAT": "1",
    "WORKER_RABBITMQ__CONNECT_TIMEOUT": "2",
    "WORKER_RABBITMQ__PUBLISH_TIMEOUT": "2",
    "WORKER_SHUTDOWN_TIMEOUT": "5",
    "WORKER_HTTP__HOST": LOOPBACK,
    "WORKER_WEBHOOKS__HOST": LOOPBACK,
    "WORKER_CANCELLATIONS__GRACE": "2",
    "WORKER_LOG_FORMAT": "json",
}


class Place:
    """Where one worker stands: a process that is ended and replaced by another."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        #: The exit codes of processes that nobody ended.
        self.exits: list[int] = []
        #: The exit codes of processes that were asked to stop.
        self.stops: list[int] = []
        self._is_wanted = False
        self._turn = asyncio.Lock()

    @property
    def is_up(self) -> bool:
        """Whether a process runs, stopped or not."""
        return hasattr(self.worker, "process") and self.worker.process.returncode is None

    async def start(self) -> None:
        """Start a process, unless there is one."""
        async with self._turn:
            self._is_wanted = True
            if not self.is_up:
                await self.worker.start()

    async def kill(self) -> None:
        """End the process as a power cut would."""
        async with self._turn:
            self._is_wanted = False
            if self.is_up:
                await self.worker.kill()

    async def terminate(self) -> None:
        """Ask the process to stop, and wait until it has; by force when that takes too long."""
        async with self._turn:
            self._is_wanted = False
            if not self.is_up:
                return
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    self.stops.append(await self.worker.process.wait())
            except TimeoutError:
                await self.worker.kill()
                self.stops.append(-signal.SIGKILL)

    def pause(self) -> None:
        """Stop the process where it stands."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def supervise(self) -> None:
        """Start again what ended by itself, as an orchestrator does; for ever."""
        while True:
            await asyncio.sleep(_SUPERVISION)
            # In turn, or a process would be started that was killed on purpose in this moment.
            async with self._turn:
                if self._is_wanted and not self.is_up:
                    self.exits.append(self.worker.process.returncode or 0)
                    await asyncio.sleep(_BACK_OFF)
                    await self.worker.start()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self.is_up:
                self.worker.process.send_signal(number)


class World:
    """One run's parts; made by `a_world`."""

    def __init__(
        self,
        plan: Plan,
        *,
        ground: Ground,
        stand: Stand,
        client: Client,
        proxies: dict[tuple[int, Link], Proxy],
        places: list[Place],
    ) -> None:
        self.plan = plan
        self.ground = ground
        self.stand = stand
        self.client = client
        self.places = places
        self._proxies = proxies

    def whom(self, worker: int | None) -> list[Place]:
        """Return one worker, or all of them."""
        return self.places if worker is None else [self.places[worker]]

    def proxies(self, link: Link | None, worker: int | None) -> list[Proxy]:
        """Return the proxies of a kind of connection (None: of all kinds), of one worker or all."""
        return [
            proxy
            for (owner, of), proxy in self._proxies.items()
            if link in {None, of} and worker in {None, owner}
        ]

    async def ready(self) -> None:
        """Wait until every worker is."""
        await asyncio.gather(*(place.worker.ready() for place in self.places))

    async def heal(self) -> None:
        """End every fault, and let every worker run."""
        for proxy in self.proxies(None, None):
            await proxy.set(Mode.OPEN)
        self.stand.set_faults(Faults())
        self.stand.refuse_credentials(refused=False)
        for place in self.places:
            place.resume()
        await asyncio.gather(*(place.start() for place in self.places))


@asynccontextmanager
async def a_world(plan: Plan, ground: Ground, folder: Path) -> AsyncIterator[World]:
    """Start the parts of a run; all are gone at the end. Logs and an embedded ledger: `folder`."""
    broker = ground.broker
    async with AsyncExitStack() as stack:
        ears = free_ports(plan.workers)
        turns = deque((LOOPBACK, port) for port in ears)
        hooks = await stack.enter_async_context(Proxy(lambda: _in_turn(turns)))
        stand = await stack.enter_async_context(a_stand(plan, hooks.port, folder))
        ledger = await ground.new_ledger(plan.ledger, folder)
        stack.push_async_callback(ground.remove_ledger, ledger)
        proxies: dict[tuple[int, Link], Proxy] = {}
        places: list[Place] = []
        for number in range(plan.workers):
            for link in _links(plan.ledger):
                target = _target(link, broker, stand, ledger)
                proxies[number, link] = await stack.enter_async_context(Proxy(target))
            ports = {link: proxies[number, link].port for link in _links(plan.ledger)}
            environment = {
                **_environment(ports, ledger),
                **stand.settings(ports[Link.PROVIDER]),
                "WORKER_DEFAULT_PROVIDER": plan.provider,
                "WORKER_WEBHOOKS__PORT": str(ears[number]),
            }
            worker = WorkerProcess(
                environment, folder / f"worker-{number}.log", program="tests.faults.brisk"
            )
            places.append(Place(await stack.enter_async_context(worker)))
        client = await stack.enter_async_context(a_client(lambda: _amqp(broker.addresses()[0][1])))
        world = World(
            plan,
            ground=ground,
            stand=stand,
            client=client,
            proxies=proxies,
            places=places,
        )
        await asyncio.gather(client.connected(), *(place.start() for place in places))
        for place in places:
            supervising = asyncio.create_task(place.supervise())
            stack.push_async_callback(_end, supervising)
        yield world
        await client.remove_queues()


def _in_turn(turns: deque[Address]) -> Sequence[Address]:
    """Return where a webhook may go, another worker first each time."""
    told = tuple(turns)
    turns.rotate(-1)
    return told


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _links(ledger: Ledger) -> Iterable[Link]:
    return [link for link in Link if link is not Link.LEDGER or ledger is Ledger.POSTGRESQL]


def _target(
    link: Link, broker: Broker, stand: Stand, ledger: str
) -> Callable[[], Sequence[Address]]:
    match link:
        case Link.BROKER:
            return broker.addresses
        case Link.PROVIDER:
            return lambda: [(LOOPBACK, stand.port)]
        case Link.LEDGER:
            return lambda: [(LOOPBACK, urlsplit(ledger).port or 0)]


def _environment(ports: dict[Link, int], ledger: str) -> dict[str, str]:
    if Link.LEDGER in ports:
        parts = urlsplit(ledger)
        ledger = parts._replace(netloc=f"postgres@{LOOPBACK}:{ports[Link.LEDGER]}").geturl()
    return {
        "WORKER_RABBITMQ__URL": _amqp(ports[Link.BROKER]),
        "WORKER_LEDGER__URL": ledger,
        **_SETTINGS,
    }


def _amqp(port: int) -> str:
    return f"amqp://guest:guest@{LOOPBACK}:{port}/"
