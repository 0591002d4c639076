"""How long the way to the provider took: told once, when the provider first says that it has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given

from tests.core.builders import (
    NOW,
    a_pending,
    a_withdrawal,
    create,
    look,
    look_up,
    refused,
    reported,
)
from tests.core.sale_builders import a_sale
from tests.core.strategies import Taken, any_taken
from worker.core.answers import Conflicted, Unclear
from worker.core.lookup import Candidates
from worker.core.sale import SaleStatus
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from worker.core.answers import Answer
    from worker.core.withdrawal import Withdrawal

WAY: Final = timedelta(seconds=61)
LATER: Final = NOW + WAY
SOLD: Final = (a_sale(0, SaleStatus.FILLED),)


@pytest.mark.parametrize("status", [Status.PENDING, Status.COMPLETED, Status.FAILED, None])
def test_the_first_word_ends_the_way(status: Status | None) -> None:
    """
    In answer to a create call or found in the list, in whatever word, also in an undocumented one.
    """
    word = reported(status, word="in_review")
    doubted = a_withdrawal(in_doubt=True)

    assert WAY == create(a_withdrawal(), word, now=LATER).submitted_after
    assert WAY == look_up(doubted, Candidates(ours=(word,)), now=LATER).submitted_after


def test_the_way_ends_once() -> None:
    """
    What comes after an undocumented first word is a move and no submission.
    """
    first = create(a_withdrawal(), reported(None, word="in_review"), now=LATER)
    later = look(first.withdrawal, reported(Status.PENDING), now=LATER + WAY)

    assert ([], [Status.PENDING]) == (
        [change.status for change in first.changes],
        [change.status for change in later.changes],
    )
    assert (WAY, None) == (first.submitted_after, later.submitted_after)


@pytest.mark.parametrize("answer", [refused(), Conflicted(), Unclear("timeout")])
def test_what_is_no_word_of_having_it_ends_no_way(answer: Answer) -> None:
    """
    A refusal is no submission, and silence tells nothing.
    """
    assert create(a_withdrawal(), answer, now=LATER).submitted_after is None


@pytest.mark.parametrize(
    "waited",
    [
        a_withdrawal(sales=SOLD),
        a_withdrawal(status=Status.RAISING_CASH, sales=SOLD),
        a_withdrawal(status=Status.AWAITING_FUNDS, sequence=2),
        a_withdrawal(status=Status.UNRESOLVED, sequence=2),
        replace(a_withdrawal(), sequence=3),
        a_pending(),
    ],
    ids=["sold", "raising cash", "awaiting funds", "unresolved", "ruled", "known"],
)
def test_what_waited_by_its_wish_or_for_a_person_is_not_timed(waited: Withdrawal) -> None:
    """
    A sale and a wait for funds take as long as was asked for; after a ruling it is another way.
    """
    assert create(waited, reported(Status.COMPLETED), now=LATER).submitted_after is None


@given(any_taken)
def test_a_way_that_ended_leads_to_an_id_that_was_not_known(taken: Taken) -> None:
    """
    Whatever was decided. An id is never lost again, so that no way ends twice.
    """
    before, after = taken.before.withdrawal_id, taken.decision.withdrawal.withdrawal_id

    assert before is None or before == after
    if taken.decision.submitted_after is not None:
        assert before is None
        assert after is not None
