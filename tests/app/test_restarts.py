"""A worker that is killed again and again: what it had in its hands is healthy, and stays so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tests.app.harness import settings, until
from tests.app.holding import held_up
from tests.app.warm import WarmWorker
from worker.demo.rabbitmq_node import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer

_KILLS: Final = 50
#: As many as a worker takes in at once.
_MESSAGES: Final = 20


async def test_prefetched_messages_survive_50_kills(
    desk: Desk, server: BluumServer, rabbitmq_vhost: str, shared_ledger: str, tmp_path: Path
) -> None:
    """
    Killed 50 times in a row with all of them in its hands, one of them being written down.

    The broker counts 50 deliveries of each, the worker 50 deaths: none is poison, none a dead
    letter, and the next worker pays each once.
    """
    (port,) = free_ports(1)
    environment = settings(
        rabbitmq_vhost,
        shared_ledger,
        server.base_url,
        WORKER_RABBITMQ__PREFETCH=str(_MESSAGES),
        WORKER_HTTP__PORT=str(port),
    )
    log = tmp_path / "killed.log"
    for number in range(_MESSAGES):
        await desk.ask(f"req-{number}")

    ends = []
    async with held_up(shared_ledger, "INSERT ON withdrawals") as held:
        for _ in range(_KILLS):
            worker = WarmWorker(environment, log)
            await asyncio.to_thread(worker.start)
            try:

                async def is_at_it(worker: WarmWorker = worker) -> bool:
                    assert worker.is_alive, log.read_text("utf-8")
                    return await held.waiting(1) and await desk.waiting() == 0

                await until(is_at_it, lambda: log.read_text("utf-8"))
            finally:
                ends.append(await asyncio.to_thread(worker.kill))
            await held.end_waiting()
    letters = await desk.dead_letters()
    survivor = WarmWorker(environment, log)
    await asyncio.to_thread(survivor.start)
    try:
        await desk.have_ended(_MESSAGES)
    finally:
        await asyncio.to_thread(survivor.kill)

    assert [-9] * _KILLS == ends
    assert [] == letters
    assert _MESSAGES == len(server.record()["effects"])
    assert () == await desk.verdict()
