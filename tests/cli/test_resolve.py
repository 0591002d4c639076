"""`resolve` as a person on call runs it: what is shown, what is refused, what is written.

The provider is a simulator in a process of its own; how a running worker goes on from a ruling is
shown with the real process."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.app.warm import run_warm, warm_simulator
from tests.cli.running import Commands
from tests.ledger.builders import FINGERPRINT, an_order
from worker.core.answers import Attempt
from worker.core.change import Cause, park
from worker.core.events import moment
from worker.core.permit import take_in
from worker.core.sale import Sale, SaleStatus, sale_key
from worker.core.withdrawal import (
    Reason,
    ReasonCode,
    Status,
    Withdrawal,
    idempotency_key,
    reference_token,
)
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHY: Final = ("--operator", "Ada", "--reason", "not on the statement")
_CREDENTIALS: Final = ("simulator-key", "simulator-secret")
_AGE: Final = timedelta(hours=1)
_PARTIES: Final = count(1)
_DAY: Final = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


class Case:
    """One unresolved request, its commands, and its party at the provider."""

    def __init__(self, commands: Commands, url: str, simulator: str) -> None:
        self.commands = commands
        self.url = url
        self.simulator = simulator
        self.party = f"inv_case{next(_PARTIES)}"

    def unresolved(
        self,
        message_id: str = "req-1",
        *,
        age: timedelta = _AGE,
        provider: str = "bluum",
        sales: tuple[Sale, ...] = (),
    ) -> None:
        """Write a request down that was sent once, that long ago, and that nobody can tell of.

        With `sales` it is about those, and no create call was made.
        """
        at = datetime.now(UTC) - age
        key = idempotency_key(message_id)
        order = an_order(
            message_id,
            provider=provider,
            party_id=self.party,
            amount=Decimal("5.00"),
            body=f'{{"description":"{reference_token(key)}"}}'.encode(),
            taken_at=at,
        )

        async def write() -> None:
            async with open_ledger(self.url) as ledger:
                begun = take_in(Withdrawal(order=order, changed_at=at, sales=sales), now=at)
                made = Attempt(number=1, started_at=at, ended_at=at, outcome="unclear")
                taken = await ledger.take(begun, FINGERPRINT, () if sales else (made,))
                reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
                parked = park(taken.held.withdrawal, reason, cause=Cause.LOOKUP, now=at)
                await ledger.record(taken.held, parked)

        asyncio.run(write())

    def made(
        self, *, amount: str = "5.00", text: str = "for the flat", party: str | None = None
    ) -> str:
        """Let the provider make a withdrawal; return its id."""
        response = httpx.post(
            f"{self.simulator}/investors/{party or self.party}/withdrawals",
            json={
                "amount": amount,
                "currency": "USD",
                "method": "ach",
                "funding_source_id": "fs_secret_1",
                "description": text,
            },
            headers={"Idempotency-Key": f"elsewhere-{next(_PARTIES)}"},
            auth=_CREDENTIALS,
            trust_env=False,
        )
        identity: str = response.json()["id"]
        return identity

    def status(self, message_id: str = "req-1") -> str:
        """Where the request stands, by `show`."""
        status: str = self.shown(message_id)["status"]
        return status

    def shown(self, message_id: str = "req-1") -> dict[str, Any]:
        """What `show` tells."""
        document: dict[str, Any] = json.loads(self.commands("show", message_id, "--json").stdout)
        return document

    def resolve(self, *options: str) -> tuple[int, str, str]:
        """Run `resolve req-1` without a question; return exit code, output, errors."""
        result = self.commands("resolve", "req-1", *options, *_WHY, "--yes")
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The base URL of a simulator in a process of its own, whose withdrawals stay pending."""
    with warm_simulator("--pace", "600") as base_url:
        yield base_url


@pytest.fixture
def case(migrated_url: str, simulator: str) -> Case:
    """Commands over an empty ledger, on each database in turn."""
    commands = Commands(
        WORKER_LEDGER__URL=migrated_url,
        WORKER_BLUUM__API_KEY=_CREDENTIALS[0],
        WORKER_BLUUM__API_SECRET=_CREDENTIALS[1],
        WORKER_BLUUM__BASE_URL=simulator,
    )
    return Case(commands, migrated_url, simulator)


