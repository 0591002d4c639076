"""The provider fails as a whole, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.harness import until
from worker.flows.outage import FAILURES_NEEDED
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from worker.simulator.bluum_server import BluumServer

PREFETCH = 5
OUT = 'withdrawals_provider_up{provider="bluum"} 0.0'
UP = 'withdrawals_provider_up{provider="bluum"} 1.0'
PAUSED = 'withdrawals_intake_paused{reason="outage"} 1.0'


async def test_the_backlog_stays_in_the_queue_until_it_is_back(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    Few requests are taken in before the outage is noticed, and none after; the worker stays ready.

    Once the provider is back all are paid, once each.
    """
    worker = await start(migrated, WORKER_RABBITMQ__PREFETCH=str(PREFETCH))
    await desk.ask("before")
    await desk.have_ended(1)
    server.set_faults(Faults(outage=True))
    for number in range(100):
        await desk.ask(f"req-{number}")

    await until(lambda: _shows(worker, OUT, PAUSED), lambda: worker.output)
    taken = _taken(desk)
    # Two probes later nothing more was taken in.
    await _further_probes(server, 2)
    waiting = await desk.waiting()
    taken_later = _taken(desk)
    status, _ = await worker.probe("/readyz")
    server.set_faults(Faults())
    await desk.have_ended(101)

    assert taken == taken_later
    # Those that failed, and those that were in hand when it was noticed.
    assert FAILURES_NEEDED + 2 * PREFETCH >= taken
    assert 100 - FAILURES_NEEDED - 2 * PREFETCH <= waiting
    assert 200 == status
    await until(lambda: _shows(worker, UP), lambda: worker.output)
    assert () == await desk.verdict()
    await worker.ready()


async def test_payouts_that_fail_while_reads_work_are_tried_one_at_a_time(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    The probe is answered and every create fails: one call for each trial, and no more.
    """
    worker = await start(migrated, WORKER_RABBITMQ__PREFETCH=str(PREFETCH))
    await worker.ready()
    server.set_faults(Faults(error_before=1.0))
    for number in range(60):
        await desk.ask(f"req-{number}")
    await until(lambda: _shows(worker, OUT), lambda: worker.output)
    creates, probes = _creates(server), _reads(server)
    await _further_probes(server, 3)
    tried, probed = _creates(server) - creates, _reads(server) - probes
    server.set_faults(Faults())
    await desk.have_ended(60)

    # What was in hand when the outage was noticed may still have been on its way.
    assert probed + PREFETCH >= tried
    assert () == await desk.verdict()


def _taken(desk: Desk) -> int:
    """Return how many of the requests have been taken in."""
    return len({event.message_id for event in desk.heard} - {"before"})


def _creates(server: BluumServer) -> int:
    return int(server.record()["counters"]["requests"].get("create_withdrawal", 0))


def _reads(server: BluumServer) -> int:
    requests: dict[str, int] = server.record()["counters"]["requests"]
    return sum(requests.values()) - _creates(server)


async def _further_probes(server: BluumServer, times: int) -> None:
    """Wait until the harmless read has come so many times more."""
    before = _reads(server)

    async def came() -> bool:
        return _reads(server) >= before + times

    await until(came, lambda: f"{_reads(server) - before} of {times} probes")


async def _shows(worker: WorkerProcess, *lines: str) -> bool:
    """Tell whether the metrics page has all of these lines."""
    page = await worker.metrics()
    return all(line in page for line in lines)
