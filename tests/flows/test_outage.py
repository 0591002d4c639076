"""A provider that fails as a whole: what counts as that, and how it comes to an end.

In virtual time: the pauses are exact and cost nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest

from tests.providers import virtual_time
from worker.core.answers import Answer, Conflicted, Denied, Refused, Reported, Throttled, Unclear
from worker.core.schedule import Schedule
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.gate import Gate
from worker.flows.outage import FAILURES_NEEDED, SUBJECTS_NEEDED, Outage, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SILENCE: Final = Unclear("timeout")
REPORTED: Final = Reported("wd_1", Status.PENDING, "pending")
REFUSED: Final = Refused(Reason(ReasonCode.INVALID_REQUEST))
PAUSES: Final = Schedule(
    first_delay=timedelta(seconds=1), growth=2.0, cap=timedelta(seconds=30), jitter=0.0
)


class Stage:
    """An outage under test, with all that it asks and tells."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.up: list[bool] = []
        self.beats: list[float] = []
        self.probed_at: list[float] = []
        #: What the probe answers, the last for ever; and which probes (1 is the first) hang.
        self.probes: deque[bool | None] = deque([None])
        self.hanging: set[int] = set()
        self.in_flight = 0
        self.most_in_flight = 0
        self.outage = Outage(
            "bank",
            self.gate,
            probe=self._probe,
            pauses=PAUSES,
            chance=lambda: 0.5,
            told=self.up.append,
            beat=lambda: self.beats.append(virtual_time.now()),
        )

    async def call(self, subject: str, answer: Answer, *, lasts: float = 0.0) -> Answer:
        """Make one call that lasts some seconds and is answered so."""

        async def work() -> Answer:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await asyncio.sleep(lasts)
            self.in_flight -= 1
            return answer

        return await self.outage.call(subject, work)

    async def fail(self, times: int, subjects: int = SUBJECTS_NEEDED) -> None:
        """Let so many calls in a row fail, about so many withdrawals in turn."""
        for number in range(times):
            await self.call(f"wd-{number % subjects}", SILENCE)

    async def _probe(self) -> bool | None:
        self.probed_at.append(virtual_time.now())
        if len(self.probed_at) in self.hanging:
            await asyncio.Event().wait()
        return self.probes.popleft() if len(self.probes) > 1 else self.probes[0]


def _story(tell: Callable[[Stage], Awaitable[None]]) -> Stage:
    """Run an outage's task beside a story, in virtual time."""
    stage = Stage()

    async def both() -> None:
        task = asyncio.create_task(stage.outage.run())
        await tell(stage)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_time.run(both())
    return stage


def test_a_new_one_is_up() -> None:
    """
    Until the provider has failed it is called as usual, and that is told.
    """
    stage = Stage()

    assert State.UP is stage.outage.state
    assert [True] == stage.up


def test_many_failures_in_a_row_close_the_intake() -> None:
    """
    The gate says who fails; waiting is the worker's duty then, so it stays ready.
    """

    async def tell(stage: Stage) -> None:
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(0.5)

    stage = _story(tell)

    assert stage.outage.is_out
    assert {"outage bank": "bank fails as a whole"} == stage.gate.closed_by
    assert stage.gate.waits_dutifully
    assert [True, False] == stage.up


def test_one_failure_less_closes_nothing() -> None:
    """
    Nor do any number of failures of too few withdrawals: that is their trouble.
    """

    async def few(stage: Stage) -> None:
        await stage.fail(FAILURES_NEEDED - 1)

    async def lonely(stage: Stage) -> None:
        await stage.fail(5 * FAILURES_NEEDED, subjects=SUBJECTS_NEEDED - 1)

    assert State.UP is _story(few).outage.state
    assert State.UP is _story(lonely).outage.state


@pytest.mark.parametrize("answer", [REPORTED, REFUSED, Conflicted(), Denied()])
def test_any_word_of_the_provider_begins_the_count_anew(answer: Answer) -> None:
    """
    A provider that answers is not out, whatever it says.
    """

    async def tell(stage: Stage) -> None:
        await stage.fail(FAILURES_NEEDED - 1)
        await stage.call("wd-0", answer)
        await stage.fail(FAILURES_NEEDED - 1)

    assert State.UP is _story(tell).outage.state