def test_what_is_adopted_is_written_down_with_who_and_why(case: Case) -> None:
    """
    The provider's status, its id, and the person's words in the history that `show` prints.
    """
    case.unresolved()
    withdrawal_id = case.made()
    code, output, _ = case.resolve("--adopt", withdrawal_id)
    shown = case.shown()

    assert 0 == code, output
    assert output.endswith("req-1 is pending now; the worker takes it from here\n")
    assert ("pending", withdrawal_id) == (shown["status"], shown["withdrawal_id"])
    ruling = shown["transitions"][-1]
    assert ("ruling", "Ada", "not on the statement") == (
        ruling["cause"],
        ruling["operator"],
        ruling["note"],
    )
    assert "note=not on the statement" in case.commands("show", "req-1").stdout


def test_a_person_sees_what_the_provider_lists(case: Case) -> None:
    """
    What could be it, with its signs, before the ruling; neither account nor text is shown.
    """
    case.unresolved()
    ours = case.made(text=f"rent {reference_token(idempotency_key('req-1'))}")
    likeness = case.made()
    case.made(amount="6.00")
    _, output, _ = case.resolve("--adopt", ours)
    lines = [_DAY.sub("DAY", " ".join(line.split())) for line in output.splitlines()]

    start = lines.index("the provider lists what could be it")
    assert {
        f"{ours} 5.00 USD ach created DAY pending carries this request's reference",
        f"{likeness} 5.00 USD ach created DAY pending",
    } == set(lines[start + 1 : start + 3])
    assert "" == lines[start + 3]
    assert "fs_secret_1" not in output
    assert "for the flat" not in output


def test_a_fresh_attempt_begins_on_a_persons_word(case: Case) -> None:
    """
    It is `received` again and due at once, with its attempts kept.
    """
    case.unresolved()
    case.made()
    code, output, _ = case.resolve("--not-created", "--json")
    document = json.loads(output)
    shown = case.shown()

    assert (0, True, "received", None) == (
        code,
        document["settled"],
        document["status"],
        document["problem"],
    )
    assert {
        "adopt": None,
        "not_created": True,
        "operator": "Ada",
        "reason": "not on the statement",
    } == document["ruling"]
    assert ("received", False, None) == (
        shown["status"],
        shown["outcome_unknown"],
        shown["key_rests_until"],
    )
    assert None is document["fresh_attempt_not_before"]
    assert document["request"]["first_attempt_at"] == shown["first_attempt_at"]
    assert shown["changed_at"] == shown["next_step_due_at"]
    assert 1 == len(shown["attempts"])


def test_a_person_is_told_when_the_fresh_attempt_leaves(case: Case) -> None:
    """
    A day after its call the provider may or may not remember the key: it rests for another day.

    Told before the question, and later by `show`.
    """
    case.unresolved(age=timedelta(hours=24))
    _, output, _ = case.resolve("--not-created")
    shown = case.shown()
    first_at = datetime.fromisoformat(shown["first_attempt_at"])
    until = moment(first_at + timedelta(hours=48))

    assert until == shown["key_rests_until"]
    assert (
        f"no call leaves before {until}: until then the provider may still remember the key"
        " (rejected, if the request's own time ends before that)"
    ) in output.splitlines()


def test_when_the_fresh_attempt_leaves_is_told_as_json(case: Case) -> None:
    """
    To scripts as well; a ruling that begins none tells of none.
    """
    case.unresolved(age=timedelta(hours=24))
    _, output, _ = case.resolve("--not-created", "--json")
    case.unresolved("req-2", age=timedelta(hours=24))
    other = case.commands("resolve", "req-2", "--adopt", case.made(), *_WHY, "--yes", "--json")

    assert case.shown()["key_rests_until"] == json.loads(output)["fresh_attempt_not_before"]
    assert None is json.loads(other.stdout)["fresh_attempt_not_before"]


def test_a_list_of_one_page_is_told_as_json(case: Case) -> None:
    """
    For scripts: the request as `show` tells it, and each candidate with its signs.
    """
    case.unresolved()
    withdrawal_id = case.made()
    _, output, _ = case.resolve("--adopt", withdrawal_id, "--json")
    document = json.loads(_DAY.sub("DAY", output))

    assert ("req-1", "unresolved") == (
        document["request"]["message_id"],
        document["request"]["status"],
    )
    assert {
        "problem": None,
        "candidates": [
            {
                "withdrawal_id": withdrawal_id,
                "amount": "5.00",
                "currency": "USD",
                "method": "ach",
                "created_on": "DAY",
                "provider_status": "pending",
                "is_owned_by_another": False,
                "carries_reference": False,
            }
        ],
    } == document["list"]


