"""How a worker stops: in order, at once, and with something in its hands."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.app.harness import until
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_in_the_middle_loses_nothing(
    desk: Desk, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """
    Stopped at work it ends with 0; what it had begun is told, the rest is done by the next.
    """
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    worker = await start(ledger)
    for request in range(100):
        await desk.ask(f"req-{request}")
    await desk.have_ended(5)

    code = await worker.end(number)
    await start(ledger)
    await desk.have_ended(100)

    assert 0 == code, worker.output
    assert '"stopped"' in worker.output
    assert () == await desk.verdict()


async def test_a_stop_settles_what_is_in_hand(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    What the provider was asked for is awaited, told and acknowledged: nothing goes back.
    """
    server.set_faults(Faults(hang_before=1.0))
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_BLUUM__TIMEOUT="2",
        WORKER_RETRY__FIRST_DELAY="0.01",
        WORKER_RETRY__CAP="0.01",
    )
    await worker.ready()
    for request in range(5):
        await desk.ask(f"req-{request}")
    await _asked(server, 5)

    worker.process.send_signal(signal.SIGTERM)
    server.set_faults(Faults())
    code = await worker.ended()

    async def told() -> bool:
        return all("pending" in desk.statuses(f"req-{request}") for request in range(5))

    await until(told, lambda: str(desk.heard))

    assert 0 == code, worker.output
    assert 5 == len(server.record()["effects"])
    assert 0 == await desk.waiting()


async def test_a_stop_gives_up_what_hangs_in_time(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    A provider that never answers does not hold the stop up; the request is told of later, once.
    """
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    server.set_faults(Faults(hang_after=1.0))
    worker = await start(
        ledger, WORKER_SHUTDOWN_TIMEOUT="2", WORKER_BLUUM__TIMEOUT="300", WORKER_RETRY__CAP="60"
    )
    await desk.ask("hung")
    await _executed(server, 1)

    code = await worker.end(signal.SIGTERM)
    server.set_faults(Faults())
    await start(ledger)
    await desk.have_ended(1)

    assert 0 == code, worker.output
    assert () == await desk.verdict()


async def test_the_second_signal_ends_at_once(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    Who asks twice does not want to wait: the process is gone, with another exit code.
    """
    server.set_faults(Faults(hang_after=1.0))
    worker = await start(f"sqlite:///{tmp_path}/ledger.db", WORKER_BLUUM__TIMEOUT="300")
    await desk.ask("hung")
    await _executed(server, 1)

    worker.process.send_signal(signal.SIGTERM)

    async def draining() -> bool:
        return '"draining"' in worker.output

    await until(draining, lambda: worker.output)
    code = await worker.end(signal.SIGTERM)

    assert 1 == code
    assert '"stopped"' not in worker.output


async def test_a_stop_before_the_start_is_over_works(start: Start, tmp_path: Path) -> None:
    """
    SIGTERM right after the process came to life ends it in order as well.
    """
    worker = await start(f"sqlite:///{tmp_path}/ledger.db")

    async def serving() -> bool:
        return (await worker.probe("/livez"))[0] == 200

    await until(serving, lambda: worker.output)
    code = await worker.end(signal.SIGTERM)

    assert 0 == code, worker.output


async def _asked(server: BluumServer, count: int) -> None:
    async def enough() -> bool:
        return int(server.record()["counters"]["requests"].get("create_withdrawal", 0)) >= count

    await until(enough, lambda: str(server.record()))


async def _executed(server: BluumServer, count: int) -> None:
    async def enough() -> bool:
        return len(server.record()["effects"]) >= count

    await until(enough, lambda: str(server.record()))
