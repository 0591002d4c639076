"""The run: everything is asked for, the worker is killed midway, and all is watched to its end.

Where the order is the meaning: the worker is killed while its calls are on their way, because that
is when money is lost or paid twice; the last message is held back until all others have ended, so
that its end shows that nothing before it is left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Final, assert_never

from worker.demo.audit import HELD, Forged
from worker.demo.evidence import read_deliveries, read_effects, read_record
from worker.demo.mailbox import Mailbox, open_mailbox
from worker.demo.scenario import Deposit, Forgery, Message, Return, Start, interleaved
from worker.demo.scenarios import SCENARIOS, UNKNOWN
from worker.demo.story import Story
from worker.demo.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from worker.demo.scenario import Scenario, Turn
    from worker.demo.screen import Screen
    from worker.demo.stage import Stage

#: The run ends after this time, whatever is missing: a minute with the stopping of the worker.
RUN_SECONDS_MAX: Final = 50.0
#: The worker is killed when the provider has taken so many: some are done, many on their way.
_KILL_AFTER: Final = 8
_WATCH_SECONDS: Final = 0.25
#: What the broker has sent and we have not read is read within this time.
_LATE_SECONDS: Final = 0.3


async def play(stage: Stage, screen: Screen, *, keep: bool) -> Verdict:
    """Carry the run out and judge it; unless `keep`, the worker has been stopped when it returns.

    Raises StageFailed when worker or simulator end by themselves, or the worker not in order.
    """
    story = Story(SCENARIOS)
    async with open_mailbox(stage.broker.url) as mailbox, _watching(stage, mailbox, story):
        async with screen.showing(story):
            with suppress(TimeoutError):
                async with asyncio.timeout(RUN_SECONDS_MAX):
                    await _Course(stage, mailbox, story, screen.say).run()
        if not keep:
            # It finishes and acknowledges what it has in hand; what it left undone would lie in its
            # queue again, and be counted.
            await asyncio.to_thread(stage.stop_worker)
            screen.say("worker stopped in order")
        await asyncio.sleep(_LATE_SECONDS)
        await _read_record(stage, story)
        waiting = await mailbox.waiting()
        return judge(story.seen, story.outcomes, waiting=waiting, replays=story.replays)


class _Course:
    """The course of one run: who sends what, and when."""

    def __init__(
        self, stage: Stage, mailbox: Mailbox, story: Story, say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._mailbox = mailbox
        self._story = story
        self._say = say
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Publish, kill, repeat, wait; returns when all that has to come has come."""
        last = self._starting(Start.LAST)
        async with asyncio.TaskGroup() as tasks:
            for scenario in self._story.scenarios:
                for turn in scenario.turns:
                    tasks.create_task(self._take(turn, scenario))
            tasks.create_task(self._kill_worker())
            first = self._starting(Start.AT_ONCE)
            await self._publish(first, "{} messages published, each confirmed")
        await self._story.until(lambda: self._open == {scenario.title for scenario in last})
        await self._publish(last, "all have ended; {} last message published")
        await self._story.until(lambda: not self._open)

    @property
    def _open(self) -> set[str]:
        return {found.title for found in self._story.outcomes if not found.is_settled}

    def _starting(self, start: Start) -> list[Scenario]:
        return [scenario for scenario in self._story.scenarios if scenario.start is start]

    async def _publish(self, scenarios: list[Scenario], done: str) -> None:
        messages = interleaved(scenarios)
        for message in messages:
            await self._publish_one(message)
        self._say(done.format(len(messages)))

    async def _publish_one(self, message: Message) -> None:
        async with self._one_at_a_time:
            sent = await self._mailbox.publish(message)
        (self._story.send if message.cancels is None else self._story.cancel)(sent)

    async def _kill_worker(self) -> None:
        await self._story.until(self._is_well_begun)
        self._stage.worker.kill()
        halfway = list(self._story.statuses.values()).count("received")
        self._say(f"worker killed (SIGKILL) with {halfway} requests halfway through a payout")
        seconds = await self._stage.start_worker()
        self._say(f"worker started again, ready after {seconds:.1f} s")
        await self._publish(self._starting(Start.RESTARTED), "{} more message published")

    def _is_well_begun(self) -> bool:
        # Whom the provider does not know has to be refused before. Had the answer been lost, nobody
        # could tell any more what became of it: the list, too, is refused.
        statuses = self._story.statuses
        refused = statuses.get(UNKNOWN.name or "") == "rejected"
        return refused and sum(status in HELD for status in statuses.values()) >= _KILL_AFTER

    async def _take(self, turn: Turn, scenario: Scenario) -> None:
        name = scenario.messages[0].name or ""
        await self._story.until(lambda: any(e.status in turn.after for e in self._story.told(name)))
        withdrawal_id = self._story.told(name)[-1].withdrawal_id or ""
        match turn.does:
            case Message() as message:
                await self._publish_one(message)
            case Deposit(investor_id=investor_id, amount=amount):
                await self._stage.deposit(investor_id, amount)
            case Return():
                await self._stage.take_back(withdrawal_id)
            case Forgery():
                self._story.forge(Forged(name, await self._stage.forge(withdrawal_id)))
            case does:
                assert_never(does)


@asynccontextmanager
async def _watching(stage: Stage, mailbox: Mailbox, story: Story) -> AsyncIterator[None]:
    """Fill the story while the block lasts; it fails when the watching does."""
    try:
        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(mailbox.hear_events(story.hear)),
                tasks.create_task(mailbox.hear_answers(story.hear_answer)),
                tasks.create_task(mailbox.read_dead_letters(story.bury)),
                tasks.create_task(_watch_provider(stage, story)),
            ]
            yield
            for watch in watches:
                watch.cancel()
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    """Return one cause of several: enough to say what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _watch_provider(stage: Stage, story: Story) -> None:
    while True:
        stage.check()
        await _read_record(stage, story)
        await asyncio.sleep(_WATCH_SECONDS)


async def _read_record(stage: Stage, story: Story) -> None:
    records = await stage.records()
    story.look(
        tuple(chain.from_iterable(map(read_record, records))),
        tuple(chain.from_iterable(map(read_effects, records))),
        tuple(chain.from_iterable(map(read_deliveries, records))),
        replays=sum(record["counters"]["replays"] for record in records),
    )
