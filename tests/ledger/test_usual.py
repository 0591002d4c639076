"""How withdrawals went, as the ledger's history tells it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.fakes import VirtualClock
from tests.ledger.builders import FINGERPRINT, NOW, an_order, moved, taken_in
from worker.core.usual import Course
from worker.core.withdrawal import Status
from worker.ledger.store import open_ledger
from worker.ledger.usual import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.store import Ledger

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)

PENDING, PROCESSING = (Status.PENDING, 1), (Status.PROCESSING, 2)


async def lived(ledger: Ledger, message_id: str, life: Sequence[tuple[Status, int]]) -> None:
    """A request that was taken in at NOW and went through statuses."""
    held = (await ledger.take(taken_in(an_order(message_id)), FINGERPRINT)).held
    for status, hours in life:
        decision = moved(held, status, now=NOW + hours * HOUR, withdrawal_id=f"wd-{message_id}")
        known = await ledger.record(held, decision)
        assert known is not None
        held = known


@pytest.mark.parametrize(
    ("life", "course"),
    [
        ([PENDING, PROCESSING, (Status.COMPLETED, 30)], (1, 30)),
        ([PROCESSING, (Status.FAILED, 9)], (2, 9)),
        ([PENDING, (Status.COMPLETED, 30), (Status.FAILED, 90)], (1, 30)),
        ([(Status.UNRESOLVED, 1), (Status.SUBMITTED, 3), (Status.COMPLETED, 5)], (3, 5)),
        ([PENDING, (Status.CANCELLED, 3)], None),
        ([PENDING, (Status.CANCELLED, 3), (Status.FAILED, 9)], None),
        ([(Status.COMPLETED, 3)], None),
        ([PENDING, PROCESSING], None),
        ([(Status.REJECTED, 1)], None),
    ],
    ids=[
        "completed",
        "failed",
        "taken back later",
        "unresolved at first",
        "cancelled",
        "cancelled, taken back",
        "its beginning was not seen",
        "in flight",
        "rejected",
    ],
)
async def test_a_course_goes_from_the_first_status_to_the_end(
    url: str, life: Sequence[tuple[Status, int]], course: tuple[int, int] | None
) -> None:
    """
    To the first end, if the provider brought it about by itself.
    """
    clock = VirtualClock(NOW + 8 * DAY)
    async with open_ledger(url, clock=clock) as ledger:
        await lived(ledger, "req-1", life)
        found = await ledger.courses()

    expected = [] if course is None else [[NOW + hours * HOUR for hours in course]]
    assert expected == [[one.began_at, one.ended_at] for one in found]
    assert all(("bluum", "ach") == (one.provider, one.method) for one in found)


async def test_without_a_choice_of_method_a_provider_is_learned_as_a_whole(url: str) -> None:
    """
    Its withdrawals have no method, and a course all the same.
    """
    async with open_ledger(url, clock=VirtualClock(NOW + 8 * DAY)) as ledger:
        order = replace(an_order("req-1"), provider="upvest", method=None)
        held = (await ledger.take(taken_in(order), FINGERPRINT)).held
        pending = moved(held, Status.PENDING, now=NOW + HOUR, withdrawal_id="wd-1")
        known = await ledger.record(held, pending)
        assert known is not None
        await ledger.record(known, moved(known, Status.COMPLETED, now=NOW + 2 * HOUR))
        found = await ledger.courses()

    assert [Course("upvest", "", NOW + HOUR, NOW + 2 * HOUR)] == found


@pytest.mark.parametrize(("days", "count"), [(6, 0), (8, 1), (29, 1), (31, 0)])
async def test_only_what_is_neither_young_nor_old_counts(url: str, days: int, count: int) -> None:
    """
    Of the young only the quick ones would be seen; of the old nobody knows whether it still holds.
    """
    clock = VirtualClock(NOW + days * DAY)
    async with open_ledger(url, clock=clock) as ledger:
        await lived(ledger, "req-1", [PENDING, (Status.COMPLETED, 30)])
        found = await ledger.courses()

    assert [Course("bluum", "ach", NOW + HOUR, NOW + 30 * HOUR)] * count == found


@pytest.mark.parametrize(
    ("first", "last", "limit", "numbers"),
    [
        (1, 5, 10, [1, 2, 3, 4, 5]),
        (1, 10, 5, [1, 3, 5, 7, 9]),
        (1, 11, 5, [1, 4, 7, 10]),
        (5, 4, 5, []),
    ],
)
def test_a_sample_is_spread_evenly(first: int, last: int, limit: int, numbers: list[int]) -> None:
    """
    And never larger than its limit.
    """
    assert numbers == list(spread(first, last, limit=limit))
