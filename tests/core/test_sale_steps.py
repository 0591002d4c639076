"""What may be done for a sale, and how one ends that is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.core.builders import NOW, PATIENCE, SECOND, an_order
from tests.core.sale_builders import (
    CANCEL,
    CANCELLED,
    FAILED,
    FILLED,
    NOT_PLACED,
    OPEN,
    PARTIAL,
    PLANNED,
    REFUSED,
    UNKNOWN,
    UNSETTLED,
    a_sale,
    intended,
    selling,
    statuses,
)
from worker.core.change import Decision
from worker.core.permit import permit, take_in
from worker.core.sale_steps import Cancel, End, LookUp, Place, Read, doubtful, end_sale, sale_step
from worker.core.selling import unplaced_order
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

if TYPE_CHECKING:
    from worker.core.sale_steps import SaleStep

DAY: Final = timedelta(days=1)
LATE: Final = an_order(not_after=NOW - SECOND)
TOO_LATE: Final = {"order": LATE}

STEPS: Final[list[tuple[str, Withdrawal, SaleStep]]] = [
    ("one after the other", selling(PLANNED, PLANNED), Place(0)),
    ("the next", selling(OPEN, PLANNED), Place(1)),
    ("filled, the next", selling(FILLED, PLANNED), Place(1)),
    ("a doubt goes first", selling(OPEN, UNKNOWN, PLANNED), LookUp(1)),
    ("a doubt goes first, late", selling(OPEN, UNKNOWN, **TOO_LATE), LookUp(1)),
    ("a doubt goes first, cancelled", selling(OPEN, UNKNOWN, **CANCEL), LookUp(1)),
    ("what rests is read", selling(OPEN, FILLED, PARTIAL), Read((0, 2))),
    ("what is not settled is read", selling(UNSETTLED, FILLED, OPEN), Read((0, 2))),
    ("what is sold cannot be cancelled", selling(UNSETTLED, OPEN, **CANCEL), Cancel((1,))),
    ("only what is sold is left, unwanted", selling(UNSETTLED, **CANCEL), End()),
    ("refused", selling(OPEN, PARTIAL, REFUSED), Cancel((0, 1))),
    ("ended", selling(CANCELLED, OPEN, PLANNED), Cancel((1,))),
    ("failed", selling(FAILED, OPEN), Cancel((1,))),
    ("too late", selling(OPEN, PLANNED, **TOO_LATE), Cancel((0,))),
    ("unwanted", selling(OPEN, PLANNED, **CANCEL), Cancel((0,))),
    ("nothing rests, refused", selling(CANCELLED, REFUSED, PLANNED), End()),
    ("nothing rests, too late", selling(PLANNED, **TOO_LATE), End()),
    ("nothing rests, unwanted", selling(PLANNED, **CANCEL), End()),
    ("all filled, unwanted", selling(FILLED, **CANCEL), End()),
]


@pytest.mark.parametrize(
    ("withdrawal", "step"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS]
)
def test_every_sale_has_its_next_step(withdrawal: Withdrawal, step: SaleStep) -> None:
    """
    A doubt before all; nothing more is placed once it is given up.
    """
    assert step == sale_step(withdrawal, now=NOW)


@pytest.mark.parametrize(
    ("withdrawal", "step"),
    [
        (selling(PLANNED), Step.SELL),
        (selling(FILLED, OPEN), Step.SELL),
        (selling(PLANNED, **CANCEL), Step.SELL),
        (selling(PLANNED, **TOO_LATE), Step.SELL),
        (selling(UNKNOWN, status=Status.UNRESOLVED), Step.REST),
        (selling(CANCELLED, status=Status.REJECTED), Step.REST),
        (selling(FILLED), Step.CREATE),
        (selling(FILLED, **TOO_LATE), Step.EXPIRE),
        (selling(FILLED, **CANCEL), Step.ABANDON),
    ],
)
def test_the_withdrawal_waits_for_its_sale(withdrawal: Withdrawal, step: Step) -> None:
    """
    Nothing is created before all is filled, and then it goes on as any other.
    """
    assert step is next_step(withdrawal, now=NOW, patience=PATIENCE)


def test_no_withdrawal_is_created_before_its_cash_is_there() -> None:
    """
    Whatever else it says of itself, there is no permit.
    """
    doubted = {"in_doubt": True, "first_attempt_at": NOW}
    held, _ = intended(selling(PLANNED, **doubted))
    filled, _ = intended(selling(FILLED, PLANNED, **doubted), 1)
    sold = replace(filled, withdrawal=selling(FILLED, FILLED, **doubted))

    assert permit(held, now=NOW, patience=PATIENCE) is None
    assert permit(filled, now=NOW, patience=PATIENCE) is None
    assert permit(sold, now=NOW, patience=PATIENCE) is not None


def test_it_is_taken_in_without_an_intent() -> None:
    """
    It is due at once, and nothing of it is in doubt.
    """
    begun = Withdrawal(order=an_order(), changed_at=NOW, sales=(a_sale(),))
    taken = take_in(begun, now=NOW).withdrawal

    assert (Status.RECEIVED, NOW, False, 0) == (
        taken.status,
        taken.due_at,
        taken.in_doubt,
        taken.attempts,
    )


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("withdrawal", "status", "reason"),
    [
        (selling(PLANNED, **CANCEL), Status.CANCELLED, Reason(ReasonCode.CANCELLED_ON_REQUEST)),
        (selling(FILLED, **CANCEL), Status.CANCELLED, Reason(ReasonCode.CANCELLED_ON_REQUEST)),
        (selling(CANCELLED, PLANNED), Status.REJECTED, Reason(ReasonCode.SALE_ENDED)),
        (selling(FAILED, **TOO_LATE), Status.REJECTED, Reason(ReasonCode.SALE_ENDED)),
        (selling(CANCELLED, **TOO_LATE), Status.REJECTED, Reason(ReasonCode.EXPIRED)),
        (selling(PLANNED, **TOO_LATE), Status.REJECTED, Reason(ReasonCode.EXPIRED)),
        (selling(CANCELLED, REFUSED), Status.REJECTED, Reason(ReasonCode.SALE_REFUSED)),
        (
            selling(
                CANCELLED,
                a_sale(1, REFUSED, reason=Reason(ReasonCode.REFUSED, "B-4")),
            ),
            Status.REJECTED,
            Reason(ReasonCode.SALE_REFUSED, "B-4"),
        ),
    ],
)
def test_a_sale_that_is_given_up_ends_with_its_reason(
    withdrawal: Withdrawal, status: Status, reason: Reason
) -> None:
    """
    What was not placed never will be; nothing more is due, and a cancellation is answered.
    """
    ended = end_sale(withdrawal, now=NOW)

    assert [(status, reason)] == [(change.status, change.reason) for change in ended.changes]
    assert PLANNED not in statuses(ended.withdrawal)
    assert [NOT_PLACED if before is PLANNED else before for before in statuses(withdrawal)] == (
        statuses(ended.withdrawal)
    )
    assert (None, False) == (ended.withdrawal.due_at, ended.withdrawal.cancel_wanted)


def test_a_sale_that_goes_on_is_not_ended() -> None:
    """
    By nobody's mistake.
    """
    going = selling(OPEN, order=an_order(not_after=NOW))

    assert Decision(going) == end_sale(going, now=NOW)


def test_a_person_may_end_a_doubt() -> None:
    """
    Either way; that there was one is remembered.
    """
    doubted = selling(FILLED, a_sale(1, UNKNOWN, empty_lookups=2, looked_up_at=NOW))

    assert (1, None) == (doubtful(doubted), doubtful(selling(OPEN)))
    assert [FILLED, PLANNED] == statuses(unplaced_order(doubted, 1))
    assert NOW == unplaced_order(doubted, 1).sales[1].first_attempt_at


def test_a_person_rules_on_proceeds_that_never_came() -> None:
    """
    Where that is why it rests; one in doubt goes before.
    """
    resting = selling(FILLED, UNSETTLED, status=Status.UNRESOLVED)
    both = selling(UNSETTLED, UNKNOWN, status=Status.UNRESOLVED)

    assert (1, 1, None) == (doubtful(resting), doubtful(both), doubtful(selling(UNSETTLED)))


def test_of_several_that_are_sold_the_one_that_waits_longest_is_ruled_on() -> None:
    """
    Or the one that the person names. Since when one waits that has no time was never heard.
    """
    recent, overdue = (
        a_sale(index, UNSETTLED, sold_at=NOW - days * DAY) for index, days in ((1, 1), (2, 10))
    )
    resting = selling(UNSETTLED, recent, overdue, FILLED, status=Status.UNRESOLVED)

    assert (2, 1, 0) == (
        doubtful(resting),
        doubtful(resting, "ord_1"),
        doubtful(resting, "ord_0"),
    )
    # Nobody rules on what is settled, nor on what is not this request's.
    assert (2, 2) == (doubtful(resting, "ord_3"), doubtful(resting, "ord_7"))
    assert 0 == doubtful(selling(UNKNOWN, recent, status=Status.UNRESOLVED), "ord_1")
