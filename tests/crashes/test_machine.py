"""Anything in any order: messages, blows, bad manners of the provider, time that passes or jumps.

The stories walk every point of a few courses; this looks for courses that nobody thought of."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import timedelta
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

from tests.crashes.bank import AFTERLIFE, CUT_SHORT, FILLED, Manner
from tests.crashes.loop import SimulatedLoop
from tests.crashes.points import Blow
from tests.crashes.replica import Replica
from tests.crashes.runs import silent, sqlite_ledgers
from tests.crashes.verdict import broken, broken_now
from tests.crashes.world import World, a_world
from tests.flows.house import PATIENCE
from worker.core.events import moment
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Callable

_HOUR: Final = timedelta(hours=1)
_SPANS: Final = st.sampled_from(
    [
        timedelta(seconds=1),
        timedelta(seconds=20),
        AFTERLIFE,
        PATIENCE.settling,
        2 * _HOUR,
        PATIENCE.window - timedelta(seconds=1),
        24 * _HOUR,
        25 * _HOUR,
    ]
)
#: So far the database's clock may go back. Less than the margin that the core has for it.
_BACK: Final = st.sampled_from([timedelta(seconds=1), timedelta(seconds=60)])
_MANNERS: Final = st.lists(
    st.sampled_from([*Manner, Manner.PAYS_SILENTLY, Manner.PAYS_LATE, Manner.IS_SILENT]),
    min_size=1,
    max_size=4,
)
_IDS: Final = st.sampled_from(["req-1", "req-1", "req-2"])
_ORDERS: Final = ({"symbol": "AAPL", "quantity": "3"},)
_LEFT: Final = st.sampled_from([None, None, timedelta(seconds=10), 30 * _HOUR])
_AT_MOST: Final = 3


class Crashes(RuleBasedStateMachine):
    """Workers live and die, and the promises hold."""

    worker: type[Replica] = Replica

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(silent())
        url = self.stack.enter_context(sqlite_ledgers())()
        runner = self.stack.enter_context(asyncio.Runner(loop_factory=SimulatedLoop))
        self.run = runner.run
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        self.loop = loop
        self.place = a_world(url, loop, worker=self.worker, replicas=2)
        self.world: World = self.run(self.place.__aenter__())
        self.stack.callback(lambda: self.run(self.place.__aexit__(None, None, None)))
        self.may_conflict = False

    @initialize(
        manners=_MANNERS, lags=st.booleans(), is_cut_short=st.booleans(), sells=st.booleans()
    )
    def begin(self, manners: list[Manner], *, lags: bool, is_cut_short: bool, sells: bool) -> None:
        """The provider has its habits, and the first request comes in."""
        self.world.bank.lag = PATIENCE.settling if lags else timedelta(0)
        self.world.bank.course = CUT_SHORT if is_cut_short else FILLED
        self.behave(manners)
        self.ask("req-1", "500.00", None, None, sells=sells)

    @rule(
        message_id=_IDS,
        amount=st.sampled_from(["500.00"] * 3 + ["600.00", "-1"]),
        left=_LEFT,
        waits=_LEFT,
        sells=st.booleans(),
    )
    def ask(
        self,
        message_id: str,
        amount: str,
        left: timedelta | None,
        waits: timedelta | None,
        *,
        sells: bool,
    ) -> None:
        """A request comes in; or it comes again, or another one under its id."""
        changes = {
            "amount": amount,
            "not_after": self._in(left),
            "wait_for_funds_until": self._in(waits),
            "sell": _ORDERS if sells else None,
        }
        self.run(self._now(lambda: self.world.ask(message_id, **changes)))

    @rule(number=st.integers(1, 3), of=_IDS)
    def cancel(self, number: int, of: str) -> None:
        """A request is to be cancelled: one that is there, or that will come, or never comes."""
        self.run(self._now(lambda: self.world.cancel(f"cancel-{number}-of-{of}", of)))

    @precondition(lambda self: self.world.bank.paid)
    @rule(reverses=st.booleans())
    def notify(self, *, reverses: bool) -> None:
        """The provider tells of what it paid; perhaps it has taken it back."""
        if reverses:
            self.world.bank.reverse()
        self.run(self._now(lambda: self.world.notify(self.world.bank.paid[-1].withdrawal_id)))

    @rule(manners=_MANNERS)
    def behave(self, manners: list[Manner]) -> None:
        """The provider takes the next calls in other manners."""
        self.may_conflict |= Manner.CONFLICTS in manners
        self.world.bank.manners.extend(manners)
        self.world.bank.order_manners.extend(manners)
        self.world.bank.cancel_manners.extend(manners)

    @rule(times=st.integers(1, 3))
    def keep_quiet(self, times: int) -> None:
        """The provider does not answer the next looks."""
        self.world.bank.quiet = times

    @rule(by=_SPANS)
    def pass_time(self, by: timedelta) -> None:
        """Time passes in which nobody gets to act."""
        self.run(self.world.pass_time(by))

    @rule()
    def go_on(self) -> None:
        """What is due next is taken up."""
        self.run(self.world.next_round())

    @rule(by=_BACK)
    def turn_back(self, by: timedelta) -> None:
        """The database's clock goes back a little."""
        self.world.off -= by
        self.run(self.world.settle())

    @rule(blow=st.sampled_from([*Blow, Blow.KILL, Blow.KILL]), after=st.integers(1, 20))
    def strike(self, blow: Blow, after: int) -> None:
        """A blow is on its way."""
        self.world.points.strike_soon(blow, after=after)

    @precondition(lambda self: len(self.world.alive) < _AT_MOST)
    @rule()
    def start(self) -> None:
        """Another worker starts."""
        self.run(self._now(self.world.start))

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), blow=st.sampled_from([Blow.KILL, Blow.PAUSE, Blow.SLEEP]))
    def befall(self, data: st.DataObject, blow: Blow) -> None:
        """A worker is killed or stopped, while nothing of it is in work perhaps."""
        replica: Replica = data.draw(st.sampled_from(self.world.alive))
        self.run(self._now(lambda: self.world.strike(replica, blow)))

    @precondition(lambda self: any(not replica.is_going for replica in self.world.alive))
    @rule()
    def wake(self) -> None:
        """Whoever stands still goes on."""
        self.run(self._now(self._wake))

    @invariant()
    def no_promise_is_broken(self) -> None:
        """Nothing is paid twice, told out of order, or sent before it is written down."""
        assert [] == broken_now(self.world)

    def teardown(self) -> None:
        """Once the faults stop, everything comes to its end, or before a person."""
        try:
            self.run(self._end_well())
        finally:
            self.stack.close()

    async def _end_well(self) -> None:
        world = self.world
        world.points.plan.clear()
        for manners in (
            world.bank.manners,
            world.bank.order_manners,
            world.bank.cancel_manners,
        ):
            manners.clear()
        world.bank.quiet = 0
        world.mend()
        self._wake()
        await world.to_the_end()
        ends = {Status.COMPLETED, Status.REJECTED, Status.CANCELLED, Status.FAILED}
        if self.may_conflict:
            # "I know this key" about a payout that is in no list: only a person can tell.
            ends.add(Status.UNRESOLVED)

        assert [] == await broken(world, may_end=frozenset(ends))

    def _in(self, span: timedelta | None) -> str | None:
        return None if span is None else moment(self.world.database_now() + span)

    def _wake(self) -> None:
        for replica in self.world.alive:
            if not replica.is_going:
                self.world.resume(replica)

    async def _now(self, act: Callable[[], None]) -> None:
        act()
        await self.world.settle()


Crashes.TestCase.settings = settings(max_examples=120, stateful_step_count=12, deadline=None)
TestCrashes = Crashes.TestCase
