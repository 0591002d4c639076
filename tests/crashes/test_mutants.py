"""That the crashes can find anything: each rule is taken out of the worker in turn, and missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes import mutants
from tests.crashes.points import Blow
from tests.crashes.stories import STORIES

if TYPE_CHECKING:
    from tests.crashes.replica import Replica
    from tests.crashes.runs import Walk

#: What is taken out; in which story it is missed, struck with what, by how many workers; and how it
#: shows.
_MISSED: Final = [
    (mutants.CallsBeforeItWrites, "one request", Blow.KILL, 1, "before its first attempt"),
    (mutants.CallsAgainBeforeItWrites, "key expired and not paid", Blow.KILL, 1, "before its first"),
    (mutants.AcceptsFirst, "one request", Blow.KILL, 1, "neither an end nor a dead letter"),
    (
        mutants.AcceptsBeforeItBuries,
        "id used for other content",
        Blow.KILL,
        1,
        "neither an end nor a dead letter",
    ),
    (mutants.KnowsNoHorizon, "key expired and paid", Blow.KILL, 1, "executed more than once"),
    (mutants.CallsWithAnOldPermit, "one request", Blow.SLEEP, 2, "executed more than once"),
    (mutants.TakesSilenceForNo, "paid in silence", Blow.KILL, 1, "was rejected and paid"),
    (
        mutants.WaitsForNoList,
        "paid late after a refusal and listed later",
        Blow.KILL,
        1,
        "was rejected and paid",
    ),
    (mutants.AnnouncesBackwards, "one request", Blow.KILL, 1, "out of order"),
    (mutants.MarksBeforeItPublishes, "one request", Blow.KILL, 1, "its sequence has a gap"),
    (mutants.NeedsNoConfirmation, "one request", Blow.LOSE, 1, "its sequence has a gap"),
    (mutants.OverwritesOthers, "paid in silence", Blow.PAUSE, 2, "never comes to its end"),
]


@pytest.mark.parametrize(
    ("worker", "name", "blow", "replicas", "told"),
    [pytest.param(*row, id=row[0].__name__) for row in _MISSED],
)
def test_a_worker_without_this_rule_is_caught(
    walk: Walk, worker: type[Replica], name: str, blow: Blow, replicas: int, told: str
) -> None:
    """
    Some point of some story shows what the rule was for, in the words of the promise it broke.
    """
    [story] = [story for story in STORIES if story.name == name]
    walk.worker = worker
    walk.each_point(story, blow, replicas=replicas, until_it_fails=True)

    [failure] = walk.failures
    assert told in failure
