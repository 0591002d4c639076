"""Every short story, its worker killed at every single point; the promises hold each time.

Of the other blows, each falls on a third of the points, each day on another one, so that three days
see them all. `WITHDRAWALS_TEST_CRASHES=1` (or 2, 3) names the third, `every-point` takes all three,
and `all` walks every story with every blow besides, which takes minutes."""

from __future__ import annotations

import os
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes.points import Blow
from tests.crashes.stories import STORIES, Story

if TYPE_CHECKING:
    from tests.crashes.runs import Walk

_TODAY: Final = str(datetime.now(UTC).toordinal() % 3 + 1)
_WHICH: Final = os.environ.get("WITHDRAWALS_TEST_CRASHES") or _TODAY
_ALL: Final = _WHICH == "all"
_STRIDE: Final = 3 if _WHICH in {"1", "2", "3"} else 1

_IN_DOUBT: Final = (
    "paid in silence then refused",
    "silent then refused",
    "paid late after a refusal and listed later",
    "key expired and paid",
)
#: Which stories are struck with what, with how many workers alive at once.
_WALKS: Final = {
    (Blow.KILL, 1): tuple(story.name for story in STORIES),
    (Blow.KILL, 2): ("duplicate in flight", "cancelled when paid unheard", *_IN_DOUBT),
    (Blow.PAUSE, 2): (
        "paid in silence",
        "duplicate in flight",
        "cancelled when paid unheard",
        "sale cut short",
        *_IN_DOUBT,
    ),
    (Blow.SLEEP, 2): ("one request", "paid in silence then refused", "sale cut short"),
    (Blow.SLEEP, 1): ("paid in silence then refused", "id used for other content"),
    (Blow.CUT_BEFORE, 1): ("paid in silence", "silent then refused", "refused", "sale cut short"),
    (Blow.CUT_AFTER, 1): (
        "paid in silence",
        "silent then refused",
        "refused",
        "cancelled unheard while pending",
    ),
    (Blow.CUT_AFTER, 2): ("paid in silence then refused",),
    (Blow.LOSE, 1): (
        "one request",
        "a copy for the asker",
        "id used for other content",
        "cancelled and never asked",
    ),
    (Blow.SWALLOW, 1): (
        "one request",
        "id used for other content",
        "invalid and nameless",
        "cancelled and never asked",
    ),
}
_STEPS: Final = [
    pytest.param(blow, replicas, story, id=f"{blow.name.lower()}-of-{replicas}-{story}")
    for (blow, replicas), names in _WALKS.items()
    for story in STORIES
    if _ALL or story.name in names
]
_SHORT: Final = [
    story for story in STORIES if story.name in {"paid in silence then refused", "refused"}
]


@pytest.mark.parametrize(("blow", "replicas", "story"), _STEPS)
def test_wherever_fate_strikes_the_promises_hold(
    walk: Walk, blow: Blow, replicas: int, story: Story
) -> None:
    """
    Paid and sold at most once, nothing lost, events in order, every cancellation answered once.
    """
    if (blow, replicas) == (Blow.KILL, 1):
        walk.each_point(story, blow)
    else:
        walk.each_point(story, blow, replicas=replicas, first=_first(blow, story), stride=_STRIDE)

    assert [] == walk.failures, f"WITHDRAWALS_TEST_CRASHES={_WHICH}"
    assert walk.points


def test_three_days_walk_every_point(walk: Walk) -> None:
    """
    The thirds are no more and no less than the whole, wherever each of them begins.
    """
    [story] = [story for story in STORIES if story.name == "refused"]
    walk.each_point(story, Blow.CUT_BEFORE)
    whole = walk.points
    for number in (1, 2, 3):
        walk.each_point(story, Blow.CUT_BEFORE, first=number, stride=3)

    assert 2 * whole == walk.points
    for blow in Blow:
        assert {1, 2, 3} == {_first(blow, story, which=which) for which in "123"}


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_left_alone_each_story_comes_to_its_end(walk: Walk, story: Story) -> None:
    """
    The blows are not what makes it end well, and there are points for them to fall on.
    """
    run = walk.run(story, {})

    assert [] == walk.failures
    assert 8 <= len(run.points.names)


@pytest.mark.parametrize("story", STORIES if _ALL else _SHORT, ids=str)
def test_two_deaths_harm_no_more_than_one(walk: Walk, story: Story) -> None:
    """
    Whoever takes over dies as well, so many points later.
    """
    walk.each_pair(story, Blow.KILL, Blow.KILL, apart=range(1, 40) if _ALL else (1, 4))

    assert [] == walk.failures
    assert walk.points > walk.runs


def test_one_story_takes_the_same_course_every_time(walk: Walk) -> None:
    """
    What was found once can be found again: nothing is left to luck.
    """
    [story] = [story for story in STORIES if story.name == "sale unheard and lost"]
    courses = [walk.run(story, {15: Blow.KILL}).points.names for _ in range(3)]

    assert [courses[0]] * 3 == courses


def _first(blow: Blow, story: Story, *, which: str = _WHICH) -> int:
    """Return the point at which a third begins: for each story and blow at one of its own."""
    if which not in {"1", "2", "3"}:
        return 1
    return (int(which) + zlib.crc32(f"{blow.name} {story.name}".encode())) % 3 + 1
