"""What a provider's list says against the ledger's rows: each kind of finding, and what is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from worker.core.answers import Entry, Reported
from worker.core.reconciliation import (
    Booked,
    Finding,
    Kind,
    Period,
    Reading,
    compare,
    key_start,
    unreadable,
)
from worker.core.withdrawal import MOVES, TERMINAL, Status, idempotency_key, reference_token

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY: Final = timedelta(days=1)
NOW: Final = datetime(2026, 6, 10, 10, tzinfo=UTC)
PERIOD: Final = Period(NOW - 7 * DAY, NOW)
SETTLING: Final = timedelta(minutes=5)
SINCE_LONG: Final = NOW - 2 * DAY
#: Statuses in which the provider may hold a withdrawal.
AT_PROVIDER: Final = [status for status in Status if status in MOVES[Status.UNRESOLVED]]


def booked(message_id: str = "req-1", **changes: Any) -> Booked:  # noqa: ANN401 - any field
    """A row that has been pending since long, as `wd_req-1`."""
    plain = Booked(
        row=sum(message_id.encode()),
        message_id=message_id,
        idempotency_key=idempotency_key(message_id),
        status=Status.PENDING,
        withdrawal_id=f"wd_{message_id}",
        amount=Decimal("500.00"),
        currency="USD",
        in_doubt=False,
        taken_at=SINCE_LONG,
        first_attempt_at=SINCE_LONG,
        changed_at=SINCE_LONG,
    )
    return replace(plain, **changes)


def without_id(message_id: str = "req-1", **changes: Any) -> Booked:  # noqa: ANN401
    """A row of which nobody knows whether the provider has it."""
    doubt: dict[str, Any] = {"status": Status.RECEIVED, "withdrawal_id": None, "in_doubt": True}
    return booked(message_id, **(doubt | changes))


def entry(of: str = "req-1", status: Status | None = Status.PENDING, **changes: Any) -> Entry:  # noqa: ANN401
    """The entry of a request, with its reference."""
    plain = Entry(
        reported=Reported(f"wd_{of}", status, "a word"),
        amount="500.00",
        currency="USD",
        method="ach",
        target_id="fs_01",
        text=f"rent {reference_token(idempotency_key(of))}",
        created_on=SINCE_LONG.date(),
    )
    return replace(plain, **changes)


def elsewhere(name: str = "made-elsewhere", **changes: Any) -> Entry:  # noqa: ANN401
    """A withdrawal that the customer made by another way."""
    return entry(name, text="my own", **changes)


def found(
    entries: Iterable[Entry],
    after: Iterable[Booked],
    *,
    before: Iterable[Booked] | None = None,
    period: Period = PERIOD,
) -> list[Finding]:
    """All findings; without `before` the rows have stood as they stand."""
    rows = tuple(after)
    reading = Reading(
        provider="bluum",
        party_id="inv_01",
        period=period,
        settling=SETTLING,
        listed_at=NOW,
        entries=tuple(entries),
        before=rows if before is None else tuple(before),
        after=rows,
    )
    return list(compare(reading))


def kinds(findings: Iterable[Finding]) -> list[Kind]:
    """The kinds alone."""
    return [finding.kind for finding in findings]


def test_what_agrees_is_no_finding() -> None:
    """
    Nor what one side does not show, nor another spelling of the same amount.
    """
    alike = entry(amount="500", currency=None)
    strange = entry("req-2", status=None, amount=None)

    assert [] == found([alike, strange], [booked(), booked("req-2")])


@pytest.mark.parametrize("here", AT_PROVIDER)
@pytest.mark.parametrize("there", AT_PROVIDER)
def test_another_status_is_drift_where_a_move_leads_there(here: Status, there: Status) -> None:
    """
    A word that lies behind is old news, but behind an end it cannot be.
    """
    findings = found([entry(status=there)], [booked(status=here)])

    expected = []
    if there is not here and there in MOVES[here]:
        expected = [Kind.STATUS_DRIFT]
    elif there is not here and here in TERMINAL:
        expected = [Kind.STATUS_CONFLICT]
    assert expected == kinds(findings)


def test_a_drift_names_both_sides() -> None:
    """
    What the ledger says, what the provider says, and the row that is to be looked at.
    """
    row = booked()

    assert [
        Finding(
            kind=Kind.STATUS_DRIFT,
            provider="bluum",
            party_id="inv_01",
            why="the provider says completed, the ledger pending",
            message_id="req-1",
            withdrawal_id="wd_req-1",
            status=Status.PENDING,
            listed_status="a word",
            amount=Decimal("500.00"),
            currency="USD",
            listed_amount="500.00",
            listed_currency="USD",
            created_on=SINCE_LONG.date(),
            row=row.row,
        )
    ] == found([entry(status=Status.COMPLETED)], [row])


@pytest.mark.parametrize("was", [[], [booked(status=Status.PROCESSING)], [without_id()]])
def test_a_row_that_moved_meanwhile_is_not_judged(was: list[Booked]) -> None:
    """
    Neither by its status nor by its absence: the list may be older than the row.
    """
    late = entry(status=Status.FAILED)

    assert [] == found([late], [booked(status=Status.COMPLETED)], before=was)
    assert [] == found([], [booked()], before=was)


def test_an_end_of_just_now_is_not_said_to_conflict() -> None:
    """
    The list may lag behind what a look has told.
    """
    ended = booked(status=Status.COMPLETED, changed_at=NOW - SETTLING + timedelta(seconds=1))

    assert [] == found([entry()], [ended])


@pytest.mark.parametrize(
    "changes",
    [{"amount": "500.01"}, {"currency": "EUR"}, {"amount": "5.00", "status": Status.PENDING}],
)
def test_other_money_is_reported(changes: dict[str, Any]) -> None:
    """
    Another amount or currency, whenever the row moved.
    """
    assert [Kind.AMOUNT_DIFFERS] == kinds(found([entry(**changes)], [booked()], before=[]))


def test_what_is_not_listed_is_missing() -> None:
    """
    With all that the ledger knows of it.
    """
    (finding,) = found([], [booked()])

    assert (Kind.MISSING, "wd_req-1", "req-1") == (
        finding.kind,
        finding.withdrawal_id,
        finding.message_id,
    )
    assert (None, None) == (finding.listed_status, finding.created_on)


@pytest.mark.parametrize(
    "changes",
    [
        {"changed_at": NOW - SETTLING + timedelta(seconds=1)},
        {"taken_at": NOW - 8 * DAY, "first_attempt_at": None},
        {"first_attempt_at": NOW + timedelta(seconds=1)},
    ],
    ids=["just created", "taken in before the period", "sent after the period"],
)
def test_what_the_list_need_not_show_is_not_missing(changes: dict[str, Any]) -> None:
    """
    Too young for it, or created on days that were not read.
    """
    assert [] == found([], [booked(**changes)])


def test_what_no_request_explains_is_reported() -> None:
    """
    With amount, currency and the day it was created on.
    """
    (finding,) = found([entry(), elsewhere(amount="7.50")], [booked()])

    assert (Kind.UNEXPLAINED, "wd_made-elsewhere", None) == (
        finding.kind,
        finding.withdrawal_id,
        finding.message_id,
    )
    assert ("7.50", "USD", SINCE_LONG.date()) == (
        finding.listed_amount,
        finding.listed_currency,
        finding.created_on,
    )


@pytest.mark.parametrize(
    ("day", "count"),
    [
        (PERIOD.since.date() - DAY, 0),
        (PERIOD.since.date(), 1),
        (NOW.date(), 1),
        (NOW.date() + DAY, 0),
        (None, 1),
    ],
)
def test_only_the_exact_period_is_to_be_explained(day: date | None, count: int) -> None:
    """
    Days beside it are read in order to explain; what shows no day cannot be left out.
    """
    assert count == len(found([elsewhere(created_on=day)], []))


def test_the_days_to_read_are_wider_than_the_period() -> None:
    """
    By two for zone and bounds, and one more for a call that leaves a day after its request.
    """
    assert (date(2026, 6, 1), date(2026, 6, 13)) == PERIOD.days


@pytest.mark.parametrize(
    ("rows", "message_id"),
    [
        ([], None),
        ([booked(withdrawal_id="wd_another", status=Status.COMPLETED)], "req-1"),
        ([without_id(status=Status.REJECTED, in_doubt=False)], "req-1"),
        ([without_id(in_doubt=False)], "req-1"),
    ],
    ids=["no such request", "paid twice", "rejected", "thought never sent"],
)
def test_our_reference_without_its_row_is_worse(rows: list[Booked], message_id: str | None) -> None:
    """
    It was made by one of our calls, and no row accounts for it.
    """
    shown = entry("twin", text=f"rent {reference_token(idempotency_key('req-1'))}")
    findings = found([shown], rows, before=[])

    assert [(Kind.MARKED_UNEXPLAINED, message_id)] == [(f.kind, f.message_id) for f in findings]


@pytest.mark.parametrize(
    "shown", [entry(), elsewhere(), elsewhere(created_on=None)], ids=["marked", "alike", "no day"]
)
def test_what_may_be_one_in_doubt_is_left_to_the_worker(shown: Entry) -> None:
    """
    It looks it up by itself.
    """
    assert [] == found([shown], [without_id()])


@pytest.mark.parametrize(
    "shown",
    [
        elsewhere(amount="5.00"),
        elsewhere(currency="EUR"),
        elsewhere(created_on=SINCE_LONG.date() - 2 * DAY),
    ],
)
def test_what_cannot_be_one_in_doubt_is_reported(shown: Entry) -> None:
    """
    By its amount, its currency, or a day long before the request.
    """
    assert [Kind.UNEXPLAINED] == kinds(found([shown], [without_id()]))


@pytest.mark.parametrize("status", [Status.RECEIVED, Status.UNRESOLVED])
def test_who_is_found_by_its_reference_explains_nothing_else(status: Status) -> None:
    """
    However alike another withdrawal is.
    """
    findings = found([entry(), elsewhere()], [without_id(status=status)])

    assert [Kind.UNEXPLAINED] == [kind for kind in kinds(findings) if kind is not Kind.RESOLVABLE]


@pytest.mark.parametrize(
    ("shown", "row", "command"),
    [
        ([entry()], without_id(), "resolve req-1 --adopt wd_req-1"),
        ([entry()], booked(), "resolve req-1 --adopt wd_req-1"),
        ([elsewhere()], without_id(), "resolve req-1"),
        ([], without_id(), "resolve req-1"),
        ([], without_id("it's mine"), "resolve 'it'\"'\"'s mine'"),
    ],
    ids=["marked", "known", "alike", "nothing", "any id"],
)
def test_an_unresolved_request_is_named_with_its_command(
    shown: list[Entry], row: Booked, command: str
) -> None:
    """
    Adoption where the sign is certain; else a person has to look first.
    """
    findings = found(shown, [replace(row, status=Status.UNRESOLVED)])

    assert [(Kind.RESOLVABLE, f"withdrawals-worker {command}")] == [
        (finding.kind, finding.command) for finding in findings
    ]


def test_of_days_that_were_not_read_nothing_is_said() -> None:
    """
    An old unresolved request may well be listed there.
    """
    old = without_id(status=Status.UNRESOLVED, taken_at=NOW - 30 * DAY)

    assert [] == found([], [old])


def test_a_list_that_could_not_be_read_is_a_finding() -> None:
    """
    With why.
    """
    finding = unreadable("bluum", "inv_01", "no usable answer")

    assert (Kind.UNREADABLE, "no usable answer") == (finding.kind, finding.why)


def test_a_reference_leads_to_its_key() -> None:
    """
    To how it begins, which is all that the reference was made from.
    """
    key = idempotency_key("req-1")

    assert key.startswith(key_start(reference_token(key)))
