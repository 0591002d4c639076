"""Dialogues: where a withdrawal stands, how its create call is answered, and what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    SECOND,
    a_withdrawal,
    create,
    refused,
    reported,
)
from worker.core.answers import Answer, Conflicted, Denied, Throttled, Trace, Unclear
from worker.core.change import Cause, Decision
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

FIRST = a_withdrawal(in_doubt=False)
AGAIN = a_withdrawal(attempts=3)


@pytest.mark.parametrize("before", [FIRST, AGAIN], ids=["first", "again"])
@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.SUBMITTED])
def test_what_the_provider_reports_is_followed(before: Withdrawal, status: Status) -> None:
    """
    The doubt is over: its id and state are known, and it is looked at after the first delay.
    """
    decision = create(before, reported(status))

    assert (
        replace(
            before,
            status=status,
            sequence=2,
            withdrawal_id="wd_01",
            provider_status=status.value,
            in_doubt=False,
            looks=1,
            due_at=NOW + PATIENCE.looks.first_delay,
        )
        == decision.withdrawal
    )
    assert [(2, status, Status.RECEIVED, Cause.CREATE)] == [
        (change.sequence, change.status, change.previous, change.cause)
        for change in decision.changes
    ]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.COMPLETED, None),
        (Status.FAILED, ReasonCode.FAILED_AT_PROVIDER),
        (Status.CANCELLED, ReasonCode.CANCELLED_AT_PROVIDER),
    ],
)
def test_a_create_call_may_report_an_end(status: Status, code: ReasonCode | None) -> None:
    """
    Then nothing more is due, and a bad end says why.
    """
    decision = create(FIRST, reported(status, code="X-1"))

    reason = None if code is None else Reason(code, "X-1")
    assert (status, reason, None) == (
        decision.withdrawal.status,
        decision.withdrawal.reason,
        decision.withdrawal.due_at,
    )
    assert [reason] == [change.reason for change in decision.changes]


def test_a_provider_may_tell_who_ended_it() -> None:
    """
    Its reason goes before the one that follows from the status; of a good end there is none.
    """
    by_bank = replace(reported(Status.CANCELLED), reason=ReasonCode.CANCELLED_BY_BANK)
    completed = replace(by_bank, status=Status.COMPLETED)

    reasons = [create(FIRST, report).withdrawal.reason for report in (by_bank, completed)]

    assert [Reason(ReasonCode.CANCELLED_BY_BANK), None] == reasons


def test_an_unknown_word_is_followed_and_not_guessed_at() -> None:
    """
    The withdrawal is known to exist, so the doubt is over; what it stands at nobody says.
    """
    decision = create(AGAIN, reported(None, word="on_hold"))

    assert () == decision.changes
    assert (Status.RECEIVED, "wd_01", "on_hold", False) == (
        decision.withdrawal.status,
        decision.withdrawal.withdrawal_id,
        decision.withdrawal.provider_status,
        decision.withdrawal.in_doubt,
    )
    assert Step.LOOK is next_step(decision.withdrawal, now=NOW, patience=PATIENCE)


def test_a_refusal_of_the_first_call_is_final() -> None:
    """
    The provider understood and said no, and no earlier call can have said otherwise.
    """
    decision = create(FIRST, refused())

    assert (Status.REJECTED, INSUFFICIENT, None) == (
        decision.withdrawal.status,
        decision.withdrawal.reason,
        decision.withdrawal.due_at,
    )
    assert [(Status.REJECTED, INSUFFICIENT, Cause.CREATE)] == [
        (change.status, change.reason, change.cause) for change in decision.changes
    ]


def test_a_refusal_after_doubt_is_held() -> None:
    """
    The silent call before may have succeeded: first the list is asked, once it has settled.
    """
    decision = create(AGAIN, refused())

    assert (
        Decision(replace(AGAIN, held_refusal=INSUFFICIENT, due_at=NOW + PATIENCE.settling))
        == decision
    )
    assert Step.LOOKUP is next_step(decision.withdrawal, now=NOW, patience=PATIENCE)


@pytest.mark.parametrize("before", [FIRST, AGAIN], ids=["first", "again"])
def test_a_conflict_is_looked_up(before: Withdrawal) -> None:
    """
    A key that is known says that something happened, and not what: never assume failure.
    """
    decision = create(before, Conflicted(Trace(provider_code="BLUM-409-001")))

    unknown = Reason(ReasonCode.OUTCOME_UNKNOWN, "BLUM-409-001")
    assert (
        Decision(
            replace(before, in_doubt=True, held_refusal=unknown, due_at=NOW + PATIENCE.settling)
        )
        == decision
    )


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 0.5), (2, 1), (3, 2), (10, 256), (11, 300), (5000, 300)]
)
def test_silence_is_asked_again_ever_more_slowly(attempts: int, seconds: float) -> None:
    """
    Nobody knows whether money moved: the doubt begins, or stays, and the call is repeated.
    """
    before = replace(FIRST, attempts=attempts)

    decision = create(before, Unclear("timeout"))

    due_at = NOW + seconds * SECOND
    assert Decision(replace(before, in_doubt=True, due_at=due_at)) == decision


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Unclear("http_503", 20 * SECOND), 20),
        (Unclear("http_503", SECOND / 4), 0.5),
        (Unclear("http_503", timedelta(0)), 0.5),
        (Throttled(), 1),
        (Throttled(timedelta(0)), 1),
        (Throttled(7 * SECOND), 7),
        (Denied(), 15),
    ],
    ids=repr,
)
def test_who_asks_for_patience_gets_it(answer: Answer, seconds: float) -> None:
    """
    A longer wait than ours is honoured, a shorter one is not.
    """
    assert NOW + seconds * SECOND == create(FIRST, answer).withdrawal.due_at


@pytest.mark.parametrize("answer", [Throttled(), Denied()], ids=["throttled", "denied"])
@pytest.mark.parametrize("before", [FIRST, AGAIN], ids=["first", "again"])
def test_a_call_that_was_turned_away_changes_no_doubt(before: Withdrawal, answer: Answer) -> None:
    """
    It was not executed. The key ages on: an earlier call, refused for certain, may have used it.
    """
    decision = create(before, answer)

    assert Decision(replace(before, due_at=decision.withdrawal.due_at)) == decision
