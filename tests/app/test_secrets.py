"""What must not leave the process (contract P7)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from worker.ledger.migrate import migrate
from worker.simulator.faults import Faults, Reach

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from tests.services.postgres_node import PostgresNode
    from worker.simulator.bluum_server import BluumServer

_SECRETS = (
    "simulator-key",
    "simulator-secret",
    base64.b64encode(b"simulator-key:simulator-secret").decode(),
    "guest:guest",
    "db-secret-1",
    "fs_secret_1",
    "fs_inactive_secret",
    "a private purpose",
    '"amount"',
)


@pytest.fixture
def program() -> str:
    """The whole command, from the start of Python on."""
    return "worker"


async def test_a_run_with_failures_tells_no_secret(
    desk: Desk, start: Start, server: BluumServer, postgres: PostgresNode
) -> None:
    """
    Through refusals, faults, dead letters and a revoked key: no credential, account or body.

    Neither in the log, down to its last detail, nor in metrics, probes and dead-letter headers.
    """
    ledger = postgres.create_database()
    await migrate(ledger)
    server.set_faults(
        Faults(
            drop_after=0.1,
            error_before=0.1,
            garbage_after=0.1,
            unknown_status=0.1,
            calls=Reach.ALL,
        )
    )
    worker = await start(
        ledger.replace("postgres@", "postgres:db-secret-1@"),
        WORKER_LOG_LEVEL="DEBUG",
        WORKER_RETRY__ATTEMPTS="2",
    )
    for number in range(30):
        await desk.ask(f"req-{number}", description="a private purpose")
    await desk.ask("poor", investor_id="inv_poor_1", amount="99999.00")
    await desk.ask("inactive", funding_source_id="fs_inactive_secret")
    await desk.ask("wrong", amount=5.00, description="a private purpose")
    await desk.ask("wrong too", funding_source_id=["fs_secret_1"])
    await desk.ask("wrong again", currency="a private purpose")
    await desk.send("broken", b'{"funding_source_id": "fs_secret_1", ')
    await desk.send(None, b'{"funding_source_id": "fs_secret_1"}')
    await desk.have_ended(33)
    server.simulation.revoked = True
    await desk.ask("refused", description="a private purpose")
    await worker.ready(is_ready=False)
    shown = [json.dumps((await worker.probe(path))[1]) for path in ("/readyz", "/livez")]
    server.simulation.revoked = False
    server.set_faults(Faults())
    await desk.have_ended(37)
    findings = await desk.verdict()
    shown += [worker.output, await worker.metrics(), *desk.headers]

    assert 5 == len(desk.headers)
    assert {secret: [] for secret in _SECRETS} == {
        secret: [text for text in shown if secret in text] for secret in _SECRETS
    }
    assert () == findings
