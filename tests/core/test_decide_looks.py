"""Dialogues about a withdrawal that was sent: looking at it by its id, or for it in the list."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.core.builders import (
    EVEN,
    INSUFFICIENT,
    NOW,
    PATIENCE,
    SECOND,
    a_pending,
    a_withdrawal,
    an_order,
    create,
    look,
    look_up,
    refused,
    reported,
)
from worker.core.answers import (
    Answer,
    Conflicted,
    Denied,
    ListAnswer,
    Refused,
    Reported,
    Throttled,
    Unclear,
)
from worker.core.change import Cause, Decision, park
from worker.core.decide import decide_look
from worker.core.limits import FRESH_ATTEMPTS_END_AFTER, LOOKUPS_GIVEN_UP_AFTER, LOOKUPS_IN_VAIN_MAX
from worker.core.lookup import Candidates
from worker.core.permit import intend
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Reason, ReasonCode, Status, Withdrawal

PENDING = a_pending(looks=3)
DOUBTED = a_withdrawal(attempts=3)
REFUSED = create(DOUBTED, refused()).withdrawal
CONFLICTED = create(DOUBTED, Conflicted()).withdrawal
SEVERAL = Reason(ReasonCode.SEVERAL_CANDIDATES)
ONE, TWO = reported(withdrawal_id="wd_01"), reported(withdrawal_id="wd_02")
#: Answers that tell nothing about the money, and when it is looked at again after three looks.
NOTHING_LEARNT: list[tuple[Refused | Unclear | Throttled | Denied, int]] = [
    (refused(), 120),
    (Unclear("timeout"), 120),
    (Unclear("http_503", timedelta(hours=1)), 3600),
    (Throttled(), 120),
    (Throttled(timedelta(hours=1)), 3600),
    (Denied(), 120),
]


def look_up_in_vain(withdrawal: Withdrawal, times: int = 3) -> Decision:
    """Look up until it is certain that nothing is there."""
    decision = Decision(withdrawal)
    for _ in range(times):
        # Each falls due; what the tests compare is as if no time had passed.
        decision = look_up(replace(decision.withdrawal, due_at=NOW))
    return decision


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.SUBMITTED])
def test_a_look_moves_it_on(status: Status) -> None:
    """
    The move is told of, and the looks begin to grow from the first delay again.
    """
    decision = look(PENDING, reported(status))

    assert (
        replace(
            PENDING,
            status=status,
            sequence=3,
            provider_status=status.value,
            looks=1,
            due_at=NOW + 15 * SECOND,
        )
        == decision.withdrawal
    )
    assert [(3, status, Status.PENDING, False, Cause.LOOK)] == [
        (change.sequence, change.status, change.previous, change.reversal, change.cause)
        for change in decision.changes
    ]


def test_an_end_stops_the_looks() -> None:
    """
    Once the provider has said the last word nothing is due.
    """
    decision = look(PENDING, reported(Status.COMPLETED))

    assert (Status.COMPLETED, None) == (decision.withdrawal.status, decision.withdrawal.due_at)


@pytest.mark.parametrize(("looks", "seconds"), [(1, 30), (3, 120), (7, 1800), (100, 1800)])
def test_old_news_make_the_looks_rarer(looks: int, seconds: int) -> None:
    """
    As long as nothing happens the looks grow apart, up to the cap.
    """
    before = replace(PENDING, looks=looks)

    assert Decision(replace(before, looks=looks + 1, due_at=NOW + seconds * SECOND)) == look(
        before, reported()
    )


def test_a_word_that_lies_behind_moves_nothing() -> None:
    """
    Answers arrive out of order: what was pending long ago is still processing now.
    """
    processing = replace(PENDING, status=Status.PROCESSING)

    decision = look(processing, reported(Status.PENDING))

    assert () == decision.changes
    assert Status.PROCESSING is decision.withdrawal.status


def test_an_unknown_word_is_kept_and_looked_at_again() -> None:
    """
    A status that nobody documented is neither a crash nor a guess.
    """
    decision = look(PENDING, reported(None, word="on_hold"))

    assert () == decision.changes
    assert (Status.PENDING, "on_hold") == (
        decision.withdrawal.status,
        decision.withdrawal.provider_status,
    )
    assert decision.withdrawal.due_at is not None


@pytest.mark.parametrize(("answer", "seconds"), [*NOTHING_LEARNT, (Conflicted(), 120)], ids=repr)
def test_a_look_in_vain_is_repeated(answer: Answer, seconds: int) -> None:
    """
    Silence, refusals and denials say nothing about the money; the looks go on, ever more slowly.
    """
    assert Decision(replace(PENDING, looks=4, due_at=NOW + seconds * SECOND)) == look(
        PENDING, answer
    )


@pytest.mark.parametrize(("answer", "minutes"), [(Throttled(), 2), (Denied(), 3)], ids=repr)
def test_who_asks_for_patience_gets_it(answer: Answer, minutes: int) -> None:
    """
    A wait that is longer than the schedule's is honoured at a look as well.
    """
    patience = replace(PATIENCE, throttled=timedelta(minutes=2), denied=timedelta(minutes=3))

    decision = decide_look(a_pending(looks=0), answer, now=NOW, patience=patience, chance=EVEN)

    assert NOW + timedelta(minutes=minutes) == decision.withdrawal.due_at


def test_a_word_about_another_withdrawal_is_not_taken() -> None:
    """
    The id that was adopted is never exchanged for another one.
    """
    decision = look(PENDING, reported(Status.COMPLETED, withdrawal_id="wd_02"))

    assert Decision(replace(PENDING, looks=4, due_at=NOW + 120 * SECOND)) == decision


def test_the_bank_may_take_an_end_back() -> None:
    """
    From one end to another is a reversal, with the new end's reason.
    """
    completed = a_pending(status=Status.COMPLETED, sequence=4, due_at=None)

    decision = look(completed, reported(Status.FAILED))

    assert [(5, Status.FAILED, Status.COMPLETED, True)] == [
        (change.sequence, change.status, change.previous, change.reversal)
        for change in decision.changes
    ]
    assert Reason(ReasonCode.FAILED_AT_PROVIDER) == decision.withdrawal.reason
    assert decision.withdrawal.due_at is None


def test_an_end_that_is_confirmed_stays_at_rest() -> None:
    """
    A second look at a finished withdrawal that finds it as it was makes nothing due.
    """
    completed = a_pending(status=Status.COMPLETED, sequence=4, due_at=None)

    decision = look(completed, reported(Status.COMPLETED))

    assert ((), None) == (decision.changes, decision.withdrawal.due_at)


@pytest.mark.parametrize("before", [DOUBTED, REFUSED, CONFLICTED], ids=["silence", "no", "409"])
@pytest.mark.parametrize("beside", [(), (TWO,)], ids=["alone", "beside a lookalike"])
def test_exactly_one_of_ours_is_adopted(before: Withdrawal, beside: tuple[Reported, ...]) -> None:
    """
    The doubt is over, a refusal that was held is forgotten, and it is followed from here on.
    """
    decision = look_up(replace(before, empty_lookups=2), Candidates((ONE,), beside))

    assert (
        replace(
            before,
            status=Status.PENDING,
            sequence=2,
            withdrawal_id="wd_01",
            provider_status="pending",
            held_refusal=None,
            in_doubt=False,
            empty_lookups=0,
            looks=1,
            due_at=NOW + 15 * SECOND,
        )
        == decision.withdrawal
    )
    assert [Cause.LOOKUP] == [change.cause for change in decision.changes]


@pytest.mark.parametrize(
    "found",
    [Candidates(ours=(ONE, TWO)), Candidates(lookalikes=(ONE,)), Candidates(lookalikes=(ONE, TWO))],
    ids=["two of ours", "a lookalike", "two lookalikes"],
)
def test_what_cannot_be_told_apart_needs_a_person(found: Candidates) -> None:
    """
    Neither adopted nor sent again: either might be wrong.
    """
    assert park(DOUBTED, SEVERAL, cause=Cause.LOOKUP, now=NOW) == look_up(DOUBTED, found)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_found_does_not_mean_nothing_there(count: int) -> None:
    """
    A list may lag behind, and a call may still be on its way: look again after a delay.
    """
    before = replace(DOUBTED, empty_lookups=count)

    due_at = NOW + PATIENCE.settling
    assert Decision(replace(before, empty_lookups=count + 1, due_at=due_at)) == look_up(before)


def test_nothing_found_three_times_begins_anew() -> None:
    """
    While the key is surely remembered a fresh attempt may be intended at once.

    Nothing was made of it, but its calls may have been heard: the age of the key goes on.
    """
    decision = look_up_in_vain(DOUBTED)

    assert () == decision.changes
    assert (False, NOW, NOW) == (
        decision.withdrawal.in_doubt,
        decision.withdrawal.first_attempt_at,
        decision.withdrawal.due_at,
    )
    assert Step.CREATE is next_step(decision.withdrawal, now=NOW, patience=PATIENCE)


def test_nothing_found_confirms_a_refusal() -> None:
    """
    Now that no earlier call can have succeeded, the provider's no is final.
    """
    decision = look_up_in_vain(REFUSED)

    assert [(Status.REJECTED, INSUFFICIENT, Cause.LOOKUP)] == [
        (change.status, change.reason, change.cause) for change in decision.changes
    ]
    assert (False, None) == (decision.withdrawal.in_doubt, decision.withdrawal.held_refusal)


def test_nothing_found_after_a_conflict_needs_a_person() -> None:
    """
    The provider knows the key and lists nothing: it contradicts itself.
    """
    decision = look_up_in_vain(CONFLICTED)

    assert [(Status.UNRESOLVED, Reason(ReasonCode.OUTCOME_UNKNOWN))] == [
        (change.status, change.reason) for change in decision.changes
    ]


def test_nothing_found_after_the_time_limit_expires() -> None:
    """
    What never arrived is not sent any more once it is too late.
    """
    before = a_withdrawal(an_order(not_after=NOW - SECOND))

    decision = look_up_in_vain(before)

    assert [(Status.REJECTED, Reason(ReasonCode.EXPIRED))] == [
        (change.status, change.reason) for change in decision.changes
    ]


@pytest.mark.parametrize(("answer", "seconds"), NOTHING_LEARNT, ids=repr)
def test_a_look_up_in_vain_is_never_final(answer: ListAnswer, seconds: int) -> None:
    """
    A list that cannot be read says nothing: neither does it count as empty.
    """
    before = replace(REFUSED, looks=3)

    decision = look_up(before, answer=answer)

    assert Decision(replace(before, looks=4, due_at=NOW + seconds * SECOND)) == decision


@pytest.mark.parametrize(("answer", "seconds"), NOTHING_LEARNT, ids=repr)
def test_a_look_up_in_vain_brings_the_next_no_nearer(answer: ListAnswer, seconds: int) -> None:
    """
    Woken in between, it leaves the next empty one a settling delay behind the one that counted.
    """
    counted = look_up(replace(REFUSED, looks=3)).withdrawal

    decision = look_up(replace(counted, looks=3), answer=answer, now=NOW + SECOND)

    due_at = NOW + max(PATIENCE.settling, (1 + seconds) * SECOND)
    assert Decision(replace(counted, looks=4, due_at=due_at)) == decision


def test_a_call_in_between_makes_earlier_look_ups_void() -> None:
    """
    What was not there before a call may be there after it.
    """
    seen = look_up_in_vain(DOUBTED, times=2).withdrawal

    decision = look_up(intend(seen, now=NOW, patience=PATIENCE).withdrawal)

    assert (1, True) == (decision.withdrawal.empty_lookups, decision.withdrawal.in_doubt)


def test_what_a_person_had_to_decide_may_be_found() -> None:
    """
    Nobody knew, so whatever turns out to be true follows; the reason for asking is gone.
    """
    parked = park(DOUBTED, SEVERAL, cause=Cause.LOOKUP, now=NOW).withdrawal

    decision = look_up(parked, Candidates(ours=(ONE,)))

    assert [(3, Status.PENDING, Status.UNRESOLVED, None, False)] == [
        (change.sequence, change.status, change.previous, change.reason, change.reversal)
        for change in decision.changes
    ]
    assert (None, NOW + 15 * SECOND) == (decision.withdrawal.reason, decision.withdrawal.due_at)


def test_what_a_person_must_decide_is_not_decided_by_an_empty_list() -> None:
    """
    Its doubt stays, whatever is not found.
    """
    parked = park(DOUBTED, SEVERAL, cause=Cause.LOOKUP, now=NOW).withdrawal

    decision = look_up_in_vain(parked)

    assert Decision(replace(parked, empty_lookups=3)) == decision


def test_a_look_up_that_is_refused_for_good_needs_a_person() -> None:
    """
    While the key is known a refused look-up is repeated; once it is forgotten nobody can tell.
    """
    early = look_up(DOUBTED, answer=refused(), now=NOW + timedelta(hours=1))
    late = look_up(DOUBTED, answer=refused(), now=NOW + PATIENCE.window)

    assert () == early.changes
    assert early.withdrawal.due_at is not None
    assert [Status.UNRESOLVED] == [change.status for change in late.changes]
    assert Reason(ReasonCode.OUTCOME_UNKNOWN, INSUFFICIENT.provider_code) == late.withdrawal.reason
    assert late.withdrawal.due_at is None


SILENT: list[ListAnswer] = [Unclear("list_moved"), Unclear("timeout"), Throttled()]
GIVEN_UP_AT = NOW + PATIENCE.window + LOOKUPS_GIVEN_UP_AFTER


@pytest.mark.parametrize("answer", SILENT, ids=repr)
def test_a_list_that_stays_silent_is_left_to_a_person(answer: ListAnswer) -> None:
    """
    Long after the key was forgotten, and asked often: nobody would ever be told otherwise.
    """
    before = replace(REFUSED, looks=LOOKUPS_IN_VAIN_MAX - 1, empty_lookups=2)

    decision = look_up(before, answer=answer, now=GIVEN_UP_AT)

    assert [(Status.UNRESOLVED, Reason(ReasonCode.OUTCOME_UNKNOWN), Cause.LOOKUP)] == [
        (change.status, change.reason, change.cause) for change in decision.changes
    ]
    assert (True, None) == (decision.withdrawal.in_doubt, decision.withdrawal.due_at)


@pytest.mark.parametrize(
    ("looks", "now", "answer"),
    [
        (LOOKUPS_IN_VAIN_MAX - 2, GIVEN_UP_AT + timedelta(days=9), Unclear("timeout")),
        (LOOKUPS_IN_VAIN_MAX + 9, GIVEN_UP_AT - SECOND, Unclear("timeout")),
        (LOOKUPS_IN_VAIN_MAX - 2, NOW - timedelta(days=9), Unclear("timeout")),
        (LOOKUPS_IN_VAIN_MAX + 9, NOW - PATIENCE.settling, Unclear("timeout")),
        (LOOKUPS_IN_VAIN_MAX + 9, GIVEN_UP_AT + timedelta(days=9), Denied()),
    ],
    ids=[
        "after a long downtime",
        "too early",
        "the clock went back",
        "the clock went back a little",
        "our credentials",
    ],
)
def test_a_list_is_not_given_up_too_early(
    looks: int, now: datetime, answer: Unclear | Denied
) -> None:
    """
    A worker that was off for days looks for hours first; refused credentials have to be mended.
    """
    decision = look_up(replace(DOUBTED, looks=looks), answer=answer, now=now)

    assert () == decision.changes
    assert looks + 1 == decision.withdrawal.looks
    assert decision.withdrawal.due_at is not None


def test_no_list_is_given_up_years_late_for_a_clock_that_went_back() -> None:
    """
    Of an age that nobody knows nothing is waited for: it was asked often, and a person is told.
    """
    before = replace(DOUBTED, looks=LOOKUPS_IN_VAIN_MAX)
    now = NOW - timedelta(days=1000)

    assert Status.UNRESOLVED is look_up(before, answer=SILENT[0], now=now).withdrawal.status


def test_without_a_first_attempt_the_intake_counts() -> None:
    """
    Nobody knows when it was sent, so the list is given up after the request's own age.
    """
    before = replace(DOUBTED, first_attempt_at=None, looks=LOOKUPS_IN_VAIN_MAX)

    decision = look_up(before, answer=Unclear("timeout"), now=GIVEN_UP_AT)

    assert Status.UNRESOLVED is decision.withdrawal.status


def test_a_list_that_was_read_begins_the_count_anew() -> None:
    """
    Only look-ups in a row are in vain, and the next one follows soon.
    """
    decision = look_up(replace(DOUBTED, looks=LOOKUPS_IN_VAIN_MAX))

    assert (0, NOW + PATIENCE.settling) == (decision.withdrawal.looks, decision.withdrawal.due_at)


def test_fresh_attempts_come_to_an_end() -> None:
    """
    A request that was begun anew for days is left to a person rather than paid out of the blue.
    """
    before = replace(DOUBTED, empty_lookups=2)
    end = NOW + FRESH_ATTEMPTS_END_AFTER

    last, none = look_up(before, now=end - SECOND), look_up(before, now=end)

    assert (False, NOW) == (last.withdrawal.in_doubt, last.withdrawal.first_attempt_at)
    assert [(Status.UNRESOLVED, Reason(ReasonCode.OUTCOME_UNKNOWN), Cause.LOOKUP)] == [
        (change.status, change.reason, change.cause) for change in none.changes
    ]
    assert none.withdrawal.in_doubt


def test_a_time_limit_is_the_requests_own_end() -> None:
    """
    Whoever gave one said for how long it may be tried.
    """
    end = NOW + FRESH_ATTEMPTS_END_AFTER
    before = a_withdrawal(an_order(not_after=end + SECOND), empty_lookups=2)

    decision = look_up(before, now=end)

    assert (False, NOW) == (decision.withdrawal.in_doubt, decision.withdrawal.first_attempt_at)
