"""`cancel`, and what `show` and `dead-letters` tell of cancellations."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.cli.graves import a_letter, bury, count, rest
from tests.ledger.builders import FINGERPRINT, a_cancel, an_order, answered, taken_in
from worker.core.withdrawal import Status
from worker.ledger.migrate import migrate
from worker.ledger.store import open_ledger
from worker.rabbitmq.properties import take_apart
from worker.rabbitmq.topology import CANCELLATIONS, DEAD_LETTERS, REQUESTS

if TYPE_CHECKING:
    from tests.cli.running import Commands

ID = ("--message-id", "cancel-1")


def _queue(commands: Commands, queue: str) -> list[tuple[object, str | None, str]]:
    """Take out what lies in a queue: documents, message ids, routing keys."""
    found = asyncio.run(rest(commands.environment["WORKER_RABBITMQ__URL"], queue))
    return [
        (json.loads(one.body), take_apart(one.properties).text("message_id"), one.routing_key)
        for one in found
    ]


@pytest.mark.parametrize(
    ("arguments", "document"),
    [
        (("req-1", "--reason", "typo"), {"request_message_id": "req-1", "reason": "typo"}),
        (
            ("--withdrawal-id", "wd_1", "--provider", "bluum"),
            {"withdrawal_id": "wd_1", "provider": "bluum"},
        ),
        (("--withdrawal-id", "wd_1"), {"withdrawal_id": "wd_1"}),
    ],
)
def test_cancel_puts_a_valid_cancellation_into_its_queue(
    declared: Commands, arguments: tuple[str, ...], document: dict[str, str]
) -> None:
    """
    Under the given id; the requests' queue stays empty.
    """
    result = declared("cancel", *arguments, *ID)

    assert 0 == result.exit_code, result.output
    assert [(document, "cancel-1", "withdrawal.cancel")] == _queue(declared, CANCELLATIONS)
    assert [] == _queue(declared, REQUESTS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "body: expected either request_message_id, or withdrawal_id with its provider"),
        (("req-1", "--withdrawal-id", "wd_1"), "body: expected either"),
        (("cancel-1",), "request_message_id: expected the id of a request"),
        (("--withdrawal-id", "wd_1", "--provider", "none"), "provider: expected one that"),
        (("req-1", "--reply-to", CANCELLATIONS), "reply_to: expected a queue that is not one"),
    ],
)
def test_cancel_refuses_what_the_worker_would_refuse(
    declared: Commands, arguments: tuple[str, ...], told: str
) -> None:
    """
    Nothing is published; the field and what was expected are told, exit code 2.
    """
    result = declared("cancel", *arguments, *ID)

    assert 2 == result.exit_code
    assert result.stderr.startswith(f"not published: {told}")
    assert [] == _queue(declared, CANCELLATIONS)


def test_cancel_into_an_undeclared_broker_is_not_a_success(commands: Commands) -> None:
    """
    Where no queue takes cancellations the command fails rather than losing one.
    """
    result = commands("cancel", "req-1", *ID)

    assert 1 == result.exit_code
    assert result.stderr.startswith("not published: no queue takes cancellations yet")


def test_show_tells_of_the_cancellations_of_a_request(commands: Commands) -> None:
    """
    Each with its reason and what became of it, for people and for scripts.
    """
    asyncio.run(_answered_and_asked_again(commands))
    lines = commands("show", "req-1").stdout.splitlines()
    document = json.loads(commands("show", "req-1", "--json").stdout)

    assert document["cancel_wanted"]
    assert [("cancel-1", "typo", "cancel_refused"), ("cancel-2", "typo", None)] == [
        tuple(row[name] for name in ("message_id", "reason", "outcome"))
        for row in document["cancellations"]
    ]
    assert "cancellations" in lines
    assert "outcome=cancel_refused" in next(line for line in lines if "cancel-1" in line)


def test_show_tells_of_a_cancellation_that_waits_for_its_request(commands: Commands) -> None:
    """
    The request is not known, and the exit code says so.
    """
    asyncio.run(_ask_early(commands))
    result = commands("show", "req-9")

    assert 1 == result.exit_code
    assert "no request with the message id req-9 is in the ledger" in result.stderr
    assert "cancellation cancel-1 of " in result.stderr
    assert "waits for it until 2026-06-01T10:00:00.123Z or longer" in result.stderr


def test_a_dead_cancellation_is_replayed_to_its_own_queue(declared: Commands) -> None:
    """
    The one that can be carried out; the other one is a person's.
    """
    asyncio.run(migrate(declared.environment["WORKER_LEDGER__URL"]))
    url = declared.environment["WORKER_RABBITMQ__URL"]
    body = {"request_message_id": "req-1"}
    good = a_letter("c-1", json.dumps(body).encode(), origin=CANCELLATIONS)
    bad = a_letter("c-2", b"{}", reason="invalid", detail="body: expected", origin=CANCELLATIONS)
    asyncio.run(bury(url, good, bad))
    shown = json.loads(declared("dead-letters", "show", "c-1", "--json").stdout)
    told = json.loads(declared("dead-letters", "show", "c-2", "--json").stdout)
    result = declared("dead-letters", "replay", "--all", "--yes", "--rate", "1000")

    assert 0 == result.exit_code, result.output
    assert ({"known": False}, "safe to send") == (shown["ledger"], shown["replay"]["prospect"])
    assert "needs a person" == told["replay"]["prospect"]
    assert [(body, "c-1", "withdrawal.cancel")] == _queue(declared, CANCELLATIONS)
    assert 1 == asyncio.run(count(url, DEAD_LETTERS))


def test_show_tells_what_became_of_a_dead_cancellation(declared: Commands) -> None:
    """
    If the ledger knows one of its id.
    """
    asyncio.run(_answered_and_asked_again(declared))
    body = json.dumps({"request_message_id": "req-1"}).encode()
    letter = a_letter("cancel-1", body, origin=CANCELLATIONS)
    asyncio.run(bury(declared.environment["WORKER_RABBITMQ__URL"], letter))
    known = json.loads(declared("dead-letters", "show", "cancel-1", "--json").stdout)["ledger"]

    assert (True, "cancel_refused") == (known["known"], known["outcome"])


def test_a_dropped_cancellation_leaves_the_books_alone(declared: Commands) -> None:
    """
    They count requests, and balance as before.
    """
    asyncio.run(migrate(declared.environment["WORKER_LEDGER__URL"]))
    letter = a_letter("c-1", b"{}", origin=CANCELLATIONS)
    asyncio.run(bury(declared.environment["WORKER_RABBITMQ__URL"], letter))
    dropped = declared(
        "dead-letters", "drop", "--all", "--yes", "--because", "tests", "--operator", "alice"
    )

    assert 0 == dropped.exit_code, dropped.output
    assert 0 == declared("check", "--books").exit_code


async def _answered_and_asked_again(commands: Commands) -> None:
    url = commands.environment["WORKER_LEDGER__URL"]
    await migrate(url)
    async with open_ledger(url) as ledger:
        wait = {"waits_until": ledger.now() + timedelta(hours=1)}
        await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)
        await ledger.ask(a_cancel(), **wait)
        (held,) = await ledger.claim_due(1, busy=[])
        await ledger.record(held, answered(held, "cancel_refused", Status.PENDING))
        await ledger.ask(a_cancel("cancel-2"), **wait)


async def _ask_early(commands: Commands) -> None:
    url = commands.environment["WORKER_LEDGER__URL"]
    await migrate(url)
    async with open_ledger(url) as ledger:
        await ledger.ask(a_cancel(of="req-9"), waits_until=an_order().taken_at)
