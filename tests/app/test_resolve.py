"""A person settles what is unresolved while workers run on the same ledger.

The command is a process of its own, as in life; what came of it is heard from outside."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.app.harness import a_request, until
from tests.app.warm import WarmCommand
from worker.core.withdrawal import idempotency_key
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from worker.simulator.bluum_server import BluumServer

#: Until the provider is trusted to remember a key: short, so that the list is soon asked.
_WINDOW = {"WORKER_BLUUM__IDEMPOTENCY_WINDOW": "1"}


@pytest.fixture
def program() -> str:
    """A worker that takes a key for forgotten right after its window, for which nobody waits here.

    The fresh attempt on a person's word would rest for a day else.
    """
    return "tests.faults.brisk"


async def test_what_was_adopted_is_followed_by_the_running_worker(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    Told and counted as unresolved, then adopted, followed to its end, and no longer counted.
    """
    worker = await start(migrated, **_WINDOW)
    lookalike = await _made_unresolved(desk, worker, server)
    await _unresolved_is(worker, 1)
    settled = await _resolve(worker, "--adopt", lookalike)
    await desk.have_ended(1)
    await _unresolved_is(worker, 0)

    assert (True, "Ada") == (settled["settled"], settled["ruling"]["operator"])
    told = desk.statuses("req-1")
    assert ["received", "unresolved"] == told[:2]
    assert "completed" == told[-1]
    assert [] == _effects(server, "req-1")
    assert worker.process.returncode is None


async def test_a_fresh_attempt_is_sent_by_the_running_worker(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    On a person's word that nothing was made: paid, once, and told of in order.
    """
    worker = await start(migrated, **_WINDOW)
    await _made_unresolved(desk, worker, server)
    settled = await _resolve(worker, "--not-created")
    await desk.have_ended(1)

    assert "received" == settled["status"]
    told = desk.statuses("req-1")
    assert ["received", "unresolved", "received", "pending"] == told[:4]
    assert "completed" == told[-1]
    assert 1 == len(_effects(server, "req-1"))
    assert list(range(1, len(told) + 1)) == _sequences(desk, "req-1")


async def test_a_ruling_without_a_worker_waits_for_one(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    The worker is off while a person rules; once it is back it tells of the ruling and goes on.
    """
    worker = await start(migrated, **_WINDOW)
    lookalike = await _made_unresolved(desk, worker, server)
    await worker.kill()
    await _resolve(worker, "--adopt", lookalike)
    before = desk.statuses("req-1")
    await worker.start()
    await desk.have_ended(1)

    assert ["received", "unresolved"] == before
    assert "completed" == desk.statuses("req-1")[-1]


async def test_persons_at_once_exclude_each_other(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    Three commands for one request at the same moment, beside a worker: one ruling, one payout.
    """
    worker = await start(migrated, **_WINDOW)
    await _made_unresolved(desk, worker, server)
    codes = await asyncio.gather(*(_run(worker, "--not-created") for _ in range(3)))
    await desk.have_ended(1)

    assert [0, 1, 1] == sorted(code for code, _ in codes), codes
    assert 1 == len(_effects(server, "req-1"))
    assert 1 == desk.statuses("req-1").count("unresolved")


async def _made_unresolved(desk: Desk, worker: WorkerProcess, server: BluumServer) -> str:
    """Lose every call of a request until its key counts as forgotten; return a lookalike's id.

    The customer has withdrawn the same amount by another way, so that nobody can tell.
    """
    await worker.ready()
    async with httpx.AsyncClient(trust_env=False, auth=("simulator-key", "simulator-secret")) as by:
        made = await by.post(
            f"{server.base_url}/investors/inv_1/withdrawals",
            json={k: v for k, v in a_request().items() if k != "investor_id"},
            headers={"Idempotency-Key": "elsewhere"},
        )
    server.set_faults(Faults(error_before=1.0))
    await desk.ask("req-1")

    async def told() -> bool:
        return "unresolved" in desk.statuses("req-1")

    await until(told, lambda: worker.output)
    server.set_faults(Faults())
    identity: str = made.json()["id"]
    return identity


async def _resolve(worker: WorkerProcess, *ruling: str) -> dict[str, Any]:
    code, output = await _run(worker, *ruling)
    assert 0 == code, output
    document: dict[str, Any] = json.loads(output)
    return document


async def _run(worker: WorkerProcess, *ruling: str) -> tuple[int, str]:
    """Run `resolve` with the worker's own settings; return its exit code and output."""
    process = await WarmCommand.begun(
        *("resolve", "req-1", *ruling),
        *("--operator", "Ada", "--reason", "not on the statement", "--yes", "--json"),
        environment=worker.environment,
    )
    async with asyncio.timeout(90):
        output, errors = await process.communicate()
    code = await process.wait()
    return code, (errors if code else output).decode()


async def _unresolved_is(worker: WorkerProcess, count: int) -> None:
    """Wait until a scrape shows so many unresolved withdrawals."""
    line = f"withdrawals_unresolved {float(count)}"

    async def shown() -> bool:
        return line in (await worker.metrics()).splitlines()

    await until(shown, lambda: f"no {line}")


def _effects(server: BluumServer, message_id: str) -> list[dict[str, Any]]:
    """Return what the provider paid for a request."""
    key = idempotency_key(message_id)
    return [effect for effect in server.record()["effects"] if effect["idempotency_key"] == key]


def _sequences(desk: Desk, message_id: str) -> list[int]:
    heard = {e.event_id: e.sequence for e in desk.heard if e.message_id == message_id}
    return list(heard.values())
