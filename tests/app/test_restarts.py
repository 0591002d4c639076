"""A worker that is killed again and again: what it had in its hands is healthy, and stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.app.harness import WorkerProcess, settings, until
from tests.app.holding import held_up

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
    environment = settings(
        rabbitmq_vhost,
        shared_ledger,
        server.base_url,
        WORKER_RABBITMQ__PREFETCH=str(_MESSAGES),
    )
    log = tmp_path / "killed.log"
    for number in range(_MESSAGES):
        await desk.ask(f"req-{number}")

    ends = []
    async with held_up(shared_ledger, "INSERT ON withdrawals") as held:
        for _ in range(_KILLS):
            async with WorkerProcess(environment, log, program=None) as worker:
                await worker.start()

                async def is_at_it(worker: WorkerProcess = worker) -> bool:
                    assert worker.process.returncode is None, worker.output
                    return await held.waiting(1) and await desk.waiting() == 0

                await until(is_at_it, lambda: log.read_text("utf-8"))
                await worker.kill()
            ends.append(worker.process.returncode)
            await held.end_waiting()
    letters = await desk.dead_letters()
    async with WorkerProcess(environment, log, program=None) as survivor:
        await survivor.start()
        await desk.have_ended(_MESSAGES)

    assert [-9] * _KILLS == ends
    assert [] == letters
    assert _MESSAGES == len(server.record()["effects"])
    assert () == await desk.verdict()