def test_without_a_ruling_it_only_shows(case: Case) -> None:
    """
    Neither a reason nor a terminal is needed: a person looks before ruling; nothing is changed.
    """
    case.unresolved()
    withdrawal_id = case.made()
    before = case.shown()
    told = case.commands("resolve", "req-1")
    document = json.loads(case.commands("resolve", "req-1", "--json").stdout)

    assert (0, "") == (told.exit_code, told.stderr)
    assert f"  {withdrawal_id}  5.00 USD" in told.stdout
    assert {"request", "list"} == set(document)
    assert [withdrawal_id] == [one["withdrawal_id"] for one in document["list"]["candidates"]]
    assert before == case.shown()


def test_what_carries_our_reference_has_to_be_adopted(case: Case) -> None:
    """
    The word that nothing was made is refused, and names what was; then that is adopted.
    """
    case.unresolved()
    ours = case.made(text=reference_token(idempotency_key("req-1")))
    code, output, errors = case.resolve("--not-created", "--json")
    adopted, _, _ = case.resolve("--adopt", ours)

    assert (1, 0) == (code, adopted)
    assert errors.startswith("req-1 was not settled: the provider holds")
    assert ours in json.loads(output)["problem"]
    assert "pending" == case.status()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"amount": "6.00"}, "it has another amount"),
        ({"text": "[wd:0123456789ab]"}, "it carries the reference of another request"),
        ({"party": "inv_another"}, "could not be read: the provider does not know it"),
    ],
    ids=str,
)
def test_what_cannot_be_it_is_refused(case: Case, made: dict[str, str], why: str) -> None:
    """
    Exit code 1, a sentence that says why, and nothing is written.
    """
    case.unresolved()
    withdrawal_id = case.made(**made)
    before = case.shown()
    code, _, errors = case.resolve("--adopt", withdrawal_id)

    assert 1 == code
    assert why in errors
    assert before == case.shown()


def test_what_another_request_owns_is_refused(case: Case) -> None:
    """
    One withdrawal at the provider serves one request.
    """
    case.unresolved("req-2")
    case.unresolved()
    withdrawal_id = case.made()
    case.commands("resolve", "req-2", "--adopt", withdrawal_id, *_WHY, "--yes")
    code, output, errors = case.resolve("--adopt", withdrawal_id)

    assert 1 == code
    assert "belongs to another request" in output
    assert errors == f"req-1 was not settled: {withdrawal_id} belongs to another request\n"


def test_a_call_that_may_still_execute_has_to_be_waited_for(case: Case) -> None:
    """
    The settling delay since the last call is not over: exit code 1, and how long it takes.
    """
    case.unresolved(age=timedelta(minutes=1))
    code, _, errors = case.resolve("--not-created")

    assert 1 == code
    assert "the last call may still execute: wait for 2" in errors
    assert "unresolved" == case.status()


def test_a_provider_that_is_away_settles_nothing(case: Case) -> None:
    """
    Neither ruling can be checked: exit code 1, why, and that the list was not read.
    """
    case.unresolved()
    case.commands.environment["WORKER_BLUUM__BASE_URL"] = "http://127.0.0.1:1/v1"
    for ruling in (("--not-created",), ("--adopt", "wd_1")):
        code, output, errors = case.resolve(*ruling)

        assert 1 == code
        assert "the provider's list could not be read: no usable answer" in output
        assert "no usable answer" in errors
    assert "unresolved" == case.status()


@pytest.mark.parametrize("ruling", [("--adopt", "wd_1"), ("--not-created",)], ids=str)
def test_only_what_is_unresolved_can_be_settled(case: Case, ruling: tuple[str, ...]) -> None:
    """
    A second ruling finds it settled; an unknown id finds nothing: exit code 1, a sentence.
    """
    case.unresolved()
    case.resolve("--not-created")
    code, _, errors = case.resolve(*ruling)
    unknown = case.commands("resolve", "nobody", *ruling, *_WHY, "--yes")

    assert (1, 1) == (code, unknown.exit_code)
    assert "req-1 is received: only an unresolved one can be settled\n" == errors
    assert "no request with the message id nobody is in the ledger\n" == unknown.stderr


