"""What is sold is not cash yet: an order is over when its proceeds can be withdrawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.core.builders import NOW, PATIENCE, SECOND, an_order
from tests.core.sale_builders import (
    CANCEL,
    CANCELLED,
    FILLED,
    OPEN,
    SILENCE,
    UNSETTLED,
    a_report,
    a_sale,
    seen,
    selling,
    statuses,
)
from worker.core.sale import OrderReport, Sale, SaleStatus, contradiction
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Errand, Reason, ReasonCode, Status

if TYPE_CHECKING:
    from worker.core.withdrawal import Order, Withdrawal

SOLD: Final = a_report(0, UNSETTLED, filled_quantity=None)
IN_VAIN: Final = (
    "an order is sold, and for 10 days the provider has not shown that its proceeds can be"
    " withdrawn"
)
DAYS_LATER: Final = NOW + timedelta(days=10)
#: An order for an amount of cash, as it was composed.
NOMINAL: Final = a_sale(quantity=None, cash_amount="500.00")


def a_sold(order: Order) -> Withdrawal:
    """What this asks for, with its only order sold since now."""
    sold = a_sale(status=UNSETTLED, sold_at=NOW, filled_quantity="3")
    return selling(sold, order=order, status=Status.RAISING_CASH)


def test_a_sold_order_is_awaited_until_it_is_settled() -> None:
    """
    Nothing is withdrawn before; settled, the withdrawal goes on at once.
    """
    sold = seen(selling(OPEN), SOLD).withdrawal

    assert [UNSETTLED] == statuses(sold)
    assert "3" == sold.sales[0].filled_quantity
    assert Errand.LOOK is sold.errand
    assert sold.due_at is not None
    assert sold.due_at > NOW
    assert Step.SELL is next_step(sold, now=sold.due_at, patience=PATIENCE)

    settled = seen(sold, a_report(0, FILLED), now=sold.due_at).withdrawal

    assert sold.due_at == settled.due_at
    assert Step.CREATE is next_step(settled, now=sold.due_at, patience=PATIENCE)


def test_a_word_that_nobody_documented_leaves_a_sold_order_sold() -> None:
    """
    It is looked at again; it must not seem to rest, and be cancelled.
    """
    assert [UNSETTLED] == statuses(seen(selling(UNSETTLED), a_report(0, None)).withdrawal)


def test_proceeds_that_never_come_are_left_to_a_person() -> None:
    """
    Ten days after it was first heard to be sold, by the provider's own word and on no silence.
    """
    sold = seen(selling(OPEN), SOLD).withdrawal
    waiting = seen(sold, SOLD, now=DAYS_LATER - SECOND)
    silent = seen(waiting.withdrawal, SILENCE, now=DAYS_LATER)
    parked = seen(silent.withdrawal, SOLD, now=DAYS_LATER)

    assert ((), ()) == (waiting.changes, silent.changes)
    assert Status.UNRESOLVED is parked.withdrawal.status
    assert parked.withdrawal.due_at is None
    assert [UNSETTLED] == statuses(parked.withdrawal)
    assert Reason(ReasonCode.OUTCOME_UNKNOWN, detail=IN_VAIN) == parked.withdrawal.reason


def test_a_request_that_waits_for_funds_for_longer_is_not_parked_before() -> None:
    """
    Funds that are not settled are waited for as well; a shorter wait does not shorten the ten days.
    """
    patient = an_order(wait_for_funds_until=DAYS_LATER + timedelta(days=10))
    hasty = an_order(wait_for_funds_until=NOW + timedelta(days=1))
    over = patient.wait_for_funds_until
    assert over is not None

    waiting = seen(a_sold(patient), SOLD, now=over - SECOND)
    parked = seen(waiting.withdrawal, SOLD, now=over)
    early = seen(a_sold(hasty), SOLD, now=DAYS_LATER - SECOND)

    assert ((), ()) == (waiting.changes, early.changes)
    assert Status.UNRESOLVED is parked.withdrawal.status
    assert parked.withdrawal.reason is not None
    assert IN_VAIN.replace("10", "20") == parked.withdrawal.reason.message


def test_a_request_with_a_time_limit_ends_by_that_alone() -> None:
    """
    Its proceeds are awaited until then, and after that it has expired: no person has to rule.
    """
    limited = an_order(
        not_after=DAYS_LATER + timedelta(days=2), wait_for_funds_until=NOW + timedelta(days=1)
    )
    over = limited.not_after
    assert over is not None

    waiting = seen(a_sold(limited), SOLD, now=over)
    ended = seen(waiting.withdrawal, SOLD, now=over + SECOND).withdrawal

    assert () == waiting.changes
    assert (Status.REJECTED, Reason(ReasonCode.EXPIRED)) == (ended.status, ended.reason)
    assert [UNSETTLED] == statuses(ended)


def test_what_is_settled_after_days_goes_on() -> None:
    """
    However late; and one that has been given up ends without waiting for a person.
    """
    sold = seen(selling(OPEN), SOLD).withdrawal
    settled = seen(sold, a_report(0, FILLED), now=DAYS_LATER).withdrawal
    unwanted = seen(replace(sold, **CANCEL), SOLD, now=DAYS_LATER).withdrawal

    assert Step.CREATE is next_step(settled, now=DAYS_LATER, patience=PATIENCE)
    assert Status.CANCELLED is unwanted.status


def test_a_sale_that_a_mistrade_takes_back_ends_the_request() -> None:
    """
    What was sold can be cancelled before it is settled: the cash never comes.
    """
    decision = seen(selling(UNSETTLED), a_report(0, CANCELLED))

    assert Status.REJECTED is decision.withdrawal.status
    assert decision.withdrawal.reason is not None
    assert ReasonCode.SALE_ENDED is decision.withdrawal.reason.code


def test_nothing_is_waited_for_once_the_sale_is_given_up() -> None:
    """
    The shares are sold and nobody withdraws the cash: that much cannot be cancelled any more.
    """
    unwanted = selling(UNSETTLED, OPEN, **CANCEL)

    decision = seen(unwanted, a_report(0, UNSETTLED), a_report(1, CANCELLED))

    assert Status.CANCELLED is decision.withdrawal.status
    assert [UNSETTLED, CANCELLED] == statuses(decision.withdrawal)


def test_an_order_for_cash_is_recognised_by_what_it_raises() -> None:
    """
    It has no quantity of its own, whatever the provider made of it.
    """
    ours = a_report(client_order_id=None, quantity=None, cash_amount="500")
    sold = replace(ours, quantity="2.7183")
    others = replace(ours, cash_amount="400.00")

    assert [None, None, "it raises another amount"] == [
        contradiction(NOMINAL, order, taken_at=NOW) for order in (ours, sold, others)
    ]


@pytest.mark.parametrize(("told", "known"), [("2.7183", "2.7183"), (None, "0")])
def test_what_an_order_for_cash_has_sold_only_the_provider_knows(
    told: str | None, known: str
) -> None:
    """
    It is taken from its word, and never made up.
    """
    report = OrderReport(order_id="ord_0", status=SaleStatus.FILLED, filled_quantity=told)
    resting: Sale = replace(NOMINAL, status=OPEN, order_id="ord_0")

    decision = seen(selling(resting), report, now=NOW + timedelta(days=2))

    assert known == decision.withdrawal.sales[0].filled_quantity
