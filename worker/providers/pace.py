"""Keeping within the provider's request rate, together with everybody who shares its budget.

A call leaves at a slot that was reserved for this process, whose rank is highest first (contract
P5) and then in the order in which they asked; a 429 holds all of them back. How slots are shared
out is decided in `worker.core.budget`; who keeps the budget is not known here."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from contextvars import Context
from datetime import timedelta
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.core.budget import (
    FAIR_TURN,
    LEAD_MAX,
    NONE,
    Budget,
    Calls,
    Rank,
    Reserved,
    Wish,
    allot,
    ask_again_at,
    beyond,
    gap_of,
)
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    #: A waiting call. Its result is the slot at which it may leave, or how long it is put off.
    Turn: TypeAlias = asyncio.Future[float | timedelta]
    #: Where a call stands: the number of those that asked before it, and when it asked.
    _Place: TypeAlias = tuple[int, float]

_log = logging.getLogger(__name__)

#: A longer pause is not waited out with a message in hand: the call is put off instead. So is one
#: that has waited so long while the budget's keeper was away.
WAIT_LIMIT: Final = timedelta(seconds=5)
#: A slot is of use until so long after its time, since an event loop wakes up late: that much is
#: caught up on, out of the margin. A later one is lost; what was missed is not made up for by a
#: burst.
LATENESS: Final = 0.02
#: Between two questions for what could not be had, and between two while nobody answers.
_PAUSE: Final = 0.02
_AWAY_PAUSE: Final = 0.5
#: How exactly the budget's time has to be known (microseconds), out of the margin too; and how many
#: answers in a row are thrown away that do not tell it so exactly. After that one is as good as
#: another.
_DOUBT_MAX: Final = 20_000
_VAGUE_MAX: Final = 2
#: The quickest of so many answers tells how long answers take: one late one says nothing.
_ANSWERS: Final = 3
#: Slots are welcome for so long after the next answer but one (microseconds), where there are
#: plenty; and asked for so long (seconds) before those that were given come to their end.
_AHEAD: Final = 50_000
_EARLY: Final = 0.02

#: Which calls go first. What is not named here goes with the looks.
RANKS: Final[Mapping[str, Rank]] = {
    # Without these no other call can be made, and no webhook be answered.
    "token": Rank.URGENT,
    "keys": Rank.URGENT,
    "cancel": Rank.URGENT,
    "list": Rank.URGENT,
    "orders": Rank.URGENT,
    "cancel_order": Rank.URGENT,
    "create": Rank.SUBMISSION,
    "sell": Rank.SUBMISSION,
}


class Alone:
    """A budget that nobody else shares: at most `rate` calls a second, by the loop's clock."""

    def __init__(self, rate: float) -> None:
        self._gap = gap_of(rate)
        self._budget = Budget()

    async def reserve(self, wish: Wish) -> Reserved:
        """Reserve slots."""
        now = round(asyncio.get_running_loop().time() * 1e6)
        first, number, self._budget = allot(self._budget, wish, NONE, gap=self._gap, now=now)
        return Reserved(now, first, number, self._gap, self._budget)


