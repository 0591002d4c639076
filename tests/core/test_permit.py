"""What may be done next, and the one way to the right to pay: a permit."""

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
    a_pending,
    a_withdrawal,
    an_order,
    held,
)
from worker.core.decide import Permit, Step, next_step, permit
from worker.core.withdrawal import TERMINAL, Status, Withdrawal

WINDOW: Final = PATIENCE.window
GRAIN: Final = timedelta(microseconds=1)
LIMITED: Final = an_order(not_after=NOW + timedelta(hours=1))
#: How far a clock may go back before an age that it tells is not believed.
BELIEF: Final = PATIENCE.settling

IN_DOUBT: Final = a_withdrawal()
CLEAR: Final = a_withdrawal(in_doubt=False, first_attempt_at=None)
FUNDED: Final = an_order(wait_for_funds_until=NOW + timedelta(days=2))
SHORT: Final = a_withdrawal(in_doubt=False, status=Status.AWAITING_FUNDS, looks=1)
WANTED: Final[dict[str, Any]] = {"cancel_wanted": True}
REVERSIBLE: Final = TERMINAL - {Status.REJECTED}

#: Where a withdrawal stands, when it is asked about, and what may be done.
STEPS: Final[list[tuple[str, Withdrawal, datetime, Step]]] = [
    ("clear", CLEAR, NOW, Step.CREATE),
    ("clear after days", CLEAR, NOW + timedelta(days=9), Step.CREATE),
    ("in doubt", IN_DOUBT, NOW, Step.CREATE),
    ("window's last moment", IN_DOUBT, NOW + WINDOW - GRAIN, Step.CREATE),
    ("window's end", IN_DOUBT, NOW + WINDOW, Step.LOOKUP),
    ("after days", IN_DOUBT, NOW + timedelta(days=9), Step.LOOKUP),
    ("clock a little back", IN_DOUBT, NOW - BELIEF, Step.CREATE),
    ("clock back", IN_DOUBT, NOW - BELIEF - GRAIN, Step.LOOKUP),
    ("never begun", a_withdrawal(first_attempt_at=None), NOW, Step.LOOKUP),
    ("refusal held", a_withdrawal(held_refusal=INSUFFICIENT), NOW, Step.LOOKUP),
    ("limit's last moment", a_withdrawal(LIMITED), NOW + timedelta(hours=1), Step.CREATE),
    ("limit over", a_withdrawal(LIMITED), NOW + timedelta(hours=1) + GRAIN, Step.LOOKUP),
    (
        "limit over, clear",
        a_withdrawal(LIMITED, in_doubt=False),
        NOW + timedelta(hours=1) + GRAIN,
        Step.EXPIRE,
    ),
    ("known to the provider", a_pending(), NOW, Step.LOOK),
    ("known, without a status", a_withdrawal(withdrawal_id="wd_01"), NOW, Step.LOOK),
    ("left to a person", a_withdrawal(status=Status.UNRESOLVED), NOW, Step.REST),
    ("left to a person, known", a_pending(status=Status.UNRESOLVED), NOW, Step.REST),
    *((f"{end}", a_withdrawal(status=end), NOW, Step.REST) for end in sorted(TERMINAL)),
    *((f"{end}, known", a_pending(status=end), NOW, Step.LOOK) for end in sorted(REVERSIBLE)),
    ("rejected, known", a_pending(status=Status.REJECTED), NOW, Step.REST),
    ("cancel, ended", a_pending(status=Status.COMPLETED, **WANTED), NOW, Step.ANSWER),
    ("cancel, rejected", a_withdrawal(status=Status.REJECTED, **WANTED), NOW, Step.ANSWER),
    ("cancel, left to a person", a_withdrawal(status=Status.UNRESOLVED, **WANTED), NOW, Step.REST),
    ("cancel, known", a_pending(**WANTED), NOW, Step.CANCEL),
    ("cancel, in doubt", a_withdrawal(**WANTED), NOW, Step.LOOKUP),
    ("cancel, clear", a_withdrawal(in_doubt=False, **WANTED), NOW, Step.ABANDON),
    ("key still in use", SHORT, NOW + WINDOW - GRAIN, Step.CREATE),
    ("key perhaps forgotten", SHORT, NOW + WINDOW, Step.WAIT),
    ("key forgotten", SHORT, NOW + PATIENCE.forgotten, Step.CREATE),
    ("waited enough", replace(SHORT, order=FUNDED), NOW + timedelta(days=2), Step.EXPIRE),
]


@pytest.mark.parametrize(
    ("withdrawal", "now", "step"),
    [row[1:] for row in STEPS],
    ids=[row[0] for row in STEPS],
)
def test_there_is_one_step_for_every_situation(
    withdrawal: Withdrawal, now: datetime, step: Step
) -> None:
    """
    A create call is repeated only while the provider surely remembers the key.
    """
    assert step is next_step(withdrawal, now=now, patience=PATIENCE)


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
    with pytest.raises(TypeError, match=r"made by worker\.core\.decide\.permit alone"):
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
