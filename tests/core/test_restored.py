"""A ledger that was put back: what follows for each request, by how much was lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.core.builders import NOW, PATIENCE, a_pending, a_withdrawal
from tests.core.sale_builders import (
    CANCEL,
    CANCELLED,
    FILLED,
    OPEN,
    PLANNED,
    REFUSED,
    UNKNOWN,
    a_report,
    a_sale,
    seen,
    selling,
)
from worker.core.change import Held
from worker.core.permit import intend, permit
from worker.core.restored import distrust
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Status

_LITTLE = timedelta(hours=1)
_MUCH = PATIENCE.window


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.COMPLETED, "withdrawal_id": "wd_01"},
        {"status": Status.REJECTED},
        {"status": Status.UNRESOLVED},
    ],
)
def test_what_is_at_rest_sends_nothing_and_is_left(changes: dict[str, Any]) -> None:
    """
    It has ended, or a person rules on it.
    """
    assert distrust(a_withdrawal(**changes), since=NOW, now=NOW, patience=PATIENCE) is None


def test_what_the_provider_has_is_left() -> None:
    """
    Its id is known, so that it is looked at, and nothing is ever created for it again.
    """
    assert distrust(a_pending(), since=NOW, now=NOW, patience=PATIENCE) is None


@pytest.mark.parametrize(
    ("in_doubt", "first_at", "expected"),
    [
        (False, None, timedelta(0)),
        (True, timedelta(hours=-20), timedelta(hours=-20)),
        (False, timedelta(hours=-20), timedelta(hours=-20)),
        (False, timedelta(hours=-48), timedelta(0)),
        # Remembered at the backup perhaps, perhaps not: neither answer is safe.
        (False, timedelta(hours=-47), _LITTLE + PATIENCE.forgotten),
        # A fresh attempt may have begun since, or the first one may have been carried out.
        (True, timedelta(hours=-30), _LITTLE + PATIENCE.forgotten),
    ],
)
def test_where_little_was_lost_the_key_is_as_old_as_it_can_be(
    in_doubt: bool,
    first_at: timedelta | None,
    expected: timedelta,
) -> None:
    """
    Its first call, or the moment of the backup; where both may be wrong, neither is believed.
    """
    at = None if first_at is None else NOW + first_at
    before = a_withdrawal(in_doubt=in_doubt, first_attempt_at=at, empty_lookups=2, looks=7)
    decision = distrust(before, since=NOW, now=NOW + _LITTLE, patience=PATIENCE)

    assert decision is not None
    after = decision.withdrawal
    assert NOW + expected == after.first_attempt_at
    assert (True, 0, 0, NOW + _LITTLE) == (
        after.in_doubt,
        after.empty_lookups,
        after.looks,
        after.due_at,
    )
    assert () == decision.changes


@pytest.mark.parametrize("first_at", [None, NOW, NOW - timedelta(hours=30)])
@pytest.mark.parametrize("in_doubt", [True, False])
def test_where_much_was_lost_nothing_is_sent_until_all_is_forgotten(
    first_at: Any,  # noqa: ANN401 - a time or None
    in_doubt: bool,
) -> None:
    """
    The list is read, and the key used only when whatever was called before now is forgotten.

    From then on it is remembered for a whole window.
    """
    now = NOW + _MUCH
    before = a_withdrawal(in_doubt=in_doubt, first_attempt_at=first_at)
    decision = distrust(before, since=NOW, now=now, patience=PATIENCE)
    assert decision is not None
    doubted = decision.withdrawal
    forgotten = now + PATIENCE.forgotten
    early = forgotten - PATIENCE.settling - timedelta(seconds=1)

    assert [Step.LOOKUP, Step.LOOKUP, Step.CREATE] == [
        next_step(doubted, now=at, patience=PATIENCE) for at in (now, early, forgotten)
    ]
    intended = intend(doubted, now=forgotten, patience=PATIENCE).withdrawal
    given = permit(Held(1, 2, intended), now=forgotten, patience=PATIENCE)
    assert given is not None
    assert forgotten + PATIENCE.window == given.valid_until


def test_orders_that_may_be_placed_by_now_are_in_doubt() -> None:
    """
    Those not placed at the backup are looked for in the list; those at the provider are read.
    """
    doubted = a_sale(1, UNKNOWN, first_attempt_at=NOW - _LITTLE, empty_lookups=2)
    before = selling(a_sale(0, OPEN), doubted, a_sale(2, PLANNED), a_sale(3, REFUSED))
    decision = distrust(before, since=NOW, now=NOW, patience=PATIENCE)

    assert decision is not None
    sales = decision.withdrawal.sales
    assert [OPEN, UNKNOWN, UNKNOWN, REFUSED] == [sale.status for sale in sales]
    assert [NOW - _LITTLE, NOW] == [sale.first_attempt_at for sale in sales[1:3]]
    assert [0, 0] == [sale.empty_lookups for sale in sales[1:3]]


def test_all_sold_may_be_all_paid_after_a_backup() -> None:
    """
    So a cancellation, which would end the sale, leaves it to the list of withdrawals.
    """
    before = distrust(selling(a_sale(0, OPEN), **CANCEL), since=NOW, now=NOW, patience=PATIENCE)
    assert before is not None
    after = seen(before.withdrawal, a_report(0, FILLED)).withdrawal

    assert Status.RECEIVED == after.status
    assert Step.LOOKUP == next_step(after, now=NOW, patience=PATIENCE)


def test_a_sale_that_ends_after_a_backup_leaves_no_doubt() -> None:
    """
    Without all of the cash nothing was withdrawn.
    """
    before = distrust(selling(a_sale(0, OPEN), **CANCEL), since=NOW, now=NOW, patience=PATIENCE)
    assert before is not None
    after = seen(before.withdrawal, a_report(0, CANCELLED)).withdrawal

    assert (Status.CANCELLED, False) == (after.status, after.in_doubt)
