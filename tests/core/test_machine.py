"""The promise itself, played out: requests, a provider, faults and crashes in any order.

Where other tests ask what one answer means, this one asks what a whole history leads to."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.core.builders import PATIENCE, SECOND
from tests.core.model import AFTERLIFE, MEMORY, TIMEOUT, Call, Calls, Crash, Fate, Provider, Worker
from worker.core.change import CANCEL_REFUSED
from worker.core.withdrawal import MOVES, TERMINAL, Status

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.withdrawal import Withdrawal

_HOUR: Final = timedelta(hours=1)
#: So far the worker's clock may be off. A list is read by days, so it must be less than one.
_OFF_MAX: Final = 12 * _HOUR
#: And so far where a memory began with a call long ago: when it has ended for certain is told by
#: that clock, to within what the certainty has to spare.
_OFF_MAX_COUNTING: Final = PATIENCE.forgotten - MEMORY - TIMEOUT - AFTERLIFE

_spans = st.sampled_from(
    [SECOND, TIMEOUT + AFTERLIFE, PATIENCE.settling, 2 * _HOUR, PATIENCE.window, MEMORY]
)
#: Before the end of a window: enough for a call to leave, time out and still be under way.
_brinks = st.sampled_from([SECOND, TIMEOUT + AFTERLIFE, _HOUR])
_any_calls = st.tuples(
    *[
        st.builds(
            Call,
            fate=st.sampled_from([*Fate, Fate.ANSWERED, Fate.ANSWER_LOST, Fate.LATE]),
            refuses=st.booleans(),
            # A process may sleep for a day between two of its lines.
            queued=st.sampled_from([timedelta(0)] * 4 + [2 * SECOND, MEMORY]),
        )
    ]
    * 3
)
_GONE: Final = Call(Fate.NEVER_ARRIVED)
#: What seldom comes about by chance: all calls of a run fail alike, or one is paid and not heard.
_RUNS: Final[list[Calls]] = [
    (Call(Fate.FAILED),) * 3,
    (_GONE,) * 3,
    (Call(Fate.ANSWER_LOST), _GONE, _GONE),
    (Call(refuses=True),),
]
_calls = _any_calls | st.sampled_from(_RUNS)
_crashes = st.sampled_from([*Crash, Crash.NOWHERE, Crash.NOWHERE])
_deadlines = st.sampled_from([None, 10 * SECOND, 30 * _HOUR])
_patiences = st.sampled_from([None, 30 * _HOUR, 60 * _HOUR])


class Payouts(RuleBasedStateMachine):
    """Requests are carried out while everything goes wrong that may go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.provider = Provider()
        self.worker = Worker(self.provider)

    @initialize(
        lags=st.sampled_from([True, True, False]),
        conflicts=st.booleans(),
        calls=_calls,
        crash=_crashes,
        marked=st.booleans(),
        left=_deadlines,
        patient=_patiences,
        counts=st.booleans(),
    )
    def begin(
        self,
        calls: Calls,
        crash: Crash,
        left: timedelta | None,
        patient: timedelta | None,
        *,
        lags: bool,
        conflicts: bool,
        counts: bool,
        marked: bool,
    ) -> None:
        """The provider has its habits, and the first request comes in."""
        self.provider.lag = PATIENCE.settling if lags else timedelta(0)
        self.provider.repeats_conflict = conflicts
        self.provider.counts_from_first = counts
        self.take(calls, crash, left, patient, marked=marked)

    @precondition(lambda self: len(self.worker.rows) < 2)
    @rule(calls=_calls, crash=_crashes, marked=st.booleans(), left=_deadlines, patient=_patiences)
    def take(
        self,
        calls: Calls,
        crash: Crash,
        left: timedelta | None,
        patient: timedelta | None,
        *,
        marked: bool,
    ) -> None:
        """A request comes in, and its first calls go out."""
        row = self.worker.take(marked=marked, left=left, patient=patient)
        self.worker.submit_first(row, calls, crash)

    @precondition(lambda self: self.worker.open_rows)
    @rule(data=st.data(), calls=_calls, crash=_crashes, deaf=st.sampled_from([False, False, True]))
    def work(self, data: st.DataObject, calls: Calls, crash: Crash, *, deaf: bool) -> None:
        """One row is taken up, once it is due."""
        row = data.draw(st.sampled_from(self.worker.open_rows))
        self._wait_for(self.worker.due_at(row))
        self.worker.step(row, calls, crash, deaf=deaf)

    @precondition(lambda self: self.worker.rows)
    @rule(data=st.data(), crash=_crashes)
    def cancel(self, data: st.DataObject, crash: Crash) -> None:
        """Somebody wants a request to be cancelled, and it is taken up at once."""
        row = data.draw(st.sampled_from(range(len(self.worker.rows))))
        self.worker.wanted.add(row)
        self.worker.step(row, (Call(),), crash)

    @rule(by=_spans)
    def pass_time(self, by: timedelta) -> None:
        """Nobody works: an outage of ours, or a quiet hour."""
        self.provider.pass_time(by)

    @precondition(lambda self: self.worker.open_rows)
    @rule(data=st.data(), before=_brinks)
    def wait_for_the_brink(self, data: st.DataObject, before: timedelta) -> None:
        """Nobody works until the key of a request is nearly out of its window."""
        row = self.worker.rows[data.draw(st.sampled_from(self.worker.open_rows))]
        if row.first_attempt_at is not None:
            self._wait_for(row.first_attempt_at + PATIENCE.window - before)

    @precondition(lambda self: self.provider.memory)
    @rule()
    def wait_until_forgotten(self) -> None:
        """Nobody works until the provider has forgotten a key."""
        heard_at = min(at for at, _ in self.provider.memory.values())
        self.provider.pass_time(max(timedelta(0), heard_at + MEMORY - self.provider.now))

    # Waiting is all that tells a list that lags from one that is empty: while a withdrawal is being
    # looked up, the clock may be wrong, but it has to go at its pace.
    @precondition(lambda self: not any(row.empty_lookups for row in self.worker.rows))
    @rule(by=_spans)
    def jump(self, by: timedelta) -> None:
        """The worker's clock jumps forward."""
        off_max = _OFF_MAX_COUNTING if self.provider.counts_from_first else _OFF_MAX
        self.worker.ahead = min(self.worker.ahead + by, off_max)

    @precondition(lambda self: self.provider.payouts)
    @rule(status=st.sampled_from(sorted(MOVES[Status.PENDING])))
    def get_on(self, status: Status) -> None:
        """The provider moves its payouts on."""
        for payout in list(self.provider.payouts.values()):
            if status in MOVES[payout.status]:
                self.provider.move(payout.withdrawal_id, status)

    @precondition(lambda self: self.worker.rows)
    @rule()
    def withdraw_elsewhere(self) -> None:
        """The customer withdraws the same amount by another way."""
        self.provider.execute("elsewhere", self.worker.rows[0].order)

    @invariant()
    def no_request_is_paid_twice(self) -> None:
        """At most one execution per request, ever."""
        for row in self.worker.rows:
            assert len(self.provider.paid(row)) <= 1

    @invariant()
    def a_rejected_request_was_not_paid(self) -> None:
        """Whoever is told `rejected` may ask again: nothing has moved, and nothing will."""
        for row in self.worker.rows:
            if row.status is Status.REJECTED or _was_never_sent(row):
                assert [] == self.provider.paid(row)

    @invariant()
    def a_marked_request_is_never_mixed_up(self) -> None:
        """What carries our reference is followed by the request that it belongs to."""
        for row in self.worker.rows:
            if row.withdrawal_id is not None and self.worker.is_marked(row):
                assert row.withdrawal_id in {p.withdrawal_id for p in self.provider.paid(row)}

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Whatever is open will be taken up again."""
        for row in self.worker.open_rows:
            assert self.worker.rows[row].due_at is not None

    @invariant()
    def the_story_has_no_gaps(self) -> None:
        """Events are numbered from 1 without a gap, and each continues where the last one ended."""
        for row, told in zip(self.worker.rows, self.worker.told, strict=True):
            assert list(range(1, row.sequence + 1)) == [change.sequence for change in told]
            for before, after in pairwise(told):
                assert before.status == after.previous
                is_mere_answer = after.word == CANCEL_REFUSED and after.status is before.status
                assert is_mere_answer or after.status in MOVES[before.status]

    def teardown(self) -> None:
        """Once the faults stop, every request comes to its end, or before a person."""
        for _ in range(60):
            for row in self.worker.open_rows:
                self._wait_for(self.worker.due_at(row))
                self.worker.step(row, (Call(),), Crash.NOWHERE)
            self.get_on(Status.COMPLETED)
        self.provider.pass_time(MEMORY)

        assert [] == self.worker.open_rows
        self.no_request_is_paid_twice()
        self.a_rejected_request_was_not_paid()
        self.a_marked_request_is_never_mixed_up()
        self.a_completed_request_was_paid()

    def a_completed_request_was_paid(self) -> None:
        """No request is lost: what ended well left the provider, under this name or another."""
        for row in self.worker.rows:
            if row.status in TERMINAL - {Status.REJECTED} and not _was_never_sent(row):
                assert row.withdrawal_id in self.provider.payouts

    def _wait_for(self, at: datetime) -> None:
        self.provider.pass_time(max(timedelta(0), at - self.worker.now))


def _was_never_sent(row: Withdrawal) -> bool:
    return row.status is Status.CANCELLED and row.withdrawal_id is None


# Most of what can go wrong goes wrong early: many short stories search better than a few long ones.
Payouts.TestCase.settings = settings(max_examples=1500, stateful_step_count=10, deadline=None)
TestPayouts = Payouts.TestCase
