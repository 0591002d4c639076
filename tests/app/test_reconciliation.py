"""Reconciliation beside real workers: in the background, and by command."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.app.harness import a_request, until
from tests.app.warm import WarmCommand

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from worker.simulator.bluum_server import BluumServer

#: Nobody looks by itself, so that whatever is noticed was noticed by reconciliation.
_BLIND: Final = {"WORKER_POLLING__FIRST_DELAY": "PT1H", "WORKER_POLLING__CAP": "PT1H"}
_UNEXPLAINED: Final = (
    'withdrawals_reconciliation_differences{kind="unexplained",provider="bluum"} 1.0'
)


async def test_what_nobody_looks_at_is_found_in_the_background(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str
) -> None:
    """
    A completed withdrawal is looked at and told; one made elsewhere is shown by the metrics.
    """
    worker = await start(shared_ledger, **_BLIND, WORKER_RECONCILIATION__EVERY="1")
    await worker.ready()
    await desk.ask("req-1")
    await desk.have_ended(1)
    await _withdraw_elsewhere(server)

    async def shown() -> bool:
        return _UNEXPLAINED in (await worker.metrics()).splitlines()

    await until(shown, lambda: worker.output)

    assert "completed" == desk.statuses("req-1")[-1]
    assert '"kind": "unexplained"' in worker.output


async def test_the_command_lets_a_running_worker_look(
    desk: Desk, start: Start, sqlite_url: str
) -> None:
    """
    While the background task is turned off; without a worker that is said, and the next one looks.
    """
    worker = await start(sqlite_url, **_BLIND, WORKER_RECONCILIATION__EVERY="0")
    await worker.ready()
    await desk.ask("req-1")

    async def repaired() -> bool:
        _, document = await _reconcile(worker)
        return [found["repair"] for found in document["findings"]] == ["will be looked at"]

    await until(repaired, lambda: worker.output)
    await desk.have_ended(1)
    code, document = await _reconcile(worker)
    await worker.end(signal.SIGTERM)

    assert (0, [], 1) == (code, document["findings"], document["parties"])
    assert "completed" == desk.statuses("req-1")[-1]


async def _withdraw_elsewhere(server: BluumServer) -> None:
    """Let the customer withdraw by another way."""
    async with httpx.AsyncClient(trust_env=False, auth=("simulator-key", "simulator-secret")) as by:
        made = await by.post(
            f"{server.base_url}/investors/inv_1/withdrawals",
            json={k: v for k, v in a_request().items() if k != "investor_id"},
            headers={"Idempotency-Key": "elsewhere"},
        )
    made.raise_for_status()


async def _reconcile(worker: WorkerProcess) -> tuple[int | None, dict[str, Any]]:
    """Run `reconcile` with the worker's own settings; return its exit code and document."""
    process = await WarmCommand.begun(
        "reconcile", "--since", "1h", "--json", environment=worker.environment
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    return process.returncode, json.loads(output)
