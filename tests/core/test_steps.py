"""What may be done with a withdrawal next, and the ends that we set ourselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    a_pending,
    a_withdrawal,
    an_order,
)
from worker.core.change import Cause
from worker.core.steps import Step, expire, next_step, refuse_at_the_door
from worker.core.withdrawal import TERMINAL, Reason, ReasonCode, Status, Withdrawal

WINDOW: Final = PATIENCE.window
#: From the first call until the last that may have left since is forgotten.
CERTAIN: Final = WINDOW + PATIENCE.forgotten
GRAIN: Final = timedelta(microseconds=1)
LIMITED: Final = an_order(not_after=NOW + timedelta(hours=1))
#: How far a clock may go back before an age that it tells is not believed.
BELIEF: Final = PATIENCE.settling

IN_DOUBT: Final = a_withdrawal()
CLEAR: Final = a_withdrawal(in_doubt=False, first_attempt_at=None)
NEW: Final = Withdrawal(order=an_order(), changed_at=NOW)
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
    ("last call perhaps remembered", SHORT, NOW + CERTAIN - GRAIN, Step.WAIT),
    ("key forgotten", SHORT, NOW + CERTAIN, Step.CREATE),
    ("key used in the future", SHORT, NOW - BELIEF - GRAIN, Step.WAIT),
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


def test_an_invalid_request_begins_and_ends_at_the_door() -> None:
    """
    One event tells of it, and nothing is ever due.
    """
    reason = Reason(ReasonCode.INVALID_REQUEST, detail="amount: expected to be present")

    decision = refuse_at_the_door(NEW, reason, now=NOW)

    assert replace(NEW, status=Status.REJECTED, sequence=1, reason=reason) == decision.withdrawal
    assert [(1, Status.REJECTED, None, reason, Cause.INTAKE)] == [
        (change.sequence, change.status, change.previous, change.reason, change.cause)
        for change in decision.changes
    ]


def test_a_request_that_came_too_late_expires() -> None:
    """
    It ends as rejected, with the time limit as the reason.
    """
    decision = expire(a_withdrawal(in_doubt=False), now=NOW)

    assert [(Status.REJECTED, Reason(ReasonCode.EXPIRED), Cause.EXPIRY)] == [
        (change.status, change.reason, change.cause) for change in decision.changes
    ]
