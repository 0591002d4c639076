"""Keeping within the provider's request rate, in this process.

Calls leave evenly spaced, whose class goes first (contract P5) and then in the order in which they
asked; a 429 holds all of them back. Other processes are not known here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    #: A waiting call. Its result is None when it may leave, else how long the pause still lasts.
    Turn: TypeAlias = asyncio.Future[timedelta | None]

#: A longer pause is not waited out with a message in hand: the call is put off instead.
WAIT_LIMIT: Final = timedelta(seconds=5)
#: The provider counts by its own clock, and not all calls are equally long on their way. So the
#: calls of one second are spread over this share more: one may come that much later than another.
MARGIN: Final = 0.08
#: An event loop wakes up late. So much of it is caught up on, out of the margin, and no more: what
#: was missed before is not made up for by a burst.
LATENESS: Final = 0.01

#: Which calls go first: those that end a doubt, then new money, then mere looks.
CLASSES: Final[Mapping[str, int]] = {
    "cancel": 0,
    "list": 0,
    "create": 1,
    "look": 2,
    "credentials": 2,
}
#: Every so many turns, whoever has waited longest goes first: nobody waits for ever.
FAIR_TURN: Final = 10


class Pace:
    """At most `rate` calls a second; `waited` is told the operation and its seconds of waiting."""

    def __init__(self, rate: float, *, waited: Callable[[str, float], None]) -> None:
        self._gap = (1 + MARGIN) / rate
        self._waited = waited
        # The waiting calls of each class, oldest first, each with its number.
        self._waiting: tuple[OrderedDict[Turn, int], ...] = tuple(
            OrderedDict() for _ in set(CLASSES.values())
        )
        self._numbers = count()
        self._turns = 0
        self._next_at = 0.0
        self._paused_until = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    async def take(self, operation: str) -> timedelta | None:
        """Wait for this call's turn and return None; or return how long the pause still lasts."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        if (rest := self._rest(asked_at)) > WAIT_LIMIT:
            return rest
        turn: Turn = loop.create_future()
        # What has no class goes with the last one.
        others = self._waiting[CLASSES.get(operation, -1)]
        others[turn] = next(self._numbers)
        self._serve(loop)
        try:
            put_off = await turn
        except asyncio.CancelledError:
            others.pop(turn, None)
            if not turn.cancelled() and turn.result() is None:
                # Its turn came in the very moment in which it was given up: it is the next one's.
                self._next_at -= self._gap
                self._serve(loop)
            raise
        if put_off is None:
            self._waited(operation, loop.time() - asked_at)
        return put_off

    def pause(self, wait: timedelta) -> None:
        """Let nothing out for `wait`: the provider said so. Whoever waits already is held too."""
        now = asyncio.get_running_loop().time()
        self._paused_until = max(self._paused_until, now + wait.total_seconds())
        if (rest := self._rest(now)) <= WAIT_LIMIT:
            return
        for others in self._waiting:
            while others:
                _tell(others, rest)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let out whose turn it is by now, and come back when it is the next one's."""
        now = loop.time()
        while any(self._waiting):
            at = max(self._next_at, self._paused_until)
            if at > now:
                self._wake_at(at, loop)
                return
            if _tell(self._first(), None):
                self._next_at = max(at, now - LATENESS) + self._gap

    def _first(self) -> OrderedDict[Turn, int]:
        """Return the class whose oldest call goes next."""
        self._turns += 1
        waiting = [others for others in self._waiting if others]
        if self._turns % FAIR_TURN:
            return waiting[0]
        return min(waiting, key=lambda others: next(iter(others.values())))

    def _wake_at(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(at, self._serve, loop)

    def _rest(self, now: float) -> timedelta:
        return timedelta(seconds=self._paused_until - now)


def _tell(others: OrderedDict[Turn, int], put_off: timedelta | None) -> bool:
    """Answer the oldest call of a class; False when it was given up and does not hear any more."""
    turn, _ = others.popitem(last=False)
    if turn.done():
        return False
    turn.set_result(put_off)
    return True
