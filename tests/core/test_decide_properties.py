"""What holds for every decision, whatever came before and whatever was answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    a_withdrawal,
    create,
    held,
    look,
    look_up,
)
from tests.core.strategies import (
    Taken,
    any_taken,
    assert_coherent,
    candidates,
    doubted,
    ended,
    fit_taken,
    known,
    list_answers,
    moments,
    on_look,
    on_lookup,
    parked,
    refusals,
    silences,
    taken,
    withdrawals,
)
from worker.core.answers import Denied, Listed, Refused, Throttled, Unclear
from worker.core.change import put_off
from worker.core.limits import EMPTY_LOOKUPS_NEEDED
from worker.core.permit import permit
from worker.core.steps import Step, next_step
from worker.core.withdrawal import MOVES, TERMINAL, Status, Withdrawal, is_reversal

if TYPE_CHECKING:
    from worker.core.answers import ListAnswer
    from worker.core.lookup import Candidates

THOROUGH = settings(max_examples=500)


@given(withdrawals)
def test_the_arbitrary_withdrawals_are_coherent(withdrawal: Withdrawal) -> None:
    """
    The properties below start from what a history can leave behind.
    """
    assert_coherent(withdrawal)


@THOROUGH
@given(fit_taken)
def test_no_decision_leads_out_of_what_is_coherent(taken: Taken) -> None:
    """
    What holds of every withdrawal before a decision holds after it, and so for ever.
    """
    assert_coherent(taken.decision.withdrawal)


@given(withdrawals, silences, candidates, moments)
def test_silence_changes_nothing(
    withdrawal: Withdrawal,
    answer: Unclear | Throttled | Denied,
    found: Candidates,
    now: datetime,
) -> None:
    """
    Silence is not failure: after any call it ends nothing, and at the most a person is called.
    """
    for decision in (create(withdrawal, answer), look(withdrawal, answer)):
        assert () == decision.changes
        assert withdrawal.status is decision.withdrawal.status
    looked_up = look_up(withdrawal, found, answer=answer, now=now)
    assert {Status.UNRESOLVED} >= {change.status for change in looked_up.changes}
    assert looked_up.changes or withdrawal.status is looked_up.withdrawal.status


@given(doubted, refusals)
def test_a_refusal_after_doubt_is_never_final(withdrawal: Withdrawal, answer: Refused) -> None:
    """
    Neither of a create call nor of a look-up, which may call a person at the most.
    """
    created, looked_up = create(withdrawal, answer), look_up(withdrawal, answer=answer)

    assert () == created.changes
    assert {Status.UNRESOLVED} >= {change.status for change in looked_up.changes}
    for decision in (created, looked_up):
        assert decision.withdrawal.in_doubt
        assert not decision.withdrawal.is_finished


@given(st.one_of(known, ended), refusals)
def test_a_refused_look_is_never_final(withdrawal: Withdrawal, answer: Refused) -> None:
    """
    What the provider once held it holds, even if it will not show it.
    """
    assert () == look(withdrawal, answer).changes


@THOROUGH
@given(any_taken)
def test_changes_are_numbered_without_a_gap(taken: Taken) -> None:
    """
    Each change follows the one before, and the withdrawal carries the last one's number.
    """
    numbers = [change.sequence for change in taken.decision.changes]

    begin = taken.before.sequence
    assert list(range(begin + 1, begin + 1 + len(numbers))) == numbers
    assert begin + len(numbers) == taken.decision.withdrawal.sequence


@THOROUGH
@given(any_taken)
def test_every_move_is_in_the_table(taken: Taken) -> None:
    """
    No answer, however late or odd, makes a move that the table does not know.
    """
    here = taken.before.status
    for change in taken.decision.changes:
        assert here is change.previous
        assert change.status in MOVES[here]
        assert is_reversal(here, change.status) is change.reversal
        here = change.status

    assert here is taken.decision.withdrawal.status


@THOROUGH
@given(any_taken)
def test_nothing_is_forgotten_and_nothing_is_asked_for_ever(taken: Taken) -> None:
    """
    What is open has a due time; what is finished, or before a person, has none.
    """
    withdrawal = taken.decision.withdrawal

    at_rest = withdrawal.status in TERMINAL | {Status.UNRESOLVED}
    assert at_rest is (withdrawal.due_at is None)


@THOROUGH
@given(any_taken)
def test_an_id_never_changes(taken: Taken) -> None:
    """
    Once it is known which withdrawal at the provider is ours, it stays that one.
    """
    before = taken.before.withdrawal_id

    assert before in {None, taken.decision.withdrawal.withdrawal_id}


@THOROUGH
@given(any_taken)
def test_what_was_asked_for_never_changes(taken: Taken) -> None:
    """
    Key, body, amount and party are those that were committed with the intent.
    """
    assert taken.before.order is taken.decision.withdrawal.order


@THOROUGH
@given(taken(withdrawals, st.one_of(on_look, on_lookup)), moments)
def test_looking_does_not_make_it_possible_to_pay(taken: Taken, later: datetime) -> None:
    """
    The one exception is a list that was read and was empty often enough in a row.
    """
    before, after = taken.before, taken.decision.withdrawal
    could = next_step(before, now=later, patience=PATIENCE) is Step.CREATE
    can = next_step(after, now=later, patience=PATIENCE) is Step.CREATE

    assert could or not can or before.empty_lookups >= EMPTY_LOOKUPS_NEEDED - 1


@given(doubted, candidates, list_answers, moments)
def test_doubt_is_ended_by_certainty_alone(
    withdrawal: Withdrawal,
    found: Candidates,
    answer: Listed | Refused | Unclear | Throttled | Denied,
    now: datetime,
) -> None:
    """
    A look-up frees for another payment only when the list was read and showed nothing at all.
    """
    decision = look_up(withdrawal, found, answer=answer, now=now)

    if not decision.withdrawal.in_doubt and decision.withdrawal.withdrawal_id is None:
        assert isinstance(answer, Listed)
        assert frozenset() == found.ids
        assert withdrawal.empty_lookups >= EMPTY_LOOKUPS_NEEDED - 1


@given(st.one_of(doubted, parked), moments)
def test_an_end_of_ours_needs_an_empty_list(withdrawal: Withdrawal, now: datetime) -> None:
    """
    Whoever is told `rejected` may ask again, so the doubt must be over by then.
    """
    decision = look_up(withdrawal, now=now)

    if Status.REJECTED is decision.withdrawal.status:
        assert withdrawal.empty_lookups >= EMPTY_LOOKUPS_NEEDED - 1
        assert not decision.withdrawal.in_doubt


@THOROUGH
@given(withdrawals, moments)
def test_a_permit_needs_every_condition(withdrawal: Withdrawal, now: datetime) -> None:
    """
    There is a permit exactly when nothing speaks against paying, and it ends in time.
    """
    order, first_at = withdrawal.order, withdrawal.first_attempt_at
    may = (
        withdrawal.in_doubt
        and first_at is not None
        and first_at - PATIENCE.settling <= now < first_at + PATIENCE.window
        and (order.not_after is None or now <= order.not_after)
        and withdrawal.withdrawal_id is None
        and withdrawal.held_refusal is None
        and not withdrawal.is_at_rest
    )

    granted = permit(held(withdrawal), now=now, patience=PATIENCE)

    assert may is (granted is not None)
    if granted is not None and first_at is not None:
        assert granted.valid_until <= first_at + PATIENCE.window
        assert order.not_after is None or granted.valid_until <= order.not_after
        assert (order.idempotency_key, order.body) == (granted.idempotency_key, granted.body)


@given(withdrawals, st.timedeltas(timedelta(0), timedelta(days=9)))
def test_what_is_at_rest_stays_at_rest(withdrawal: Withdrawal, by: timedelta) -> None:
    """
    One that has ended or waits for a person is only looked at, if that.
    """
    step = next_step(withdrawal, now=NOW + by, patience=PATIENCE)

    is_known = withdrawal.is_finished and withdrawal.withdrawal_id is not None
    is_looked_at = is_known and withdrawal.status is not Status.REJECTED
    assert withdrawal.is_at_rest is (step is Step.REST or (is_looked_at and step is Step.LOOK))


#: What may happen to a withdrawal in doubt: after how many seconds, what, how long an answer takes.
_happenings = st.lists(
    st.tuples(
        st.integers(0, 700),
        st.sampled_from(["falls due", "is woken", "is left alone"]),
        st.integers(0, 90),
        list_answers,
    ),
    max_size=30,
)


@THOROUGH
@given(_happenings)
def test_empty_look_ups_that_count_are_a_settling_delay_apart(
    happenings: list[tuple[int, str, int, ListAnswer]],
) -> None:
    """
    From the end of one to the beginning of the next, whatever woke it or failed in between.
    """
    withdrawal = a_withdrawal(held_refusal=INSUFFICIENT, due_at=NOW)
    now, counted_at = NOW, NOW - PATIENCE.settling
    for seconds, what, takes, answer in happenings:
        now += timedelta(seconds=seconds)
        if what == "is left alone":
            withdrawal = put_off(withdrawal, until=now + timedelta(minutes=1))
            continue
        assert withdrawal.due_at is not None
        asked_at = max(now, withdrawal.due_at) if what == "falls due" else now
        now = asked_at + timedelta(seconds=takes)
        seen = look_up(withdrawal, answer=answer, now=now, asked_at=asked_at).withdrawal
        if seen.empty_lookups > withdrawal.empty_lookups:
            assert asked_at >= counted_at + PATIENCE.settling
            counted_at = now
        withdrawal = seen
        if withdrawal.is_at_rest:
            break
