"""`list` as its users run it: which lines, which columns, what scripts get."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.cli.running import Commands
from tests.ledger.builders import FINGERPRINT, an_order, moved, refused, taken_in
from worker.core.change import Cause, park
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from pathlib import Path

_HOUR: Final = timedelta(hours=1)


@pytest.fixture
def commands(migrated_url: str) -> Commands:
    """Commands over a ledger with one request of each kind, some days and hours old."""

    async def fill() -> None:
        now = datetime.now(UTC)
        async with open_ledger(migrated_url) as ledger:
            for message_id, age in (("paid", 60), ("parked", 50.5), ("open", 3.5), ("new", 0)):
                at = now - age * _HOUR
                order = an_order(message_id, taken_at=at)
                held = (await ledger.take(taken_in(order, now=at), FINGERPRINT)).held
                if message_id == "paid":
                    await ledger.record(held, moved(held, Status.COMPLETED, withdrawal_id="wd_1"))
                if message_id == "open":
                    await ledger.record(held, moved(held, Status.PENDING, withdrawal_id="wd_2"))
                if message_id == "parked":
                    reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
                    decision = park(held.withdrawal, reason, cause=Cause.LOOKUP, now=at)
                    await ledger.record(held, decision)
            await ledger.take(refused("bad", now=now), FINGERPRINT)

    asyncio.run(fill())
    return Commands(WORKER_LEDGER__URL=migrated_url)


def test_the_unfinished_are_listed_a_line_each(commands: Commands) -> None:
    """
    The oldest first, in columns; what is not known is a hyphen.
    """
    result = commands("list")
    lines = [line.split() for line in result.stdout.splitlines()]

    assert 0 == result.exit_code
    assert ["message", "id", "status", "amount", "currency", "age"] == lines[0][:6]
    assert [
        ["parked", "unresolved", "500.00", "USD", "2", "d", "-", "several_candidates"],
        ["open", "pending", "500.00", "USD", "3", "h", "wd_2", "-"],
    ] == lines[1:3]
    assert ["new", "received", "500.00", "USD"] == lines[3][:4]
    assert 4 == len(lines)


def test_what_waits_for_a_person_alone(commands: Commands) -> None:
    """
    By status, which may be given more than once.
    """
    parked = json.loads(commands("list", "--status", "unresolved", "--json").stdout)
    both = json.loads(
        commands("list", "--status", "completed", "--status", "rejected", "--json").stdout
    )

    assert ["parked"] == [one["message_id"] for one in parked]
    assert {"paid", "bad"} == {one["message_id"] for one in both}


def test_scripts_get_a_list_of_objects(commands: Commands) -> None:
    """
    With the names that `show` uses; a rejected request of unknown content has empty fields.
    """
    (bad,) = json.loads(commands("list", "--status", "rejected", "--json").stdout)
    (parked,) = json.loads(commands("list", "--status", "unresolved", "--json").stdout)

    assert ("rejected", None, None, None, "invalid_request") == (
        bad["status"],
        bad["provider"],
        bad["amount"],
        bad["party_id"],
        bad["reason_code"],
    )
    assert ("500.00", "USD", "ach", "inv_01", None, True, None) == (
        parked["amount"],
        parked["currency"],
        parked["method"],
        parked["party_id"],
        parked["withdrawal_id"],
        parked["outcome_unknown"],
        parked["next_step_due_at"],
    )
    assert parked["age_seconds"] >= 50 * 3600


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--since", "PT5H"), ["open", "new"]),
        (("--since", "18000"), ["open", "new"]),
        (("--since", "2020-01-01"), ["parked", "open", "new"]),
        (("--since", "2020-01-01T00:00:00Z"), ["parked", "open", "new"]),
        (("--since", "9999-12-31"), []),
        (("--party", "inv_01", "--provider", "bluum"), ["parked", "open", "new"]),
        (("--party", "inv_02"), []),
        (("--provider", "upvest"), []),
        (("--limit", "1"), ["parked"]),
    ],
    ids=str,
)
def test_conditions_narrow_the_list(
    commands: Commands, options: tuple[str, ...], ids: list[str]
) -> None:
    """
    A time, a day or a span; a party; a provider; a number.
    """
    result = commands("list", "--json", *options)

    assert ids == [one["message_id"] for one in json.loads(result.stdout)]


def test_a_list_that_was_cut_says_so(commands: Commands) -> None:
    """
    On standard error, so that nobody takes a part for the whole.
    """
    cut, whole = commands("list", "--limit", "3"), commands("list")

    assert "there may be more than 3: see --limit\n" == cut.stderr
    assert "" == whole.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--status", "lost"),
        ("--since", "yesterday"),
        ("--since", "2026-06-02T09:00:00"),
        ("--limit", "0"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: tuple[str, ...]) -> None:
    """
    Exit code 2, the option is named; a time without a zone is none.
    """
    result = Commands()("list", *options)

    assert 2 == result.exit_code
    assert options[0] in result.stderr


def test_a_ledger_that_is_not_there_is_named(tmp_path: Path) -> None:
    """
    Exit code 1 and what to do; no file is made.
    """
    result = Commands(WORKER_LEDGER__URL=f"sqlite:///{tmp_path / 'none.db'}")("list")

    assert 1 == result.exit_code
    assert "run `withdrawals-worker migrate`" in result.stderr
    assert [] == list(tmp_path.iterdir())
