"""`dead-letters` as operators use it: what is printed, what is left, the exit code."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from tests.cli.graves import SECRET, a_body, a_letter, an_invalid, bury, count, ids_of, rest
from tests.ledger.builders import an_order as ordered
from tests.ledger.builders import moved, refused, taken_in
from tests.rabbitmq.wire import long, properties, short
from worker.core.messages import Envelope, Misread, Understood, read
from worker.core.withdrawal import Status
from worker.ledger.store import open_ledger
from worker.providers.bluum import BluumRequest
from worker.rabbitmq.properties import take_apart
from worker.rabbitmq.topology import DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.cli.graves import Buried
    from tests.cli.running import Commands
    from tests.rabbitmq.upstream import Found

LIST = ("dead-letters", "list")
REPLAY = ("dead-letters", "replay", "--rate", "1000")
DROP = ("dead-letters", "drop", "--because", "tests", "--operator", "alice")


def given(commands: Commands, *letters: Buried) -> None:
    """Put letters into the queue."""
    asyncio.run(bury(_url(commands), *letters))


def left(commands: Commands, queue: str = DEAD_LETTERS) -> list[Found]:
    """Take out what lies in a queue."""
    return asyncio.run(rest(_url(commands), queue))


def listed(commands: Commands, *options: str) -> list[dict[str, Any]]:
    """List letters as JSON."""
    result = commands(*LIST, "--json", *options)
    assert 0 == result.exit_code, result.output
    document = json.loads(result.stdout)
    assert len(document["dead_letters"]) == document["total"]
    found: list[dict[str, Any]] = document["dead_letters"]
    return found


def _url(commands: Commands) -> str:
    return commands.environment["WORKER_RABBITMQ__URL"]


def _done(result: Result) -> str:
    assert 0 == result.exit_code, result.output
    return result.output


def test_list_shows_each_letter_and_counts_them(declared: Commands) -> None:
    """
    A line a letter with id, reason, age, size, queue, message id and detail; the counts at the end.
    """
    given(declared, a_letter("m-1", ago=timedelta(hours=50)), an_invalid("m-2"))
    given(declared, an_invalid("m-3"))

    lines = _done(declared(*LIST)).splitlines()
    first = next(line for line in lines if "m-1" in line)

    assert 12 == len(first.split()[0])
    size = str(len(a_body()))
    assert ["poison", "2d", "2h", size, "withdrawals.requests", "m-1"] == first.split()[1:7]
    assert first.endswith("failed unexpectedly 5 times")
    assert "3 dead letters: 2 invalid, 1 poison" == lines[-1]


def test_list_changes_nothing(declared: Commands) -> None:
    """
    Letters that were listed five times lie there as before, under the same ids.
    """
    given(declared, *(a_letter(f"m-{number}") for number in range(60)))

    seen = [{one["id"] for one in listed(declared)} for _ in range(5)]
    found = left(declared)

    assert 60 == len(seen[0])
    assert [seen[0]] * 5 == seen
    assert sorted(f"m-{number}" for number in range(60)) == ids_of(found)
    assert {a_body()} == {one.body for one in found}


def test_list_prints_no_content(declared: Commands) -> None:
    """
    Neither for people nor for scripts: the body may hold bank details.
    """
    given(declared, a_letter("m-1"))

    assert SECRET not in declared(*LIST).output
    assert SECRET not in declared(*LIST, "--json").output


def test_list_of_nothing(declared: Commands) -> None:
    """
    An empty queue is no failure.
    """
    assert _done(declared(*LIST)).endswith("no dead letters\n")
    assert [] == listed(declared)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--reason", "invalid"), ["m-old"]),
        (("--reason", "invalid", "--reason", "poison"), ["m-new", "m-old"]),
        (("--older-than", "P1D"), ["m-old"]),
        (("--newer-than", "PT2H"), ["m-new"]),
        (("--older-than", "60", "--newer-than", "P1D"), ["m-new"]),
        (("--id", "m-old"), ["m-old"]),
        (("--id", "m-old", "--id", "m-new"), ["m-new", "m-old"]),
        (("--id", "m-old", "--reason", "poison"), []),
    ],
)
def test_list_filters(declared: Commands, options: tuple[str, ...], expected: list[str]) -> None:
    """
    A letter is shown when it fits all that is asked for.
    """
    given(declared, a_letter("m-new"), an_invalid("m-old", ago=timedelta(days=2)))

    assert expected == sorted(one["message_id"] for one in listed(declared, *options))


def test_list_stops_at_its_limit(declared: Commands) -> None:
    """
    A look at the first few of many.
    """
    given(declared, *(a_letter(f"m-{number}") for number in range(5)))

    assert 2 == len(listed(declared, "--limit", "2"))
    assert 5 == len(left(declared))


def test_list_makes_hostile_texts_harmless(declared: Commands) -> None:
    """
    An id that would clear the operator's screen, or that no encoding knows, is shown escaped.
    """
    given(declared, a_letter(b"\x1b[2J\xff"), a_letter(None, b""))

    shown = declared(*LIST).output

    assert "\x1b" not in shown
    assert "\\x1b[2J\\udcff" in shown
    assert {None, "\\x1b[2J\\udcff"} == {one["message_id"] for one in listed(declared)}


@pytest.mark.parametrize(
    "options",
    [
        (*LIST, "--reason", "unknown"),
        (*LIST, "--older-than", "yesterday"),
        (*REPLAY,),
        (*REPLAY, "--all", "--reason", "poison"),
        (*DROP,),
        ("dead-letters", "drop", "--all"),
        ("dead-letters", "drop", "--all", "--because", " ", "--operator", "alice"),
        ("dead-letters", "show"),
    ],
)
def test_wrong_use_is_told_apart(declared: Commands, options: tuple[str, ...]) -> None:
    """
    What cannot be meant ends with exit code 2 before anything is read.
    """
    assert 2 == declared(*options).exit_code


def test_a_queue_that_would_lose_letters_by_reading_is_not_read(commands: Commands) -> None:
    """
    Without a delivery limit of its own the broker's applies, and every look counts against it.
    """

    async def declare() -> None:
        async with await aio_pika.connect(_url(commands)) as connection:
            channel = await connection.channel()
            await channel.declare_exchange(DEAD_LETTERS, "topic", durable=True)
            await channel.declare_queue(
                DEAD_LETTERS, durable=True, arguments={"x-queue-type": "quorum"}
            )

    asyncio.run(declare())

    result = commands(*LIST)

    assert 1 == result.exit_code
    assert "the dead letters cannot be read safely" in result.stderr


def test_without_a_broker_a_sentence_and_no_password(commands: Commands) -> None:
    """
    The setting is named, exit code 1.
    """
    result = commands(*LIST, WORKER_RABBITMQ__URL="amqp://guest:hidden-word@127.0.0.1:1/")

    assert 1 == result.exit_code
    assert "WORKER_RABBITMQ__URL" in result.stderr
    assert "hidden-word" not in result.output


def test_show_tells_all_but_the_body(declared: Commands) -> None:
    """
    Properties, headers, what the ledger knows, what a replay would lead to.
    """
    declared("migrate")
    given(declared, a_letter("m-1", correlation_id=short(b"c-1"), expiration=short(b"999999")))

    shown = _done(declared("dead-letters", "show", "m-1"))

    assert SECRET not in shown
    for words in ("c-1", "x-origin-queue", "safe to send", "taken in as new"):
        assert words in shown
    assert 1 == len(left(declared))


def test_show_prints_the_body_when_asked_and_warns(declared: Commands) -> None:
    """
    The warning goes to standard error, so that the body can go into a file.
    """
    declared("migrate")
    given(declared, a_letter("m-1"))
    (letter,) = listed(declared)

    result = declared("dead-letters", "show", letter["id"], "--body")
    document = json.loads(declared("dead-letters", "show", letter["id"], "--body", "--json").stdout)

    assert result.stdout.endswith(f"{a_body().decode()}\n")
    assert "may hold bank details" in result.stderr
    assert a_body().decode() == document["body"]


def test_show_knows_what_became_of_the_request(declared: Commands) -> None:
    """
    Status and attempts from the ledger.
    """
    _written(declared, "m-1", Status.COMPLETED)
    given(declared, a_letter("m-1"))

    document = json.loads(declared("dead-letters", "show", "m-1", "--json").stdout)

    assert ("completed", 1) == (document["ledger"]["status"], document["ledger"]["attempts"])
    assert "look-up only" == document["replay"]["prospect"]


def test_show_works_without_a_ledger(declared: Commands) -> None:
    """
    The letter can be looked at all the same.
    """
    given(declared, a_letter("m-1"))

    assert "withdrawals-worker migrate" in _done(declared("dead-letters", "show", "m-1"))


def test_show_asks_which_one(declared: Commands) -> None:
    """
    Two letters of one message have two ids; a message that is not there is none.
    """
    declared("migrate")
    given(declared, a_letter("m-1"), a_letter("m-1", ago=timedelta(hours=2)))

    several = declared("dead-letters", "show", "m-1")
    none = declared("dead-letters", "show", "m-2")

    assert (1, 1) == (several.exit_code, none.exit_code)
    assert all(one["id"] in several.stderr for one in listed(declared))


def test_replay_plans_costs_and_sends(declared: Commands) -> None:
    """
    Each kind is counted with its reason; what needs a person stays.
    """
    _written(declared, "known", Status.COMPLETED)
    _written(declared, "spent", Status.REJECTED)
    given(
        declared,
        *(a_letter(f"new-{number}") for number in range(5)),
        a_letter("known"),
        an_invalid("spent"),
        a_letter(None, reason="missing_message_id"),
        a_letter("reused", reason="message_id_reused"),
    )

    shown = _done(declared(*REPLAY, "--all", "--yes"))

    assert "9 dead letters selected, 6 to replay" in shown
    assert "     5  safe to send: unknown to the ledger: it is taken in as new" in shown
    assert "     1  look-up only: finished" in shown
    assert "cost: 5 to send = 5 create calls to bluum, 0.2 s at 25 a second" in shown
    assert "replayed 6" in shown
    assert ["", "reused", "spent"] == ids_of(left(declared))
    assert [*["known"], *(f"new-{number}" for number in range(5))] == ids_of(
        left(declared, REQUESTS)
    )


def test_a_replayed_message_is_the_first_one_again(declared: Commands) -> None:
    """
    Body, properties, and the content that the ledger recognises; it does not expire.
    """
    declared("migrate")
    given(declared, a_letter("m-1", correlation_id=short(b"c-1"), reply_to=short(b"answers")))

    _done(declared(*REPLAY, "--id", "m-1", "--yes"))
    (message,) = left(declared, REQUESTS)

    assert (a_body(), "withdrawal.request") == (message.body, message.routing_key)
    assert {"x-replayed-at"} == set(message.headers)
    assert {
        "delivery_mode": b"\2",
        "correlation_id": b"c-1",
        "reply_to": b"answers",
        "message_id": b"m-1",
    } == take_apart(message.properties).fields


def test_a_dry_run_does_nothing(declared: Commands) -> None:
    """
    The plan is all of it.
    """
    declared("migrate")
    given(declared, a_letter("m-1"))

    document = json.loads(declared(*REPLAY, "--all", "--dry-run", "--json").stdout)

    assert (1, 1, 0) == (
        document["plan"]["safe_to_send"],
        document["plan"]["to_replay"],
        document["replayed"],
    )
    assert {"bluum": 1} == document["plan"]["create_calls"]
    assert 1 == len(left(declared))


@pytest.mark.parametrize("command", [REPLAY, DROP])
def test_nothing_is_done_unasked(declared: Commands, command: tuple[str, ...]) -> None:
    """
    Without a terminal a yes has to be given beforehand; exit code 2.
    """
    declared("migrate")
    given(declared, a_letter("m-1"))

    result = declared(*command, "--all", stdin="y\n")

    assert 2 == result.exit_code
    assert "--yes" in result.stderr
    assert 1 == len(left(declared))


@pytest.mark.parametrize(
    ("options", "goes"),
    [
        (("--all", "--force"), False),
        (("--id", "m-1"), False),
        (("--id", "m-1", "--force"), True),
    ],
)
def test_what_needs_a_person_goes_only_by_name_and_force(
    declared: Commands, options: tuple[str, ...], goes: bool
) -> None:
    """
    One of the two is not enough.
    """
    declared("migrate")
    given(declared, an_invalid("m-1"))

    _done(declared(*REPLAY, *options, "--yes"))

    assert goes is (left(declared) == [])
    assert goes is (len(left(declared, REQUESTS)) == 1)


def test_a_replay_without_a_queue_to_go_to_leaves_everything(declared: Commands) -> None:
    """
    Exit code 1, and no letter is gone.
    """
    declared("migrate")
    given(declared, a_letter("m-1"), a_letter("m-2"))

    async def delete() -> None:
        async with await aio_pika.connect(_url(declared)) as connection:
            await (await connection.channel()).queue_delete(REQUESTS)

    asyncio.run(delete())

    result = declared(*REPLAY, "--all", "--yes")

    assert 1 == result.exit_code
    assert "no queue takes what is replayed" in result.stderr
    assert "2 left" in result.stderr
    assert ["m-1", "m-2"] == ids_of(left(declared))


def test_what_the_broker_refuses_stops_nobody_else(declared: Commands) -> None:
    """
    A letter that it will never take stays; the others go; exit code 1 tells of it.
    """
    declared("migrate")
    refused_one = a_letter("bad", reply_to=short(b"amq.rabbitmq.reply-to"))
    # As burying leaves what the broker refused to take as it was.
    kept = properties(
        headers=long(
            b"\x15x-original-propertiesx"
            + long(properties(message_id=short(b"bad"), reply_to=short(b"amq.rabbitmq.reply-to")))
        )
    )
    given(declared, refused_one._replace(properties=kept), a_letter("m-1"), a_letter("m-2"))

    result = declared(*REPLAY, "--all", "--yes")

    assert 1 == result.exit_code
    assert "replayed 2, 1 refused by the broker" in result.output
    assert ["m-1", "m-2"] == ids_of(left(declared, REQUESTS))
    assert 1 == len(left(declared))


def test_replay_needs_the_ledger(declared: Commands) -> None:
    """
    Nothing can be forecast without it, so nothing is done.
    """
    given(declared, a_letter("m-1"))

    result = declared(*REPLAY, "--all", "--yes")

    assert 1 == result.exit_code
    assert 1 == asyncio.run(count(_url(declared), DEAD_LETTERS))


def test_drop_leaves_an_audit_trail(declared: Commands) -> None:
    """
    A line of JSON for each that went: who, why, what; never the body. The others stay.
    """
    declared("migrate")
    given(declared, a_letter("m-1"), an_invalid("m-2"), an_invalid("m-3"))

    result = declared(*DROP, "--reason", "invalid", "--yes")
    trail = [json.loads(line) for line in result.stdout.splitlines()]

    assert 0 == result.exit_code, result.output
    assert ["m-2", "m-3"] == sorted(line["message_id"] for line in trail)
    assert {("alice", "tests", "invalid")} == {
        (line["operator"], line["because"], line["reason"]) for line in trail
    }
    assert SECRET not in result.output
    assert ["m-1"] == ids_of(left(declared))


def test_drop_keeps_the_whole_letter_first(declared: Commands, tmp_path: Path) -> None:
    """
    Body and properties as they were, in a file that only its owner may read; a second drop adds.
    """
    declared("migrate")
    file = tmp_path / "kept.jsonl"
    first, second = a_letter("m-1"), a_letter("m-2", b"\xff\x00")
    given(declared, first)
    _done(declared(*DROP, "--all", "--yes", "--to", str(file)))
    # What an interrupted drop leaves behind.
    file.write_text(file.read_text() + '{"id": "torn')
    given(declared, second)
    _done(declared(*DROP, "--all", "--yes", "--to", str(file)))
    lines = file.read_text().splitlines()

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert 3 == len(lines)
    for line, letter in ((lines[0], first), (lines[2], second)):
        kept = json.loads(line)
        assert letter.body == base64.b64decode(kept["body"])
        assert kept["message_id"].encode() in base64.b64decode(kept["properties"])
    assert [] == left(declared)


def test_drop_writes_to_no_file_that_others_read(declared: Commands, tmp_path: Path) -> None:
    """
    Nothing is dropped then, and nothing written.
    """
    declared("migrate")
    file = tmp_path / "kept.jsonl"
    file.touch(mode=0o644)
    given(declared, a_letter("m-1"))

    for path in (file, tmp_path / "missing" / "kept.jsonl", tmp_path):
        result = declared(*DROP, "--all", "--yes", "--to", str(path))
        assert 1 == result.exit_code
        assert str(path) in result.stderr

    assert "" == file.read_text()
    assert ["m-1"] == ids_of(left(declared))


def test_drop_can_be_planned(declared: Commands) -> None:
    """
    A dry run counts and drops nothing, and so does a selection that nothing fits.
    """
    declared("migrate")
    given(declared, a_letter("m-1"))

    planned = declared(*DROP, "--all", "--dry-run")
    nothing = declared(*DROP, "--id", "m-2", "--yes")

    assert (0, 0) == (planned.exit_code, nothing.exit_code)
    assert "1 dead letter: 1 poison" in planned.stderr
    assert "" == planned.stdout + nothing.stdout
    assert 1 == len(left(declared))


def _written(commands: Commands, message_id: str, status: Status) -> None:
    """Have the ledger know a request: rejected as invalid at the door, or moved on to a status."""
    commands("migrate")
    is_bad = status is Status.REJECTED
    envelope = Envelope(body=a_body(amount=5) if is_bad else a_body(), message_id=message_id)
    message = read(envelope, shapes={"bluum": BluumRequest}, default_provider="bluum")
    assert isinstance(message, Misread if is_bad else Understood)

    async def write() -> None:
        async with open_ledger(commands.environment["WORKER_LEDGER__URL"]) as ledger:
            if is_bad:
                await ledger.take(refused(message_id), message.fingerprint)
                return
            order = taken_in(ordered(message_id))
            taken = await ledger.take(order, message.fingerprint)
            ended = moved(taken.held, status, in_doubt=False, withdrawal_id="wd_1", due_at=None)
            await ledger.record(taken.held, ended)

    asyncio.run(write())
