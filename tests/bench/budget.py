"""One request limit, several replicas: what it is spent on, and how long a submission waits.

    make bench-budget       3 replicas, limit 25, backlog 1,000, 100,000 looks due; 2 minutes
    .venv/bin/python -m tests.bench.budget --looks 0 --arrivals 10 --seconds 30

Each replica is a process with a ledger (one PostgreSQL for all), a pace and a line to the provider
(the simulator, which enforces the limit in a sliding second). First the backlog is submitted while
all looks wait; then fresh submissions arrive at random, and the looks take the rest."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import httpx

from tests.services.postgres_node import PostgresNode, find_postgres
from worker.demo.ports import free_ports
from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANKS: Final = ("urgent", "submission", "look")


@dataclass(frozen=True, slots=True)
class Replicas:
    """The processes, which go through the phases together."""

    processes: list[subprocess.Popen[str]]

    def go_through(self, phase: str) -> list[dict[str, Any]]:
        """Let all go through a phase; return the figures of each, once all are through."""
        self._say(phase)
        return self._say("figures")

    def _say(self, line: str) -> list[dict[str, Any]]:
        for process in self.processes:
            _pipe(process.stdin).write(f"{line}\n")
            _pipe(process.stdin).flush()
        return [self.heard(process) for process in self.processes]

    @staticmethod
    def heard(process: subprocess.Popen[str]) -> dict[str, Any]:
        """Return the next line of one."""
        line = _pipe(process.stdout).readline()
        if not line:
            sys.exit("a replica failed")
        heard: dict[str, Any] = json.loads(line)
        return heard


def main() -> None:
    """Measure and print."""
    options = _options()
    programs = find_postgres()
    if programs is None:
        sys.exit("PostgreSQL is needed: see tests/services/install.sh")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="withdrawals-"))
        url = stack.enter_context(PostgresNode(Path(folder), programs)).create_database()
        asyncio.run(migrate(url))
        base_url = stack.enter_context(_simulator(options.limit))
        replicas = stack.enter_context(_replicas(url, f"{base_url}/v1", options))
        print(
            f"{options.replicas} replicas, limit {options.limit}, "
            f"{options.looks:,} looks due all the time"
        )
        backlog = replicas.go_through("backlog")
        _print(f"backlog of {options.backlog:,} submissions", backlog, base_url)
        fresh = replicas.go_through(str(options.seconds))
        _print(f"{options.arrivals:g} fresh submissions a second", fresh, base_url)
        waits = sorted(wait for one in fresh for wait in one["waits"])
        for share in (0.5, 0.95, 0.99, 1.0):
            at = min(len(waits) - 1, int(len(waits) * share))
            print(f"  wait of a fresh submission, {share:.0%} of {len(waits)}: {waits[at]:.3f} s")


def _print(title: str, figures: list[dict[str, Any]], base_url: str) -> None:
    record = httpx.get(f"{base_url}/_simulator/record", timeout=60)
    traffic = record.json()["counters"]
    print(f"{title}: {max(one['seconds'] for one in figures):.1f} s")
    for rank in _RANKS:
        rates = [one["granted"].get(rank, 0) / one["seconds"] for one in figures]
        each = ", ".join(f"{rate:.2f}" for rate in rates)
        print(f"  {rank:10} {sum(rates):6.2f} requests/s ({each})")
    print(
        f"  429: {traffic['rate_limited']}; busiest second: {traffic['busiest_second']} requests; "
        f"answers so far: {traffic['responses']}"
    )


@contextmanager
def _simulator(limit: int) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "worker", "simulate", "bluum", "--port", str(port)]
    with _running([*command, "--rate-limit", str(limit)]) as process:
        _pipe(process.stdout).readline()
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _replicas(url: str, base_url: str, options: argparse.Namespace) -> Iterator[Replicas]:
    count = options.replicas
    with ExitStack() as stack:
        processes = []
        for number in range(count):
            command = [sys.executable, "-m", "tests.bench.replica", f"--name=replica-{number}"]
            command += [f"--ledger={url}", f"--base-url={base_url}", f"--rate={options.limit}"]
            command += [f"--looks={_part(options.looks, number, count)}"]
            command += [f"--backlog={_part(options.backlog, number, count)}"]
            command += [f"--arrivals={options.arrivals / count}"]
            processes.append(stack.enter_context(_running(command)))
        replicas = Replicas(processes)
        for process in processes:
            replicas.heard(process)
        yield replicas


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _part(total: int, number: int, count: int) -> int:
    return total // count + (number < total % count)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--limit", type=int, default=25)
    parser.add_argument("--backlog", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=100_000)
    parser.add_argument("--arrivals", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