def test_a_provider_without_credentials_is_named(case: Case) -> None:
    """
    Nobody can be asked: exit code 1, and what is missing.
    """
    case.unresolved(provider="upvest")
    code, _, errors = case.resolve("--not-created")

    assert 1 == code
    assert "the provider upvest is not enabled here: give its credentials\n" == errors


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--adopt", "wd_1", "--not-created", "--yes", *_WHY), "either --adopt WD_ID or"),
        (("--not-created", "--yes"), "--reason"),
        (("--not-created", "--yes", "--reason", " "), "--reason: expected 1 to 1000"),
        (("--not-created", "--yes", "--reason", "x" * 1001), "--reason: expected 1 to 1000"),
        (("--not-created", "--yes", "--reason", "a\x1bb"), "without control characters"),
        (("--not-created", "--yes", "--reason", "r", "--operator", ""), "--operator: expected"),
        (("--not-created", *_WHY), "without a terminal, confirm by --yes"),
    ],
    ids=["two", "no reason", "blank", "long", "control", "nobody", "not confirmed"],
)
def test_wrong_use_is_refused_before_anything_is_asked(options: tuple[str, ...], word: str) -> None:
    """
    Exit code 2 and what was expected; neither ledger nor provider is needed to tell.
    """
    result = Commands()("resolve", "req-1", *options)

    assert 2 == result.exit_code
    assert word in result.stderr


def test_the_operator_is_the_user_by_default(case: Case) -> None:
    """
    Somebody is always written down.
    """
    case.unresolved()
    case.commands(
        *("resolve", "req-1", "--not-created", "--reason", "r", "--yes"),
        LOGNAME="the-user-of-this-machine",
    )

    assert "the-user-of-this-machine" == case.shown()["transitions"][-1]["operator"]


@pytest.mark.parametrize(("said", "code", "status"), [("n", 1, "unresolved"), ("y", 0, "received")])
def test_on_a_terminal_it_asks(case: Case, said: str, code: int, status: str) -> None:
    """
    After showing what is known: without a yes nothing is changed, exit code 1.
    """
    case.unresolved()
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKER_")}
    try:
        os.write(ours, f"{said}\n".encode())
        done = run_warm(
            *("resolve", "req-1", "--not-created", *_WHY),
            environment=environment | case.commands.environment,
            stdin=theirs,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert code == done.returncode, done.stderr
    assert "the provider lists nothing that could be it" in done.stdout
    assert "ruling of Ada: no withdrawal was made" in done.stdout
    assert "Settle it so?" in done.stderr
    assert status == case.status()


@pytest.mark.parametrize(
    ("status", "ruling", "sentence", "end"),
    [
        (
            SaleStatus.UNKNOWN,
            ("--not-created",),
            "the order was not placed: place it, unless the request is cancelled or too late",
            "req-1 is received now; the worker takes it from here",
        ),
        (
            SaleStatus.UNSETTLED,
            ("--not-created",),
            "ord_1 is given up: end the request, which is cancelled or too late",
            (
                "req-1 was not settled: ord_1 is sold: adopt it once its proceeds are there; to"
                " give the request up, cancel it first, and rule so again"
            ),
        ),
        (
            SaleStatus.UNSETTLED,
            ("--adopt", "ord_1"),
            "the proceeds of ord_1 are there: go on with the withdrawal",
            "req-1 was not settled: ord_1 could not be read: the provider does not know it",
        ),
        (
            SaleStatus.UNKNOWN,
            ("--adopt", "ord_2"),
            "adopt ord_2, and follow it",
            "req-1 was not settled: ord_2 could not be read: the provider does not know it",
        ),
    ],
)
def test_a_ruling_on_an_order_says_what_it_leads_to(
    case: Case, status: SaleStatus, ruling: tuple[str, ...], sentence: str, end: str
) -> None:
    """
    Of one that nobody knows, and of one that is sold; advice that can be followed where refused.
    """
    order_id = None if status is SaleStatus.UNKNOWN else "ord_1"
    one = Sale(key=sale_key("req-1", 0), symbol="AAPL", status=status, order_id=order_id)
    case.unresolved(sales=(one,))
    _, output, error = case.resolve(*ruling)

    assert f"ruling of Ada: {sentence}" in output.splitlines()
    assert end == [*output.splitlines(), *error.splitlines()][-1]


def test_what_waits_for_a_person_is_listed_until_it_is_settled(case: Case) -> None:
    """
    `list --status unresolved` is where a person begins, and it is empty in the end.
    """
    case.unresolved()
    before = json.loads(case.commands("list", "--status", "unresolved", "--json").stdout)
    case.resolve("--not-created")
    after = json.loads(case.commands("list", "--status", "unresolved", "--json").stdout)

    assert [("req-1", "several_candidates")] == [
        (one["message_id"], one["reason_code"]) for one in before
    ]
    assert [] == after
    assert Status.RECEIVED == case.status()
