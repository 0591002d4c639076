"""Several replicas on one PostgreSQL, as real processes: who owns what, and what a takeover tells.

Nothing is reached into: a replica is killed, stopped, or cut off, and judged from outside."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.app.dam import Dam
from tests.app.harness import until
from tests.app.holding import held_up
from tests.ledger import second
from worker.core.withdrawal import event_id
from worker.simulator.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.app.conftest import Start
    from tests.app.harness import Desk, WorkerProcess
    from worker.simulator.bluum_server import BluumServer

#: So few calls a second that most of what was taken in still waits for its turn.
_SLOWLY: Final = {"WORKER_BLUUM__RATE_LIMIT": "1"}
_IDS: Final = tuple(f"held-{number}" for number in range(6))


@pytest.fixture
async def dam(rabbitmq_vhost: str) -> AsyncIterator[Dam]:
    """What lies between one replica and the broker."""
    async with Dam(rabbitmq_vhost) as between:
        yield between


async def test_a_stopped_replica_that_goes_on_calls_nobody_for_what_it_lost(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str
) -> None:
    """
    Stopped while its create calls waited for their turn, and taken for dead: its work is another's.

    When it goes on, it gives signs of life again, and none of these calls leaves.
    """
    stopped = await start(shared_ledger, **_SLOWLY)
    await stopped.ready()
    await _ask(desk, _IDS)
    await until(lambda: _known(shared_ledger, len(_IDS)), lambda: stopped.output)
    stopped.process.send_signal(signal.SIGSTOP)
    in_hand = len(_IDS) - await _recorded(shared_ledger)
    other = await start(shared_ledger)
    await desk.have_ended(len(_IDS))
    called = _creates(server)

    stopped.process.send_signal(signal.SIGCONT)
    await until(lambda: _gave_up(stopped, in_hand), lambda: stopped.output)
    # It is a replica like any other again.
    await other.end(signal.SIGTERM)
    await desk.ask("new")
    await desk.have_ended(len(_IDS) + 1)

    assert 0 < in_hand
    assert called + 1 == _creates(server)
    assert () == await desk.verdict()


async def test_a_stopped_replica_that_goes_on_does_not_repeat_an_unanswered_call(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str
) -> None:
    """
    Stopped while the provider owed it answers, and taken for dead: it makes no call again.
    """
    server.set_faults(Faults(hang_after=1.0))
    stopped = await start(shared_ledger, WORKER_BLUUM__TIMEOUT="10")
    await stopped.ready()
    await _ask(desk, _IDS)
    await until(lambda: _paid(server, len(_IDS)), lambda: stopped.output)
    stopped.process.send_signal(signal.SIGSTOP)
    server.set_faults(Faults())
    await start(shared_ledger)
    await desk.have_ended(len(_IDS))
    called = _creates(server)

    stopped.process.send_signal(signal.SIGCONT)
    await until(lambda: _gave_up(stopped, len(_IDS)), lambda: stopped.output)

    assert called == _creates(server)
    assert () == await desk.verdict()


async def test_an_event_that_was_told_and_not_marked_is_told_again(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str
) -> None:
    """
    Killed between publishing and marking: whoever takes over begins with the same event once more.
    """
    server.set_faults(Faults(outage=True))
    async with held_up(shared_ledger, "UPDATE ON events") as held:
        first = await start(shared_ledger)
        await desk.ask("told")
        await until(lambda: held.waiting(1), lambda: first.output)
        await until(lambda: _heard(desk, event_id("told", 1), 1), lambda: first.output)
        await first.kill()
    told = len(desk.heard)
    server.set_faults(Faults())
    await start(shared_ledger)
    await desk.have_ended(1)

    assert {event_id("told", 1)} == {event.event_id for event in desk.heard[:told]}
    assert event_id("told", 1) == desk.heard[told].event_id
    assert () == await desk.verdict()


async def test_an_event_that_arrives_late_is_a_repeat(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str, dam: Dam
) -> None:
    """
    A dead replica's event reaches the broker after all those of the one that took over.

    Whoever drops repeated ids sees each transition once, and in order.
    """
    first = await start(shared_ledger, WORKER_RABBITMQ__URL=dam.url)
    # No second event before the first is over and done with, and the dam shut.
    server.set_faults(Faults(hang_before=1.0))
    await desk.ask("late")
    await until(lambda: _has_marked(shared_ledger, 1), lambda: first.output)
    dam.shut()
    server.set_faults(Faults())
    stuck = event_id("late", 2)
    await until(lambda: _holds(dam, stuck), lambda: first.output)
    await first.kill()
    other = await start(shared_ledger)
    await desk.have_ended(1)
    told = desk.statuses("late")
    first_time = [event.event_id for event in desk.heard].count(stuck)

    dam.open()
    await until(lambda: _heard(desk, stuck, first_time + 1), lambda: other.output)

    assert stuck == desk.heard[-1].event_id
    assert told == desk.statuses("late")
    assert () == await desk.verdict()


async def test_one_message_in_the_hands_of_two(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str, dam: Dam
) -> None:
    """
    Both have read it and neither has written it down yet: one withdrawal, one call, one story.
    """
    async with held_up(shared_ledger, "INSERT ON withdrawals") as held:
        one = await start(shared_ledger, WORKER_RABBITMQ__URL=dam.url)
        await desk.ask("same")
        await until(lambda: held.waiting(1), lambda: one.output)
        # The broker sees its connection break and delivers again; it does not come back for now.
        dam.shut()
        await dam.cut()
        other = await start(shared_ledger)
        await until(lambda: held.waiting(2), lambda: other.output)
    await desk.have_ended(1)
    dam.open()
    await one.ready()
    await one.end(signal.SIGTERM)
    await other.end(signal.SIGTERM)

    assert 1 == _creates(server)
    assert 0 == await desk.waiting()
    assert () == await desk.verdict()


async def test_a_message_that_comes_again_while_its_call_hangs(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str, dam: Dam
) -> None:
    """
    One has paid and hears no answer; the other gets the message too, and pays nothing.
    """
    server.set_faults(Faults(hang_after=1.0))
    one = await start(shared_ledger, WORKER_RABBITMQ__URL=dam.url)
    await desk.ask("same")
    await until(lambda: _paid(server, 1), lambda: one.output)
    dam.shut()
    await dam.cut()
    other = await start(shared_ledger)
    await until(lambda: _counts(other, "duplicate", 1), lambda: other.output)
    server.set_faults(Faults())
    dam.open()
    await desk.have_ended(1)

    assert 0 == await desk.waiting()
    assert () == await desk.verdict()


async def test_three_replicas_share_the_work(
    desk: Desk, start: Start, server: BluumServer, shared_ledger: str
) -> None:
    """
    Each takes some of 200 requests in, and no withdrawal has two owners: one call for each.
    """
    replicas = [await start(shared_ledger) for _ in range(3)]
    for replica in replicas:
        await replica.ready()
    await _ask(desk, [f"req-{number}" for number in range(200)])
    await desk.have_ended(200)
    shares = [await _count(replica, "taken") for replica in replicas]

    assert 200 == sum(shares)
    assert all(shares)
    assert 200 == _creates(server)
    assert () == await desk.verdict()


async def test_a_rolling_restart_loses_nothing(
    desk: Desk, start: Start, shared_ledger: str
) -> None:
    """
    One after the other is stopped at work and replaced: each request is paid once, told in order.

    Nobody waits for a lifetime to pass: whoever leaves gives free what it owned.
    """
    replicas = [await start(shared_ledger) for _ in range(3)]
    for replica in replicas:
        await replica.ready()
    await _ask(desk, [f"req-{number}" for number in range(150)])
    codes = []
    for number, replica in enumerate(replicas):
        await desk.have_ended(10 * (number + 1))
        codes.append(await replica.end(signal.SIGTERM))
        await (await start(shared_ledger)).ready()
        await _ask(desk, [f"later-{number}-{place}" for place in range(20)])
    await desk.have_ended(210)

    assert [0, 0, 0] == codes
    assert 0 == await desk.waiting()
    assert () == await desk.verdict()


async def _ask(desk: Desk, message_ids: Iterable[str]) -> None:
    for message_id in message_ids:
        await desk.ask(message_id)


async def _known(ledger: str, count: int) -> bool:
    [(known,)] = await second.read(ledger, "SELECT count(*) FROM withdrawals")
    return bool(known == count)


async def _recorded(ledger: str) -> int:
    """How many withdrawals the ledger has the provider's answer for."""
    [(recorded,)] = await second.read(
        ledger, "SELECT count(*) FROM withdrawals WHERE withdrawal_id IS NOT NULL"
    )
    return int(recorded)


