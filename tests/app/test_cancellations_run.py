"""Cancellations at a real worker: they come by a way of their own, and each is answered."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.app.harness import until
from worker.app.cancel_way import Consuming
from worker.flows.gate import Gate
from worker.http.health import Health
from worker.metrics import Metrics
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess


@pytest.fixture
async def server() -> AsyncIterator[BluumServer]:
    """A provider at which withdrawals do not progress by themselves."""
    terms = Terms(pace=timedelta(hours=1))
    async with serve(BluumOptions(rate_limit=0, latency=timedelta(), terms=terms)) as running:
        yield running


async def test_a_cancellation_is_heard_while_requests_wait(
    desk: Desk, start: Start, server: BluumServer, sqlite_url: str
) -> None:
    """
    Nothing is taken in, yet the cancellation is; its request never reaches the provider.

    It is not given up before: the request lay in the queue, though the grace was over.
    """
    server.simulation.revoked = True
    worker = await start(sqlite_url, WORKER_CANCELLATIONS__GRACE="0.01")
    await worker.ready(is_ready=False)
    await desk.ask("req-1")
    await desk.cancel("cancel-1", request_message_id="req-1")
    await _counted(worker, "early")
    # A dead letter of the cancellations' queue, and one that names nothing.
    await desk.cancel("cancel-2", request_message_id="cancel-2")
    await _counted(worker, "invalid")
    waiting = await desk.waiting()

    await worker.kill()
    server.simulation.revoked = False
    worker = await start(sqlite_url, WORKER_CANCELLATIONS__GRACE="0.01")
    await desk.have_ended(1)
    await desk.cancel("cancel-3", withdrawal_id="wd_nobody", reason="typo")
    await until(lambda: _heard(desk, "cancel_refused"), lambda: worker.output)
    (buried,) = await desk.dead_letters()

    assert 1 == waiting
    assert ["received", "cancelled"] == desk.statuses("req-1")
    assert [] == server.record()["effects"]
    assert ("cancel-2", "invalid") == (buried.message_id, buried.reason)
    assert "withdrawals.cancellations" in desk.headers[0]
    assert () == await desk.verdict()


async def test_what_is_under_way_is_cancelled(
    desk: Desk, start: Start, server: BluumServer, sqlite_url: str
) -> None:
    """
    Repeated by its sender it is one; what has ended before is answered too.
    """
    worker = await start(sqlite_url)
    await desk.ask("req-1")
    await until(lambda: _told(desk, "req-1", "pending"), lambda: worker.output)
    for _ in range(3):
        await desk.cancel("cancel-1", request_message_id="req-1")
    await desk.have_ended(1)
    await desk.cancel("cancel-2", request_message_id="req-1")
    await until(lambda: _told(desk, "req-1", "cancel_refused"), lambda: worker.output)

    assert ["received", "pending", "cancelled", "cancel_refused"] == desk.statuses("req-1")
    assert 1 == server.record()["counters"]["requests"]["cancel_withdrawal"]
    assert () == await desk.verdict()


def test_consumer_up_means_both_queues() -> None:
    """
    The metric falls with either; each has its own check, and a dutiful wait is no failure of it.
    """
    metrics, health = Metrics(version="0"), Health()
    consuming = Consuming(metrics, health)
    reports = [consuming.reporter(name, Gate()) for name in ("consumer", "cancellations")]
    seen = []
    for which, holds in ((0, True), (1, True), (0, False)):
        reports[which](holds, "tests")
        seen.append(metrics.registry.get_sample_value("withdrawals_consumer_up"))

    assert [0, 1, 0] == seen
    assert {"consumer": False, "cancellations": True} == {
        check.name: check.holds for check in health.ready() if check.name != "startup"
    }


async def _counted(worker: WorkerProcess, result: str) -> None:
    """Wait until one cancel message has come to this."""
    line = f'withdrawals_cancellations_total{{result="{result}"}} 1'

    async def is_counted() -> bool:
        return line in await worker.metrics()

    await until(is_counted, lambda: worker.output)


async def _heard(desk: Desk, status: str) -> bool:
    return any(event.status == status for event in desk.heard)


async def _told(desk: Desk, message_id: str, status: str) -> bool:
    return status in desk.statuses(message_id)
