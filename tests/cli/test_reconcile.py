"""`reconcile` as an operator runs it: what is found, what is said of it, and the exit code.

The provider is a simulator in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.app.warm import run_warm, warm_simulator
from tests.cli.running import Commands
from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, moved, taken_in
from worker.core.withdrawal import Status, idempotency_key, reference_token
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREDENTIALS: Final = ("simulator-key", "simulator-secret")
_AGE: Final = timedelta(hours=1)
_PARTIES: Final = count(1)


class Case:
    """A ledger, a party at the provider, and the command over both."""

    def __init__(self, commands: Commands, url: str, simulator: str) -> None:
        self.commands = commands
        self.url = url
        self.simulator = simulator
        self.party = f"inv_reconciled{next(_PARTIES)}"

    def asked(
        self,
        message_id: str = "req-1",
        status: Status = Status.PENDING,
        *,
        withdrawal_id: str | None = None,
        party: str | None = None,
        amount: str = "5.00",
    ) -> None:
        """Write a request down that has stood there for an hour."""
        at = datetime.now(UTC) - _AGE
        order = an_order(
            message_id, party_id=party or self.party, amount=Decimal(amount), taken_at=at
        )

        async def write() -> None:
            async with open_ledger(self.url) as ledger:
                held = (await ledger.take(taken_in(order, now=at), FINGERPRINT)).held
                decision = moved(held, status, now=at, withdrawal_id=withdrawal_id)
                assert await ledger.record(held, decision) is not None

        asyncio.run(write())

    def made(self, *, text: str = "my own") -> str:
        """Let the provider make a withdrawal; return its id."""
        response = self.call(
            "",
            json={
                "amount": "5.00",
                "currency": "USD",
                "method": "ach",
                "funding_source_id": "fs_secret_1",
                "description": text,
            },
            headers={"Idempotency-Key": f"elsewhere-{next(_PARTIES)}"},
        )
        identity: str = response["id"]
        return identity

    def paid(self, message_id: str = "req-1", status: Status = Status.PENDING, **row: Any) -> str:  # noqa: ANN401
        """A request, and its withdrawal at the provider; return the provider's id."""
        withdrawal_id = self.made(text=f"rent {reference_token(idempotency_key(message_id))}")
        self.asked(message_id, status, withdrawal_id=withdrawal_id, **row)
        return withdrawal_id

    def call(self, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Call the provider about the party's withdrawals."""
        url = f"{self.simulator}/investors/{self.party}/withdrawals{path}"
        answer = httpx.post(url, auth=_CREDENTIALS, trust_env=False, **more)
        document: dict[str, Any] = answer.raise_for_status().json()
        return document

    def served(self) -> None:
        """Let it look as if a worker ran on the ledger."""
        now = int(datetime.now(UTC).timestamp() * 1_000_000)
        row = f"VALUES ('a worker', {now}, {now + 3_600_000_000})"
        asyncio.run(second.write(self.url, f"INSERT INTO replicas {row}"))

    def woken(self) -> int:
        """How many rows are to be looked at."""
        query = "SELECT count(*) FROM withdrawals WHERE woken_at IS NOT NULL"
        ((number,),) = asyncio.run(second.read(self.url, query))
        return int(number)

    def document(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Run `reconcile --json`; return the exit code and what it says."""
        result = self.commands("reconcile", "--json", *options)
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The base URL of a simulator in a process of its own, whose withdrawals stay pending."""
    with warm_simulator("--pace", "600") as base_url:
        yield base_url


@pytest.fixture
def case(migrated_url: str, simulator: str) -> Case:
    """The command over an empty ledger, on each database in turn."""
    return Case(commands(migrated_url, simulator), migrated_url, simulator)


@pytest.fixture
def embedded(sqlite_url: str, simulator: str) -> Case:
    """The command over an empty ledger in a file."""
    return Case(commands(sqlite_url, simulator), sqlite_url, simulator)


def commands(url: str, simulator: str) -> Commands:
    """Commands over a ledger and a provider."""
    return Commands(
        WORKER_LEDGER__URL=url,
        WORKER_BLUUM__API_KEY=_CREDENTIALS[0],
        WORKER_BLUUM__API_SECRET=_CREDENTIALS[1],
        WORKER_BLUUM__BASE_URL=simulator,
    )


def test_where_all_agrees_nothing_is_found(case: Case) -> None:
    """
    Exit code 0, with how much was compared, and with who was not.
    """
    case.paid()
    result = case.commands("reconcile", "--since", "2h")

    assert 0 == result.exit_code, result.stdout
    assert "1 parties of bluum: 1 requests and 1 listed withdrawals" in result.stdout
    assert "the provider lists no parties, so others are not seen" in result.stdout
    assert result.stdout.endswith("found: nothing\n")


def test_everything_that_does_not_agree_is_reported(case: Case) -> None:
    """
    With ids, amounts, days and what to do next; neither targets nor anybody's text.
    """
    drifted = case.paid("req-drift", Status.RECEIVED)
    other = case.paid("req-amount", amount="6.00")
    conflict = case.paid("req-end", Status.COMPLETED)
    case.asked("req-gone", withdrawal_id="wd_gone")
    case.asked("req-open", Status.UNRESOLVED)
    ours = case.made(text=f"rent {reference_token(idempotency_key('req-open'))}")
    lost = case.made(text=f"rent {reference_token(idempotency_key('of another ledger'))}")
    own = case.made()
    case.asked("req-nobody", withdrawal_id="wd_1", party="inv_unknown")
    case.served()
    code, document = case.document()

    assert 1 == code
    assert not document["is_well"]
    assert sorted(
        [
            ("status_drift", drifted, "req-drift", "will be looked at"),
            ("amount_differs", other, "req-amount", "none"),
            ("status_conflict", conflict, "req-end", "none"),
            ("missing", "wd_gone", "req-gone", "none"),
            ("resolvable", ours, "req-open", "none"),
            ("marked_unexplained", lost, None, "none"),
            ("unexplained", own, None, "none"),
            ("unreadable", None, None, "none"),
        ],
        key=str,
    ) == sorted(
        (
            (found["kind"], found["withdrawal_id"], found["message_id"], found["repair"])
            for found in document["findings"]
        ),
        key=str,
    )
    by_kind = {found["kind"]: found for found in document["findings"]}
    assert f"withdrawals-worker resolve req-open --adopt {ours}" == by_kind["resolvable"]["command"]
    assert ("6.00", "5.00") == tuple(
        by_kind["amount_differs"][name] for name in ("amount", "provider_amount")
    )
    unexplained = by_kind["unexplained"]
    assert ("5.00", "USD") == (unexplained["provider_amount"], unexplained["provider_currency"])
    assert (
        datetime.now(UTC).date() - timedelta(days=1)
        <= datetime.fromisoformat(unexplained["created_on"]).date()
    )
    assert set(document["counts"].values()) == {1}
    assert "fs_secret" not in json.dumps(document)
    assert "rent" not in json.dumps(document)
    assert 1 == case.woken()


def test_drift_alone_is_well_where_a_worker_runs(case: Case) -> None:
    """
    Without one it is said that there is none, and that is not well.
    """
    withdrawal_id = case.paid()
    case.call(f"/{withdrawal_id}/cancel")
    alone = case.commands("reconcile")
    case.served()
    served = case.commands("reconcile")

    words = "the provider says cancelled, the ledger pending"
    assert 1 == alone.exit_code
    assert f"{words}  (needs a running worker)" in alone.stdout
    assert "no worker runs on this ledger" in alone.stdout
    assert 0 == served.exit_code
    assert f"{words}  (will be looked at)" in served.stdout
    assert "no worker runs" not in served.stdout
    assert 1 == case.woken()


def test_a_finding_is_one_line(embedded: Case) -> None:
    """
    With a second one for the command, and nothing in it that steers a terminal.
    """
    own = embedded.made()
    embedded.asked("req-1\x1b[2J", Status.UNRESOLVED)
    result = embedded.commands("reconcile")
    first, command, *rest = result.stdout.splitlines()

    assert 1 == result.exit_code
    assert first.startswith(f"resolvable  bluum  {embedded.party}  {own}  5.00 USD  created 20")
    assert first.endswith("request req-1?[2J  the provider lists one that could be it")
    assert "  withdrawals-worker resolve 'req-1?[2J'" == command
    assert "found: resolvable 1" == rest[-1]


def test_a_party_given_by_hand_is_compared_too(embedded: Case) -> None:
    """
    Though the ledger does not know it; with --only, no other one is.
    """
    embedded.made()
    embedded.asked("req-other", withdrawal_id="wd_1", party="inv_reconciled_other")
    _, both = embedded.document("--party", embedded.party)
    _, only = embedded.document("--party", embedded.party, "--only", "--provider", "bluum")

    assert (2, {"missing": 1, "unexplained": 1}) == (both["parties"], _found(both))
    assert (1, {"unexplained": 1}) == (only["parties"], _found(only))
    assert "compared are the parties given by --party alone" == only["covered"]


def test_a_known_party_given_by_hand_is_compared_once(embedded: Case) -> None:
    """
    What it shows is told once.
    """
    embedded.asked(withdrawal_id="wd_1")
    _, document = embedded.document("--party", embedded.party)

    assert (1, {"missing": 1}) == (document["parties"], _found(document))


def test_what_is_not_of_the_period_is_not_compared(embedded: Case) -> None:
    """
    A party whose requests are all older is not read.
    """
    embedded.asked(withdrawal_id="wd_1")
    code, document = embedded.document("--since", "PT30M")

    assert (0, 0) == (code, document["parties"])


def test_refused_credentials_end_the_walk(embedded: Case) -> None:
    """
    The others would be refused as well.
    """
    embedded.asked("req-1", withdrawal_id="wd_1")
    embedded.asked("req-2", withdrawal_id="wd_2", party="inv_reconciled_other")
    result = embedded.commands("reconcile", WORKER_BLUUM__API_SECRET="another")

    assert 1 == result.exit_code
    assert "found: unreadable 1" in result.stdout
    assert "not all was compared: the provider does not accept the credentials" in result.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only"], "--only: expected at least one --party with it"),
        (["--since", "1h", "--until", "2h"], "--since: expected a time before --until"),
        (["--provider", "upvest"], "the provider upvest is not enabled here"),
        (["--since", "long ago"], "expected a time with its zone"),
        (["--since", "2026-06-02T09:00:00"], "expected a time with its zone"),
    ],
)
def test_wrong_use_is_told(embedded: Case, options: list[str], sentence: str) -> None:
    """
    Exit code 2, and nothing is compared.
    """
    result = embedded.commands("reconcile", *options)

    assert 2 == result.exit_code
    assert sentence in " ".join(result.stderr.replace("│", "").split())
    assert "" == result.stdout


def test_a_ledger_that_is_not_there_is_told(simulator: str) -> None:
    """
    In a sentence, with exit code 1.
    """
    result = commands("sqlite:///no/such/folder/ledger.db", simulator)("reconcile")

    assert 1 == result.exit_code
    assert "Traceback" not in result.stderr


def test_on_a_terminal_there_is_a_progress_bar(embedded: Case) -> None:
    """
    And none elsewhere.
    """
    embedded.paid()
    shown = _on_a_terminal(embedded)

    assert "comparing" in shown
    assert "100%" in shown
    assert "comparing" not in embedded.commands("reconcile").stderr


def _on_a_terminal(case: Case) -> str:
    """Run the command with its errors on a terminal; return what is drawn there."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKER_")}
    try:
        done = run_warm(
            "reconcile",
            environment=environment | case.commands.environment | {"TERM": "xterm"},
            stderr=theirs,
        )
        assert 0 == done.returncode
        assert "comparing" not in done.stdout
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def _found(document: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = document["counts"]
    return {kind: number for kind, number in counts.items() if number}
