"""How old a key is: while it is remembered a call may be repeated, once forgotten it begins anew.

Nobody has documented whether a provider's memory of a key begins with the first call that it heard,
whether later calls renew it, and whether a refused or failed call is executed anew under the same
record. So the model's provider does the worst of each here, and both ages must hold against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.builders import (
    INSUFFICIENT,
    NOW,
    PATIENCE,
    a_withdrawal,
    an_order,
    held,
    look_up,
)
from tests.core.model import MEMORY, Call, Calls, Crash, Fate, Provider, Worker
from worker.core.answers import Listed
from worker.core.limits import EMPTY_LOOKUPS_NEEDED, FRESH_ATTEMPTS_END_AFTER, next_call_at
from worker.core.permit import intend, permit
from worker.core.ruling import Inadmissible, NotCreated, decide_not_created
from worker.core.steps import Step, next_step, rests_until, wait_until_forgotten
from worker.core.withdrawal import Status, Withdrawal

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
WINDOW: Final = PATIENCE.window
#: From the first call until the key is forgotten for certain: the last may leave a window later.
CERTAIN: Final = WINDOW + PATIENCE.forgotten

_GONE: Final = Call(Fate.NEVER_ARRIVED)
_FAILED: Final[Calls] = (Call(Fate.FAILED),) * 3
_REFUSED: Final[Calls] = (Call(refuses=True),)
_LOST: Final[Calls] = (Call(Fate.ANSWER_LOST), _GONE, _GONE)
_SILENT: Final[Calls] = (_GONE,) * 3
_RUNS: Final = st.sampled_from([_FAILED, _REFUSED, _LOST, _SILENT, (Call(),)])


class _When(Enum):
    """When a row is taken up in a history of one key."""

    DUE = auto()
    BRINK = auto()
    SETTLED = auto()
    FORGOTTEN = auto()


_Turns = list[tuple[_When, Calls]]
_TURNS: Final = st.lists(st.tuples(st.sampled_from(_When), _RUNS), max_size=6)
#: Heard and failed all day; the fresh attempt pays unheard, and is repeated once it is forgotten.
_FAILED_ALL_DAY: Final[_Turns] = [(_When.SETTLED, _LOST), (_When.FORGOTTEN, (Call(),))]
#: The first call that is heard comes shortly before the window ends: its record lives longest.
_HEARD_LATE: Final[_Turns] = [
    (_When.BRINK, _REFUSED),
    (_When.SETTLED, _LOST),
    (_When.DUE, _LOST),
    (_When.FORGOTTEN, (Call(),)),
]


@given(first=_RUNS, turns=_TURNS, patient=st.booleans())
@example(first=_FAILED, turns=_FAILED_ALL_DAY, patient=False)
@example(first=_SILENT, turns=_HEARD_LATE, patient=True)
@settings(max_examples=1000, deadline=None)
def test_no_history_of_a_key_pays_twice(first: Calls, turns: _Turns, *, patient: bool) -> None:
    """
    Whenever it is tried, and whatever came of it before: at most one execution.
    """
    provider = Provider(counts_from_first=True)
    worker = Worker(provider)
    row = worker.take(marked=True, left=None, patient=9 * _DAY if patient else None)
    worker.submit_first(row, first, Crash.NOWHERE)
    for when, calls in turns:
        _wait(worker, row, when)
        if row in worker.open_rows:
            worker.step(row, calls, Crash.NOWHERE)
    for _ in range(30):
        if row in worker.open_rows and worker.rows[row].withdrawal_id is None:
            provider.pass_time(max(timedelta(0), worker.due_at(row) - provider.now))
            worker.step(row, (Call(),), Crash.NOWHERE)

    assert len(provider.paid(worker.rows[row])) <= 1
    assert worker.rows[row].withdrawal_id is not None or worker.rows[row].is_at_rest


def _wait(worker: Worker, row: int, when: _When) -> None:
    """Wait for a moment in the life of a row's key; time that has passed is passed."""
    provider, known = worker.provider, worker.rows[row]
    until = known.due_at or provider.now
    if when is _When.BRINK and known.first_attempt_at is not None:
        until = known.first_attempt_at + WINDOW - _HOUR / 2
    if when is _When.FORGOTTEN:
        until = min(provider.first_heard.values(), default=provider.now) + MEMORY
    if when is _When.SETTLED and known.first_attempt_at is not None and known.in_doubt:
        provider.pass_time(max(timedelta(0), known.first_attempt_at + WINDOW - provider.now))
        while row in worker.open_rows and worker.rows[row].in_doubt:
            provider.pass_time(max(timedelta(0), worker.due_at(row) - provider.now))
            worker.step(row, (), Crash.NOWHERE)
        return
    provider.pass_time(max(timedelta(0), until - provider.now))


