"""Sending the create call of one withdrawal: the only place that does.

Where the order is the meaning: the intent is committed before this begins (contract P4). The permit
is asked for before every single call, since time passes between two of them. The outcome is
committed with its events before anybody is told."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from worker.core.answers import Answer, Attempt, Denied, Reported, Throttled, Unclear
from worker.core.change import Cause, Decision, Held, park
from worker.core.decide import decide_create
from worker.core.permit import permit
from worker.core.withdrawal import Reason, ReasonCode
from worker.flows.commit import due, log_unknown_status, tell
from worker.flows.journey import ids_of, known
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.core.permit import Permit
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Announcer, Now, Observer, Recorder

_log = logging.getLogger(__name__)

#: A longer wait than this is not sat out with the message in hand; the due time takes it up.
WAIT_IN_HAND: Final = timedelta(seconds=10)


class Creator(Protocol):
    """Sends a create call to the provider."""

    async def create(self, permit: Permit) -> Answer:
        """Send it; silence is an answer too."""
        ...


@dataclass(slots=True)
class _Run:
    """One run of tries: the withdrawal as it stands between them, and what was tried."""

    held: Held
    withdrawal: Withdrawal
    decision: Decision
    made: list[Attempt] = field(default_factory=list)


class Submission:
    """Sends create calls with a few short retries, and commits what follows.

    `tries` is how many calls one run makes at the most; what stays unclear after them is taken up
    again by its due time. `denied` is told the provider whose credentials were refused; `may_call`
    tells whether a provider is to be called at this moment.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Creator],
        ledger: Recorder,
        announcer: Announcer,
        observer: Observer,
        now: Now,
        patience: Patience,
        tries: int,
        chance: Callable[[], float],
        denied: Callable[[str], None],
        may_call: Callable[[str], bool] = lambda _provider: True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._announcer = announcer
        self._observer = observer
        self._now = now
        self._patience = patience
        self._tries = tries
        self._chance = chance
        self._denied = denied
        self._may_call = may_call
        self._sleep = sleep

    async def run(self, held: Held, *, doubt_before: bool) -> None:
        """Submit a withdrawal whose intent is committed, and commit the outcome.

        `doubt_before` tells whether an earlier attempt may have reached the provider. Whatever
        happens here, the ledger holds enough for somebody to take it up again.
        """
        withdrawal = replace(held.withdrawal, in_doubt=doubt_before)
        soon = replace(withdrawal, due_at=self._now() + self._patience.throttled)
        run = _Run(held, withdrawal, Decision(soon))
        wait = await self._try(run)
        if wait is not None and self._tries > 1:
            await self._sleep(max(0.0, wait.total_seconds()))
            await self._retry(run)
        await self._commit(run)

    async def _retry(self, run: _Run) -> None:
        """Try again a few times, waiting in between as each answer says."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._tries - 1),
            retry=retry_if_result(lambda wait: wait is not None),
            wait=_wait_told,
            sleep=self._sleep,
            retry_error_callback=lambda _state: None,
        )
        await retrying(self._try, run)

    async def _try(self, run: _Run) -> timedelta | None:
        """Make one call; return the wait before the next, or None when none is to follow."""
        order = run.withdrawal.order
        # The committed intent is asked, not the state between tries.
        granted = permit(run.held, now=self._now(), patience=self._patience)
        if granted is None or self._ledger.tenure != granted.tenure:
            _log.warning("create call not permitted", extra=ids_of(run.withdrawal))
            return None
        if not self._may_call(order.provider or ""):
            # The provider is out: what waits is taken up again once it is back.
            _log.info("create call put off", extra=ids_of(run.withdrawal))
            return None
        number = run.held.withdrawal.attempts + len(run.made)
        started_at = self._now()
        answer = await self._providers[order.provider or ""].create(granted)
        now = self._now()
        run.made.append(
            Attempt(
                number=number,
                started_at=started_at,
                ended_at=now,
                outcome=type(answer).__name__.lower(),
                trace=answer.trace,
            )
        )
        run.decision = decide_create(
            replace(run.withdrawal, attempts=number),
            answer,
            now=now,
            patience=self._patience,
            chance=self._chance(),
        )
        run.withdrawal = run.decision.withdrawal
        if not run.decision.changes:
            _log_undecided(run, answer)
        return self._again(run, answer)

    def _again(self, run: _Run, answer: Answer) -> timedelta | None:
        provider = run.withdrawal.order.provider or ""
        match answer:
            case Unclear(why=why):
                self._observer.retried(provider, why)
            case Throttled():
                self._observer.retried(provider, "throttled")
            case Denied():
                self._denied(provider)
                return None
            case Reported(status=None) as reported:
                log_unknown_status(run.withdrawal, reported)
                self._observer.unknown_status(provider)
                return None
            case _:
                return None
        due_at = run.decision.withdrawal.due_at
        wait = timedelta(0) if due_at is None else due_at - self._now()
        return wait if wait <= WAIT_IN_HAND else None

    async def _commit(self, run: _Run) -> None:
        held, made = run.held, tuple(run.made)
        try:
            recorded = await self._ledger.record(held, run.decision, made)
        except StepRefused:
            # The provider's id belongs to another request: two keys, one withdrawal. Nobody here
            # can tell which of them was paid.
            _log.exception("withdrawal id is taken", extra=ids_of(run.withdrawal))
            reason = Reason(ReasonCode.SEVERAL_CANDIDATES)
            run.decision = park(held.withdrawal, reason, cause=Cause.CREATE, now=self._now())
            recorded = await self._ledger.record(held, run.decision, made)
        except LedgerUnavailable as error:
            # What the provider did is not written down, but the intent is: the same key and bytes
            # go out again when the row is taken up, and the provider repeats its first answer.
            _log.warning(
                "outcome not recorded", extra={**ids_of(run.withdrawal), "error": str(error)}
            )
            return
        if recorded is None:
            _log.warning("outcome was recorded by another", extra=ids_of(run.withdrawal))
            return
        tell(recorded, run.decision, observer=self._observer, announcer=self._announcer)


def _wait_told(state: RetryCallState) -> float:
    wait = None if state.outcome is None else state.outcome.result()
    return 0.0 if wait is None else max(0.0, wait.total_seconds())


def _log_undecided(run: _Run, answer: Answer) -> None:
    """Write that a create call settled nothing, and when it is gone on with."""
    fields = {
        "attempt": run.made[-1].number,
        "answer": type(answer).__name__.lower(),
        "why": answer.why if isinstance(answer, Unclear) else None,
        "http_status": answer.trace.http_status,
        "provider_code": answer.trace.provider_code,
        "request_id": answer.trace.request_id,
    }
    _log.warning(
        "create call undecided",
        extra={
            **ids_of(run.withdrawal),
            **known(fields),
            **due(run.withdrawal),
        },
    )
