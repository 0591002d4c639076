"""Usual times: documented until enough was learned, and learned again and again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from tests.core.builders import a_pending, an_order
from worker.core.schedule import Outlook
from worker.core.usual import ENDS_NEEDED, Course, Usual, documented
from worker.flows.courses import EVERY, TOLD_WITHIN, Courses
from worker.flows.ports import LedgerUnavailable

MONDAY: Final = datetime(2026, 6, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


class Histories:
    """A ledger that tells one history after the other; an exception stands for one that is away."""

    def __init__(self, *told: list[Course] | Exception, heard: tuple[str, ...] = ()) -> None:
        self._told = list(told)
        self._heard = frozenset(heard)

    async def heard_within(self, span: timedelta) -> frozenset[str]:
        """Tell whose webhooks were heard."""
        assert TOLD_WITHIN == span
        return self._heard

    async def courses(self) -> list[Course]:
        """Tell the next."""
        told = self._told.pop(0)
        if isinstance(told, Exception):
            raise told
        return told


def taking(span: timedelta) -> list[Course]:
    """Enough wires that all took so long."""
    return [Course("bluum", "wire", MONDAY, MONDAY + span)] * ENDS_NEEDED


async def test_what_was_learned_counts_and_else_what_is_documented() -> None:
    """
    By provider and method.
    """
    courses = Courses(Histories(taking(3 * HOUR)), beat=lambda: None)
    before = courses.usual("bluum", "wire")
    await courses.learn()

    assert documented("wire") == before
    assert Usual(3 * HOUR, 3 * HOUR) == courses.usual("bluum", "wire")
    assert documented("wire") == courses.usual("upvest", "wire")
    assert documented("ach") == courses.usual("bluum", "ach")
    assert documented(None) == courses.usual("bluum", None)


async def test_a_ledger_that_is_away_teaches_nothing_new() -> None:
    """
    What was learned before stays.
    """
    courses = Courses(Histories(taking(HOUR), LedgerUnavailable("away")), beat=lambda: None)
    await courses.learn()
    await courses.learn()

    assert Usual(HOUR, HOUR) == courses.usual("bluum", "wire")


async def test_the_outlook_counts_from_the_first_call() -> None:
    """
    From soonest to latest of its method, and whether this provider's webhooks are heard.
    """
    courses = Courses(Histories(taking(3 * HOUR), heard=("bluum",)), beat=lambda: None)
    wire = a_pending(order=an_order(method="wire"), first_attempt_at=MONDAY + HOUR)
    other = replace(wire, order=replace(wire.order, provider="upvest"), first_attempt_at=None)
    before = courses.outlook(wire)
    await courses.learn()

    assert not before.is_told
    assert Outlook(MONDAY + 4 * HOUR, MONDAY + 4 * HOUR, is_told=True) == courses.outlook(wire)
    taken_at = other.order.taken_at
    assert Outlook(taken_at + HOUR, taken_at + 8 * HOUR) == courses.outlook(other)


async def test_it_learns_every_hour_and_shows_that_it_is_alive() -> None:
    """
    Far more often than it learns.
    """
    slept: list[float] = []
    beats: list[float] = []
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)
        if sum(slept) > EVERY.total_seconds():
            over.set()
            await asyncio.Event().wait()

    courses = Courses(
        Histories(taking(HOUR), taking(2 * HOUR)),
        beat=lambda: beats.append(sum(slept)),
        sleep=sleep,
    )
    running = asyncio.create_task(courses.run())
    async with asyncio.timeout(60):
        await over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert Usual(2 * HOUR, 2 * HOUR) == courses.usual("bluum", "wire")
    assert 30 == max(later - earlier for earlier, later in pairwise(beats))
