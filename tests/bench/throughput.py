"""Withdrawals a second and CPU time of each, on one core: the worker beside a plain handler.

    make bench              3 rounds of 2,000 requests each, interleaved
    .venv/bin/python -m tests.bench.throughput --rounds 5 --requests 4000 --prefetch 40

The provider (the simulator) answers in 20 ms without limit. The measured process has the first core
for itself, everything else the others; requests wait in the queue before the clock starts, and the
clock stops when the second event of the last request has come back. Medians of the rounds are told,
and the ratio of the two. A machine with one core measures nothing useful."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import aio_pika

from worker.demo.ports import free_ports
from worker.demo.rabbitmq_node import RabbitmqNode, find_rabbitmq
from worker.rabbitmq import topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LATENCY: Final = "0.02"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 60.0
_ROUND_SECONDS: Final = 300.0
#: How many requests are let through before the measurement, to warm connections and caches.
_WARM_UP: Final = 200


@dataclass(frozen=True, slots=True)
class Round:
    """One measured round: requests a second, and milliseconds of CPU for each."""

    rate: float
    cpu: float


def main() -> None:
    """Measure and print a table."""
    options = _options()
    found = find_rabbitmq()
    if found is None:
        sys.exit("RabbitMQ is needed: see the README")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node = stack.enter_context(RabbitmqNode(folder / "rabbitmq", found))
        base_url = stack.enter_context(_Simulator())
        bench = Bench(node.url, base_url, folder, options.prefetch, options.requests)
        results: dict[str, list[Round]] = {"plain handler": [], "worker": []}
        for turn in range(options.rounds):
            for name, rounds in results.items():
                rounds.append(asyncio.run(bench.round(name, turn)))
                print(f"round {turn + 1} {name}: {rounds[-1]}", file=sys.stderr)
    _print(results)


class Bench:
    """Runs rounds against one broker and one provider."""

    def __init__(
        self, amqp: str, base_url: str, folder: Path, prefetch: int, requests: int
    ) -> None:
        self._amqp = amqp
        self._base_url = base_url
        self._folder = folder
        self._prefetch = prefetch
        self._requests = requests

    async def round(self, name: str, turn: int) -> Round:
        """Let one of the two handle a round of requests, and measure it."""
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(await aio_pika.connect(self._amqp))
            channel = await connection.channel()
            await topology.ensure(connection, declare=True)
            spy = await channel.declare_queue(exclusive=True, auto_delete=True)
            await spy.bind(topology.EVENTS_EXCHANGE, "#")
            told = await stack.enter_async_context(spy.iterator(no_ack=True))
            await self._publish(connection, f"{name}-{turn}-warm", _WARM_UP)
            with self._process(name, turn) as process:
                await _second_events(told, _WARM_UP)
                # What follows waits in the queue while the process is stopped, then it runs.
                process.send_signal(signal.SIGSTOP)
                await self._publish(connection, f"{name}-{turn}", self._requests)
                process.send_signal(signal.SIGCONT)
                cpu, begun = _cpu_seconds(process.pid), perf_counter()
                await asyncio.wait_for(_second_events(told, self._requests), _ROUND_SECONDS)
                seconds = perf_counter() - begun
                used = _cpu_seconds(process.pid) - cpu
        return Round(self._requests / seconds, used / self._requests * 1000)

    def _process(self, name: str, turn: int) -> _Child:
        if name == "worker":
            return _Child([sys.executable, "-m", "worker", "run"], self._environment(turn), core=0)
        plain = [sys.executable, "-m", "tests.bench.plain", self._amqp, self._base_url]
        return _Child([*plain, str(self._prefetch)], dict(os.environ), core=0)

    def _environment(self, turn: int) -> dict[str, str]:
        return {
            **os.environ,
            "WORKER_RABBITMQ__URL": self._amqp,
            "WORKER_RABBITMQ__PREFETCH": str(self._prefetch),
            "WORKER_LEDGER__URL": f"sqlite:///{self._folder}/bench-{turn}.db",
            "WORKER_BLUUM__BASE_URL": self._base_url,
            "WORKER_BLUUM__API_KEY": "simulator-key",
            "WORKER_BLUUM__API_SECRET": "simulator-secret",
            "WORKER_BLUUM__RATE_LIMIT": "10000",
            "WORKER_POLLING__FIRST_DELAY": "PT1H",
            "WORKER_POLLING__CAP": "PT1H",
            "WORKER_HTTP__PORT": "0",
            "WORKER_LOG_LEVEL": "WARNING",
        }

    async def _publish(
        self, connection: aio_pika.abc.AbstractConnection, prefix: str, count: int
    ) -> None:
        channel = await connection.channel()
        exchange = await channel.get_exchange(topology.COMMANDS_EXCHANGE, ensure=False)
        gate = asyncio.Semaphore(100)

        async def one(number: int) -> None:
            body = json.dumps(
                {
                    "investor_id": f"inv_{number % 50}",
                    "amount": "5.00",
                    "currency": "USD",
                    "method": "ach",
                    "funding_source_id": "fs_1",
                }
            ).encode()
            message = aio_pika.Message(
                body,
                message_id=f"{prefix}-{number}",
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            async with gate:
                await exchange.publish(message, topology.REQUEST_KEY)

        await asyncio.gather(*(one(number) for number in range(count)))


class _Child:
    """A process on one core, ended with the context."""

    def __init__(self, command: list[str], environment: dict[str, str], *, core: int) -> None:
        cores = os.sched_getaffinity(0)
        others = cores - {min(cores)} or cores
        wanted = {min(cores)} if core == 0 else others
        self._process = subprocess.Popen(
            command,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, wanted),  # noqa: PLW1509
            stdout=subprocess.PIPE if core else None,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Simulator:
    """The provider: answers in 20 ms, without limit."""

    def __enter__(self) -> str:
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "worker", "simulate", "bluum", "--port", str(port)]
        command += ["--rate-limit", "0", "--latency", _LATENCY]
        self._child = _Child(command, dict(os.environ), core=1)
        process = self._child.__enter__()
        assert process.stdout is not None
        process.stdout.readline()
        return f"http://127.0.0.1:{port}/v1"

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()


async def _second_events(
    told: AsyncIterator[aio_pika.abc.AbstractIncomingMessage], count: int
) -> None:
    """Wait until `count` requests have had their second event."""
    missing = 2 * count
    async for _ in told:
        missing -= 1
        if not missing:
            return


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--prefetch", type=int, default=40)
    return parser.parse_args()


def _print(results: dict[str, list[Round]]) -> None:
    print(f"{'':14} {'withdrawals/s':>14} {'CPU ms each':>12}   (medians)")
    medians = {
        name: Round(
            statistics.median(one.rate for one in rounds),
            statistics.median(one.cpu for one in rounds),
        )
        for name, rounds in results.items()
    }
    for name, median in medians.items():
        print(f"{name:14} {median.rate:14.0f} {median.cpu:12.2f}")
    plain, worker = medians["plain handler"], medians["worker"]
    print(f"{'ratio':14} {worker.rate / plain.rate:14.2f} {worker.cpu / plain.cpu:12.2f}")


if __name__ == "__main__":
    main()
