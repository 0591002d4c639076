"""That the crashes can find anything: each rule is taken out of the worker in turn, and missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes import mutants
from tests.crashes.points import Blow
from tests.crashes.stories import STORIES

if TYPE_CHECKING:
    from tests.crashes.replica import Replica
    from tests.crashes.runs import Walk


@dataclass(frozen=True)
class Missed:
    """A rule that is taken out: in which story it is missed, struck with what, and how it shows.

    `replicas` is how many workers are alive at once.
    """

    worker: type[Replica]
    story: str
    shows: str
    blow: Blow = Blow.KILL
    replicas: int = 1


_MISSED: Final = [
    Missed(mutants.CallsBeforeItWrites, "one request", "before its first attempt was written"),
    Missed(
        mutants.CallsAgainBeforeItWrites,
        "key expired and not paid",
        "before its first attempt was written",
    ),
    Missed(mutants.AcceptsFirst, "one request", "neither an end nor a dead letter"),
    Missed(
        mutants.AcceptsBeforeItBuries,
        "id used for other content",
        "neither an end nor a dead letter",
    ),
    Missed(mutants.KnowsNoHorizon, "key expired and paid", "executed more than once"),
    Missed(mutants.CallsWithAnOldPermit, "one request", "executed more than once", Blow.SLEEP, 2),
    Missed(mutants.TakesSilenceForNo, "paid in silence", "was rejected and paid"),
    Missed(
        mutants.WaitsForNoList,
        "paid late after a refusal and listed later",
        "was rejected and paid",
    ),
    Missed(mutants.AnnouncesBackwards, "one request", "its events came out of order"),
    Missed(mutants.MarksBeforeItPublishes, "one request", "its sequence has a gap"),
    Missed(mutants.NeedsNoConfirmation, "one request", "its sequence has a gap", Blow.LOSE),
    Missed(mutants.OverwritesOthers, "paid in silence", "it never comes to its end", Blow.PAUSE, 2),
    Missed(mutants.SellsAgainUnlooked, "sale unheard and lost", "placed more than once"),
    Missed(mutants.SellsWithAnOldPermit, "sale cut short", "placed more than once", Blow.SLEEP, 2),
    Missed(mutants.ForgetsWhatCameMeanwhile, "cancelled when paid unheard", "has 0 answers"),
    Missed(mutants.SleepsWhenItClaims, "reversed", "ended as completed"),
    Missed(mutants.AbandonsInDoubt, "cancelled when paid unheard", "was cancelled and lives"),
    Missed(mutants.CountsEveryLook, "cancelled thrice in doubt", "was cancelled and lives"),
]


@pytest.mark.parametrize("missed", _MISSED, ids=lambda missed: missed.worker.__name__)
def test_a_worker_without_this_rule_is_caught(walk: Walk, missed: Missed) -> None:
    """
    Some point of some story shows what the rule was for, in the words of the promise it broke.

    The real worker goes through the same story and blows unharmed: see `test_each_point`.
    """
    [story] = [story for story in STORIES if story.name == missed.story]
    walk.worker = missed.worker
    walk.each_point(story, missed.blow, replicas=missed.replicas, until_it_fails=True)

    [failure] = walk.failures
    assert missed.shows in failure
