"""Whole histories against the small provider, each the shortest way to a loss that was once open.

`test_machine` searches for such histories; here stand those that must never come back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tests.core.builders import PATIENCE, SECOND
from tests.core.model import MEMORY, Call, Crash, Fate, Provider, Worker
from worker.core.steps import Step
from worker.core.withdrawal import Status

LATE: Final = (Call(Fate.LATE),)
LOST: Final = (Call(Fate.ANSWER_LOST),)
UNHEARD: Final = (Call(Fate.NEVER_ARRIVED),)
ANSWERED: Final = (Call(),)
REFUSED: Final = (Call(refuses=True),)


def a_worker(*, lag: timedelta = timedelta(0)) -> Worker:
    """A worker whose provider's list lags."""
    return Worker(Provider(lag=lag))


def go_on(worker: Worker, times: int = 1) -> list[Step]:
    """Take the first row up when it is due, so many times, without any fault."""
    steps = []
    for _ in range(times):
        worker.provider.pass_time(max(timedelta(0), worker.due_at(0) - worker.now))
        steps.append(worker.step(0, ANSWERED, Crash.NOWHERE))
    return steps


def test_a_late_call_in_a_lagging_list_is_not_taken_for_none() -> None:
    """
    A call executes after we gave it up and is listed late: that it was not seen twice is too few.
    """
    worker = a_worker(lag=PATIENCE.settling)
    worker.take(marked=True, left=10 * SECOND)
    worker.submit_first(0, LATE, Crash.NOWHERE)

    assert [Step.LOOKUP] * 3 == go_on(worker, times=3)
    assert Status.PENDING is worker.rows[0].status
    assert 1 == len(worker.provider.paid(worker.rows[0]))


def test_an_outage_longer_than_the_providers_memory_does_not_pay_again() -> None:
    """
    A payout whose answer was lost is found in the list once its key is forgotten.
    """
    worker = a_worker()
    worker.take(marked=True, left=None)
    worker.submit_first(0, LOST, Crash.NOWHERE)
    worker.provider.pass_time(MEMORY)

    assert [Step.LOOKUP] == go_on(worker)
    assert 1 == len(worker.provider.paid(worker.rows[0]))


def test_repeated_calls_do_not_make_a_key_younger() -> None:
    """
    Silence again shortly before the window's end: the provider's memory began with the first call.
    """
    worker = a_worker()
    worker.take(marked=True, left=None)
    worker.submit_first(0, LOST, Crash.NOWHERE)
    worker.provider.pass_time(PATIENCE.window - 60 * SECOND)
    worker.step(0, UNHEARD, Crash.NOWHERE)
    worker.provider.pass_time(timedelta(hours=2))

    assert [Step.LOOKUP] == go_on(worker)
    assert 1 == len(worker.provider.paid(worker.rows[0]))


def test_a_refusal_may_be_overtaken() -> None:
    """
    The second call is refused while the first is still on its way: the refusal is not the end.
    """
    worker = a_worker()
    worker.take(marked=True, left=None)
    worker.submit_first(0, LATE + REFUSED, Crash.NOWHERE)

    assert [Step.LOOKUP] == go_on(worker)
    assert Status.PENDING is worker.rows[0].status


def test_a_crash_before_the_answer_was_written_down_pays_once() -> None:
    """
    The intent survives, the same key goes out again, and the provider repeats itself.
    """
    worker = a_worker()
    worker.take(marked=False, left=None)
    worker.submit_first(0, ANSWERED, Crash.BEFORE_RECORDING)

    assert [Step.CREATE, Step.LOOK] == go_on(worker, times=2)
    assert 1 == len(worker.provider.paid(worker.rows[0]))


def test_what_never_arrived_is_paid_in_the_end() -> None:
    """
    No request is lost: after the key's window and an empty list it waits, and is sent afresh.
    """
    worker = a_worker(lag=PATIENCE.settling)
    worker.take(marked=True, left=None)
    worker.submit_first(0, UNHEARD, Crash.NOWHERE)
    worker.provider.pass_time(PATIENCE.window)

    assert [*[Step.LOOKUP] * 3, Step.WAIT, Step.CREATE] == go_on(worker, times=5)
    assert Status.PENDING is worker.rows[0].status
    assert 1 == len(worker.provider.paid(worker.rows[0]))


def test_a_clock_that_was_set_back_is_not_believed() -> None:
    """
    A first call "in the future" has an unknown age: it is looked for instead of repeated.
    """
    worker = a_worker()
    worker.ahead = timedelta(hours=12)
    worker.take(marked=True, left=None)
    worker.submit_first(0, LOST, Crash.NOWHERE)
    worker.ahead = timedelta(0)

    assert Step.LOOKUP is worker.step(0, ANSWERED, Crash.NOWHERE)
    assert Status.PENDING is worker.rows[0].status


def test_a_process_that_slept_lets_no_old_call_leave() -> None:
    """
    Between permit and sending a day may pass: the permit has an end, and it is asked last.
    """
    worker = a_worker()
    worker.take(marked=True, left=None)
    worker.submit_first(0, LOST, Crash.NOWHERE)
    worker.step(0, (Call(queued=MEMORY),), Crash.NOWHERE)

    assert [Step.LOOKUP] == go_on(worker)
    assert 1 == len(worker.provider.paid(worker.rows[0]))