async def _paid(server: BluumServer, count: int) -> bool:
    return len(server.record()["effects"]) >= count


def _creates(server: BluumServer) -> int:
    """How many create calls have reached the provider, repeats too."""
    return int(server.record()["counters"]["requests"].get("create_withdrawal", 0))


async def _heard(desk: Desk, identity: str, times: int) -> bool:
    return [event.event_id for event in desk.heard].count(identity) >= times


async def _has_marked(ledger: str, count: int) -> bool:
    """Tell whether so many events are known to be confirmed."""
    statement = "SELECT count(*) FROM events WHERE published_at IS NOT NULL"
    return [(count,)] == await second.read(ledger, statement)


async def _holds(dam: Dam, text: str) -> bool:
    return text.encode() in dam.held


async def _gave_up(worker: WorkerProcess, count: int) -> bool:
    """Whether the worker has found that so many withdrawals are another's by now."""
    return worker.output.count("outcome was recorded by another") >= count


async def _count(worker: WorkerProcess, result: str) -> int:
    """How many requests the worker has counted under this result."""
    sample = rf'^withdrawals_requests_total\{{[^}}]*result="{result}"[^}}]*\}} (.+)$'
    found = re.search(sample, await worker.metrics(), re.MULTILINE)
    return int(float(found[1])) if found else 0


async def _counts(worker: WorkerProcess, result: str, count: int) -> bool:
    status, _ = await worker.probe("/livez")
    return status != 0 and await _count(worker, result) >= count
