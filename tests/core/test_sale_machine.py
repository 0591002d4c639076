"""The promise about orders, played out: a market, faults and crashes in any order.

Where other tests ask what one answer means, this one asks what a whole history leads to."""

from __future__ import annotations

from dataclasses import replace
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
from tests.core.model import AFTERLIFE, MEMORY, TIMEOUT, Call, Crash, Fate
from tests.core.sale_model import RESTING, Market, Worker
from worker.core.sale import SaleStatus, is_over
from worker.core.withdrawal import MOVES, Status

if TYPE_CHECKING:
    from datetime import datetime

_HOUR: Final = timedelta(hours=1)

_spans = st.sampled_from([SECOND, TIMEOUT + AFTERLIFE, PATIENCE.settling, 2 * _HOUR, MEMORY])
_calls = st.builds(
    Call,
    fate=st.sampled_from([*Fate, Fate.ANSWERED, Fate.ANSWER_LOST, Fate.LATE, Fate.LATE]),
    refuses=st.booleans(),
    # A process may sleep for a day between two of its lines.
    queued=st.sampled_from([timedelta(0)] * 4 + [2 * SECOND, MEMORY]),
)
_crashes = st.sampled_from([*Crash, Crash.NOWHERE, Crash.NOWHERE])
_deadlines = st.sampled_from([None, None, 10 * SECOND, 30 * _HOUR])


class Sales(RuleBasedStateMachine):
    """Orders are placed while everything goes wrong that may go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.market = Market()
        self.worker = Worker(self.market)

    @initialize(
        lags=st.sampled_from([True, True, False]),
        honours=st.booleans(),
        nameless=st.sampled_from([False, False, True]),
        left=_deadlines,
    )
    def begin(self, left: timedelta | None, *, lags: bool, honours: bool, nameless: bool) -> None:
        """The market has its habits, and the first request comes in."""
        self.market.lag = PATIENCE.settling if lags else timedelta(0)
        self.market.honours = honours
        self.market.nameless = nameless
        self.worker.take(orders=2, left=left)

    @precondition(lambda self: len(self.worker.rows) < 2)
    @rule(left=_deadlines)
    def take(self, left: timedelta | None) -> None:
        """A request that sells the same comes in."""
        self.worker.take(orders=1, left=left)

    @precondition(lambda self: self.worker.open_rows)
    @rule(data=st.data(), call=_calls, crash=_crashes, deaf=st.sampled_from([False, False, True]))
    def work(self, data: st.DataObject, call: Call, crash: Crash, *, deaf: bool) -> None:
        """One row is taken up, once it is due."""
        row = data.draw(st.sampled_from(self.worker.open_rows))
        self._wait_for(self.worker.due_at(row))
        if row in self.worker.open_rows:
            self.worker.step(row, call, crash, deaf=deaf)

    @precondition(lambda self: self.worker.open_rows)
    @rule(data=st.data(), call=_calls)
    def wake(self, data: st.DataObject, call: Call) -> None:
        """A hint: one row is taken up before it is due."""
        self.worker.step(data.draw(st.sampled_from(self.worker.open_rows)), call, Crash.NOWHERE)

    @precondition(lambda self: self.worker.open_rows)
    @rule(data=st.data())
    def want_cancelled(self, data: st.DataObject) -> None:
        """Somebody cancels a request."""
        row = data.draw(st.sampled_from(self.worker.open_rows))
        self.worker.rows[row] = replace(self.worker.rows[row], cancel_wanted=True)

    @rule(by=_spans)
    def pass_time(self, by: timedelta) -> None:
        """Nobody works: an outage of ours, or a quiet hour."""
        self.market.pass_time(by)

    # As with withdrawals: while an order is being looked up, the clock has to go at its pace.
    @precondition(
        lambda self: not any(s.empty_lookups for row in self.worker.rows for s in row.sales)
    )
    @rule(by=_spans)
    def jump(self, by: timedelta) -> None:
        """The worker's clock jumps forward."""
        self.worker.ahead = min(self.worker.ahead + by, 12 * _HOUR)

    @precondition(lambda self: self.market.book)
    @rule(
        data=st.data(),
        status=st.sampled_from(
            [SaleStatus.PARTIAL, SaleStatus.FILLED, SaleStatus.CANCELLED, SaleStatus.FAILED]
        ),
    )
    def get_on(self, data: st.DataObject, status: SaleStatus) -> None:
        """The market moves one of its orders on."""
        self.market.move(data.draw(st.sampled_from(sorted(self.market.book))), status)

    @rule(is_closed=st.booleans())
    def close(self, *, is_closed: bool) -> None:
        """The market closes, or opens."""
        self.market.is_closed = is_closed

    @rule()
    def sell_elsewhere(self) -> None:
        """The customer sells the same by another way."""
        self.market.execute("elsewhere")

    @invariant()
    def no_order_is_placed_twice(self) -> None:
        """At most one execution per order, ever."""
        for row in self.worker.rows:
            for sale in row.sales:
                assert len(self.market.sold(sale)) <= 1

    @invariant()
    def what_is_followed_is_ours(self) -> None:
        """No order of the customer's, or of another request, is taken for one of these."""
        for row in self.worker.rows:
            for sale in row.sales:
                assert sale.order_id in {
                    None,
                    *(order.order_id for order in self.market.sold(sale)),
                }

    @invariant()
    def an_ended_request_leaves_nothing_behind(self) -> None:
        """No order of it rests, or exists without being shown in its end."""
        for row in self.worker.rows:
            if not row.is_finished:
                continue
            assert row.status in {Status.REJECTED, Status.CANCELLED}
            for sale in row.sales:
                sold = self.market.sold(sale)
                assert [sale.order_id] * len(sold) == [order.order_id for order in sold]
                assert not any(order.status in RESTING for order in sold)

    @invariant()
    def cash_is_raised_before_it_is_withdrawn(self) -> None:
        """A sale is over only when the market filled every order of it."""
        for row in self.worker.rows:
            if row.sales and is_over(row.sales):
                for sale in row.sales:
                    assert [SaleStatus.FILLED] == [o.status for o in self.market.sold(sale)]

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
                assert after.status in MOVES[before.status]

    def teardown(self) -> None:
        """Once the faults stop, every sale comes to its end, or before a person."""
        self.market.is_closed = False
        for _ in range(40):
            for row in self.worker.open_rows:
                self._wait_for(self.worker.due_at(row))
                if row in self.worker.open_rows:
                    self.worker.step(row, Call(), Crash.NOWHERE)
            for order_id in self.market.book:
                self.market.move(order_id, SaleStatus.FILLED)
        self.market.pass_time(MEMORY)

        assert [] == self.worker.open_rows
        self.no_order_is_placed_twice()
        self.what_is_followed_is_ours()
        self.an_ended_request_leaves_nothing_behind()
        self.cash_is_raised_before_it_is_withdrawn()

    def _wait_for(self, at: datetime) -> None:
        self.market.pass_time(max(timedelta(0), at - self.worker.now))


Sales.TestCase.settings = settings(max_examples=600, stateful_step_count=12, deadline=None)
TestSales = Sales.TestCase
