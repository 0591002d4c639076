"""The broker takes no messages because of an alarm: noticed, nothing taken in, nothing lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.app.harness import WorkerProcess, a_desk, settings, until
from worker.demo.rabbitmq_node import Found, RabbitmqNode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer

PAUSED = 'withdrawals_intake_paused{reason="alarm"} 1.0'
OPEN = 'withdrawals_intake_paused{reason="alarm"} 0.0'
SHARE = ("set_vm_memory_high_watermark", "0.6")
NONE = ("set_vm_memory_high_watermark", "absolute", "1000000")
BACKLOG = 150


async def test_an_alarm_pauses_the_intake_until_it_ends(
    found_rabbitmq: Found, server: BluumServer, tmp_path: Path
) -> None:
    """
    Requests stay in their queue while the broker is blocked; afterwards each is paid and told once.

    The worker lives and stays ready meanwhile: there is nothing to mend in it. Its metrics show how
    many wait.
    """
    with RabbitmqNode(tmp_path / "node", found_rabbitmq) as node:
        environment = settings(node.url, f"sqlite:///{tmp_path}/ledger.db", server.base_url)
        # So slow that most of it is still waiting when the alarm begins; and a publish that waits
        # for longer than this is given up, with its connection.
        environment["WORKER_BLUUM__RATE_LIMIT"] = "12"
        environment["WORKER_RABBITMQ__PUBLISH_TIMEOUT"] = "3"
        worker = WorkerProcess(environment, tmp_path / "worker.log", program=None)
        async with a_desk(node.url, server) as desk, worker:
            for number in range(BACKLOG):
                await desk.ask(f"req-{number}")
            await worker.start()
            await until(lambda: _has_begun(desk), lambda: worker.output)
            await asyncio.to_thread(node.ctl, *NONE)
            await until(lambda: _shows(worker, PAUSED), lambda: worker.output)
            waiting = await desk.waiting()
            # Long enough for connections to be given up and made anew.
            await until(lambda: _has_given_up(worker, 2), lambda: worker.output)
            waiting_later = await desk.waiting()
            await until(lambda: _shows(worker, _queued(waiting)), lambda: worker.output)
            shown = await _shows(worker, PAUSED)
            alive, _ = await worker.probe("/livez")
            await asyncio.to_thread(node.ctl, *SHARE)
            await until(lambda: _shows(worker, OPEN), lambda: worker.output)
            await worker.ready()
            await desk.have_ended(BACKLOG)
            findings = await desk.verdict()

    assert shown
    assert 200 == alive
    assert 0 < waiting == waiting_later
    assert () == findings


def _queued(count: int) -> str:
    return f'withdrawals_queue_messages{{queue="withdrawals.requests"}} {count}.0'


async def _shows(worker: WorkerProcess, line: str) -> bool:
    return line in await worker.metrics()


async def _has_given_up(worker: WorkerProcess, times: int) -> bool:
    # The library tells of each connection; the worker only of what is news.
    return worker.output.count("was blocked by") > times


async def _has_begun(desk: Desk) -> bool:
    return bool(desk.heard)
