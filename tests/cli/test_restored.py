"""`restored` as a person runs it: what it says, and when it does nothing.

What becomes of the requests is shown by tests/flows and, with real workers, by tests/app."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Commands
from tests.ledger.builders import FINGERPRINT, an_order, taken_in
from worker.ledger.engine import sole_worker
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.core.withdrawal import Withdrawal


@pytest.fixture
def commands(migrated_url: str) -> Commands:
    """Commands over an empty ledger, on each database in turn."""
    return Commands(WORKER_LEDGER__URL=migrated_url)


def test_it_says_how_many_are_in_doubt(commands: Commands, migrated_url: str) -> None:
    """
    And the moment that it went by: never later than the ledger's own last sign of life.
    """
    yesterday = datetime.now(UTC) - timedelta(days=1)
    asyncio.run(_taken(migrated_url, yesterday))
    result = commands("restored", "--to", "1h", "--yes")

    assert 0 == result.exit_code, result.output
    put_back, in_doubt, left = result.stdout.splitlines()
    assert f"put back to {yesterday:%Y-%m-%dT%H:%M:%S}" in put_back
    assert "1 in doubt: looked for at the provider before anything is sent" == in_doubt
    assert "0 left as they are: the provider's id is known, or a person rules" == left
    doubted = asyncio.run(_withdrawal(migrated_url))
    assert doubted.first_attempt_at is not None
    assert doubted.in_doubt
    assert doubted.first_attempt_at > datetime.now(UTC)


def test_an_empty_ledger_has_nothing_in_doubt(commands: Commands) -> None:
    """
    It gives no sign of life, and the moment is the one that was named.
    """
    result = commands("restored", "--to", "2020-06-02", "--yes")

    assert 0 == result.exit_code, result.output
    assert "put back to 2020-06-02T00:00:00.000Z" in result.stdout


def test_nothing_is_done_beside_a_worker(commands: Commands, migrated_url: str) -> None:
    """
    Which might send at this very moment what is to be put in doubt.
    """

    async def run_beside() -> tuple[int, str]:
        with sole_worker(migrated_url):
            async with open_ledger(migrated_url) as ledger:
                await ledger.heartbeat()
                result = await asyncio.to_thread(commands, "restored", "--to", "1h", "--yes")
        return result.exit_code, result.stderr

    code, told = asyncio.run(run_beside())

    assert 1 == code
    assert "worker" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "1h"), "without a terminal, confirm by --yes"),
        (("--to", "2099-01-01", "--yes"), "expected a time that has passed"),
        (("--to", "soon", "--yes"), "expected a time with its zone"),
        (("--yes",), "--to"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    commands: Commands, options: tuple[str, ...], words: str
) -> None:
    """
    Exit code 2, and nothing was changed.
    """
    result = commands("restored", *options)

    assert 2 == result.exit_code
    assert words in result.stderr


async def _taken(url: str, at: datetime) -> None:
    async with open_ledger(url) as ledger:
        await ledger.take(taken_in(an_order(taken_at=at), now=at), FINGERPRINT)


async def _withdrawal(url: str) -> Withdrawal:
    async with open_ledger(url) as ledger:
        [held] = await ledger.unfinished(after=0, limit=2)
    return held.withdrawal
