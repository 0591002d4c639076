"""`check --books` as its users run it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, refused
from tests.ledger.stories import a_burial, lived
from worker.cli.main import app
from worker.core.withdrawal import Status
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(migrated_url: str) -> str:
    """A ledger with one request of each kind."""

    async def fill() -> None:
        async with open_ledger(migrated_url) as ledger:
            await lived(ledger, "paid")
            await lived(ledger, "new", [])
            await lived(ledger, "open", [Status.UNRESOLVED])
            await ledger.take(refused("bad"), FINGERPRINT)
            await ledger.note_burial(a_burial())

    asyncio.run(fill())
    return migrated_url


def _check(url: str, *options: str) -> Result:
    environment = {"WORKER_LEDGER__URL": url, "COLUMNS": "200"}
    return CliRunner().invoke(app, ["check", "--books", *options], env=environment)


def _balances(document: dict[str, Any]) -> dict[str | None, dict[str, Any]]:
    return {balance["provider"]: balance for balance in document["balances"]}


def _sum(count: int, amount: str) -> dict[str, Any]:
    return {"count": count, "amount": amount}


def test_honest_books_are_shown_and_hold(url: str) -> None:
    """
    A block for each provider and currency, then how much was looked at; exit code 0.
    """
    result = _check(url)

    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    checked = "checked 4 withdrawals, 8 transitions, 1 dead letters"
    assert 0 == result.exit_code, result.output
    assert [
        "ok not known not known",
        "taken 2 0.00",
        "finished, rejected 1 0.00",
        "in flight 0 0.00",
        "unresolved 0 0.00",
        "dead-lettered 1 0.00",
        "difference 0 0.00",
        "ok bluum USD",
        "taken 3 1500.00",
        "finished, completed 1 500.00",
        "in flight 1 500.00",
        "unresolved 1 500.00",
        "dead-lettered 0 0.00",
        "difference 0 0.00",
        f"{checked}: the books balance, nothing was altered",
    ] == lines


def test_scripts_get_one_document(url: str) -> None:
    """
    The same as JSON; money as decimal strings.
    """
    result = _check(url, "--json")
    document = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert document["holds"] is True
    assert {"withdrawals": 4, "transitions": 8, "dead_letters": 1} == document["checked"]
    assert [] == document["altered"]
    assert {
        "provider": "bluum",
        "currency": "USD",
        "taken": _sum(3, "1500.00"),
        "finished": {"completed": _sum(1, "500.00")},
        "in_flight": _sum(1, "500.00"),
        "unresolved": _sum(1, "500.00"),
        "dead_lettered": _sum(0, "0.00"),
        "difference": _sum(0, "0.00"),
        "counters_less_rows": _sum(0, "0.00"),
    } == _balances(document)["bluum"]


def test_an_altered_row_is_named(url: str) -> None:
    """
    By its message id and what differs, never by a value; exit code 1.
    """
    change = "UPDATE withdrawals SET target_id = 'fs_mine' WHERE message_id = 'paid'"
    asyncio.run(second.write(url, change))
    told, document = _check(url), json.loads(_check(url, "--json").stdout)

    named = "what was asked for: a column that no event tells of"
    assert 1 == told.exit_code
    assert f"ALTERED paid: {named}\n" in told.stdout
    assert told.stdout.endswith("the books balance, 1 altered\n")
    assert [{"message_id": "paid", "what": named}] == document["altered"]
    assert not document["holds"]
    assert "fs_mine" not in told.output


def test_a_missing_withdrawal_is_a_difference(url: str) -> None:
    """
    Nothing is left of it that could be named, so the books say what is missing; exit code 1.
    """
    (row,) = asyncio.run(second.read(url, "SELECT id FROM withdrawals WHERE message_id = 'paid'"))
    deletes = [
        f"DELETE FROM {table} WHERE {column} = {row[0]}"  # noqa: S608
        for table, column in (
            ("transitions", "withdrawal"),
            ("events", "withdrawal"),
            ("attempts", "withdrawal"),
            ("withdrawals", "id"),
        )
    ]
    asyncio.run(second.write(url, "; ".join(deletes)))
    told, document = _check(url), json.loads(_check(url, "--json").stdout)

    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert 1 == told.exit_code
    assert {"FAIL bluum USD", "difference 1 500.00", "counters less rows 1 500.00"} < set(lines)
    assert lines[-1].endswith("THE BOOKS DO NOT BALANCE, nothing was altered")
    assert _sum(1, "500.00") == _balances(document)["bluum"]["difference"]


def test_a_message_id_cannot_steer_the_terminal(url: str) -> None:
    """
    Whoever altered a row may have put anything into it.
    """
    change = "UPDATE withdrawals SET message_id = 'a\x1b[2Jb' WHERE message_id = 'paid'"
    asyncio.run(second.write(url, change))
    result = _check(url)

    assert "ALTERED a?[2Jb: " in result.stdout
    assert "\x1b" not in result.stdout


def test_looking_never_makes_a_ledger(tmp_path: Path) -> None:
    """
    A ledger that is not there is told, and not made; exit code 1.
    """
    path = tmp_path / "ledger.db"
    result = _check(f"sqlite:///{path}")

    assert 1 == result.exit_code
    assert "run `withdrawals-worker migrate`" in result.stderr
    assert not path.exists()


def test_a_ledger_that_is_away_is_told() -> None:
    """
    In a sentence that names the setting and not the password; exit code 1.
    """
    result = _check("postgresql://somebody:hidden-word@127.0.0.1:1/ledger")

    assert 1 == result.exit_code
    assert "WORKER_LEDGER__URL" in result.stderr
    assert "hidden-word" not in result.output
