"""Taking up what is due: one step of one withdrawal at a time, until it has reached its end.

Survives restarts because the due time is in the ledger. What step a withdrawal is due for is
decided in the core; here it is carried out and its outcome committed."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, assert_never

from worker.core.answers import Attempt
from worker.core.change import Decision, answer_cancellation, put_off
from worker.core.funds import decide_wallet
from worker.core.permit import intend
from worker.core.steps import Step, abandon, expire, next_step, wait_until_forgotten
from worker.core.withdrawal import Errand, Status
from worker.flows.commit import commit, due
from worker.flows.journey import UNTRACED, ids_of
from worker.flows.ports import Lane, LedgerUnavailable, Recorder, StepRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from decimal import Decimal

    from worker.core.change import Held
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal
    from worker.flows.cancel import Cancelling
    from worker.flows.in_hand import InHand
    from worker.flows.journey import Journeys
    from worker.flows.look import Looking
    from worker.flows.ports import Announcer, Now, Observer
    from worker.flows.resolve import Resolution
    from worker.flows.sell import Selling
    from worker.flows.submit import Submission

_log = logging.getLogger(__name__)

#: How often the ledger is asked for what is due.
TICK: Final = timedelta(milliseconds=500)
#: A withdrawal that set off a bug, or whose provider is not enabled, is left alone for so long.
_LEFT_ALONE: Final = timedelta(minutes=1)
#: When the list of a party is read anyway, those that are due so soon are seen as well.
_BESIDE_AHEAD: Final = timedelta(minutes=10)
#: So many withdrawals are looked at together at the most.
_BESIDE_MAX: Final = 200


#: Steps for which the provider is asked.
_ASKING: Final = frozenset({Step.CREATE, Step.LOOK, Step.LOOKUP, Step.CANCEL, Step.SELL})
#: Steps for which nobody has to be asked.
_Alone: TypeAlias = Literal[Step.EXPIRE, Step.ABANDON, Step.ANSWER, Step.REST]


class Purse(Protocol):
    """Tells what is in a wallet."""

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """Return the most that may be withdrawn, None when that could not be read."""
        ...


class DueLedger(Recorder, Protocol):
    """Gives out what is due."""

    async def claim_due(
        self,
        limit: int,
        *,
        busy: Collection[str],
        shunned: Collection[str] = (),
        lanes: Collection[Lane] = frozenset(Lane),
    ) -> list[Held]:
        """Take over what is due and free, but nothing of the shunned providers."""
        ...

    async def claim_beside(
        self,
        limit: int,
        parties: Collection[tuple[str, str]],
        *,
        ahead: timedelta,
        busy: Collection[str],
    ) -> list[Held]:
        """Take over what is to be looked at soon, of these parties alone."""
        ...


class Follow:
    """Follows withdrawals; `run` it as a task.

    At most `concurrency` steps are in work at once. Several of these may run beside each other,
    each on `lanes` of its own. `may_call` tells whether providers may be called at this moment,
    `beat` is called while the loop is alive. Of a provider that is `out` nothing is taken up, and
    of one that is on `trial` one step at a time. `journeys` is told of each step.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Purse],
        ledger: DueLedger,
        submission: Submission,
        resolution: Resolution,
        looking: Looking,
        cancelling: Cancelling,
        selling: Selling,
        announcer: Announcer,
        observer: Observer,
        in_hand: InHand,
        now: Now,
        patience: Patience,
        concurrency: int,
        chance: Callable[[], float],
        may_call: Callable[[], bool],
        beat: Callable[[], None],
        out: Callable[[], frozenset[str]] = frozenset,
        trial: Callable[[], frozenset[str]] = frozenset,
        lanes: frozenset[Lane] = frozenset(Lane),
        journeys: Journeys = UNTRACED,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._submission = submission
        self._resolution = resolution
        self._looking = looking
        self._cancelling = cancelling
        self._selling = selling
        self._commit = partial(commit, ledger=ledger, observer=observer, announcer=announcer)
        self._announcer = announcer
        self._in_hand = in_hand
        self._now = now
        self._patience = patience
        self._concurrency = concurrency
        self._chance = chance
        self._may_call = may_call
        self._beat = beat
        self._out = out
        self._trial = trial
        self._lanes = lanes
        self._journeys = journeys
        self._tried: set[str] = set()
        #: Whether the ledger could not be asked the last time.
        self._is_blind = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take up what is due until `stop`; returns once the steps in work are done.

        Cancelled, it cancels them too: none goes on behind the back of whoever gave up waiting.
        """
        try:
            await self._take_up_until_stopped()
            await self.finish()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            raise

    def stop(self) -> None:
        """Take nothing up any more."""
        self._stopping.set()

    async def take_up(self, limit: int) -> int:
        """Begin what is due, at most about so many steps; return how many were begun."""
        try:
            due = await self._claim(limit)
        except LedgerUnavailable as error:
            if not self._is_blind:
                _log.warning("nothing taken up", extra={"error": str(error)})
            self._is_blind = True
            return 0
        self._is_blind = False
        for group in _together(due):
            task = asyncio.create_task(self._step(group), name="step")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Each task holds what it works on before it first waits: all begin before the next claim.
        await asyncio.sleep(0)
        return len(due)

    async def finish(self) -> None:
        """Wait for the steps in work."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def in_work(self) -> int:
        """How many steps are in work at this moment."""
        return len(self._tasks)

    async def _take_up_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._beat()
            free = self._concurrency - len(self._tasks)
            begun = await self.take_up(free) if free and self._may_call() else 0
            if begun and begun >= free:
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

    async def _claim(self, limit: int) -> list[Held]:
        out, trial = self._out(), self._trial()
        due = await self._claim_of(limit, shunned=out | trial)
        room = limit - len(due)
        for provider in sorted(trial - self._tried)[:room]:
            due += await self._claim_of(1, shunned=self._providers.keys() - {provider})
        return due + await self._claim_beside(due)

    async def _claim_of(self, limit: int, *, shunned: Collection[str]) -> list[Held]:
        # What is in hand is asked each time: while one claim is committed requests are taken in.
        busy = self._in_hand.ids
        return await self._ledger.claim_due(limit, busy=busy, shunned=shunned, lanes=self._lanes)

    async def _claim_beside(self, due: Sequence[Held]) -> list[Held]:
        """Take over what the same reads of the list will tell of."""
        parties = {_party(held) for held in due if _is_look(held)}
        if not parties:
            return []
        busy = self._in_hand.ids | {held.withdrawal.order.message_id for held in due}
        return await self._ledger.claim_beside(_BESIDE_MAX, parties, ahead=_BESIDE_AHEAD, busy=busy)

    async def _step(self, group: Sequence[Held]) -> None:
        provider = group[0].withdrawal.order.provider or ""
        self._tried.add(provider)
        try:
            with ExitStack() as hands:
                for held in group:
                    hands.enter_context(self._in_hand.holding(held.withdrawal.order.message_id))
                if len(group) > 1 and provider in self._providers:
                    with self._journeys.steps([held.withdrawal for held in group], Step.LOOK):
                        await self._safely(self._looking.run_together(group), group)
                else:
                    for held in group:
                        await self._safely(self.take_step(held), [held])
        finally:
            self._tried.discard(provider)

    async def _safely(self, work: Awaitable[None], group: Sequence[Held]) -> None:
        try:
            await work
        except LedgerUnavailable as error:
            # Still ours and still due: it is taken up again.
            who = ids_of(group[0].withdrawal)
            _log.warning("step not recorded", extra={**who, "error": str(error)})
        except Exception:  # noqa: BLE001
            # A bug that one withdrawal sets off must not stop the others.
            _log.exception("step failed", extra=ids_of(group[0].withdrawal))
            for held in group:
                await self._leave_alone(held)

    async def take_step(self, held: Held) -> None:
        """Carry out the one step that a held withdrawal is due for."""
        withdrawal = held.withdrawal
        step = next_step(withdrawal, now=self._now(), patience=self._patience)
        with self._journeys.step(withdrawal, step):
            await self._take(step, held)

    async def _take(self, step: Step, held: Held) -> None:
        withdrawal = held.withdrawal
        if step in _ASKING and withdrawal.order.provider not in self._providers:
            _log.error("provider is not enabled", extra=ids_of(held.withdrawal))
            await self._leave_alone(held)
            return
        if withdrawal.due_at == withdrawal.changed_at:
            # Whoever changed it left the rest to us at once: a person who ruled, or a worker that
            # died. What has to be told of it has not been told either.
            self._announcer.told(held.row)
        match step:
            case Step.CREATE:
                await self._create(held)
            case Step.LOOK:
                await self._looking.run(held)
            case Step.LOOKUP:
                await self._resolution.run(held)
            case Step.CANCEL:
                await self._cancelling.run(held)
            case Step.SELL:
                await self._selling.run(held)
            case Step.WAIT:
                await self._rest(held)
            case _:
                await self._commit(held, self._decision(step, withdrawal))

    def _decision(self, step: _Alone, withdrawal: Withdrawal) -> Decision:
        """Say what follows where nobody has to be asked."""
        now = self._now()
        match step:
            case Step.EXPIRE:
                return expire(withdrawal, now=now)
            case Step.ABANDON:
                return abandon(withdrawal, now=now)
            case Step.ANSWER:
                return answer_cancellation(withdrawal, now=now)
            case Step.REST:
                return Decision(replace(withdrawal, due_at=None))
            case _:  # pragma: no cover
                assert_never(step)

    async def _rest(self, held: Held) -> None:
        """Let a key rest; days may pass, and somebody may ask why nothing happens."""
        now = self._now()
        decision = wait_until_forgotten(held.withdrawal, now=now, patience=self._patience)
        await self._commit(held, decision)
        who, until = ids_of(held.withdrawal), due(decision.withdrawal)
        _log.info("fresh attempt waits", extra={**who, **until})

    async def _create(self, held: Held) -> None:
        if await self._has_to_wait(held):
            return
        intent = intend(held.withdrawal, now=self._now(), patience=self._patience)
        attempt = Attempt(number=intent.withdrawal.attempts, started_at=self._now())
        intended = await self._ledger.record(held, intent, (attempt,), keep=True)
        if intended is None:
            _log.warning("intent was overtaken by another", extra=ids_of(held.withdrawal))
            return
        try:
            await self._submission.run(intended, doubt_before=held.withdrawal.in_doubt)
        except LedgerUnavailable:
            raise
        except Exception:
            # A bug. Since the intent there is a newer version, which alone can be left alone.
            await self._leave_alone(intended)
            raise

    async def _has_to_wait(self, held: Held) -> bool:
        """Save a call for funds that is sure to fail, as far as a wallet can tell."""
        withdrawal = held.withdrawal
        if withdrawal.status is not Status.AWAITING_FUNDS or withdrawal.in_doubt:
            return False
        order = withdrawal.order
        purse = self._providers[order.provider or ""]
        decision = decide_wallet(
            withdrawal,
            await purse.available(order.party_id or "", order.currency or ""),
            now=self._now(),
            patience=self._patience,
            chance=self._chance(),
        )
        if decision is None:
            return False
        await self._commit(held, decision)
        return True

    async def _leave_alone(self, held: Held) -> None:
        later = put_off(held.withdrawal, until=self._now() + _LEFT_ALONE)
        with suppress(LedgerUnavailable, StepRefused):
            await self._ledger.record(held, Decision(later))


def _together(due: Iterable[Held]) -> Iterable[Sequence[Held]]:
    """Put the looks at withdrawals of one party together; everything else stays alone."""
    groups: defaultdict[object, list[Held]] = defaultdict(list)
    for held in due:
        groups[_party(held) if _is_look(held) else held.row].append(held)
    return groups.values()


def _is_look(held: Held) -> bool:
    withdrawal = held.withdrawal
    is_open = withdrawal.withdrawal_id is not None and not withdrawal.is_at_rest
    return is_open and withdrawal.errand is not Errand.ACT


def _party(held: Held) -> tuple[str, str]:
    order = held.withdrawal.order
    return order.provider or "", order.party_id or ""
