"""How the requests that a provider allows are shared out: which call may leave when.

Pure: a budget, what is wanted of it and the time in; slots and the budget after them out. Times are
whole microseconds of the one clock that all who share the budget go by.

A budget is a row of slots, one `gap` apart. Whoever has calls waiting reserves the next free ones,
and none further ahead than a short horizon, so that the slots are never all gone when something
urgent comes. The horizon of a higher rank reaches further: what looks may reserve ends 50 ms before
what submissions may, and that 50 ms before what is urgent. So a higher rank always finds room, and
a lower one finds its part of the row taken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rank(IntEnum):
    """Which calls go before which (contract P5)."""

    #: They end a doubt: cancellations, and looking for what nobody knows the outcome of.
    URGENT = 0
    #: New money, and the orders that raise it.
    SUBMISSION = 1
    #: Mere looks.
    LOOK = 2


#: How many calls wait in each rank.
Calls: TypeAlias = tuple[int, int, int]
NONE: Final[Calls] = (0, 0, 0)

#: The provider counts by its own clock, and not all calls are equally long on their way. So the
#: calls of one second are spread over this share more: one may come that much later than another.
MARGIN: Final = 0.08
#: Every so many slots one goes to the lowest rank that waits: nobody waits for ever.
FAIR_TURN: Final = 10

_MILLISECOND: Final = 1_000
_SECOND: Final = 1_000_000
#: How far ahead a rank may reserve.
HORIZON: Final[Mapping[Rank, int]] = {
    Rank.URGENT: 200 * _MILLISECOND,
    Rank.SUBMISSION: 150 * _MILLISECOND,
    Rank.LOOK: 100 * _MILLISECOND,
}
#: How far ahead a rank may reserve whose fair turn it is: beyond everybody else.
_FAIR_HORIZON: Final = 250 * _MILLISECOND
#: For how much of its horizon to be free again a rank waits before it asks anew: one question then
#: brings more than one slot. What goes first waits little, so that it is there first.
_ROOM: Final[Mapping[Rank, int]] = {
    Rank.URGENT: 20 * _MILLISECOND,
    Rank.SUBMISSION: 20 * _MILLISECOND,
    Rank.LOOK: 60 * _MILLISECOND,
}
#: At a rate at which slots lie closer than this there are more than anybody needs. While nobody
#: else waits, who asks then gets those of the next moments too: one question serves many calls, and
#: none of them waits for an answer.
_PLENTY: Final = _MILLISECOND
#: How long a ledger may take to answer, and how long a pause may be. A budget that reaches further
#: into the future was written before its clock was put back.
LEAD_MAX: Final = 5 * _SECOND
_PAUSE_MAX: Final = 3600 * _SECOND


@dataclass(frozen=True, slots=True)
class Budget:
    """Where a budget stands.

    `next_at` is the next slot that nobody has; before `paused_until` there are none; `passed` is
    the number of slots since one went to the lowest rank that waited.
    """

    next_at: int = 0
    paused_until: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What one who shares a budget wants of it: slots for its waiting calls.

    `lead` is how long the answers took lately: no slot before that is of use. For so long `ahead`
    slots are welcome too for which no call waits yet, where there are plenty. `pause` is for how
    long the provider has asked everybody to keep away, where that was not told before. All in
    microseconds.
    """

    wanted: Calls
    lead: int = 0
    ahead: int = 0
    pause: int = 0


@dataclass(frozen=True, slots=True)
class Reserved:
    """What one got: `count` slots from `first` on, each `gap` after the one before.

    `now` is the time of the budget's clock at this moment, known within `doubt`; `age` is how long
    ago the slots were given. `budget` is where it stands since then. All in microseconds.
    """

    now: int
    first: int
    count: int
    gap: int
    budget: Budget
    age: int = 0
    doubt: int = 0


def gap_of(rate: float) -> int:
    """Return the microseconds between two slots, so that no second sees more than `rate` calls."""
    # Rounded up, but not because of what a float adds to a whole number.
    return -int(-round((1 + MARGIN) * _SECOND / rate, 3) // 1)


def allot(
    budget: Budget, wish: Wish, others: Calls, *, gap: int, now: int
) -> tuple[int, int, Budget]:
    """Return the first slot for a wish, how many there are from it on, and the budget after it.

    `others` are the calls that wait elsewhere. Slots are given rank by rank, and those of a rank in
    proportion to who waits there; who asks gets the fraction.
    """
    soonest = now + min(wish.lead, LEAD_MAX)
    next_at = min(budget.next_at, now + LEAD_MAX + _FAIR_HORIZON + gap)
    paused_until = min(budget.paused_until, now + _PAUSE_MAX)
    if wish.pause:
        paused_until = max(paused_until, now + min(wish.pause, _PAUSE_MAX))
    first = max(next_at, paused_until, soonest)
    waiting = _sum(wish.wanted, others)
    given = _given(first - soonest, waiting, gap=gap, passed=budget.passed)
    mine = [
        -(-part * own // (own + other)) if part else 0
        for part, own, other in zip(given, wish.wanted, others, strict=True)
    ]
    count = sum(mine)
    if gap <= _PLENTY and others == NONE:
        ahead = soonest + min(wish.ahead, _FAIR_HORIZON) - first
        count = max(count, ahead // gap)
    if not count:
        return first, 0, Budget(next_at, paused_until, budget.passed)
    nobody_is_passed = waiting == NONE or mine[_lowest(waiting)]
    passed = 0 if nobody_is_passed else budget.passed + count
    return first, count, Budget(first + count * gap, paused_until, passed)


def beyond(calls: Calls, slots: int) -> Calls:
    """Return the calls that are left when the first ones have had these slots."""
    left = []
    for waiting in calls:
        served = min(waiting, slots)
        slots -= served
        left.append(waiting - served)
    urgent, submissions, looks = left
    return urgent, submissions, looks


def ask_again_at(budget: Budget, calls: Calls) -> int:
    """Return when there will be slots again for some of these calls; not all of them are 0."""
    rank = next(rank for rank in Rank if calls[rank])
    return max(budget.next_at, budget.paused_until) - HORIZON[rank] + _ROOM[rank]


def _given(ahead: int, left: Calls, *, gap: int, passed: int) -> list[int]:
    """Return how many of the next slots are each rank's, those of others included.

    `ahead` is how far ahead the first of them lies.
    """
    waiting = list(left)
    given = [0] * len(Rank)
    while any(waiting):
        lowest = _lowest(waiting)
        is_fair = passed >= FAIR_TURN - 1
        rank = lowest if is_fair else next(rank for rank in Rank if waiting[rank])
        if ahead > (_FAIR_HORIZON if is_fair else HORIZON[rank]):
            break
        waiting[rank] -= 1
        given[rank] += 1
        passed = 0 if rank is lowest else passed + 1
        ahead += gap
    return given


def _lowest(calls: Calls | list[int]) -> Rank:
    return max(rank for rank in Rank if calls[rank])


def _sum(some: Calls, others: Calls) -> Calls:
    urgent, submissions, looks = (one + other for one, other in zip(some, others, strict=True))
    return urgent, submissions, looks
