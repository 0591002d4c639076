"""What a power cut leaves behind, and what comes of it after the restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.harness import until
from worker.ledger.migrate import migrate
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from tests.services.postgres_node import PostgresNode
    from worker.simulator.bluum_server import BluumServer


async def test_200_requests_survive_kills(desk: Desk, start: Start, migrated: str) -> None:
    """
    Killed three times in the middle of 200 requests, each is paid once and told of in order.
    """
    for number in range(200):
        await desk.ask(f"req-{number}", investor_id=f"inv_{number % 7}")

    for done in (10, 70, 130):
        worker = await start(migrated)
        await desk.have_ended(done)
        await worker.kill()
    worker = await start(migrated)
    await desk.have_ended(200)

    assert () == await desk.verdict()
    assert {f"req-{number}" for number in range(200)} == desk.ended()


async def test_a_replay_of_everything_pays_nobody_again(
    desk: Desk, start: Start, migrated: str
) -> None:
    """
    All messages once more, after a kill and a restart, change nothing.
    """
    await start(migrated)
    for number in range(20):
        await desk.ask(f"req-{number}")
    await desk.have_ended(20)
    told = len({event.event_id for event in desk.heard})

    for number in range(20):
        await desk.ask(f"req-{number}")
    await desk.ask("last")
    await desk.have_ended(21)

    assert () == await desk.verdict()
    # The last request's own events are all that came; a replayed one has nothing new to tell.
    assert told + len(desk.statuses("last")) == len({event.event_id for event in desk.heard})


async def test_a_replica_takes_over_from_a_killed_one(
    desk: Desk, start: Start, server: BluumServer, postgres: PostgresNode
) -> None:
    """
    Killed with calls at the provider: the other replica takes all of its work over, paid once.
    """
    ledger = postgres.create_database()
    await migrate(ledger)
    first = await start(ledger)
    await first.ready()
    # The provider carries out what it was asked for, and its answers do not come.
    server.set_faults(Faults(hang_after=1.0))
    for number in range(5):
        await desk.ask(f"held-{number}")
    await until(lambda: _effects(server, 5), lambda: first.output)
    other = await start(ledger)
    await other.ready()
    await first.kill()
    server.set_faults(Faults())
    for number in range(45):
        await desk.ask(f"new-{number}")
    await desk.have_ended(50)

    assert () == await desk.verdict()
    assert other.process.returncode is None


async def test_two_replicas_share_the_work(
    desk: Desk, start: Start, postgres: PostgresNode
) -> None:
    """
    One of them killed at work, and started again: each request is paid once and told of in order.
    """
    ledger = postgres.create_database()
    await migrate(ledger)
    first, other = await start(ledger), await start(ledger)
    await first.ready()
    await other.ready()
    for number in range(150):
        await desk.ask(f"req-{number}")
    await desk.have_ended(10)
    await first.kill()
    await first.start()
    await desk.have_ended(150)

    assert () == await desk.verdict()
    assert other.process.returncode is None


async def _effects(server: BluumServer, count: int) -> bool:
    return len(server.record()["effects"]) >= count
