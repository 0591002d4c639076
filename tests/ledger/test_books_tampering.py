"""Every way of altering a ledger behind the worker's back, and how the audit names it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest

from tests.ledger import second
from tests.ledger.builders import NOW
from tests.ledger.stories import NOTHING, audited, balance_of, lived
from worker.core.change import answer_cancellation
from worker.ledger.books import Alteration, Sum
from worker.ledger.schema import events, transitions, withdrawals
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

#: What stands in the statements below, in braces.
_WORDS: Final = {
    "it": "WHERE message_id = 'req-2'",
    "its": "withdrawal = (SELECT id FROM withdrawals WHERE message_id = 'req-2')",
    "anothers": "withdrawal = (SELECT id FROM withdrawals WHERE message_id = 'req-1')",
    "another": "(SELECT id FROM withdrawals WHERE message_id = 'req-1')",
}
_BYTES: Final = {"sqlite": "x'00'", "postgresql": r"'\x00'::bytea"}
_SET_OF_IT: Final = "UPDATE withdrawals SET {column} = {value} {{it}}"
_SET_OF_SECOND: Final = "UPDATE {table} SET {column} = {value} WHERE sequence = 2 AND {{its}}"
_SET_COUNTER: Final = "UPDATE tallies SET {change}"
_COPY: Final = (
    "INSERT INTO withdrawals (message_id, {columns})"
    " SELECT 'req-9', {copied} FROM withdrawals {{it}}"
)
_NOT_TOLD: Final = "what was asked for: a column that no event tells of"

#: What is altered of the withdrawal, by column; every column but those of the work in progress.
_OF_THE_WITHDRAWAL: Final[dict[str, tuple[str, list[str]]]] = {
    "fingerprint": ("{bytes}", [_NOT_TOLD]),
    "idempotency_key": (
        "'wd-other'",
        [
            "idempotency_key or message_id: one does not follow from the other",
            "what was asked for: idempotency_key",
        ],
    ),
    "provider": ("'upvest'", ["what was asked for: provider"]),
    "party_id": ("'inv_02'", ["what was asked for: party_id"]),
    "target_id": ("'fs_02'", [_NOT_TOLD]),
    "amount_minor": ("1", ["what was asked for: amount_minor"]),
    "currency": ("'EUR'", ["what was asked for: currency"]),
    "method": ("NULL", ["what was asked for: method"]),
    "body": ("{bytes}", [_NOT_TOLD]),
    "request": ("''", [_NOT_TOLD]),
    "metadata": ('\'{{"a": "b"}}\'', [_NOT_TOLD]),
    "correlation_id": ("'c'", [_NOT_TOLD]),
    "reply_to": ("'q'", [_NOT_TOLD]),
    "traceparent": ("'t'", [_NOT_TOLD]),
    "not_after": ("1", [_NOT_TOLD]),
    "wait_for_funds_until": ("1", [_NOT_TOLD]),
    "taken_at": ("taken_at + 1", [_NOT_TOLD]),
    "origin": (
        "{bytes}",
        [
            _NOT_TOLD,
            "transition 1 or its event: a column in which they cannot be compared",
        ],
    ),
    "status": (
        "'failed'",
        ["status: not that of the newest transition", "where it stands: status"],
    ),
    "sequence": (
        "sequence + 1",
        ["sequence: not that of the newest transition", "where it stands: a column of it"],
    ),
    "withdrawal_id": ("'wd-of-another'", ["where it stands: withdrawal_id"]),
    "provider_status": ("'failed'", ["where it stands: provider_status"]),
    "reason_code": ("'refused'", ["where it stands: reason_code"]),
    "reason_provider_code": ("'BLUM-1'", ["where it stands: reason_provider_code"]),
    "reason_detail": ("'because'", ["where it stands: a column of it"]),
    "held_refusal_code": ("'refused'", ["where it stands: a column of it"]),
    "held_refusal_provider_code": ("'BLUM-1'", ["where it stands: a column of it"]),
    "held_refusal_detail": ("'because'", ["where it stands: a column of it"]),
    "in_doubt": ("NOT in_doubt", ["where it stands: a column of it"]),
    "attempts": (
        "2",
        ["where it stands: a column of it", "attempts: 2 were begun, 1 are written down"],
    ),
    "first_attempt_at": ("first_attempt_at + 1", ["where it stands: a column of it"]),
    "empty_lookups": ("1", ["where it stands: a column of it"]),
    "looks": ("looks + 1", ["where it stands: a column of it"]),
    "changed_at": ("changed_at + 1", ["where it stands: changed_at"]),
    "finished_at": ("finished_at - 1", ["where it stands: finished_at"]),
    "due_at": ("1", ["where it stands: a column of it"]),
    "errand": ("1", ["where it stands: a column of it"]),
    "sales": ("'[]'", ["where it stands: a column of it"]),
    "head": (
        "{bytes}",
        ["head: not the hash of the newest transition", "where it stands: a column of it"],
    ),
    "seal": ("{bytes}", ["where it stands: a column of it"]),
}
#: Who works on it or is asked to, and its name in the tables: nothing that was decided.
_NOT_COVERED: Final = {"id", "message_id", "version", "owner", "woken_at", "cancel_wanted"}

_SECOND: Final = "transition 2 or its event: "
_NOT_COMPARED: Final = f"{_SECOND}a column in which they cannot be compared"
#: What is altered of the second transition.
_OF_A_TRANSITION: Final[dict[str, tuple[str, list[str]]]] = {
    "status": ("'failed'", [f"{_SECOND}status", "transition 3: previous_status"]),
    "previous_status": ("NULL", ["transition 2: previous_status", f"{_SECOND}previous_status"]),
    "provider_status": ("'x'", [f"{_SECOND}provider_status"]),
    "reason_code": ("'refused'", [f"{_SECOND}reason_code"]),
    "reason_provider_code": ("'BLUM-1'", [f"{_SECOND}reason_provider_code"]),
    "reversal": ("NOT reversal", [f"{_SECOND}reversal"]),
    "cause": ("'create'", [_NOT_COMPARED]),
    "operator": ("'somebody'", [_NOT_COMPARED]),
    "note": ("'was paid'", [_NOT_COMPARED]),
    "at": ("at + 1", [f"{_SECOND}at"]),
    "hash": (
        "{bytes}",
        [_NOT_COMPARED, "transition 3 or its event: a column in which they cannot be compared"],
    ),
    "sequence": (
        "9",
        ["transition 2 is missing"]
        + [f"transition {n} is missing" for n in range(5, 9)]
        + ["event 9 is missing", "event 2 tells of no transition"]
        + [
            "sequence: not that of the newest transition",
            "status: not that of the newest transition",
            "head: not the hash of the newest transition",
        ],
    ),
    "withdrawal": ("{another}", []),
}
#: What is altered of the second event.
_OF_AN_EVENT: Final[dict[str, tuple[str, list[str]]]] = {
    "event_id": ("'other'", ["event 2: event_id", _NOT_COMPARED]),
    "type": ("'withdrawal.completed'", [f"{_SECOND}event's type"]),
    "body": (
        "(SELECT body FROM events WHERE sequence = 3 AND {its})",
        [f"{_SECOND}status, previous_status, provider_status, sequence"],
    ),
    "created_at": ("created_at + 1", [f"{_SECOND}at"]),
    "sequence": ("9", ["event 2 is missing", "event 9 tells of no transition"]),
    "withdrawal": ("{another}", []),
}


@pytest.fixture
async def three(ledger: Ledger) -> Ledger:
    """A ledger with three withdrawals that were paid out; the second is the one that is altered."""
    await asyncio.gather(*(lived(ledger, f"req-{number}") for number in (1, 2, 3)))
    return ledger


@pytest.mark.parametrize("column", sorted(_OF_THE_WITHDRAWAL))
async def test_each_column_of_a_withdrawal_is_covered(three: Ledger, url: str, column: str) -> None:
    """
    Whichever is altered, the withdrawal is named, and only that one.
    """
    value, expected = _OF_THE_WITHDRAWAL[column]
    await _write(url, _SET_OF_IT.format(column=column, value=value))

    assert await three.history("req-2") is not None
    assert expected == await _named(url)


def test_no_column_of_a_withdrawal_is_forgotten() -> None:
    """
    A new one has to be covered too, or named as one that is not.
    """
    assert {column.name for column in withdrawals.c} == _OF_THE_WITHDRAWAL.keys() | _NOT_COVERED


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("column", sorted(_OF_A_TRANSITION.keys() - {"withdrawal"}))
async def test_each_column_of_a_transition_is_covered(url: str, column: str) -> None:
    """
    Who changed what, when and why cannot be rewritten unnoticed.
    """
    value, expected = _OF_A_TRANSITION[column]
    statement = _SET_OF_SECOND.format(table="transitions", column=column, value=value)
    await _write(url, statement)

    assert expected == await _named(url)


def test_no_column_of_a_transition_is_forgotten() -> None:
    """
    The same holds for the history.
    """
    assert {column.name for column in transitions.c} == _OF_A_TRANSITION.keys()


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("column", sorted(_OF_AN_EVENT.keys() - {"withdrawal"}))
async def test_each_column_of_an_event_is_covered(url: str, column: str) -> None:
    """
    What others were told is what was written.
    """
    value, expected = _OF_AN_EVENT[column]
    await _write(url, _SET_OF_SECOND.format(table="events", column=column, value=value))

    assert expected == await _named(url)


def test_no_column_of_an_event_is_forgotten() -> None:
    """
    All but when the broker confirmed it.
    """
    assert {column.name for column in events.c} == _OF_AN_EVENT.keys() | {"published_at"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "DELETE FROM transitions WHERE sequence = 2 AND {its}",
            ["transition 2 is missing", "event 2 tells of no transition"],
        ),
        (
            "DELETE FROM transitions WHERE sequence = 4 AND {its}",
            [
                "event 4 tells of no transition",
                "sequence: not that of the newest transition",
                "status: not that of the newest transition",
                "head: not the hash of the newest transition",
            ],
        ),
        (
            (
                "DELETE FROM events WHERE sequence = 4 AND {its};"
                "DELETE FROM transitions WHERE sequence = 4 AND {its}"
            ),
            [
                "sequence: not that of the newest transition",
                "status: not that of the newest transition",
                "head: not the hash of the newest transition",
            ],
        ),
        (
            "DELETE FROM transitions WHERE {its}; DELETE FROM events WHERE {its}",
            [
                "sequence: not that of the newest transition",
                "head: not the hash of the newest transition",
            ],
        ),
        ("DELETE FROM events WHERE sequence = 3 AND {its}", ["event 3 is missing"]),
        (
            "DELETE FROM attempts WHERE {its}",
            ["attempts: 1 were begun, 0 are written down"],
        ),
        (
            "UPDATE attempts SET number = 3 WHERE {its}",
            ["attempt 1 is missing", "attempt 2 is missing"],
        ),
        (
            (
                "INSERT INTO transitions (withdrawal, sequence, status, previous_status, reversal,"
                " cause, at, hash) SELECT withdrawal, 5, 'failed', 'completed', reversal, cause,"
                " at, hash FROM transitions WHERE sequence = 4 AND {its}"
            ),
            [
                "event 5 is missing",
                "sequence: not that of the newest transition",
                "status: not that of the newest transition",
            ],
        ),
        (
            (
                "INSERT INTO events (withdrawal, sequence, event_id, type, body, created_at)"
                " SELECT withdrawal, 5, event_id, type, body, created_at FROM events"
                " WHERE sequence = 4 AND {its}"
            ),
            ["event 5 tells of no transition"],
        ),
        (
            "UPDATE withdrawals SET status = 'pending', finished_at = NULL {it}",
            ["status: not that of the newest transition", "where it stands: status"],
        ),
        (
            "UPDATE withdrawals SET finished_at = NULL {it}",
            ["finished_at: does not go with the status", "where it stands: a column of it"],
        ),
        (
            "UPDATE withdrawals SET status = 'nonsense' {it}",
            [
                "status: not that of the newest transition",
                "finished_at: does not go with the status",
                "where it stands: status",
            ],
        ),
        (
            "UPDATE events SET body = {bytes} WHERE sequence = 1 AND {its}",
            ["transition 1 or its event: a column in which they cannot be compared"],
        ),
    ],
)
async def test_rows_that_are_taken_away_or_added_are_named(
    url: str, statement: str, expected: list[str]
) -> None:
    """
    A hole in the history, a history too long, or a state that it does not lead to.
    """
    await _write(url, statement)

    assert expected == await _named(url)


@pytest.mark.usefixtures("three")
async def test_history_that_is_moved_to_another_is_named_at_both(url: str) -> None:
    """
    A transition belongs to its withdrawal: the chain begins with what that one asked for.
    """
    await _write(
        url,
        "DELETE FROM transitions WHERE sequence = 4 AND {anothers};"
        "UPDATE transitions SET withdrawal = {another} WHERE sequence = 4 AND {its}",
    )
    _, found = await audited(url)

    assert {"req-1", "req-2"} == {one.message_id for one in found}


@pytest.mark.usefixtures("three")
async def test_a_message_id_cannot_be_given_away(url: str) -> None:
    """
    A withdrawal under another name is named by it: key, history and events do not belong to it.
    """
    await _write(url, "UPDATE withdrawals SET message_id = 'req-x' {it}")
    _, found = await audited(url)

    assert {"req-x"} == {one.message_id for one in found}
    assert Alteration("req-x", "what was asked for: message_id") in found


@pytest.mark.usefixtures("three")
async def test_a_withdrawal_that_was_deleted_whole_is_missing(url: str) -> None:
    """
    It leaves no row that could be named; the books miss it by count and by money.
    """
    await _write(
        url,
        "DELETE FROM transitions WHERE {its}; DELETE FROM events WHERE {its};"
        "DELETE FROM attempts WHERE {its}; DELETE FROM withdrawals {it}",
    )
    books, found = await audited(url)
    balance = await balance_of(url)

    assert [] == found
    assert not books.hold
    assert Sum(1, Decimal(500)) == balance.difference
    assert Sum(1, Decimal(500)) == balance.miscounted


async def test_a_withdrawal_whose_row_alone_was_deleted_is_named(sqlite_url: str) -> None:
    """
    SQLite lets one delete it; its history still tells its name.
    """
    async with open_ledger(sqlite_url) as ledger:
        await asyncio.gather(*(lived(ledger, f"req-{number}") for number in (1, 2, 3)))
    await _write(sqlite_url, "DELETE FROM withdrawals {it}")
    _, found = await audited(sqlite_url)

    assert [Alteration("req-2", "its withdrawal is missing")] == found
    assert Sum(1, Decimal(500)) == (await balance_of(sqlite_url)).difference


@pytest.mark.usefixtures("three")
async def test_a_withdrawal_that_was_made_up_is_named(url: str) -> None:
    """
    A copy of another's rows under a new name has no chain of its own, and nobody took it.
    """
    names = [column.name for column in withdrawals.c if column.name not in {"id", "message_id"}]
    columns = ", ".join(names)
    copied = columns.replace("withdrawal_id", "NULL")
    await _write(url, _COPY.format(columns=columns, copied=copied))
    books, found = await audited(url)
    balance = await balance_of(url)

    assert {"req-9"} == {one.message_id for one in found}
    assert len(found) == books.altered
    assert Sum(-1, Decimal(-500)) == balance.difference


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("change", "difference", "miscounted"),
    [
        ("taken = taken + 1", Sum(1, Decimal(0)), NOTHING),
        ("taken_minor = taken_minor - 100", Sum(0, Decimal(-1)), NOTHING),
        ("finished = finished - 1", NOTHING, Sum(-1, Decimal(0))),
        ("finished_minor = 0", NOTHING, Sum(0, Decimal(-1500))),
        ("buried = 7", NOTHING, Sum(7, Decimal(0))),
    ],
)
async def test_a_counter_that_was_altered_is_a_difference(
    url: str, change: str, difference: Sum, miscounted: Sum
) -> None:
    """
    To the rows it is one like any other; and the one on which the metric relies is told too.
    """
    await _write(url, _SET_COUNTER.format(change=change))
    balance = await balance_of(url)

    assert (difference, miscounted) == (balance.difference, balance.miscounted)
    assert not balance.holds


async def test_what_only_the_work_needs_may_change(three: Ledger, url: str) -> None:
    """
    Ownership, versions and confirmations are no part of the history: the audit stays silent.
    """
    held = await lived(three, "req-4", [])
    await three.mark_announced([(held.row, 1)])
    await _write(url, "UPDATE withdrawals SET owner = 'x', version = version + 1")
    books, found = await audited(url)

    assert [] == found
    assert books.hold


async def _write(url: str, statement: str) -> None:
    await second.write(url, statement.format(**_WORDS, bytes=_BYTES[url.partition(":")[0]]))


async def _named(url: str) -> list[str]:
    """What is named of the second withdrawal; nothing may be named of the others."""
    books, found = await audited(url)
    assert {"req-2"} == {one.message_id for one in found}
    assert len(found) == books.altered
    return [one.what for one in found]


async def test_a_refused_cancellation_is_no_alteration(three: Ledger, url: str) -> None:
    """
    It is in the history without a move; what is altered after it is named all the same.
    """
    history = await three.history("req-2")
    assert history is not None
    answer = answer_cancellation(history.held.withdrawal, now=NOW)
    assert await three.record(history.held, answer) is not None

    _, found = await audited(url)
    assert [] == found
    await _write(url, _SET_OF_IT.format(column="provider_status", value="'x'"))
    assert ["where it stands: provider_status"] == await _named(url)
