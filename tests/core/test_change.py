"""A move is told of once, and the table of moves has the last word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.builders import (
    NOW,
    PATIENCE,
    a_pending,
    a_withdrawal,
)
from worker.core.change import Cause, Decision, park
from worker.core.steps import Step, expire, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

AGAIN = a_withdrawal(attempts=3)
UNKNOWN = Reason(ReasonCode.OUTCOME_UNKNOWN)


def test_what_nobody_can_tell_is_left_to_a_person() -> None:
    """
    It is told of, keeps its doubt, and is not taken up again by itself.
    """
    decision = park(AGAIN, UNKNOWN, cause=Cause.CREATE, now=NOW)

    assert (
        replace(AGAIN, status=Status.UNRESOLVED, sequence=2, reason=UNKNOWN, due_at=None)
        == decision.withdrawal
    )
    assert [(2, Status.UNRESOLVED, UNKNOWN, False, Cause.CREATE)] == [
        (change.sequence, change.status, change.reason, change.reversal, change.cause)
        for change in decision.changes
    ]
    assert Step.REST is next_step(decision.withdrawal, now=NOW, patience=PATIENCE)


@pytest.mark.parametrize(
    "before",
    [
        a_pending(),
        a_pending(status=Status.COMPLETED, due_at=None),
        park(AGAIN, UNKNOWN, cause=Cause.CREATE, now=NOW).withdrawal,
    ],
    ids=["at the provider", "finished", "parked"],
)
def test_a_move_that_the_table_forbids_moves_nothing(before: Withdrawal) -> None:
    """
    Neither parking nor expiry takes back what the provider has said.
    """
    assert Decision(before) == park(before, UNKNOWN, cause=Cause.LOOKUP, now=NOW)
    if before.status is not Status.UNRESOLVED:
        assert Decision(before) == expire(before, now=NOW)
