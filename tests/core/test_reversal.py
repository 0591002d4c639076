"""After the end: only the bank can take it back, and then it is told as a reversal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from tests.core.builders import EVEN, NOW, PATIENCE, a_pending, reported
from worker.core.answers import Unclear
from worker.core.decide import decide_look
from worker.core.withdrawal import Errand, Status

WATCHFUL: Final = replace(PATIENCE, reversal_days=5)
COMPLETED: Final = a_pending(status=Status.COMPLETED)
_DAY: Final = timedelta(days=1)


def test_an_end_is_due_for_another_look() -> None:
    """
    A day later, and after everything that is more urgent.
    """
    ended = decide_look(
        a_pending(), reported(Status.COMPLETED), now=NOW, patience=WATCHFUL, chance=EVEN
    ).withdrawal

    assert (NOW + _DAY, Errand.LOOK_FINISHED) == (ended.due_at, ended.errand)


@pytest.mark.parametrize("answer", [reported(Status.COMPLETED), Unclear("timeout")])
def test_no_news_is_looked_for_again_until_the_days_are_over(answer: Unclear) -> None:
    """
    The days count from the end; after them it rests for good.
    """
    again = decide_look(COMPLETED, answer, now=NOW + _DAY, patience=WATCHFUL, chance=EVEN)
    over = decide_look(COMPLETED, answer, now=NOW + 7 * _DAY, patience=WATCHFUL, chance=EVEN)

    assert (NOW + 2 * _DAY, None) == (again.withdrawal.due_at, over.withdrawal.due_at)
    assert () == again.changes + over.changes


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_change_after_the_end_is_a_reversal(status: Status) -> None:
    """
    It is told as one, and watched from then on anew.
    """
    decision = decide_look(
        COMPLETED, reported(status), now=NOW + 30 * _DAY, patience=WATCHFUL, chance=EVEN
    )

    assert [(status, Status.COMPLETED, True)] == [
        (change.status, change.previous, change.reversal) for change in decision.changes
    ]
    assert NOW + 31 * _DAY == decision.withdrawal.due_at


def test_old_news_is_no_reversal() -> None:
    """
    A word from before the end moves nothing.
    """
    decision = decide_look(
        COMPLETED, reported(Status.PROCESSING), now=NOW, patience=WATCHFUL, chance=EVEN
    )

    assert ((), Status.COMPLETED) == (decision.changes, decision.withdrawal.status)
