"""The same over PostgreSQL, at every few points: what a commit means there is another database's.

Its server is outside the simulation: it is waited for in real time, so runs are few."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes.points import Blow
from tests.crashes.stories import STORIES, Story
from tests.ledger import second
from worker.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.crashes.runs import Walk

_STRIDE: Final = 4
_STORIES: Final = [
    story
    for story in STORIES
    if story.name
    in {
        "paid in silence then refused",
        "duplicate in flight",
        "key expired and paid",
        "cancelled when paid unheard",
    }
]


@pytest.fixture
def walk(
    walk_over: Callable[[Callable[[], str]], AbstractContextManager[Walk]], postgres_url: str
) -> Iterator[Walk]:
    """Runs over PostgreSQL."""
    deletes = "; ".join(str(table.delete()) for table in reversed(metadata.sorted_tables))

    def empty_ledger() -> str:
        asyncio.run(second.write(postgres_url, deletes))
        return postgres_url

    with walk_over(empty_ledger) as walk:
        yield walk


@pytest.mark.parametrize(
    ("blow", "replicas"), [(Blow.KILL, 1), (Blow.PAUSE, 2)], ids=["kill-of-1", "pause-of-2"]
)
@pytest.mark.parametrize("story", _STORIES, ids=str)
def test_wherever_fate_strikes_the_promises_hold_there_too(
    walk: Walk, story: Story, blow: Blow, replicas: int
) -> None:
    """
    Paid at most once, nothing lost, events in order, and every intent written before its call.
    """
    walk.each_point(story, blow, replicas=replicas, stride=_STRIDE)

    assert [] == walk.failures
    assert walk.points
