"""What a person may rule about an unresolved withdrawal, what follows, and what is not accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    SECOND,
    a_pending,
    a_withdrawal,
    an_entry,
    an_order,
    held,
    refused,
    reported,
)
from tests.core.strategies import assert_coherent, moments, parked
from worker.core.answers import (
    Conflicted,
    Denied,
    EntryAnswer,
    ListAnswer,
    Listed,
    Refused,
    Throttled,
    Unclear,
)
from worker.core.change import Cause, Decision, park
from worker.core.events import event
from worker.core.permit import intend, permit
from worker.core.ruling import (
    Adopt,
    Inadmissible,
    NotCreated,
    decide_adoption,
    decide_not_created,
    unread,
)
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

SEVERAL: Final = Reason(ReasonCode.SEVERAL_CANDIDATES)
DOUBTED: Final = a_withdrawal(attempts=3, empty_lookups=2, looks=7, held_refusal=INSUFFICIENT)
PARKED: Final = park(DOUBTED, SEVERAL, cause=Cause.LOOKUP, now=NOW).withdrawal
LATER: Final = NOW + timedelta(hours=2)
ADOPT: Final = Adopt("wd_01", "Ada", "bank statement of 1 June")
NOT_CREATED: Final = NotCreated("Ada", "support ticket 77")
NOTHING: Final = Listed(())


def adopt(
    withdrawal: Withdrawal = PARKED,
    answer: EntryAnswer | None = None,
    *,
    is_anothers: bool = False,
) -> Decision | Inadmissible:
    """Rule that `wd_01` is the one."""
    return decide_adoption(
        withdrawal, ADOPT, answer or an_entry(), is_anothers=is_anothers, now=LATER
    )


def not_created(
    withdrawal: Withdrawal = PARKED, answer: ListAnswer = NOTHING, **changes: object
) -> Decision | Inadmissible:
    """Rule that nothing was made, two hours after the only call."""
    known: dict[str, Any] = {
        "owned": frozenset(),
        "last_call_at": NOW,
        "now": LATER,
        "patience": PATIENCE,
    }
    return decide_not_created(withdrawal, NOT_CREATED, answer, **(known | changes))


def test_what_a_person_adopts_is_followed() -> None:
    """
    The status is the provider's, the doubt is over, and it is looked at, and told of, at once.
    """
    decision = adopt(answer=an_entry(reported=reported(Status.PROCESSING)))

    assert isinstance(decision, Decision)
    assert (
        replace(
            PARKED,
            status=Status.PROCESSING,
            sequence=3,
            withdrawal_id="wd_01",
            provider_status="processing",
            reason=None,
            held_refusal=None,
            in_doubt=False,
            empty_lookups=0,
            looks=0,
            changed_at=LATER,
            due_at=LATER,
        )
        == decision.withdrawal
    )
    assert Step.LOOK is next_step(decision.withdrawal, now=LATER, patience=PATIENCE)


@pytest.mark.parametrize(
    "status", [Status.PENDING, Status.SUBMITTED, Status.COMPLETED, Status.FAILED, Status.CANCELLED]
)
def test_every_status_at_the_provider_may_be_adopted(status: Status) -> None:
    """
    Also an end: its reason is the usual one. It is looked at at once, and so told of at once.
    """
    decision = adopt(answer=an_entry(reported=reported(status)))
    reasons = {
        Status.FAILED: ReasonCode.FAILED_AT_PROVIDER,
        Status.CANCELLED: ReasonCode.CANCELLED_AT_PROVIDER,
    }

    assert isinstance(decision, Decision)
    (change,) = decision.changes
    assert (3, status, Status.UNRESOLVED, Cause.RULING, False) == (
        change.sequence,
        change.status,
        change.previous,
        change.cause,
        change.reversal,
    )
    assert reasons.get(status) == (change.reason and change.reason.code)
    assert LATER == decision.withdrawal.due_at


def test_an_unknown_word_is_adopted_and_followed() -> None:
    """
    The id is known, so it is looked at until the provider uses a word that is documented.
    """
    decision = adopt(answer=an_entry(reported=reported(None, word="on_hold")))

    assert isinstance(decision, Decision)
    assert (Status.RECEIVED, "wd_01", "on_hold", LATER) == (
        decision.withdrawal.status,
        decision.withdrawal.withdrawal_id,
        decision.withdrawal.provider_status,
        decision.withdrawal.due_at,
    )
    assert Step.LOOK is next_step(decision.withdrawal, now=LATER, patience=PATIENCE)


@pytest.mark.parametrize("text", [None, "rent"])
def test_a_person_may_adopt_what_lost_its_reference(text: str | None) -> None:
    """
    Likeness alone is what a person is asked about.
    """
    assert isinstance(adopt(answer=an_entry(text=text)), Decision)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"amount": "499.99"}, "another amount"),
        ({"currency": "EUR"}, "another currency"),
        ({"party_id": "inv_02"}, "another party"),
        ({"text": "[wd:0123456789ab]"}, "the reference of another request"),
    ],
    ids=str,
)
def test_what_cannot_be_it_is_not_adopted(changes: dict[str, Any], why: str) -> None:
    """
    The person is told what speaks against it.
    """
    ruled = adopt(answer=an_entry(**changes))

    assert isinstance(ruled, Inadmissible)
    assert ruled.why.startswith("wd_01 cannot be this request's: ")
    assert why in ruled.why


def test_what_belongs_to_another_request_is_not_adopted() -> None:
    """
    One withdrawal at the provider serves one request.
    """
    assert Inadmissible("wd_01 belongs to another request") == adopt(is_anothers=True)


def test_what_the_provider_does_not_know_is_not_adopted() -> None:
    """
    An id that is mistyped, or another party's.
    """
    ruled = adopt(answer=refused(Reason(ReasonCode.NOT_FOUND)))

    assert Inadmissible("wd_01 could not be read: the provider does not know it") == ruled


def test_a_fresh_attempt_begins_on_a_persons_word() -> None:
    """
    Nothing is left of the doubt: the create call is intended anew. Its key is as old as it was.
    """
    decision = not_created()

    assert isinstance(decision, Decision)
    fresh = decision.withdrawal
    assert (
        replace(
            PARKED,
            status=Status.RECEIVED,
            sequence=3,
            reason=None,
            held_refusal=None,
            in_doubt=False,
            empty_lookups=0,
            looks=0,
            changed_at=LATER,
            due_at=LATER,
        )
        == fresh
    )
    assert [(Status.RECEIVED, Status.UNRESOLVED, Cause.RULING)] == [
        (change.status, change.previous, change.cause) for change in decision.changes
    ]
    assert Step.CREATE is next_step(fresh, now=LATER, patience=PATIENCE)


def test_a_ruling_is_no_permit() -> None:
    """
    The intent has to be committed first, and a key in use keeps the window that it has.
    """
    decision = not_created()

    assert isinstance(decision, Decision)
    assert permit(held(decision.withdrawal), now=LATER, patience=PATIENCE) is None
    granted = permit(
        held(intend(decision.withdrawal, now=LATER, patience=PATIENCE).withdrawal),
        now=LATER,
        patience=PATIENCE,
    )
    assert granted is not None
    assert NOW + PATIENCE.window == granted.valid_until


def test_what_is_too_late_by_now_expires() -> None:
    """
    Nothing was withdrawn and nothing will be: that is rejected, with the reason of the time limit.
    """
    limited = a_withdrawal(an_order(not_after=NOW + timedelta(hours=1)))
    unresolved = park(limited, SEVERAL, cause=Cause.LOOKUP, now=NOW).withdrawal

    decision = not_created(unresolved)

    assert isinstance(decision, Decision)
    assert [(Status.REJECTED, Reason(ReasonCode.EXPIRED), Cause.RULING)] == [
        (change.status, change.reason, change.cause) for change in decision.changes
    ]
    assert (False, None) == (decision.withdrawal.in_doubt, decision.withdrawal.due_at)


def test_what_carries_our_reference_was_created() -> None:
    """
    No word of a person outweighs it: whatever else it says, it has to be adopted.
    """
    entries = (an_entry(text="rent"), an_entry(amount="1.00", reported=reported(Status.FAILED)))

    ruled = not_created(answer=Listed(entries))

    assert isinstance(ruled, Inadmissible)
    assert "the provider holds wd_01, which carries the reference of this request" in ruled.why


def test_likeness_is_for_the_person_to_judge() -> None:
    """
    An entry without our reference, or one that another request owns, does not outweigh the word.
    """
    lookalike = Listed((an_entry(text="rent"),))
    owned = Listed((an_entry(),))

    assert isinstance(not_created(answer=lookalike), Decision)
    assert isinstance(not_created(answer=owned, owned=frozenset({"wd_01"})), Decision)


@pytest.mark.parametrize("answer", [Unclear("timeout"), Throttled(), Denied(), refused()])
def test_without_the_list_nothing_is_sent_anew(answer: ListAnswer) -> None:
    """
    A list that cannot be read might hold the very withdrawal.
    """
    ruled = not_created(answer=answer)

    assert isinstance(ruled, Inadmissible)
    assert ruled.why.startswith("the provider's list could not be read: ")


@pytest.mark.parametrize(
    ("since", "seconds"),
    [(timedelta(0), 300), (PATIENCE.settling - timedelta(milliseconds=1), 1), (-SECOND, 301)],
    ids=str,
)
def test_a_call_may_still_execute(since: timedelta, seconds: int) -> None:
    """
    A person who looked right after the last call looked too early, and is told how long to wait.
    """
    ruled = not_created(last_call_at=LATER - since)

    sentence = f"the last call may still execute: wait for {seconds} more seconds"
    assert Inadmissible(sentence) == ruled


@pytest.mark.parametrize("last_call_at", [LATER - PATIENCE.settling, None], ids=str)
def test_after_the_settling_delay_the_word_counts(last_call_at: object) -> None:
    """
    From then on; or at once, where no call was ever begun.
    """
    assert isinstance(not_created(last_call_at=last_call_at), Decision)


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.UNRESOLVED])
def test_only_what_is_unresolved_can_be_settled(status: Status) -> None:
    """
    Whatever else it is, it needs no person, or has moved on since the person looked.
    """
    other = a_pending(status=status)
    refusal = Inadmissible(f"it is {status}: only an unresolved withdrawal can be settled")

    assert refusal == adopt(other)
    assert refusal == not_created(other)


def test_who_ruled_and_why_is_in_the_history_and_in_no_event() -> None:
    """
    A person's words may hold personal data: they go with the change and not with its event.
    """
    for decision in (adopt(), not_created()):
        assert isinstance(decision, Decision)
        (change,) = decision.changes
        told = event(decision.withdrawal, change)
        written = json.dumps(json.loads(told.body))

        assert "Ada" == change.operator
        assert change.note in {ADOPT.note, NOT_CREATED.note}
        for secret in ("Ada", ADOPT.note, NOT_CREATED.note):
            assert secret not in written


def test_a_reason_is_not_shown_by_chance() -> None:
    """
    What a log may print of a ruling or its change holds no words of the person's.
    """
    decision = adopt()

    assert isinstance(decision, Decision)
    for value in (ADOPT, NOT_CREATED, decision.changes):
        assert "statement" not in repr(value)
        assert "ticket" not in repr(value)


@given(parked, moments)
def test_a_ruling_leads_to_what_is_coherent(withdrawal: Withdrawal, now: datetime) -> None:
    """
    What holds of every withdrawal holds after a ruling too, and its move is a new event.
    """
    decisions = [
        decide_adoption(withdrawal, ADOPT, an_entry(), is_anothers=False, now=now),
        decide_not_created(
            withdrawal,
            NOT_CREATED,
            NOTHING,
            owned=frozenset(),
            last_call_at=None,
            now=now,
            patience=PATIENCE,
        ),
    ]

    for decision in decisions:
        assert isinstance(decision, Decision)
        assert_coherent(decision.withdrawal)
        assert [withdrawal.sequence + 1] == [change.sequence for change in decision.changes]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (refused(Reason(ReasonCode.NOT_FOUND)), "the provider does not know it"),
        (refused(), "the provider does not show it (BLUM-422-001)"),
        (refused(Reason(ReasonCode.REFUSED)), "the provider does not show it (refused)"),
        (Conflicted(), "the provider answered with a conflict"),
        (Unclear("http_503"), "no usable answer (http_503), try again later"),
        (Throttled(), "the provider is asked too often at this moment, try again later"),
        (Denied(), "the provider does not accept the credentials"),
    ],
    ids=repr,
)
def test_why_something_could_not_be_read_is_said(
    answer: Refused | Conflicted | Unclear | Throttled | Denied, sentence: str
) -> None:
    """
    In words that tell the person what to do next.
    """
    assert sentence == unread(answer)
