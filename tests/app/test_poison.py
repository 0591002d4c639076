"""A message that kills the process ends among the dead letters; those beside it do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.deadly import DEADLY
from tests.app.harness import WorkerProcess, settings, until
from worker.flows.suspicion import DEATHS_NEEDED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.harness import Desk
    from worker.simulator.bluum_server import BluumServer

#: One unmarked death, those that are counted, and one start for what is left.
_STARTS_AT_MOST = DEATHS_NEEDED + 2


async def test_it_is_buried_after_so_many_deaths_and_harms_nobody(
    desk: Desk, rabbitmq_vhost: str, server: BluumServer, migrated: str, tmp_path: Path
) -> None:
    """
    The healthy requests around it are all paid, once; the dead letter says `poison`.
    """
    for number in range(10):
        await desk.ask(f"before-{number}")
    await desk.ask("deadly", investor_id=DEADLY)
    for number in range(10):
        await desk.ask(f"after-{number}")
    environment = settings(rabbitmq_vhost, migrated, server.base_url)
    starts, letters = 0, []

    async def dead_or_buried() -> bool:
        letters.extend(await desk.dead_letters())
        return bool(letters) or it.process.returncode is not None

    async with WorkerProcess(
        environment, tmp_path / "worker.log", program="tests.app.deadly"
    ) as it:
        while not letters:
            starts += 1
            assert starts <= _STARTS_AT_MOST, it.output
            await it.start()
            await until(dead_or_buried, lambda: it.output)
        await desk.have_ended(20)

    assert DEATHS_NEEDED < starts
    assert [("deadly", "poison")] == [(letter.message_id, letter.reason) for letter in letters]
    assert {f"{when}-{n}" for when in ("before", "after") for n in range(10)} == desk.ended()
    assert 20 == len(server.record()["effects"])
