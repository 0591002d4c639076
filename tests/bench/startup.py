"""Seconds from the start of the process until it is ready, and its memory when it is idle.

    .venv/bin/python -m tests.bench.startup --rounds 5

A private broker, a simulator and a fresh SQLite ledger for each round; medians are told."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.error import URLError

from worker.demo.ports import free_ports
from worker.demo.rabbitmq_node import RabbitmqNode, find_rabbitmq

_READY_SECONDS: Final = 60.0
_PAUSE: Final = 0.01


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found = find_rabbitmq()
    if found is None:
        sys.exit("RabbitMQ is needed: see the README")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node = stack.enter_context(RabbitmqNode(folder / "rabbitmq", found))
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "worker", "simulate", "bluum", "--port", str(port)]
        simulator = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(simulator.terminate)
        assert simulator.stdout is not None
        simulator.stdout.readline()
        measured = [
            _round(node.url, f"http://127.0.0.1:{port}/v1", folder / f"{number}.db")
            for number in range(rounds)
        ]
    seconds, kibibytes = zip(*measured, strict=True)
    print(f"start to ready: {statistics.median(seconds):.2f} s")
    print(f"memory when idle: {statistics.median(kibibytes) / 1024:.0f} MiB")


def _round(amqp: str, base_url: str, ledger: Path) -> tuple[float, int]:
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "WORKER_RABBITMQ__URL": amqp,
        "WORKER_LEDGER__URL": f"sqlite:///{ledger}",
        "WORKER_BLUUM__BASE_URL": base_url,
        "WORKER_BLUUM__API_KEY": "simulator-key",
        "WORKER_BLUUM__API_SECRET": "simulator-secret",
        "WORKER_HTTP__PORT": str(port),
        "WORKER_LOG_LEVEL": "WARNING",
    }
    begun = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "worker", "run"], env=environment) as process:
        while not _is_ready(port):
            if time.perf_counter() - begun > _READY_SECONDS:
                sys.exit("the worker did not become ready")
            time.sleep(_PAUSE)
        seconds = time.perf_counter() - begun
        resident = _resident(process.pid)
        process.terminate()
    return seconds, resident


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


def _resident(pid: int) -> int:
    """Return the resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


if __name__ == "__main__":
    main()