def test_the_fresh_attempt_waits_until_every_call_before_it_is_forgotten() -> None:
    """
    Calls that failed may have been heard: after three empty look-ups it goes on by itself, later.
    """
    worker, row = _heard_and_failed()
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        worker.provider.pass_time(max(timedelta(0), worker.due_at(row) - worker.now))
        worker.step(row, (), Crash.NOWHERE)

    assert (False, NOW) == (worker.rows[row].in_doubt, worker.rows[row].first_attempt_at)
    assert Step.WAIT is worker.step(row, (Call(),), Crash.NOWHERE)
    assert NOW + CERTAIN == worker.due_at(row)
    worker.provider.pass_time(worker.due_at(row) - worker.now)
    assert Step.CREATE is worker.step(row, (Call(),), Crash.NOWHERE)
    assert (NOW + CERTAIN, Status.PENDING) == (
        worker.rows[row].first_attempt_at,
        worker.rows[row].status,
    )


def _heard_and_failed() -> tuple[Worker, int]:
    provider = Provider(counts_from_first=True)
    worker = Worker(provider)
    row = worker.take(marked=True, left=None)
    worker.submit_first(row, _FAILED, Crash.NOWHERE)
    provider.pass_time(NOW + WINDOW - provider.now)
    return worker, row


def test_what_would_begin_anew_too_late_is_left_to_a_person_at_once() -> None:
    """
    Nobody waits for a day for a fresh attempt that begins beyond the limit of those.
    """
    first_at = NOW + FRESH_ATTEMPTS_END_AFTER - CERTAIN
    last = a_withdrawal(first_attempt_at=first_at, empty_lookups=EMPTY_LOOKUPS_NEEDED - 1)

    assert Status.UNRESOLVED is look_up(last, now=first_at + WINDOW).withdrawal.status
    younger = replace(last, first_attempt_at=first_at - timedelta(microseconds=1))
    assert Status.RECEIVED is look_up(younger, now=first_at + WINDOW).withdrawal.status


@pytest.mark.parametrize(
    ("at", "first_at"),
    [
        (NOW + WINDOW, NOW),
        (NOW + CERTAIN - _MINUTE, NOW),
        (NOW + CERTAIN, NOW + CERTAIN),
        (NOW - _DAY, NOW),
    ],
    ids=["window's end", "perhaps forgotten", "forgotten", "clock back"],
)
def test_time_that_passes_before_the_intent_makes_no_key_young(
    at: datetime, first_at: datetime
) -> None:
    """
    The step was chosen, a wallet was read, the window ended: the age stays, and no call leaves.
    """
    intended = intend(a_withdrawal(in_doubt=False), now=at, patience=PATIENCE).withdrawal

    assert first_at == intended.first_attempt_at
    granted = permit(held(intended), now=at, patience=PATIENCE)
    assert (first_at == at) is (granted is not None)


def test_a_doubt_without_a_first_call_is_given_no_age() -> None:
    """
    When the key was first used is not known then, and what is not known is not made young.
    """
    intended = intend(a_withdrawal(first_attempt_at=None), now=NOW, patience=PATIENCE).withdrawal

    assert None is intended.first_attempt_at
    assert None is permit(held(intended), now=NOW, patience=PATIENCE)


@pytest.mark.parametrize(
    ("at", "changes", "until"),
    [
        (NOW + WINDOW, {}, NOW + CERTAIN),
        (NOW + WINDOW - _MINUTE, {}, None),
        (NOW + CERTAIN, {}, None),
        (NOW + WINDOW, {"in_doubt": True}, None),
        (NOW + WINDOW, {"status": Status.UNRESOLVED}, None),
    ],
    ids=["rests", "remembered", "forgotten", "in doubt", "left to a person"],
)
def test_how_long_a_key_rests_can_be_told(
    at: datetime, changes: dict[str, Any], until: datetime | None
) -> None:
    """
    Where nothing else keeps the next call from leaving; else nothing is said of it.
    """
    known = a_withdrawal(**({"in_doubt": False} | changes))

    assert until == rests_until(known, now=at, patience=PATIENCE)


