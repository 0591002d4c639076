"""What a person rules about an order that nobody knows about."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.core.builders import NOW, PATIENCE, SECOND
from tests.core.sale_builders import (
    CANCELLED,
    CLOSED,
    FAILED,
    FILLED,
    OPEN,
    PARTIAL,
    PLANNED,
    SILENCE,
    UNKNOWN,
    UNSETTLED,
    a_report,
    a_sale,
    seen,
    selling,
    statuses,
)
from worker.core.change import Decision
from worker.core.ruling import (
    Adopt,
    Inadmissible,
    NotCreated,
    decide_order_adoption,
    decide_order_not_placed,
    unread,
)
from worker.core.sale import OrdersListed
from worker.core.sale_steps import Cancel, End, sale_step
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.withdrawal import Withdrawal

LATER: Final = NOW + timedelta(hours=1)
ADOPT: Final = Adopt("ord_1", "Ada", "on the screen")
NOT_PLACED: Final = NotCreated("Ada", "not on the screen")
DOUBTED: Final = selling(
    FILLED,
    a_sale(1, UNKNOWN, empty_lookups=3, looked_up_at=NOW),
    status=Status.UNRESOLVED,
    reason=Reason(ReasonCode.SEVERAL_CANDIDATES),
)
#: An order is sold, and its proceeds did not come.
UNPAID: Final = selling(FILLED, a_sale(1, UNSETTLED, sold_at=NOW), status=Status.UNRESOLVED)
EMPTY: Final = OrdersListed(())


def adopt(
    withdrawal: Withdrawal = DOUBTED,
    answer: OrderAnswer = a_report(1),  # noqa: B008 - it is frozen
    *,
    is_anothers: bool = False,
) -> Decision | Inadmissible:
    """Rule that this order is the one."""
    return decide_order_adoption(withdrawal, 1, ADOPT, answer, is_anothers=is_anothers, now=LATER)


def not_placed(
    withdrawal: Withdrawal = DOUBTED, answer: OrdersAnswer = EMPTY, *, now: datetime = LATER
) -> Decision | Inadmissible:
    """Rule that it never reached the provider."""
    return decide_order_not_placed(withdrawal, 1, NOT_PLACED, answer, now=now, patience=PATIENCE)


def test_an_order_that_a_person_adopts_is_followed() -> None:
    """
    The sale goes on from there, at once; who ruled so stands in the history.
    """
    decision = adopt(answer=a_report(1, PARTIAL, client_order_id=None))

    assert isinstance(decision, Decision)
    (change,) = decision.changes
    assert (Status.RECEIVED, None, "Ada", "on the screen") == (
        change.status,
        change.reason,
        change.operator,
        change.note,
    )
    assert ([FILLED, PARTIAL], LATER) == (
        statuses(decision.withdrawal),
        decision.withdrawal.due_at,
    )
    assert "ord_1" == decision.withdrawal.sales[1].order_id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_order_id": "x"}, "it carries the client_order_id of another order"),
        ({"side": "buy"}, "it is no sale"),
        ({"symbol": "MSFT"}, "it sells something else"),
        ({"quantity": "4"}, "it has another quantity"),
        ({"created_at": NOW - timedelta(days=2)}, "it was placed before the request was taken in"),
    ],
)
def test_an_order_that_cannot_be_it_is_not_adopted(changes: dict[str, Any], why: str) -> None:
    """
    And the person is told what speaks against it.
    """
    assert Inadmissible(f"ord_1 cannot be this request's: {why}") == adopt(
        answer=a_report(1, **changes)
    )


def test_what_is_another_sales_or_cannot_be_read_is_not_adopted() -> None:
    """
    Nothing is changed.
    """
    assert Inadmissible("ord_1 belongs to another request") == adopt(is_anothers=True)
    assert Inadmissible("ord_1 could not be read: no usable answer (timeout), try again later") == (
        adopt(answer=SILENCE)
    )
    assert "the provider does not show it at this hour" == unread(CLOSED)


def test_proceeds_are_there_on_a_persons_word() -> None:
    """
    The withdrawal goes on at once; should the cash be missing, the provider says so.
    """
    decision = adopt(UNPAID, a_report(1, UNSETTLED))

    assert isinstance(decision, Decision)
    assert [FILLED, FILLED] == statuses(decision.withdrawal)
    assert Step.CREATE is next_step(decision.withdrawal, now=LATER, patience=PATIENCE)
    unwanted = replace(decision.withdrawal, cancel_wanted=True)
    assert Step.ABANDON is next_step(unwanted, now=LATER, patience=PATIENCE)


def test_what_the_provider_says_of_a_sold_order_by_then_counts() -> None:
    """
    A mistrade has taken the cash with it, whatever a person says.
    """
    decision = adopt(UNPAID, a_report(1, FAILED))

    assert isinstance(decision, Decision)
    assert [FILLED, FAILED] == statuses(decision.withdrawal)


def test_a_sold_order_is_neither_exchanged_nor_placed_again() -> None:
    """
    It is known which one it is, and that its shares are gone.
    """
    known = replace(UNPAID.sales[1], order_id="ord_7")
    other = replace(UNPAID, sales=(UNPAID.sales[0], known))

    again = not_placed(UNPAID)

    assert Inadmissible("the order is ord_7, and only its proceeds are missing") == adopt(other)
    assert isinstance(again, Inadmissible)
    assert (
        "ord_1 is sold: adopt it once its proceeds are there; to give the request up, cancel it"
        " first, and rule so again"
    ) == again.why


def test_an_order_of_the_same_request_is_named_as_such() -> None:
    """
    It belongs to nobody else, and yet is not the one that is ruled on.
    """
    mine = replace(ADOPT, withdrawal_id="ord_0")
    why = Inadmissible("ord_0 is another order of this same request")

    assert (why, why) == tuple(
        decide_order_adoption(doubt, 1, mine, a_report(0), is_anothers=False, now=LATER)
        for doubt in (DOUBTED, UNPAID)
    )


def test_a_sold_order_is_given_up_once_the_request_is_cancelled() -> None:
    """
    Whatever rests is cancelled, and it ends as was wished; what was sold stays in its orders.
    """
    unwanted = replace(UNPAID, sales=(*UNPAID.sales, a_sale(2, OPEN)), cancel_wanted=True)

    decision = not_placed(unwanted)

    assert isinstance(decision, Decision)
    (change,) = decision.changes
    assert (Status.RECEIVED, "Ada", LATER) == (
        change.status,
        change.operator,
        decision.withdrawal.due_at,
    )
    assert Cancel((2,)) == sale_step(decision.withdrawal, now=LATER)
    ended = seen(decision.withdrawal, a_report(2, CANCELLED), first=2, now=LATER).withdrawal
    assert (Status.CANCELLED, [FILLED, UNSETTLED, CANCELLED]) == (ended.status, statuses(ended))


def test_what_could_be_given_up_as_too_late_may_be() -> None:
    """
    It rests from before its time was over; now it ends as expired.
    """
    late = replace(UNPAID, order=replace(UNPAID.order, not_after=LATER - SECOND))

    decision = not_placed(late)

    assert isinstance(decision, Decision)
    assert End() == sale_step(decision.withdrawal, now=LATER)


def test_an_order_is_placed_again_on_a_persons_word() -> None:
    """
    That there was a doubt is remembered: it bears on a later refusal.
    """
    decision = not_placed()

    assert isinstance(decision, Decision)
    assert [FILLED, PLANNED] == statuses(decision.withdrawal)
    assert NOW == decision.withdrawal.sales[1].first_attempt_at
    assert Step.SELL is next_step(decision.withdrawal, now=LATER, patience=PATIENCE)


def test_what_carries_our_key_was_placed() -> None:
    """
    Whatever the person saw.
    """
    listed = OrdersListed((a_report(0), a_report(1, OPEN), a_report(2, client_order_id=None)))

    assert Inadmissible(
        "the provider holds ord_1, which carries the reference of this request: it was created, and"
        " has to be adopted"
    ) == not_placed(answer=listed)


def test_a_person_may_look_too_early() -> None:
    """
    The last call may still execute, and the list may lag behind.
    """
    early = NOW + PATIENCE.settling - 2 * SECOND

    assert Inadmissible("the last call may still execute: wait for 2 more seconds") == not_placed(
        now=early
    )
    assert Inadmissible(
        "the provider's list could not be read: no usable answer (timeout), try again later"
    ) == not_placed(answer=SILENCE)


def test_only_what_is_unresolved_can_be_settled() -> None:
    """
    Of the two that come at once, the second changes nothing.
    """
    settled = replace(DOUBTED, status=Status.RECEIVED)
    why = Inadmissible("it is received: only an unresolved withdrawal can be settled")

    assert why == adopt(settled) == not_placed(settled)
