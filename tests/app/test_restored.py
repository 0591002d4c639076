"""A ledger restored from a backup: the runbook's command, then a worker, and one payment.

Everything is real: worker, broker, ledger and command are processes of their own; the simulated
provider's clock alone is put forward, so that it has forgotten every key."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tests.app.harness import until
from tests.app.warm import WarmCommand
from tests.ledger.second import copied
from tests.runbook.page import PAGE
from worker.core.withdrawal import idempotency_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from worker.simulator.bluum_server import BluumServer

#: More than there is in a wallet.
_AMOUNT: Final = "1000001.00"


async def test_what_was_paid_after_the_backup_is_paid_once(
    desk: Desk, start: Start, server: BluumServer, migrated: str
) -> None:
    """
    It waited for funds in the backup, and was paid since: found in the list, adopted, told.

    The workers are killed, so that the backup looks as one that was made while they ran.
    """
    worker = await start(migrated)
    await worker.ready()
    until_then = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    await desk.ask("req-1", amount=_AMOUNT, wait_for_funds_until=until_then)
    await _told(desk, worker, "awaiting_funds")
    await worker.kill()
    async with copied(migrated) as backup:
        server.simulation.house.ground.deposit(
            "inv_1", "USD", Decimal(_AMOUNT), now=server.clock.now()
        )
        await worker.start()
        await _told(desk, worker, "completed")
        await worker.kill()
        server.simulation.house.ground.deposit(
            "inv_1", "USD", Decimal(_AMOUNT), now=server.clock.now()
        )
        server.clock.advance(timedelta(hours=25))
        code, output = await _command({**worker.environment, "WORKER_LEDGER__URL": backup})
        desk.heard.clear()
        again = await start(backup)
        await _told(desk, again, "completed")
        await again.kill()

    assert 0 == code, output
    assert "1 in doubt: looked for at the provider before anything is sent" in output.splitlines()
    assert 1 == len(_payments(server))


async def _command(environment: Mapping[str, str]) -> tuple[int, str]:
    """Run what the page says, of a backup that is a day old."""
    [line] = re.findall(r"^withdrawals-worker (restored .*)$", PAGE, re.MULTILINE)
    arguments = line.replace("TIME", "24h").split()
    async with asyncio.timeout(90):
        while True:
            process = await WarmCommand.begun(*arguments, environment=environment)
            output, errors = await process.communicate()
            code = await process.wait()
            # The backup's own worker was seen a moment ago; nobody has to wait for that in life.
            if b"stop all workers" not in errors:
                return code, (output + errors).decode()
            await asyncio.sleep(1)


async def _told(desk: Desk, worker: WorkerProcess, status: str) -> None:
    async def told() -> bool:
        return status in desk.statuses("req-1")

    await until(told, lambda: f"{status}\n{worker.output}")


def _payments(server: BluumServer) -> list[dict[str, Any]]:
    key = idempotency_key("req-1")
    return [effect for effect in server.record()["effects"] if effect.get("idempotency_key") == key]
