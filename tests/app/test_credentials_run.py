"""Credentials that are refused in the middle of the work, by whichever call notices it first.

Nothing is taken in, the worker is not ready, nobody is rejected; once they work again it goes on,
with the same process (contract, section 5)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.app.harness import until
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess

#: A withdrawal stays in flight until a test puts the provider's clock forward.
SLOW: Final = timedelta(hours=1)
#: Requests that come while the credentials are refused.
BACKLOG: Final = tuple(f"backlog-{number}" for number in range(25))


LIST: Final = "list_withdrawals"


@pytest.fixture
async def server() -> AsyncIterator[BluumServer]:
    """A provider at which withdrawals do not progress by themselves."""
    options = BluumOptions(rate_limit=0, latency=timedelta(), terms=Terms(pace=SLOW))
    async with serve(options) as running:
        yield running


@pytest.mark.parametrize("operation", ["create", "look", "list"])
async def test_a_401_stops_everything_until_the_credentials_work(
    desk: Desk, start: Start, server: BluumServer, sqlite_url: str, operation: str
) -> None:
    """
    Whichever call meets it: the backlog stays where it is, and nobody is told anything.

    No call is made but a harmless read; then all goes on by itself, and is paid once.
    """
    worker = await start(sqlite_url, WORKER_RETRY__SETTLING="3")
    await worker.ready()
    await _bring_about(operation, desk, server)
    await _until_stopped(worker)
    heard, asked = len(desk.heard), _requests(server)
    for message_id in BACKLOG:
        await desk.ask(message_id)
    await until(lambda: _all_wait(desk), lambda: worker.output)
    await until(lambda: _was_tried_again(server, asked), lambda: worker.output)

    assert len(BACKLOG) == await desk.waiting()
    assert heard == len(desk.heard)
    assert _without_lists(asked) == _without_lists(_requests(server))
    assert await _refused(worker, operation)
    assert 503 == (await worker.probe("/readyz"))[0]
    assert 200 == (await worker.probe("/livez"))[0]

    server.simulation.revoked = False
    await worker.ready()
    end = "rejected" if operation == "list" else "completed"
    # All of them, or what is created after the clock was put forward would never progress.
    going_on = BACKLOG if operation == "list" else [*BACKLOG, "struck"]
    await until(lambda: _are_under_way(desk, going_on), lambda: worker.output)
    server.clock.advance(3 * SLOW)
    await desk.have_ended(1 + len(BACKLOG))

    assert {end} == {desk.statuses("struck")[-1]}
    assert {"completed"} == {desk.statuses(message_id)[-1] for message_id in BACKLOG}
    assert worker.process.returncode is None
    assert () == await desk.verdict()


async def _bring_about(operation: str, desk: Desk, server: BluumServer) -> None:
    """Have the credentials refused just when this kind of call comes next."""
    match operation:
        case "create":
            server.simulation.revoked = True
            await desk.ask("struck")
        case "look":
            await desk.ask("struck")
            await until(lambda: _is_pending(desk, "struck"), lambda: str(desk.heard))
            server.simulation.revoked = True
        case _:
            # A refusal after an attempt whose outcome nobody knows is looked up first.
            server.set_faults(Faults(error_before=1.0))
            await desk.ask("struck", investor_id="inv_poor_1")
            await until(lambda: _has_failed(server), lambda: str(server.record()))
            server.set_faults(Faults())
            await until(lambda: _has_refused(server), lambda: str(server.record()))
            server.simulation.revoked = True


async def _until_stopped(worker: WorkerProcess) -> None:
    async def stopped() -> bool:
        _, document = await worker.probe("/readyz")
        checks = document.get("checks", {})
        return "refused by bluum" in str(checks.get("credentials")) and "401" in str(
            checks.get("consumer")
        )

    await until(stopped, lambda: worker.output)


async def _all_wait(desk: Desk) -> bool:
    return await desk.waiting() == len(BACKLOG)


async def _is_pending(desk: Desk, message_id: str) -> bool:
    return "pending" in desk.statuses(message_id)


async def _are_under_way(desk: Desk, message_ids: Iterable[str]) -> bool:
    return all([await _is_pending(desk, message_id) for message_id in message_ids])


async def _has_failed(server: BluumServer) -> bool:
    return bool(server.record()["counters"]["faults"].get("error_before"))


async def _has_refused(server: BluumServer) -> bool:
    return bool(server.record()["counters"]["responses"].get("422"))


async def _was_tried_again(server: BluumServer, asked: Mapping[str, int]) -> bool:
    # The harmless read is a list: of nobody's withdrawals.
    return _requests(server).get(LIST, 0) > asked.get(LIST, 0)


def _requests(server: BluumServer) -> dict[str, int]:
    return dict(server.record()["counters"]["requests"])


def _without_lists(requests: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in requests.items() if name != LIST}


async def _refused(worker: WorkerProcess, operation: str) -> bool:
    """Tell whether a call of this kind was answered with a 4xx, by the worker's own count."""
    pattern = rf'_count\{{operation="{operation}",outcome="4xx",provider="bluum"\}} [1-9]'
    return bool(re.search(pattern, await worker.metrics()))
