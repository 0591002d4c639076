"""Cancellation: nothing is sent for its sake, clarity comes first, and everybody is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.core.builders import (
    EVEN,
    INSUFFICIENT,
    NOW,
    PATIENCE,
    SECOND,
    a_pending,
    a_withdrawal,
    create,
    held,
    look,
    look_up,
    refused,
    reported,
)
from worker.core.answers import Conflicted, Denied, Refused, Throttled, Trace, Unclear
from worker.core.change import CANCEL_REFUSED, Cause, answer_cancellation
from worker.core.decide import decide_cancel
from worker.core.lookup import Candidates
from worker.core.permit import permit
from worker.core.steps import Step, abandon, next_step
from worker.core.withdrawal import Errand, Reason, ReasonCode, Status, Withdrawal

if TYPE_CHECKING:
    from worker.core.answers import Answer
    from worker.core.change import Decision

ON_REQUEST: Final = Reason(ReasonCode.CANCELLED_ON_REQUEST)
WANTED: Final = a_pending(cancel_wanted=True)
STATE_FORBIDS: Final = Conflicted(Trace(http_status=409, provider_code="BLUM-409-003"))
CANCELLED: Final = reported(Status.CANCELLED)
ACCEPTED: Final = reported(Status.PENDING)


def cancel(answer: Answer, seen: Answer, withdrawal: Withdrawal = WANTED) -> Decision:
    """Decide on a cancel call and the look after it, by even chance."""
    return decide_cancel(withdrawal, answer, seen, now=NOW, patience=PATIENCE, chance=EVEN)


def test_what_was_never_sent_never_is() -> None:
    """
    Nothing in doubt: it ends as cancelled on request, and the provider hears nothing.
    """
    decision = abandon(a_withdrawal(in_doubt=False, cancel_wanted=True), now=NOW)

    assert [(Status.CANCELLED, None, ON_REQUEST, Cause.CANCELLATION)] == [
        (change.status, change.word, change.reason, change.cause) for change in decision.changes
    ]
    assert (False, None) == (decision.withdrawal.cancel_wanted, decision.withdrawal.due_at)


def test_no_call_is_permitted_while_a_cancellation_waits() -> None:
    """
    An intent that was committed together with the wish to cancel gets no permit.
    """
    doubted = a_withdrawal(cancel_wanted=True)

    assert permit(held(doubted), now=NOW, patience=PATIENCE) is None


@pytest.mark.parametrize("answer", [CANCELLED, STATE_FORBIDS, Unclear("timeout"), Throttled()])
def test_what_is_seen_counts(answer: Answer) -> None:
    """
    Cancelled is what the look shows as cancelled, whatever the call was answered.
    """
    decision = cancel(answer, CANCELLED)

    assert [(Status.CANCELLED, ON_REQUEST, False)] == [
        (change.status, change.reason, change.reversal) for change in decision.changes
    ]
    assert not decision.withdrawal.cancel_wanted


@pytest.mark.parametrize("answer", [STATE_FORBIDS, refused()])
def test_a_clear_no_is_told(answer: Conflicted | Refused) -> None:
    """
    The status is unchanged, and it is followed on.
    """
    decision = cancel(answer, ACCEPTED)
    code = answer.trace.provider_code

    assert [
        (3, CANCEL_REFUSED, Status.PENDING, Reason(ReasonCode.CANCEL_TOO_LATE, code), False)
    ] == [
        (change.sequence, change.word, change.status, change.reason, change.reversal)
        for change in decision.changes
    ]
    after = decision.withdrawal
    assert (Status.PENDING, None, False, True) == (
        after.status,
        after.reason,
        after.cancel_wanted,
        after.due_at is not None,
    )


def test_a_no_that_comes_with_news_tells_both() -> None:
    """
    First that it moved on, then that the cancellation was too late.
    """
    decision = cancel(STATE_FORBIDS, reported(Status.PROCESSING))

    assert [(3, None, Status.PROCESSING), (4, CANCEL_REFUSED, Status.PROCESSING)] == [
        (change.sequence, change.word, change.status) for change in decision.changes
    ]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (ACCEPTED, ACCEPTED),
        (Unclear("timeout"), ACCEPTED),
        (Throttled(), ACCEPTED),
        (Denied(), ACCEPTED),
        (STATE_FORBIDS, Unclear("timeout")),
        (ACCEPTED, Denied()),
    ],
)
def test_without_a_clear_word_it_is_asked_for_again(answer: Answer, seen: Answer) -> None:
    """
    Nothing is told, the wish stays, and it is due again soon, among what is urgent.
    """
    decision = cancel(answer, seen)
    after = decision.withdrawal

    assert ((), True, Errand.ACT) == (decision.changes, after.cancel_wanted, after.errand)
    assert after.due_at is not None
    assert NOW < after.due_at <= NOW + 2 * PATIENCE.denied
    assert Step.CANCEL is next_step(after, now=NOW + SECOND, patience=PATIENCE)


def test_a_yes_that_is_not_seen_yet_is_given_time() -> None:
    """
    Asked again at once, the provider could refuse what it has done already; its reads lag behind.
    """
    after = cancel(CANCELLED, ACCEPTED).withdrawal

    assert (True, NOW + PATIENCE.settling) == (after.cancel_wanted, after.due_at)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_an_end_answers_the_cancellation_too(status: Status) -> None:
    """
    Whatever step of ours finds the end tells that the cancellation came too late.
    """
    decision = look(WANTED, reported(status))

    assert [(None, status), (CANCEL_REFUSED, status)] == [
        (change.word, change.status) for change in decision.changes
    ]
    assert not decision.withdrawal.cancel_wanted


def test_a_rejection_answers_it_as_well() -> None:
    """
    What the provider refused cannot be cancelled; that is said, once.
    """
    decision = create(a_withdrawal(in_doubt=False, cancel_wanted=True), refused())

    assert [(None, Status.REJECTED), (CANCEL_REFUSED, Status.REJECTED)] == [
        (change.word, change.status) for change in decision.changes
    ]


def test_what_is_finished_is_only_answered() -> None:
    """
    Its reason and the time of its end stay what they are.
    """
    ended = a_pending(status=Status.FAILED, reason=INSUFFICIENT, cancel_wanted=True)
    decision = answer_cancellation(ended, now=NOW + SECOND)

    assert replace(ended, sequence=3, cancel_wanted=False) == decision.withdrawal
    assert [(CANCEL_REFUSED, Status.FAILED, Status.FAILED)] == [
        (change.word, change.status, change.previous) for change in decision.changes
    ]


def test_found_in_the_list_it_is_cancelled_at_once() -> None:
    """
    The clarity for which it waited is followed by the cancel call.
    """
    doubted = a_withdrawal(cancel_wanted=True)
    decision = look_up(doubted, Candidates((reported(),)))

    assert (Status.PENDING, NOW, True) == (
        decision.withdrawal.status,
        decision.withdrawal.due_at,
        decision.withdrawal.cancel_wanted,
    )
    assert Step.CANCEL is next_step(decision.withdrawal, now=NOW, patience=PATIENCE)


def test_not_found_in_the_list_it_is_cancelled_by_us() -> None:
    """
    After three look-ups it is certain that nothing was paid, a refusal or not.
    """
    doubted = a_withdrawal(cancel_wanted=True, empty_lookups=2, held_refusal=INSUFFICIENT)
    decision = look_up(doubted)

    assert [(Status.CANCELLED, ON_REQUEST)] == [
        (change.status, change.reason) for change in decision.changes
    ]
