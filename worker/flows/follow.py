"""Taking up what is due: one step of one withdrawal at a time, until it has reached its end.

Survives restarts because the due time is in the ledger. What step a withdrawal is due for is
decided in the core; here it is carried out and its outcome committed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from worker.core.answers import Answer, Attempt, Denied, Reported
from worker.core.decide import Decision, Step, decide_look, expire, intend, next_step
from worker.flows.ports import LedgerUnavailable, Recorder, StepRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from worker.core.decide import Held
    from worker.core.schedule import Patience
    from worker.flows.in_hand import InHand
    from worker.flows.ports import Announcer, Now, Observer
    from worker.flows.resolve import Resolution
    from worker.flows.submit import Submission

_log = logging.getLogger(__name__)

#: How often the ledger is asked for what is due.
TICK: Final = timedelta(milliseconds=500)
#: A withdrawal that set off a bug, or whose provider is not enabled, is left alone for so long.
_LEFT_ALONE: Final = timedelta(minutes=1)


class Looker(Protocol):
    """Reads one withdrawal at the provider."""

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read it; silence is an answer too."""
        ...


class DueLedger(Recorder, Protocol):
    """Gives out what is due."""

    async def claim_due(
        self, limit: int, *, busy: Collection[str], shunned: Collection[str] = ()
    ) -> list[Held]:
        """Take over what is due and free, but nothing of the shunned providers."""
        ...


class Follow:
    """Follows withdrawals; `run` it as a task.

    At most `concurrency` steps are in work at once. `may_call` tells whether providers may be
    called at this moment, `beat` is called while the loop is alive, `denied` is told the provider
    whose credentials were refused. Of a provider that is `out` nothing is taken up, and of one that
    is on `trial` one step at a time.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Looker],
        ledger: DueLedger,
        submission: Submission,
        resolution: Resolution,
        announcer: Announcer,
        observer: Observer,
        in_hand: InHand,
        now: Now,
        patience: Patience,
        concurrency: int,
        chance: Callable[[], float],
        may_call: Callable[[], bool],
        denied: Callable[[str], None],
        beat: Callable[[], None],
        out: Callable[[], frozenset[str]] = frozenset,
        trial: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._submission = submission
        self._resolution = resolution
        self._announcer = announcer
        self._observer = observer
        self._in_hand = in_hand
        self._now = now
        self._patience = patience
        self._concurrency = concurrency
        self._chance = chance
        self._may_call = may_call
        self._denied = denied
        self._beat = beat
        self._out = out
        self._trial = trial
        self._tried: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take up what is due until `stop`; returns once the steps in work are done.

        Cancelled, it cancels them too: none goes on behind the back of whoever gave up waiting.
        """
        try:
            await self._take_up_until_stopped()
            if self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise

    def stop(self) -> None:
        """Take nothing up any more."""
        self._stopping.set()

    @property
    def in_work(self) -> int:
        """How many steps are in work at this moment."""
        return len(self._tasks)

    async def _take_up_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._beat()
            free = self._concurrency - len(self._tasks)
            begun = await self._take_up(free) if free and self._may_call() else 0
            if begun and begun == free:
                # There is probably more: go on as soon as there is room.
                await asyncio.wait(
                    self._tasks,
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=TICK.total_seconds(),
                )
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK.total_seconds()):
                    await self._stopping.wait()

    async def _take_up(self, limit: int) -> int:
        try:
            due = await self._claim(limit)
        except LedgerUnavailable as error:
            _log.warning("nothing taken up", extra={"error": str(error)})
            return 0
        for held in due:
            task = asyncio.create_task(self._step(held), name="step")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Each task holds its withdrawal before it first waits: let all begin before the next claim.
        await asyncio.sleep(0)
        return len(due)

    async def _claim(self, limit: int) -> list[Held]:
        out, trial = self._out(), self._trial()
        due = await self._ledger.claim_due(limit, busy=self._in_hand.ids, shunned=out | trial)
        room = limit - len(due)
        for provider in sorted(trial - self._tried)[:room]:
            others = self._providers.keys() - {provider}
            due += await self._ledger.claim_due(1, busy=self._in_hand.ids, shunned=others)
        return due

    async def _step(self, held: Held) -> None:
        provider = held.withdrawal.order.provider or ""
        self._tried.add(provider)
        try:
            await self._safe_step(held)
        finally:
            self._tried.discard(provider)

    async def _safe_step(self, held: Held) -> None:
        with self._in_hand.holding(held.withdrawal.order.message_id):
            try:
                await self.take_step(held)
            except LedgerUnavailable as error:
                # Still ours and still due: it is taken up again.
                _log.warning("step not recorded", extra={**_who(held), "error": str(error)})
            except Exception:  # noqa: BLE001
                # A bug that one withdrawal sets off must not stop the others.
                _log.exception("step failed", extra=_who(held))
                await self._leave_alone(held)

    async def take_step(self, held: Held) -> None:
        """Carry out the one step that a held withdrawal is due for."""
        withdrawal = held.withdrawal
        if withdrawal.order.provider not in self._providers:
            _log.error("provider is not enabled", extra=_who(held))
            await self._leave_alone(held)
            return
        if withdrawal.due_at == withdrawal.changed_at:
            # Whoever changed it left the rest to us at once: a person who ruled, or a worker that
            # died. What has to be told of it has not been told either.
            self._announcer.told(held.row)
        match next_step(withdrawal, now=self._now(), patience=self._patience):
            case Step.CREATE:
                await self._create(held)
            case Step.LOOK:
                await self._look(held)
            case Step.LOOKUP:
                await self._resolution.run(held)
            case Step.EXPIRE:
                await self._commit(held, expire(withdrawal, now=self._now()))
            case Step.REST:
                await self._commit(held, Decision(replace(withdrawal, due_at=None)))
            case step:  # pragma: no cover
                assert_never(step)

    async def _create(self, held: Held) -> None:
        intent = intend(held.withdrawal, now=self._now())
        attempt = Attempt(number=intent.withdrawal.attempts, started_at=self._now())
        intended = await self._ledger.record(held, intent, (attempt,), keep=True)
        if intended is None:
            _log.warning("intent was overtaken by another", extra=_who(held))
            return
        try:
            await self._submission.run(intended, doubt_before=held.withdrawal.in_doubt)
        except LedgerUnavailable:
            raise
        except Exception:
            # A bug. Since the intent there is a newer version, which alone can be left alone.
            await self._leave_alone(intended)
            raise

    async def _look(self, held: Held) -> None:
        order = held.withdrawal.order
        provider = order.provider or ""
        answer = await self._providers[provider].look(
            order.party_id or "", held.withdrawal.withdrawal_id or ""
        )
        if isinstance(answer, Denied):
            self._denied(provider)
        if isinstance(answer, Reported) and answer.status is None:
            self._observer.unknown_status(provider)
        decision = decide_look(
            held.withdrawal,
            answer,
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
        )
        await self._commit(held, decision)

    async def _commit(self, held: Held, decision: Decision) -> None:
        recorded = await self._ledger.record(held, decision)
        if recorded is None:
            _log.warning("outcome was recorded by another", extra=_who(held))
            return
        for change in decision.changes:
            self._observer.changed(recorded.withdrawal, change)
        if decision.changes:
            self._announcer.told(recorded.row)

    async def _leave_alone(self, held: Held) -> None:
        later = replace(held.withdrawal, due_at=self._now() + _LEFT_ALONE)
        with suppress(LedgerUnavailable, StepRefused):
            await self._ledger.record(held, Decision(later))


def _who(held: Held) -> dict[str, str]:
    return {"message_id": held.withdrawal.order.message_id}
