"""A market and a worker in small, on clocks that only tests move.

The market does its worst within what is promised of it: it executes an order at once or later,
answers or is silent, honours a key for a day or not at all, and lists an order only after a while,
perhaps without its `client_order_id`. All that the worker decides, it asks of the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from tests.core.builders import EVEN, NOW, PATIENCE, an_order
from tests.core.model import AFTERLIFE, MEMORY, TIMEOUT, Call, Crash, Fate
from tests.core.sale_builders import CLOSED, SILENCE, TOO_FEW
from worker.core.answers import Conflicted, Denied, Throttled
from worker.core.change import Decision, Held
from worker.core.permit import take_in
from worker.core.sale import Found, OrderReport, OrdersListed, Sale, SaleStatus, find, sale_key
from worker.core.sale_permit import SalePermit, intend_sale, sale_permit
from worker.core.sale_steps import Cancel, End, LookUp, Place, Read, end_sale, sale_step
from worker.core.selling import decide_found, decide_placed, decide_seen
from worker.core.steps import Step, next_step
from worker.core.withdrawal import Withdrawal

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Change
    from worker.core.sale import OrderAnswer, OrdersAnswer
    from worker.core.sale_steps import SaleStep
    from worker.core.selling import Timing

RESTING = frozenset({SaleStatus.OPEN, SaleStatus.PARTIAL})


@dataclass
class Market:
    """Executes orders. `honours` tells whether it knows a key again, for a day."""

    lag: timedelta = timedelta(0)
    honours: bool = False
    nameless: bool = False
    now: datetime = NOW
    is_closed: bool = False
    book: dict[str, OrderReport] = field(default_factory=dict)
    listed_at: dict[str, datetime] = field(default_factory=dict)
    memory: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    under_way: list[tuple[datetime, str, bool]] = field(default_factory=list)

    def pass_time(self, by: timedelta) -> None:
        """Let time pass; calls that are still under way arrive in their order."""
        until = self.now + by
        self.under_way.sort()
        while self.under_way and self.under_way[0][0] <= until:
            at, key, refuses = self.under_way.pop(0)
            self.now = max(self.now, at)
            self.sell(key, refuses=refuses)
        self.now = until

    def sell(self, key: str, *, refuses: bool) -> OrderAnswer:
        """Execute a call, unless its key is remembered or the answer is no."""
        known = self.memory.get(key) if self.honours else None
        if known is not None and self.now - known[0] < MEMORY:
            return self.book[known[1]]
        if self.is_closed:
            return CLOSED
        if refuses:
            return TOO_FEW
        order = self.execute(key)
        self.memory[key] = self.now, order.order_id
        return order

    def execute(self, key: str) -> OrderReport:
        """Take an order into the book."""
        order = OrderReport(
            order_id=f"ord_{len(self.book) + 1}",
            status=SaleStatus.OPEN,
            provider_status="open",
            client_order_id=key,
            symbol="AAPL",
            side="sell",
            quantity="3",
            filled_quantity="0",
            created_at=self.now,
        )
        self.book[order.order_id] = order
        self.listed_at[order.order_id] = self.now + self.lag
        return order

    def move(self, order_id: str, status: SaleStatus) -> None:
        """Let an order that rests get on."""
        order = self.book[order_id]
        if order.status in RESTING:
            self.book[order_id] = replace(order, status=status, provider_status=status.value)

    def listed(self) -> OrdersListed:
        """List what has settled so far."""
        shown = [self.book[one] for one, at in self.listed_at.items() if at <= self.now]
        if self.nameless:
            shown = [replace(order, client_order_id=None) for order in shown]
        return OrdersListed(tuple(shown))

    def sold(self, sale: Sale) -> list[OrderReport]:
        """Return every execution of an order."""
        return [order for order in self.book.values() if order.client_order_id == sale.key]


@dataclass
class Worker:
    """Carries sales out. `rows` is its ledger: what is in there survives a crash."""

    market: Market
    ahead: timedelta = timedelta(0)
    rows: list[Withdrawal] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    told: list[list[Change]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The time by the worker's clock, which may be ahead of the market's."""
        return self.market.now + self.ahead

    def take(self, *, orders: int, left: timedelta | None) -> None:
        """Take a request in: nothing of it is intended yet."""
        name = f"req-{len(self.rows)}"
        order = an_order(
            name, taken_at=self.now, not_after=None if left is None else self.now + left
        )
        sales = tuple(
            Sale(key=sale_key(name, index), body=b"{}", symbol="AAPL", quantity="3")
            for index in range(orders)
        )
        begun = take_in(Withdrawal(order=order, changed_at=self.now, sales=sales), now=self.now)
        self.rows.append(begun.withdrawal)
        self.versions.append(1)
        self.told.append(list(begun.changes))

    def step(self, row: int, call: Call, crash: Crash, *, deaf: bool = False) -> SaleStep:
        """Take one row up; a `deaf` one gets no answer to a look or a look-up."""
        withdrawal = self.rows[row]
        step = sale_step(withdrawal, now=self.now)
        timing: Timing = {"now": self.now, "patience": PATIENCE, "chance": EVEN}
        match step:
            case Place(index):
                self._place(row, index, call, crash)
                return step
            case LookUp(index):
                answer: OrdersAnswer = SILENCE if deaf else self.market.listed()
                found = self._found(row, index, answer)
                decision = decide_found(
                    withdrawal, index, answer, found, asked_at=self.now, **timing
                )
            case Read(indexes) | Cancel(indexes):
                if isinstance(step, Cancel):
                    self._cancel(withdrawal, indexes)
                answers = {index: self._look(withdrawal, index, deaf=deaf) for index in indexes}
                decision = decide_seen(withdrawal, answers, **timing)
            case End():
                decision = end_sale(withdrawal, now=self.now)
            case _:
                assert_never(step)
        if crash is Crash.NOWHERE:
            self._record(row, decision)
        return step

    def _place(self, row: int, index: int, call: Call, crash: Crash) -> None:
        before = Held(row, self.versions[row], self.rows[row])
        self._record(row, intend_sale(before.withdrawal, index, now=self.now))
        if crash is Crash.AFTER_INTENT:
            return
        intended = Held(row, self.versions[row], self.rows[row])
        granted = sale_permit(before, intended, now=self.now, patience=PATIENCE)
        assert granted is not None
        answer = self._call(granted, call)
        if crash in {Crash.WHILE_CALLING, Crash.BEFORE_RECORDING}:
            return
        self._record(
            row,
            decide_placed(
                before.withdrawal, index, answer, now=self.now, patience=PATIENCE, chance=EVEN
            ),
        )

    def _call(self, granted: SalePermit, call: Call) -> OrderAnswer:
        self.market.pass_time(call.queued)
        if self.now >= granted.valid_until:
            return Throttled(timedelta(0))
        match call.fate:
            case Fate.THROTTLED:
                return Throttled()
            case Fate.DENIED:
                return Denied()
            case Fate.FAILED:
                return SILENCE
            case Fate.ANSWERED:
                return self.market.sell(granted.key, refuses=call.refuses)
            case Fate.ANSWER_LOST:
                self.market.sell(granted.key, refuses=call.refuses)
            case Fate.LATE:
                arrival = self.market.now + TIMEOUT + AFTERLIFE
                self.market.under_way.append((arrival, granted.key, call.refuses))
            case Fate.NEVER_ARRIVED:
                pass
        self.market.pass_time(TIMEOUT)
        # Some answer with a conflict what they have executed, or not.
        return Conflicted() if call.queued else SILENCE

    def _found(self, row: int, index: int, answer: OrdersAnswer) -> Found:
        if not isinstance(answer, OrdersListed):
            return Found()
        withdrawal = self.rows[row]
        owned = {sale.order_id for one in self.rows for sale in one.sales if sale.order_id}
        return find(
            withdrawal.sales[index],
            answer.orders,
            taken_at=withdrawal.order.taken_at,
            owned=frozenset(owned),
        )

    def _cancel(self, withdrawal: Withdrawal, indexes: tuple[int, ...]) -> None:
        for index in indexes:
            self.market.move(withdrawal.sales[index].order_id or "", SaleStatus.CANCELLED)

    def _look(self, withdrawal: Withdrawal, index: int, *, deaf: bool) -> OrderAnswer:
        return SILENCE if deaf else self.market.book[withdrawal.sales[index].order_id or ""]

    def _record(self, row: int, decision: Decision) -> None:
        self.rows[row] = decision.withdrawal
        self.versions[row] += 1
        self.told[row] += decision.changes

    @property
    def open_rows(self) -> list[int]:
        """The requests whose sale goes on."""
        return [
            number
            for number, row in enumerate(self.rows)
            if next_step(row, now=self.now, patience=PATIENCE) is Step.SELL
        ]

    def due_at(self, row: int) -> datetime:
        """Return when a row is to be taken up; one whose sale goes on always is."""
        due_at = self.rows[row].due_at
        assert due_at is not None
        return due_at
