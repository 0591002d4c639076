"""The table of moves, the words around it, and the identifiers that must never change."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.builders import a_withdrawal
from worker.core.withdrawal import (
    MOVES,
    REASON_TEXTS,
    TERMINAL,
    Reason,
    ReasonCode,
    Status,
    event_id,
    idempotency_key,
    is_reversal,
    reference_token,
)

ENDS: Final = {Status.COMPLETED, Status.CANCELLED, Status.FAILED}
AT_PROVIDER: Final = {Status.PENDING, Status.PROCESSING, Status.SUBMITTED} | ENDS

#: Every pair of statuses, decided a second time: a row is where a withdrawal stands, a column where
#: it may go. `+` is a move, `r` a reversal, `.` moves nothing.
GRID: Final = """
              recei raisi await pendi proce submi compl cance faile rejec unres
received        .     +     +     +     +     +     +     +     +     +     +
raising_cash    .     .     +     +     +     +     +     +     +     +     +
awaiting_funds  .     .     .     +     +     +     +     +     +     +     +
pending         .     .     .     .     +     +     +     +     +     .     .
processing      .     .     .     .     .     +     +     +     +     .     .
submitted       .     .     .     .     .     .     +     +     +     .     .
completed       .     .     .     .     .     .     .     r     r     .     .
cancelled       .     .     .     .     .     .     r     .     r     .     .
failed          .     .     .     .     .     .     r     r     .     .     .
rejected        .     .     .     .     .     .     .     .     .     .     .
unresolved      +     .     .     +     +     +     +     +     +     +     .
"""


def read_grid() -> dict[tuple[Status, Status], str]:
    """The grid, by pairs; its columns are in the order of its rows."""
    rows = [line.split() for line in GRID.splitlines() if line.strip()][1:]
    statuses = [Status(row[0]) for row in rows]
    return {
        (here, there): mark
        for here, row in zip(statuses, rows, strict=True)
        for there, mark in zip(statuses, row[1:], strict=True)
    }


def test_the_grid_knows_every_status() -> None:
    """
    A new status has to be decided here as well, against each of the others.
    """
    assert {(here, there) for here in Status for there in Status} == set(read_grid())
    assert set(Status) == set(MOVES)


@pytest.mark.parametrize(("pair", "mark"), read_grid().items(), ids=str)
def test_every_pair_of_statuses_is_decided(pair: tuple[Status, Status], mark: str) -> None:
    """
    The table allows what the grid allows, and calls a reversal what the grid calls one.
    """
    here, there = pair

    assert (mark in {"+", "r"}) is (there in MOVES[here])
    assert (mark == "r") is is_reversal(here, there)


def test_what_reached_the_provider_is_never_rejected() -> None:
    """
    `rejected` says that nothing was withdrawn, so no status at the provider leads there.
    """
    assert [] == [here for here in AT_PROVIDER if Status.REJECTED in MOVES[here]]


def test_reversals_lead_from_end_to_end() -> None:
    """
    The bank takes back an end by another end; an end of ours is never taken back.
    """
    reversals = [(a, b) for a in Status for b in Status if is_reversal(a, b)]

    assert all({a, b} <= ENDS for a, b in reversals)
    assert all(MOVES[end] <= ENDS for end in ENDS)


def test_an_end_is_an_end() -> None:
    """
    Four statuses are final; a withdrawal that a person must decide is not finished.
    """
    finished = {status for status in Status if a_withdrawal(status=status).is_finished}
    at_rest = {status for status in Status if a_withdrawal(status=status).is_at_rest}

    assert ENDS | {Status.REJECTED} == TERMINAL == finished
    assert TERMINAL | {Status.UNRESOLVED} == at_rest


def test_every_reason_has_a_text() -> None:
    """
    Each code is explained in words of ours, each in its own.
    """
    assert set(ReasonCode) == set(REASON_TEXTS)
    assert len(ReasonCode) == len(set(REASON_TEXTS.values()))


def test_a_detail_stands_for_the_text() -> None:
    """
    A reason that knows more says so instead of the text of its code.
    """
    assert (
        "amount: expected" == Reason(ReasonCode.INVALID_REQUEST, detail="amount: expected").message
    )
    assert "the request is not valid" == Reason(ReasonCode.INVALID_REQUEST).message


@pytest.mark.parametrize(
    ("message_id", "key"),
    [
        ("demo", "wd-f3eca9b7-728b-5861-9782-aeb3cdc02f27"),
        ("req-1", "wd-60b93432-eb52-5677-a340-5332ba2cb46e"),
        ("x" * 255, "wd-7ee0f51b-661b-5178-965d-f393815f98ed"),
        ("5f0c8d6e-6c1b-4d7e-9a53-0f4f4b2f8f11", "wd-4522f308-6273-5baf-bca9-9a2b58a4861a"),
        ("Überweisung 1", "wd-f78267f3-59de-5dcc-be9f-6a4cc2ec7bcb"),
    ],
    ids=["word", "short", "long", "uuid", "not ASCII"],
)
def test_a_key_never_changes(message_id: str, key: str) -> None:
    """
    Another key for a known request is another payout: these values hold for ever.
    """
    assert key == idempotency_key(message_id)


@pytest.mark.parametrize(
    ("message_id", "sequence", "identity"),
    [
        ("demo", 1, "8139374e-00a1-5967-813a-3889703553e6"),
        ("demo", 2, "62e7402e-1094-5f64-ad9f-60fa0ba07506"),
        ("req-1", 1, "5c69db67-00a0-5938-a6ac-22fe0c82f141"),
        ("Überweisung 1", 10, "6c29ac78-3d66-5438-9cdd-18df4fb72c71"),
    ],
)
def test_an_event_id_never_changes(message_id: str, sequence: int, identity: str) -> None:
    """
    Consumers drop repeated ids: an event that is published again repeats its own.
    """
    assert identity == event_id(message_id, sequence)


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"])), min_size=2))
def test_no_two_requests_share_an_identifier(message_ids: set[str]) -> None:
    """
    Neither keys nor event ids of different requests meet, whatever their ids look like.
    """
    keys = {idempotency_key(message_id) for message_id in message_ids}
    events = {event_id(message_id, n) for message_id in message_ids for n in (1, 2, 11)}

    assert len(message_ids) == len(keys)
    assert 3 * len(message_ids) == len(events)


def test_the_reference_is_a_part_of_the_key() -> None:
    """
    Twelve digits of the key between brackets, short enough to stand beside a description.
    """
    assert "[wd:f3eca9b7728b]" == reference_token(idempotency_key("demo"))


def test_a_withdrawal_does_not_show_who_is_paid() -> None:
    """
    Bank details, bodies and metadata stay out of what a log may print.
    """
    shown = repr(a_withdrawal())

    assert "fs_01" not in shown
    assert "[wd:" not in shown
