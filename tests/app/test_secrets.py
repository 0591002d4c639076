"""What must not leave the process (contract P7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer

_SECRETS = ("simulator-secret", "fs_secret_1", "a private purpose", "5.00")


async def test_a_run_with_failures_tells_no_secret(
    desk: Desk, start: Start, server: BluumServer, tmp_path: Path
) -> None:
    """
    Through refusals, faults and dead letters: no credential, account or body in logs and probes.
    """
    server.set_faults(Faults(drop_after=0.2, error_before=0.2, garbage_after=0.2))
    worker = await start(
        f"sqlite:///{tmp_path}/ledger.db",
        WORKER_LOG_LEVEL="DEBUG",
        WORKER_RETRY__ATTEMPTS="2",
    )
    for number in range(30):
        await desk.ask(f"req-{number}", description="a private purpose")
    await desk.ask("poor", investor_id="inv_poor_1", amount="99999.00")
    await desk.ask("wrong", amount=5.00, description="a private purpose")
    await desk.send("broken", b'{"funding_source_id": "fs_secret_1", ')
    await desk.have_ended(31)
    server.set_faults(Faults())
    await desk.have_ended(33)

    shown = [worker.output, await worker.metrics()]
    shown += [json.dumps((await worker.probe(path))[1]) for path in ("/readyz", "/livez")]
    shown += [event.content for event in desk.heard]

    for secret in _SECRETS:
        assert not [text for text in shown if secret in text]
    assert () == await desk.verdict()
