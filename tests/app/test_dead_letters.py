"""Dead letters beside running workers, by real commands in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.app.ack_gate import ack_gate_to
from tests.app.harness import LIMIT_SECONDS, settings, until
from tests.app.warm import WarmCommand
from tests.cli.graves import a_body, a_letter, bury, count, ids_of, rest
from worker.demo.audit import Sent
from worker.demo.evidence import content_of
from worker.ledger.books import audit
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.app.conftest import Start
    from tests.app.harness import Desk

#: So many letters are replayed in peace before the kill.
PASSING = 3
REPLAY = ("replay", "--all", "--yes", "--json")


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed, as JSON."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


class Operator:
    """Somebody with a terminal, the worker's settings and the dead letters before them."""

    def __init__(self, amqp: str, ledger: str) -> None:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("WORKER_")}
        self._environment = inherited | settings(amqp, ledger, "http://127.0.0.1:1/v1")

    async def start(self, *arguments: str, stdin: int | None = None) -> WarmCommand:
        """Start a command."""
        return await WarmCommand.begun(
            "dead-letters", *arguments, environment=self._environment, stdin=stdin
        )

    async def __call__(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        async with started(self, *arguments) as process:
            return await _ended(process)


async def _ended(process: WarmCommand) -> Ended:
    async with asyncio.timeout(LIMIT_SECONDS):
        stdout, stderr = await process.communicate()
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())


@asynccontextmanager
async def started(operator: Operator, *arguments: str) -> AsyncIterator[WarmCommand]:
    """Start a command that is gone in the end, whatever happens."""
    process = await operator.start(*arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def bury_requests(desk: Desk, amqp: str, *message_ids: str) -> None:
    """Have valid requests lie among the dead; the auditor is told that they were asked for."""
    await bury(amqp, *(a_letter(message_id) for message_id in message_ids))
    desk.sent += [Sent(message_id, content_of(a_body())) for message_id in message_ids]


async def test_1000_dead_letters_are_listed_and_replayed(
    desk: Desk, start: Start, sqlite_url: str, rabbitmq_vhost: str
) -> None:
    """
    Listing shows each and loses none; a replay pays each once and leaves what needs a person.
    """
    operator = Operator(rabbitmq_vhost, sqlite_url)
    await bury_requests(desk, rabbitmq_vhost, *(f"req-{number}" for number in range(980)))
    bad = [a_letter(f"bad-{n}", a_body(amount=5), reason="invalid") for n in range(20)]
    await bury(rabbitmq_vhost, *bad)

    listed = await operator("list", "--json")
    kept = await count(rabbitmq_vhost)
    worker = await start(sqlite_url)
    await worker.ready()
    replayed = await operator(*REPLAY, "--rate", "2000")
    await desk.have_ended(980)

    assert (0, 1000, 1000) == (listed.code, kept, listed.document["total"])
    assert {"invalid": 20, "poison": 980} == listed.document["by_reason"]
    assert (0, 980, 0) == (replayed.code, replayed.document["replayed"], replayed.document["gone"])
    assert sorted(f"bad-{n}" for n in range(20)) == ids_of(await rest(rabbitmq_vhost))
    assert () == await desk.verdict()


async def test_a_kill_between_confirm_and_ack_pays_nobody_twice(
    desk: Desk, start: Start, migrated: str, rabbitmq_vhost: str
) -> None:
    """
    The same command goes on with the rest, and the ledger recognises what comes twice.
    """
    await bury_requests(desk, rabbitmq_vhost, *(f"req-{number}" for number in range(20)))
    worker = await start(migrated)
    await worker.ready()
    async with (
        ack_gate_to(rabbitmq_vhost, passing=PASSING) as gate,
        started(Operator(gate.url, migrated), *REPLAY, "--rate", "1000") as command,
    ):
        async with asyncio.timeout(LIMIT_SECONDS):
            await gate.has_held.wait()
        command.kill()
        await command.communicate()
    # What was sent and not acknowledged is among the dead and paid; the others are only dead.
    await desk.have_ended(PASSING + 1)

    async def all_back() -> bool:
        return await count(rabbitmq_vhost) == 20 - PASSING

    await until(all_back, lambda: "the letters in hand are not back")
    again = await Operator(rabbitmq_vhost, migrated)(*REPLAY, "--rate", "1000")
    await desk.have_ended(20)

    assert (0, 20 - PASSING) == (again.code, again.document["replayed"])
    assert 1 == again.document["plan"]["look_up_only"]
    assert [] == await rest(rabbitmq_vhost)
    assert () == await desk.verdict()


async def test_two_operators_replay_each_letter_once(
    desk: Desk, sqlite_url: str, rabbitmq_vhost: str
) -> None:
    """
    At the same time, with the same plan: what one has in hand the other does not get.
    """
    names = sorted(f"req-{number}" for number in range(200))
    await bury_requests(desk, rabbitmq_vhost, *names)
    operator = Operator(rabbitmq_vhost, sqlite_url)
    async with asyncio.timeout(LIMIT_SECONDS):
        found = await asyncio.gather(*(operator(*REPLAY, "--rate", "100") for _ in range(2)))

    rest_of_them = await operator(*REPLAY, "--rate", "1000")
    done = [one.document["replayed"] for one in (*found, rest_of_them)]

    assert [0, 0, 0] == [one.code for one in (*found, rest_of_them)]
    assert 200 == sum(done)
    assert names == ids_of(await rest(rabbitmq_vhost, REQUESTS))


async def test_a_worker_buries_while_a_replay_runs(
    desk: Desk, start: Start, sqlite_url: str, rabbitmq_vhost: str
) -> None:
    """
    New dead letters are none of its business, also not those that it causes: it comes to an end.
    """
    await bury_requests(desk, rabbitmq_vhost, *(f"req-{number}" for number in range(60)))
    await bury(rabbitmq_vhost, a_letter(None, reason="missing_message_id"))
    worker = await start(sqlite_url)
    await worker.ready()
    operator = Operator(rabbitmq_vhost, sqlite_url)
    listed = (await operator("list", "--reason", "missing_message_id", "--json")).document
    (nameless,) = (letter["id"] for letter in listed["dead_letters"])
    async with started(operator, *REPLAY, "--rate", "50") as replaying:
        for number in range(30):
            await desk.send(f"bad-{number}", b"{")
        replayed = await _ended(replaying)
    forced = await operator(*("replay", "--id", nameless, "--force", "--yes", "--json"))
    await desk.have_ended(90)

    async def all_buried() -> bool:
        return await count(rabbitmq_vhost) == 31

    await until(all_buried, lambda: worker.output)

    assert (0, 60) == (replayed.code, replayed.document["replayed"])
    # It came back as a new letter, under another id, and was not sent again.
    assert (0, 1) == (forced.code, forced.document["replayed"])
    assert nameless not in (await operator("list", "--json")).stdout
    assert sorted(["", *(f"bad-{n}" for n in range(30))]) == ids_of(await rest(rabbitmq_vhost))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_replay_goes_on_where_it_was(
    desk: Desk, sqlite_url: str, rabbitmq_vhost: str, number: signal.Signals
) -> None:
    """
    Whatever ended it: no letter is lost, and the same command sends the rest.
    """
    names = sorted(f"req-{number}" for number in range(30))
    await bury_requests(desk, rabbitmq_vhost, *names)
    operator = Operator(rabbitmq_vhost, sqlite_url)
    async with started(operator, *REPLAY, "--rate", "4") as command:

        async def some_sent() -> bool:
            return await count(rabbitmq_vhost, REQUESTS) >= 3

        await until(some_sent, lambda: "nothing was sent")
        command.send_signal(number)
        interrupted = await _ended(command)
    again = await operator(*REPLAY, "--rate", "1000")
    sent = ids_of(await rest(rabbitmq_vhost, REQUESTS))

    assert 0 != interrupted.code
    if number is signal.SIGINT:
        assert "run the same command again" in interrupted.stderr
        # One that was confirmed and not heard of in time is sent again, and counted then.
        assert 30 <= interrupted.document["replayed"] + again.document["replayed"] <= len(sent)
    assert 0 == again.code
    assert set(names) == set(sent)
    # At worst the one that was on its way.
    assert len(sent) <= 31
    assert 0 == await count(rabbitmq_vhost, DEAD_LETTERS)


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 0), (b"n\n", 1)])
async def test_a_person_is_asked_on_a_terminal(
    desk: Desk, sqlite_url: str, rabbitmq_vhost: str, answer: bytes, left: int
) -> None:
    """
    After the plan; a no leaves everything as it was.
    """
    await bury_requests(desk, rabbitmq_vhost, "req-1")
    keyboard, terminal = pty.openpty()
    try:
        command = await Operator(rabbitmq_vhost, sqlite_url).start(
            "replay", "--all", stdin=terminal
        )
        os.write(keyboard, answer)
        ended = await _ended(command)
    finally:
        os.close(keyboard)
        os.close(terminal)

    # A no leaves undone what was asked for.
    assert left == ended.code, ended
    assert "1 to send = 1 create call to bluum" in ended.stdout
    assert "Replay 1 dead letter?" in ended.stderr
    assert left == await count(rabbitmq_vhost)


