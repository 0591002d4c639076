"""The intent before a create call, and the one way to the right to pay: a permit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    SECOND,
    a_withdrawal,
    an_order,
    held,
)
from worker.core.change import Cause, Change, Decision
from worker.core.permit import Permit, intend, permit, take_in
from worker.core.steps import Step, next_step
from worker.core.withdrawal import TERMINAL, Status, Withdrawal

WINDOW: Final = PATIENCE.window
GRAIN: Final = timedelta(microseconds=1)
LIMITED: Final = an_order(not_after=NOW + timedelta(hours=1))
#: How far a clock may go back before an age that it tells is not believed.
BELIEF: Final = PATIENCE.settling

IN_DOUBT: Final = a_withdrawal()
NEW: Final = Withdrawal(order=an_order(), changed_at=NOW)


def test_a_request_is_received_with_its_intent() -> None:
    """
    Before anything is sent it is written down that something may have been.
    """
    decision = take_in(NEW, now=NOW)

    assert (
        replace(
            NEW,
            sequence=1,
            in_doubt=True,
            attempts=1,
            first_attempt_at=NOW,
            due_at=NOW,
        )
        == decision.withdrawal
    )
    assert (
        Change(
            sequence=1,
            status=Status.RECEIVED,
            previous=None,
            reversal=False,
            reason=None,
            provider_status=None,
            cause=Cause.INTAKE,
            at=NOW,
        ),
    ) == decision.changes


def test_each_further_call_is_intended_before_it_leaves() -> None:
    """
    The attempt is counted; how old the key is stays as it was.
    """
    before = a_withdrawal(empty_lookups=2)
    later = NOW + timedelta(hours=1)

    assert Decision(replace(before, attempts=2, empty_lookups=0)) == intend(
        before, now=later, patience=PATIENCE
    )


def test_a_call_after_none_arrived_begins_anew() -> None:
    """
    Where no call can have reached the provider, the key's age counts from this one.
    """
    before = a_withdrawal(in_doubt=False, attempts=2, first_attempt_at=None)
    later = NOW + timedelta(hours=30)

    assert Decision(replace(before, in_doubt=True, attempts=3, first_attempt_at=later)) == intend(
        before, now=later, patience=PATIENCE
    )


def test_a_permit_carries_what_was_committed() -> None:
    """
    Key and bytes of the order, and until when the call may leave.
    """
    granted = permit(held(IN_DOUBT), now=NOW, patience=PATIENCE)

    assert granted is not None
    order = IN_DOUBT.order
    assert (order.idempotency_key, "inv_01", order.body, NOW + WINDOW) == (
        granted.idempotency_key,
        granted.party_id,
        granted.body,
        granted.valid_until,
    )


def test_a_permit_ends_with_the_time_limit() -> None:
    """
    No call leaves after the request's own limit, however young the key is.
    """
    granted = permit(held(a_withdrawal(LIMITED)), now=NOW, patience=PATIENCE)

    assert granted is not None
    assert LIMITED.not_after == granted.valid_until


def test_a_permit_ends_with_the_window() -> None:
    """
    The end counts from the first attempt, not from when the permit was asked for.
    """
    late = an_order(not_after=NOW + timedelta(days=9))

    granted = permit(held(a_withdrawal(late)), now=NOW + WINDOW - SECOND, patience=PATIENCE)

    assert granted is not None
    assert NOW + WINDOW == granted.valid_until


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"in_doubt": False}, NOW),
        ({"first_attempt_at": None}, NOW),
        ({}, NOW + WINDOW),
        ({}, NOW - BELIEF - GRAIN),
        ({"held_refusal": INSUFFICIENT}, NOW),
        ({"withdrawal_id": "wd_01"}, NOW),
        ({"order": an_order(party_id=None)}, NOW),
        ({"order": LIMITED}, NOW + timedelta(hours=1) + GRAIN),
        ({"status": Status.UNRESOLVED}, NOW),
        *(({"status": end}, NOW) for end in sorted(TERMINAL)),
    ],
    ids=str,
)
def test_there_is_no_permit_without_every_condition(changes: dict[str, Any], now: datetime) -> None:
    """
    One thing amiss is enough: no intent, an old key, a known id, a held refusal, an end.
    """
    withdrawal = replace(a_withdrawal(), **changes)

    assert permit(held(withdrawal), now=now, patience=PATIENCE) is None


def test_nobody_makes_a_permit_by_hand() -> None:
    """
    Not even with all the right values.
    """
    with pytest.raises(TypeError, match=r"made by worker\.core\.permit\.permit alone"):
        Permit("wd-1", "inv_01", b"{}", 0, NOW, object())


def test_nobody_alters_a_permit() -> None:
    """
    A copy with another body or a later end is a permit made by hand.
    """
    granted = permit(held(IN_DOUBT), now=NOW, patience=PATIENCE)

    assert granted is not None
    with pytest.raises(ValueError, match="made_by"):
        replace(granted, valid_until=NOW + timedelta(days=9))  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        granted.body = b"{}"  # type: ignore[misc]


def test_a_permit_does_not_show_the_body() -> None:
    """
    What a log may print of it holds no body, which names a bank account.
    """
    granted = permit(held(IN_DOUBT), now=NOW, patience=PATIENCE)

    assert "500.00" not in repr(granted)


def test_a_provider_may_remember_keys_for_a_time_of_its_own() -> None:
    """
    Each permit ends with what its provider is trusted with; others keep the general window.
    """
    short = replace(PATIENCE, windows={"bluum": WINDOW / 2, "upvest": WINDOW * 2})
    now = NOW + WINDOW / 2

    assert Step.LOOKUP is next_step(IN_DOUBT, now=now, patience=short)
    granted = permit(held(IN_DOUBT), now=now - GRAIN, patience=short)
    assert granted is not None
    assert now == granted.valid_until
    other = replace(IN_DOUBT, order=replace(IN_DOUBT.order, provider="another"))
    assert Step.CREATE is next_step(other, now=now, patience=short)
