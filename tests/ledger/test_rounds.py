"""Rounds: one replica at a time, where the last one stopped, and not before the next is due."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.fakes import VirtualClock
from tests.ledger.builders import NOW, take
from worker.core.reconciliation import Completed, Kind, Period, Round
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ledger.store import Ledger

EVERY: Final = timedelta(hours=24)
PERIOD: Final = timedelta(days=7)
HELD_FOR: Final = timedelta(minutes=5)
FOUND: Final = {("bluum", Kind.MISSING): 2, ("upvest", Kind.UNREADABLE): 1}


@asynccontextmanager
async def workers(url: str) -> AsyncIterator[tuple[VirtualClock, Ledger, Ledger]]:
    """Two workers on one ledger, with a clock that only the test moves."""
    clock = VirtualClock(NOW)
    async with open_ledger(url, clock=clock) as one, open_ledger(url, clock=clock) as other:
        yield clock, one, other


async def turn(ledger: Ledger) -> Round | None:
    """Ask for a round."""
    return await ledger.take_round(every=EVERY, period=PERIOD, held_for=HELD_FOR)


async def first_round(clock: VirtualClock, ledger: Ledger) -> Round:
    """Let the first round come due, and begin it."""
    assert await turn(ledger) is None
    clock.advance(hours=24)
    begun = await turn(ledger)
    assert begun is not None
    return begun


async def test_the_first_round_is_due_one_period_after_the_first_question(url: str) -> None:
    """
    It looks back from then, over the rows that there are.
    """
    async with workers(url) as (clock, one, _):
        held = await take(one, "req-1")
        begun = await first_round(clock, one)

    now = NOW + EVERY
    period, place = Period(now - PERIOD, now), begun.place
    expected = Round(period=period, began_at=now, place=place, last=held.row, found={})
    assert expected == begun
    assert place < held.row


async def test_one_at_a_time_goes_through_a_round(url: str) -> None:
    """
    While it is held nobody else gets it; of two that ask at once, one does.
    """
    async with workers(url) as (clock, one, other):
        early = await asyncio.gather(turn(one), turn(other))
        clock.advance(hours=24)
        begun = [r for r in await asyncio.gather(turn(one), turn(other)) if r is not None]
        again = await asyncio.gather(turn(one), turn(other))

    assert 1 == len(begun)
    assert not any((*early, *again))


async def test_another_goes_on_where_a_silent_one_stopped(url: str) -> None:
    """
    With all that was found so far; who comes back then is told, and writes nothing.
    """
    async with workers(url) as (clock, one, other):
        begun = await first_round(clock, one)
        halfway = replace(begun, place=7, found=FOUND)
        kept = await one.keep_round(halfway, held_for=HELD_FOR)
        clock.advance(minutes=5)
        taken = await turn(other)
        late = await one.keep_round(replace(halfway, place=9), held_for=HELD_FOR, is_over=True)
        completed = await one.completed_round()

    assert kept
    assert halfway == taken
    assert not late
    assert completed is None


async def test_holding_on_keeps_the_others_away(url: str) -> None:
    """
    From the last sign, not from the beginning.
    """
    async with workers(url) as (clock, one, other):
        begun = await first_round(clock, one)
        clock.advance(minutes=4)
        assert await one.keep_round(begun, held_for=HELD_FOR)
        clock.advance(minutes=4)

        assert await turn(other) is None


@pytest.mark.parametrize("took", [1, 30], ids=["an hour", "longer than one to the next"])
async def test_a_completed_round_is_shown_until_the_next_is(url: str, took: int) -> None:
    """
    The next begins one period after it began, or at once where that is over.
    """
    async with workers(url) as (clock, one, other):
        begun = await first_round(clock, one)
        clock.advance(hours=took)
        over = await one.keep_round(replace(begun, found=FOUND), held_for=HELD_FOR, is_over=True)
        assert over
        early = await turn(other)
        clock.advance(hours=max(0, 24 - took))
        following = early or await turn(other)
        completed = await other.completed_round()

    assert (early is None) is (took < 24)
    assert following is not None
    assert ({}, begun.began_at + max(EVERY, timedelta(hours=took))) == (
        following.found,
        following.began_at,
    )
    assert Completed(begun.began_at + timedelta(hours=took), FOUND) == completed