def test_a_rate_limit_proves_nothing() -> None:
    """
    A gateway may throttle in front of a provider that is away: the count goes on.
    """

    async def tell(stage: Stage) -> None:
        await stage.fail(FAILURES_NEEDED - 1)
        await stage.call("wd-0", Throttled())
        await stage.fail(1)

    assert stage_is_out(_story(tell))


def test_the_answer_is_handed_on() -> None:
    """
    Whoever called hears what the provider said, up, out and on trial.
    """
    heard: list[Answer] = []

    async def tell(stage: Stage) -> None:
        heard.append(await stage.call("wd-0", REPORTED))
        stage.probes = deque([True])
        await stage.fail(FAILURES_NEEDED)
        heard.append(await stage.call("wd-0", REFUSED))
        await asyncio.sleep(2)
        heard.append(await stage.call("wd-0", Throttled()))

    _story(tell)

    assert [REPORTED, REFUSED, Throttled()] == heard


def test_probes_are_rare_and_come_one_at_a_time() -> None:
    """
    Each pause is twice the one before, up to a cap; one that hangs is given up.
    """

    async def tell(stage: Stage) -> None:
        stage.hanging = {2}
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(100)

    # The second is given up after ten seconds.
    assert [1.0, 3.0, 17.0, 25.0, 41.0, 71.0] == [
        round(at, 3) for at in _story(tell).probed_at if at < 100
    ]


def test_an_answered_probe_lets_one_call_at_a_time_pass() -> None:
    """
    The gate is open for one; calls that come all the same wait for each other.
    """
    narrow: list[bool] = []

    async def tell(stage: Stage) -> None:
        stage.probes = deque([None, False])
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(4)
        narrow.append(stage.gate.is_open and stage.gate.is_narrow)
        stage.most_in_flight = 0
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(stage.call(f"wd-{number}", SILENCE, lasts=1.0))

    stage = _story(tell)

    assert [True] == narrow
    assert 1 == stage.most_in_flight


@pytest.mark.parametrize("answer", [REPORTED, REFUSED, Throttled(), Denied()])
def test_the_first_answer_on_trial_ends_the_outage(answer: Answer) -> None:
    """
    Everything goes at full speed again, and the next outage begins with short pauses.
    """

    async def tell(stage: Stage) -> None:
        stage.probes = deque([None, None, True, None])
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(8)
        await stage.call("wd-0", answer)
        await asyncio.sleep(1)
        assert stage.gate.is_open
        assert not stage.gate.is_narrow
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(1.5)

    stage = _story(tell)

    assert [True, False, False, True, False] == stage.up
    assert [1.0, 3.0, 7.0, 10.0] == [round(at, 3) for at in stage.probed_at]


def test_a_failure_on_trial_closes_the_intake_again() -> None:
    """
    A read may work while payouts do not: one failed call is enough, and the pauses go on growing.
    """

    async def tell(stage: Stage) -> None:
        stage.probes = deque([True])
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(1.5)
        await stage.call("wd-0", SILENCE)
        await asyncio.sleep(1)
        assert not stage.gate.is_open
        await asyncio.sleep(4)

    stage = _story(tell)

    assert [1.0, 3.5] == [round(at, 3) for at in stage.probed_at]
    assert State.TRIAL is stage.outage.state


def test_a_late_answer_while_out_ends_nothing() -> None:
    """
    A call from before the outage says nothing about now; the probe finds out.
    """

    async def tell(stage: Stage) -> None:
        late = asyncio.create_task(stage.call("wd-9", REPORTED, lasts=0.5))
        await asyncio.sleep(0.1)
        await stage.fail(FAILURES_NEEDED)
        await late

    assert stage_is_out(_story(tell))


def test_it_shows_that_it_lives() -> None:
    """
    Up, out or on trial: no silence of a minute, or liveness would take it for stuck.
    """

    async def tell(stage: Stage) -> None:
        await asyncio.sleep(60)
        stage.hanging = {2}
        stage.probes = deque([None, None, None, None, None, True])
        await stage.fail(FAILURES_NEEDED)
        await asyncio.sleep(300)

    beats = _story(tell).beats

    assert 60 > max(later - beat for beat, later in pairwise(beats))
    assert 350 < beats[-1]


def stage_is_out(stage: Stage) -> bool:
    """Tell whether the provider counts as out."""
    return stage.outage.is_out