class Pace:
    """Lets calls leave at the slots that `reserve` gives for them.

    `reserve` may raise LedgerUnavailable or StepRefused. `waited` is told the operation and its
    seconds of waiting, `granted` the rank of each call that leaves. While no call waits, nothing
    runs here.
    """

    def __init__(
        self,
        reserve: Callable[[Wish], Awaitable[Reserved]],
        *,
        waited: Callable[[str, float], None],
        granted: Callable[[Rank], None] = lambda _rank: None,
    ) -> None:
        self._reserve = reserve
        self._waited = waited
        self._granted = granted
        self._queue = _Queue()
        # All times are seconds of the loop's clock. Slots that are ours and still to come:
        self._slots: deque[float] = deque()
        self._paused_until = 0.0
        self._untold_until = 0.0
        # When to ask again for what the last answer left waiting, and the highest rank of that.
        self._ask_at = 0.0
        self._left = Rank.URGENT
        # Whether there are plenty, and whether any slot was used since the last question.
        self._plenty = False
        self._used = False
        self._away_since: float | None = None
        self._ages: deque[int] = deque(maxlen=_ANSWERS)
        self._vague = 0
        self._asking: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def take(self, operation: str) -> timedelta | None:
        """Wait for this call's turn and return None; or return how long it is put off."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        if (rest := self._rest(asked_at)) > WAIT_LIMIT:
            return rest
        rank = RANKS.get(operation, Rank.LOOK)
        answer = await self._turn(rank, self._queue.place(asked_at), loop)
        if isinstance(answer, timedelta):
            return answer
        self._waited(operation, loop.time() - asked_at)
        self._granted(rank)
        return None

    def pause(self, wait: timedelta) -> None:
        """Let nothing out for `wait`: the provider said so. All who share the budget are told."""
        loop = asyncio.get_running_loop()
        self._untold_until = max(self._untold_until, loop.time() + wait.total_seconds())
        self._hold(self._untold_until, loop)
        self._ask_at = 0.0
        self._serve(loop)

    def close(self) -> None:
        """Let nothing out any more, and put off whoever waits."""
        self._queue.put_off(WAIT_LIMIT)
        self._untold_until = 0.0
        for running in (self._alarm, self._asking):
            if running is not None:
                running.cancel()

    async def _turn(
        self, rank: Rank, place: _Place, loop: asyncio.AbstractEventLoop
    ) -> float | timedelta:
        """Wait for a slot, and return it in time; or return how long the call is put off."""
        while True:
            turn: Turn = loop.create_future()
            self._queue.put(turn, rank, place)
            self._serve(loop)
            try:
                answer = await turn
            except asyncio.CancelledError:
                self._queue.give_up(turn, rank)
                if not turn.cancelled() and isinstance(slot := turn.result(), float):
                    # Its turn came in the moment in which it was given up: it is the next one's.
                    self._slots.appendleft(slot)
                    self._serve(loop)
                raise
            # If the loop stood still after it was given, a slot is lost like any other.
            if isinstance(answer, timedelta) or loop.time() <= answer + LATENESS:
                return answer

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let out whose turn it is by now, ask for more slots, and come back at the next one."""
        now = loop.time()
        while self._slots and self._slots[0] < now - LATENESS:
            self._slots.popleft()
        while self._slots and self._slots[0] <= now and self._queue.answer(self._slots[0]):
            self._slots.popleft()
            self._used = True
        wanted = beyond(self._queue.calls, len(self._slots))
        at = [self._slots[0]] if self._slots and self._queue.calls != NONE else []
        if self._asking is None and (wanted != NONE or self._untold_until or self._runs_out(now)):
            if now >= self._ask_at or _highest(wanted) < self._left:
                # Not in the context of whoever waits first: it is for all.
                self._asking = loop.create_task(self._ask(loop), context=Context())
            else:
                at.append(self._ask_at)
        if at:
            self._wake_at(min(at), loop)

    async def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask for slots, once, for all who wait by now."""
        asked_at, untold_until = loop.time(), self._untold_until
        pause = max(0, round((untold_until - asked_at) * 1e6))
        wanted = beyond(self._queue.calls, len(self._slots))
        age, self._used = self._age(), False
        lead = min(age, LEAD_MAX) if age > LATENESS / 2 * 1e6 else 0
        wish = Wish(wanted, lead=lead, ahead=_AHEAD + 2 * age, pause=pause)
        try:
            async with asyncio.timeout(WAIT_LIMIT.total_seconds()):
                reserved = await self._reserve(wish)
        except (LedgerUnavailable, StepRefused, TimeoutError) as error:
            self._away(asked_at, error, loop)
        except Exception as error:  # noqa: BLE001 - a bug lets nothing out, and is told
            _log.exception("the request budget failed")
            self._away(asked_at, error, loop)
        else:
            if self._untold_until == untold_until:
                self._untold_until = 0.0
            self._got(reserved, wish, loop)
        self._asking = None
        self._serve(loop)

    def _got(self, reserved: Reserved, wish: Wish, loop: asyncio.AbstractEventLoop) -> None:
        now, budget = loop.time(), reserved.budget

        def local(at: int) -> float:
            return now + (at - reserved.now) / 1e6

        self._away_since = None
        self._ages.append(reserved.age)
        self._ask_at = 0.0
        if budget.paused_until > reserved.now:
            self._hold(local(budget.paused_until), loop)
        if self._untold_until:
            # The provider asked for a pause while these were on their way.
            return
        if reserved.doubt > _DOUBT_MAX and self._vague < _VAGUE_MAX:
            self._vague += 1
            return
        self._vague = 0
        last = reserved.first + reserved.count * reserved.gap
        self._slots.extend(map(local, range(reserved.first, last, reserved.gap)))
        self._plenty = reserved.count > sum(wish.wanted)
        left = beyond(wish.wanted, reserved.count)
        if left != NONE:
            self._left = _highest(left)
            self._ask_at = max(now + _PAUSE, local(ask_again_at(budget, left) - wish.lead))

    def _away(self, asked_at: float, error: Exception, loop: asyncio.AbstractEventLoop) -> None:
        """Come back later, and keep nobody waiting for longer than the limit."""
        now, limit = loop.time(), WAIT_LIMIT.total_seconds()
        if self._away_since is None:
            self._away_since = asked_at
            _log.warning("the request budget is away", extra={"error": type(error).__name__})
        self._ask_at, self._left = now + _AWAY_PAUSE, Rank.URGENT
        if now - self._away_since >= limit:
            self._queue.put_off(WAIT_LIMIT, asked_before=now - limit)

    def _hold(self, until: float, loop: asyncio.AbstractEventLoop) -> None:
        """Let nothing out until then. Whoever waits is held too."""
        self._paused_until = max(self._paused_until, until)
        while self._slots and self._slots[0] < self._paused_until:
            self._slots.popleft()
        if (rest := self._rest(loop.time())) > WAIT_LIMIT:
            self._queue.put_off(rest)

    def _runs_out(self, now: float) -> bool:
        """Tell whether what is left of plenty is over soon, and calls come that will miss it."""
        if not (self._plenty and self._used and self._slots):
            return False
        return self._slots[-1] < now + self._age() / 1e6 + _EARLY

    def _age(self) -> int:
        """Return how long answers take, in microseconds."""
        return min(self._ages) if len(self._ages) == _ANSWERS else 0

    def _wake_at(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(at, self._serve, loop)

    def _rest(self, now: float) -> timedelta:
        return timedelta(seconds=self._paused_until - now)


class _Queue:
    """The calls that wait, in the order in which they are to leave."""

    def __init__(self) -> None:
        # Of each rank, oldest first, each with its number and when it asked.
        self._waiting: tuple[OrderedDict[Turn, _Place], ...] = tuple(OrderedDict() for _ in Rank)
        self._numbers = count()
        self._turns = 0

    @property
    def calls(self) -> Calls:
        """How many wait, by rank."""
        urgent, submissions, looks = map(len, self._waiting)
        return urgent, submissions, looks

    def place(self, asked_at: float) -> _Place:
        """Return the place of a call that has asked just now: behind all others."""
        return next(self._numbers), asked_at

    def put(self, turn: Turn, rank: Rank, place: _Place) -> None:
        """Let a call wait at its place; only one that had a slot already stands before others."""
        others = self._waiting[rank]
        is_first = bool(others) and place < next(iter(others.values()))
        others[turn] = place
        if is_first:
            others.move_to_end(turn, last=False)

    def give_up(self, turn: Turn, rank: Rank) -> None:
        """Forget a call, unless it was answered already."""
        self._waiting[rank].pop(turn, None)

    def answer(self, slot: float) -> bool:
        """Give a slot to the next call; False when nobody wants it."""
        while self.calls != NONE:
            turn, _ = self._next().popitem(last=False)
            # One that was given up does not hear any more.
            if not turn.done():
                turn.set_result(slot)
                return True
        return False

    def put_off(self, wait: timedelta, *, asked_before: float = inf) -> None:
        """Tell those who asked by then that it will take so long."""
        for others in self._waiting:
            while others and next(iter(others.values()))[1] <= asked_before:
                turn, _ = others.popitem(last=False)
                if not turn.done():
                    turn.set_result(wait)

    def _next(self) -> OrderedDict[Turn, _Place]:
        """Return the rank whose oldest call goes next."""
        self._turns += 1
        waiting = [others for others in self._waiting if others]
        if self._turns % FAIR_TURN:
            return waiting[0]
        return min(waiting, key=lambda others: next(iter(others.values())))


def _highest(calls: Calls) -> Rank:
    """Return the highest rank of which any call waits; the lowest when none does."""
    return next((rank for rank in Rank if calls[rank]), Rank.LOOK)