@pytest.mark.parametrize(
    ("ruled_at", "step", "leaves_at"),
    [
        (_HOUR, Step.CREATE, _HOUR),
        (WINDOW + _HOUR / 2, Step.WAIT, CERTAIN),
        (CERTAIN, Step.CREATE, CERTAIN),
    ],
    ids=["still remembered", "perhaps forgotten", "forgotten"],
)
def test_a_persons_word_makes_no_key_young(
    ruled_at: timedelta, step: Step, leaves_at: timedelta
) -> None:
    """
    Within the window the same key leaves again, else the fresh attempt waits like every other.
    """
    at = NOW + ruled_at
    ruled = _not_created(a_withdrawal(status=Status.UNRESOLVED, in_doubt=False), now=at)

    assert (False, NOW) == (ruled.in_doubt, ruled.first_attempt_at)
    assert step is next_step(ruled, now=at, patience=PATIENCE)
    assert NOW + leaves_at == next_call_at(ruled, now=at, patience=PATIENCE)


def _not_created(unresolved: Withdrawal, *, now: datetime) -> Withdrawal:
    decision = decide_not_created(
        unresolved,
        NotCreated("Ada", "not there"),
        Listed(()),
        owned=frozenset(),
        last_call_at=None,
        now=now,
        patience=PATIENCE,
    )
    assert not isinstance(decision, Inadmissible)
    return decision.withdrawal


def test_a_clock_that_went_back_makes_nobody_wait_for_years() -> None:
    """
    A first call in the future tells no age, but all its calls are past: the last of them just now.
    """
    years = 1000 * _DAY
    ahead = a_withdrawal(in_doubt=False, first_attempt_at=NOW + years)
    waiting = wait_until_forgotten(ahead, now=NOW, patience=PATIENCE).withdrawal
    due_at = NOW + PATIENCE.forgotten

    assert Step.WAIT is next_step(ahead, now=NOW, patience=PATIENCE)
    assert due_at == waiting.due_at
    # It is not put off anew, and the key was made no younger than it may be.
    assert Step.WAIT is next_step(waiting, now=NOW + _HOUR, patience=PATIENCE)
    again = wait_until_forgotten(waiting, now=NOW + _HOUR, patience=PATIENCE).withdrawal
    assert due_at == again.due_at
    assert Step.CREATE is next_step(again, now=due_at, patience=PATIENCE)
    assert due_at == intend(again, now=due_at, patience=PATIENCE).withdrawal.first_attempt_at


def test_a_doubt_under_a_clock_that_went_back_is_settled_and_waits_as_long() -> None:
    """
    Three empty look-ups end the doubt; the last call may have left right before them.
    """
    known = a_withdrawal(first_attempt_at=NOW + 1000 * _DAY)
    at = NOW
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        assert Step.LOOKUP is next_step(known, now=at, patience=PATIENCE)
        known = look_up(known, now=at).withdrawal
        at = known.due_at or at

    assert Step.WAIT is next_step(known, now=at, patience=PATIENCE)
    resting = wait_until_forgotten(known, now=at, patience=PATIENCE).withdrawal
    assert at + PATIENCE.forgotten == resting.due_at


def test_a_window_of_another_length_moves_both_ages() -> None:
    """
    What a provider is trusted with less, it has forgotten for certain sooner.
    """
    short = replace(PATIENCE, windows={"bluum": _HOUR}, forgotten=2 * _HOUR)
    refused = a_withdrawal(in_doubt=False, reason=INSUFFICIENT)

    assert Step.CREATE is next_step(refused, now=NOW + _HOUR - _MINUTE, patience=short)
    assert Step.WAIT is next_step(refused, now=NOW + 3 * _HOUR - _MINUTE, patience=short)
    assert Step.CREATE is next_step(refused, now=NOW + 3 * _HOUR, patience=short)
    assert NOW + 3 * _HOUR == next_call_at(refused, now=NOW + 2 * _HOUR, patience=short)


def test_the_request_ends_before_its_key_is_forgotten() -> None:
    """
    Nothing of it is with the provider: it is told as expired at its own limit, and never sent.
    """
    limited = an_order(not_after=NOW + WINDOW + _HOUR)
    settled = a_withdrawal(limited, in_doubt=False)
    resting = wait_until_forgotten(settled, now=NOW + WINDOW, patience=PATIENCE).withdrawal

    # Right after its last moment, so that it is not put off to the same moment for ever.
    over_at = NOW + WINDOW + _HOUR + timedelta.resolution
    assert over_at == resting.due_at
    assert Step.EXPIRE is next_step(resting, now=over_at, patience=PATIENCE)
