"""What a power cut leaves behind, and what comes of it after the restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.ledger.migrate import migrate

if TYPE_CHECKING:
    from tests.app.conftest import Start
    from tests.app.harness import Desk
    from tests.services.postgres_node import PostgresNode


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
    desk: Desk, start: Start, postgres: PostgresNode
) -> None:
    """
    Two replicas share a ledger; one is killed at work, the other finishes everything, once.
    """
    ledger = postgres.create_database()
    await migrate(ledger)
    first, second = await start(ledger), await start(ledger)
    await first.ready()
    await second.ready()
    for number in range(100):
        await desk.ask(f"req-{number}")
    await desk.have_ended(10)

    await first.kill()
    await desk.have_ended(100)

    assert () == await desk.verdict()
    assert second.process.returncode is None
