"""Broker and ledger away in the middle of the work, and back."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiormq.exceptions import PublishError

from tests.app.harness import WorkerProcess, a_desk, settings, until
from tests.ledger import second
from tests.services.postgres_node import PostgresNode, find_postgres
from worker.demo.rabbitmq_node import Found, RabbitmqNode
from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer


async def test_a_killed_broker_loses_nothing(
    found_rabbitmq: Found, server: BluumServer, tmp_path: Path
) -> None:
    """
    The broker is killed at work and comes back: each request is paid once and told of in order.

    While it is away no number is shown of its queues. Killed once more it does not hold up a stop:
    exit code 0, and the next process goes on.
    """
    with RabbitmqNode(tmp_path / "node", found_rabbitmq) as node:
        environment = settings(node.url, f"sqlite:///{tmp_path}/ledger.db", server.base_url)
        # Slow enough to be hit in the middle, twice.
        environment["WORKER_BLUUM__RATE_LIMIT"] = "100"
        worker = WorkerProcess(environment, tmp_path / "worker.log", program=None)
        async with a_desk(node.url, server) as desk, worker:
            for number in range(150):
                await desk.ask(f"req-{number}")
            await worker.start()
            await desk.have_ended(10)
            await asyncio.to_thread(node.kill)
            await worker.ready(is_ready=False)
            await until(lambda: _counts_queues(worker, 0), lambda: worker.output)
            assert 200 == (await worker.probe("/livez"))[0]
            await asyncio.to_thread(node.start)
            await worker.ready()
            await until(lambda: _counts_queues(worker, 3), lambda: worker.output)
            await desk.have_ended(40)
            await asyncio.to_thread(node.kill)
            await worker.ready(is_ready=False)
            code = await worker.end(signal.SIGTERM)
            await worker.start()
            await asyncio.to_thread(node.start)
            await desk.have_ended(150)
            findings = await desk.verdict()

    assert () == findings
    assert 0 == code, worker.output
    assert "guest:guest" not in worker.output


async def _counts_queues(worker: WorkerProcess, number: int) -> bool:
    return number == (await worker.metrics()).count("withdrawals_queue_messages{")


async def test_no_broker_at_the_start_is_waited_for(
    found_rabbitmq: Found, server: BluumServer, tmp_path: Path
) -> None:
    """
    Started before its broker, the worker is alive and not ready, and ready once the broker is.

    A stop before that ends it with 0.
    """
    with RabbitmqNode(tmp_path / "node", found_rabbitmq) as node:
        await asyncio.to_thread(node.stop)
        environment = settings(node.url, f"sqlite:///{tmp_path}/ledger.db", server.base_url)
        async with WorkerProcess(environment, tmp_path / "worker.log", program=None) as worker:
            await worker.start()
            await worker.ready(is_ready=False)
            code = await worker.end(signal.SIGTERM)
            await worker.start()
            await worker.ready(is_ready=False)
            assert 200 == (await worker.probe("/livez"))[0]
            await asyncio.to_thread(node.start)
            await worker.ready()
            await until(lambda: _has_reached(worker), lambda: worker.output)

    assert 0 == code, worker.output
    # Two processes, and a line each, however often they tried; a line more when it was there.
    assert (2, 1) == tuple(worker.output.count(f'"broker {said}"') for said in ("away", "reached"))


async def _has_reached(worker: WorkerProcess) -> bool:
    return '"broker reached"' in worker.output


async def test_a_stopped_ledger_stops_the_payouts_and_nothing_else(
    desk: Desk, start: Start, server: BluumServer
) -> None:
    """
    While PostgreSQL is down nobody is paid; afterwards everybody is, once.

    And whatever the provider executed was written down with its key before.
    """
    programs = find_postgres()
    assert programs is not None
    with (
        tempfile.TemporaryDirectory(prefix="withdrawals-") as folder,
        PostgresNode(Path(folder), programs) as node,
    ):
        ledger = node.create_database()
        await migrate(ledger)
        worker = await start(ledger)
        for number in range(60):
            await desk.ask(f"req-{number}")
        await desk.have_ended(5)

        await asyncio.to_thread(node.stop)
        await worker.ready(is_ready=False)
        asked = _creates(server)
        for number in range(60, 80):
            await desk.ask(f"req-{number}")
        await until(lambda: _is_away_for(worker, 3.0), lambda: worker.output)
        asked_meanwhile = _creates(server) - asked
        assert 200 == (await worker.probe("/livez"))[0]
        await asyncio.to_thread(node.start)
        keys = {
            key for (key,) in await second.read(ledger, "SELECT idempotency_key FROM withdrawals")
        }
        executed = {effect["idempotency_key"] for effect in server.record()["effects"]}
        await worker.ready()
        await desk.have_ended(80)

        assert 0 == asked_meanwhile
        assert executed <= keys
        assert () == await desk.verdict()
        await worker.kill()


def _creates(server: BluumServer) -> int:
    return int(server.record()["counters"]["requests"].get("create_withdrawal", 0))


async def _is_away_for(worker: WorkerProcess, seconds: float) -> bool:
    """Tell whether the worker has known for so long that its ledger is away."""
    _, document = await worker.probe("/readyz")
    check = document["checks"]["ledger"]
    return bool(check["status"] == "failing" and check["age_seconds"] > seconds)


async def test_a_queue_deleted_beneath_it_comes_back(
    desk: Desk, start: Start, tmp_path: Path
) -> None:
    """
    Somebody deletes the request queue: the worker declares it again and goes on.
    """
    await start(f"sqlite:///{tmp_path}/ledger.db")
    await desk.ask("before")
    await desk.have_ended(1)

    await desk.delete_request_queue()

    async def accepted() -> bool:
        try:
            await desk.ask("after")
        except PublishError:
            # No queue takes it until the worker has declared it again.
            return False
        return True

    await until(accepted, lambda: "the queue did not come back")
    await desk.have_ended(2)