async def test_a_killed_listing_leaves_every_letter(
    desk: Desk, sqlite_url: str, rabbitmq_vhost: str
) -> None:
    """
    What it had in hand is back as soon as its connection is gone.
    """
    await bury_requests(desk, rabbitmq_vhost, *(f"req-{number}" for number in range(300)))
    async with started(Operator(rabbitmq_vhost, sqlite_url), "list") as command:
        # The heading, and the first letter.
        await command.stdout.readline()
        await command.stdout.readline()
        command.kill()

    async def all_back() -> bool:
        return await count(rabbitmq_vhost) == 300

    await until(all_back, lambda: "letters are missing")


async def test_replays_and_drops_keep_the_books_right(
    desk: Desk, start: Start, migrated: str, rabbitmq_vhost: str
) -> None:
    """
    Dead letters that a worker made, one replayed and one dropped: the counters fit the rows.
    """
    worker = await start(migrated)
    await worker.ready()
    await desk.send(None, b"{")
    await desk.send(None, b"[")

    async def both_buried() -> bool:
        return await count(rabbitmq_vhost) == 2

    await until(both_buried, lambda: worker.output)
    operator = Operator(rabbitmq_vhost, migrated)
    first, second = (
        letter["id"] for letter in (await operator("list", "--json")).document["dead_letters"]
    )
    replayed = await operator("replay", "--id", first, "--force", "--yes")
    await until(both_buried, lambda: worker.output)
    dropped = await operator("drop", "--id", second, "--because", "a test", "--yes")

    books = await audit(migrated, found=print)

    assert (0, 0) == (replayed.code, dropped.code)
    assert 1 == await count(rabbitmq_vhost)
    # The one that is there, and the one that was dropped: it was taken, and came to nothing.
    assert 2 == sum(balance.dead_lettered.count for balance in books.balances)
    assert books.hold
