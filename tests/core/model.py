"""A provider and a worker in small, on clocks that only tests move.

The provider does its worst within what is promised of it: it pays at once or later, answers, fails
or is silent, forgets a key after a day, and shows a payout in its list only after a while. The
worker is the flows reduced to their order of steps; all it decides, it asks of the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from tests.core.builders import EVEN, INSUFFICIENT, NOW, PATIENCE, an_order
from worker.core.answers import (
    Answer,
    Conflicted,
    Denied,
    Entry,
    Listed,
    Refused,
    Reported,
    Throttled,
    Unclear,
)
from worker.core.change import Decision, Held, answer_cancellation
from worker.core.decide import decide_cancel, decide_create, decide_look, decide_lookup
from worker.core.lookup import Candidates, candidates
from worker.core.permit import Permit, intend, permit, take_in
from worker.core.steps import Step, abandon, expire, next_step, wait_until_forgotten
from worker.core.withdrawal import TERMINAL, Order, Status, Withdrawal, reference_token

if TYPE_CHECKING:
    from worker.core.answers import ListAnswer
    from worker.core.change import Change

#: For so long the provider remembers a key, by its own clock.
MEMORY: Final = timedelta(hours=24)
#: A create call that our side has given up may still execute so much later.
AFTERLIFE: Final = timedelta(seconds=60)
TIMEOUT: Final = timedelta(seconds=30)
#: A longer wait between two calls of one run is left to the due time.
WAIT_IN_HAND: Final = timedelta(seconds=10)


class Fate(Enum):
    """What becomes of one create call."""

    ANSWERED = auto()
    ANSWER_LOST = auto()
    LATE = auto()
    NEVER_ARRIVED = auto()
    #: It was heard, and failed before anything was executed.
    FAILED = auto()
    THROTTLED = auto()
    DENIED = auto()


class Crash(Enum):
    """Where the worker dies in a step, having committed what comes before."""

    NOWHERE = auto()
    AFTER_INTENT = auto()
    WHILE_CALLING = auto()
    BEFORE_RECORDING = auto()


@dataclass(frozen=True)
class Call:
    """How one create call goes: its fate, and how long it waits in line before it leaves."""

    fate: Fate = Fate.ANSWERED
    refuses: bool = False
    queued: timedelta = timedelta(0)


Calls = tuple[Call, ...]


@dataclass(frozen=True)
class Payout:
    """One execution of a create call: money on its way."""

    withdrawal_id: str
    key: str
    order: Order
    executed_at: datetime
    listed_at: datetime
    status: Status = Status.PENDING

    @property
    def reported(self) -> Reported:
        """What the provider says of it."""
        return Reported(self.withdrawal_id, self.status, self.status.value)

    @property
    def entry(self) -> Entry:
        """What its list shows of it."""
        order, token = self.order, reference_token(self.key)
        return Entry(
            reported=self.reported,
            amount=str(order.amount),
            currency=order.currency,
            method=order.method,
            target_id=order.target_id,
            text=token if token.encode() in order.body else None,
            created_on=self.executed_at.date(),
        )


@dataclass
class Provider:
    """Executes create calls; a key is safe for a day.

    A day from its execution; or (`counts_from_first`) from the first call that named it. Calls
    that were refused, or failed, are executed anew then, under the same record: it is not renewed.
    """

    lag: timedelta = timedelta(0)
    repeats_conflict: bool = False
    counts_from_first: bool = False
    now: datetime = NOW
    first_heard: dict[str, datetime] = field(default_factory=dict)
    payouts: dict[str, Payout] = field(default_factory=dict)
    memory: dict[str, tuple[datetime, Payout]] = field(default_factory=dict)
    under_way: list[tuple[datetime, Permit, Order, bool]] = field(default_factory=list)

    def pass_time(self, by: timedelta) -> None:
        """Let time pass; calls that are still under way arrive in their order."""
        until = self.now + by
        self.under_way.sort(key=lambda call: call[0])
        while self.under_way and self.under_way[0][0] <= until:
            at, granted, order, refuses = self.under_way.pop(0)
            self.now = max(self.now, at)
            self.create(granted, order, refuses=refuses)
        self.now = until

    def create(self, granted: Permit, order: Order, *, refuses: bool) -> Answer:
        """Execute a call, unless its key is remembered or the answer is no."""
        key = granted.idempotency_key
        known = self.memory.get(key)
        first_at = self.hear(key)
        if known is not None and self.now - known[0] < MEMORY:
            payout = known[1]
            if self.repeats_conflict or payout.order.body != granted.body:
                return Conflicted()
            return payout.reported
        if refuses:
            return Refused(INSUFFICIENT)
        payout = self.execute(key, order)
        self.memory[key] = (first_at if self.counts_from_first else self.now, payout)
        return payout.reported

    def hear(self, key: str) -> datetime:
        """Return when the record of a key began, be it with this call."""
        if self.now - self.first_heard.get(key, self.now) >= MEMORY:
            del self.first_heard[key]
        return self.first_heard.setdefault(key, self.now)

    def execute(self, key: str, order: Order) -> Payout:
        """Pay."""
        identity = f"wd_{len(self.payouts) + 1}"
        payout = Payout(identity, key, order, self.now, self.now + self.lag)
        self.payouts[identity] = payout
        return payout

    def look(self, withdrawal_id: str) -> Answer:
        """Tell where a payout stands."""
        return self.payouts[withdrawal_id].reported

    def cancel(self, withdrawal_id: str) -> Answer:
        """Cancel what is pending."""
        if self.payouts[withdrawal_id].status is not Status.PENDING:
            return Conflicted()
        self.move(withdrawal_id, Status.CANCELLED)
        return self.look(withdrawal_id)

    def listed(self) -> Listed:
        """List what has settled so far."""
        shown = (p for p in self.payouts.values() if p.listed_at <= self.now)
        return Listed(tuple(payout.entry for payout in shown))

    def move(self, withdrawal_id: str, status: Status) -> None:
        """Let a payout get on."""
        self.payouts[withdrawal_id] = replace(self.payouts[withdrawal_id], status=status)

    def paid(self, row: Withdrawal) -> list[Payout]:
        """Return every execution of a request."""
        key = row.order.idempotency_key
        return [payout for payout in self.payouts.values() if payout.key == key]


@dataclass
class Worker:
    """Carries requests out. `rows` is its ledger: what is in there survives a crash."""

    provider: Provider
    ahead: timedelta = timedelta(0)
    rows: list[Withdrawal] = field(default_factory=list)
    told: list[list[Change]] = field(default_factory=list)
    #: The rows for which a cancellation waits, beside what else is written of them.
    wanted: set[int] = field(default_factory=set)

    @property
    def now(self) -> datetime:
        """The time by the worker's clock, which may be ahead of the provider's."""
        return self.provider.now + self.ahead

    def take(
        self, *, marked: bool, left: timedelta | None, patient: timedelta | None = None
    ) -> int:
        """Take a request in: its intent is committed, and nothing is sent yet.

        It may be sent for as long as is `left`, and waits for funds for as long as it is `patient`.
        """
        number = len(self.rows)
        order = an_order(
            f"req-{number}",
            # Without a mark nothing but the amount tells two requests apart.
            amount=Decimal(number + 1),
            taken_at=self.now,
            not_after=None if left is None else self.now + left,
            wait_for_funds_until=None if patient is None else self.now + patient,
        )
        if not marked:
            order = replace(order, body=b'{"amount":"%d.00"}' % (number + 1))
        decision = take_in(Withdrawal(order=order, changed_at=self.now), now=self.now)
        self.rows.append(decision.withdrawal)
        self.told.append(list(decision.changes))
        return number

    def submit_first(self, row: int, calls: Calls, crash: Crash) -> None:
        """Go on right after the intake, as long as the message is in hand."""
        self._submit(row, calls, crash, doubt_before=False)

    def step(self, row: int, calls: Calls, crash: Crash, *, deaf: bool = False) -> Step:
        """Take one row up; a `deaf` one gets no answer to a look or a look-up."""
        withdrawal = self.rows[row] = replace(self.rows[row], cancel_wanted=row in self.wanted)
        step = next_step(withdrawal, now=self.now, patience=PATIENCE)
        match step:
            case Step.CREATE:
                self._record(row, intend(withdrawal, now=self.now, patience=PATIENCE))
                self._submit(row, calls, crash, doubt_before=withdrawal.in_doubt)
            case Step.LOOK:
                self._look(row, crash, deaf=deaf)
            case Step.LOOKUP:
                self._look_up(row, crash, deaf=deaf)
            case Step.EXPIRE:
                self._record(row, expire(withdrawal, now=self.now))
            case Step.WAIT:
                self._record(row, wait_until_forgotten(withdrawal, now=self.now, patience=PATIENCE))
            case Step.ABANDON:
                self._record(row, abandon(withdrawal, now=self.now))
            case Step.ANSWER:
                self._record(row, answer_cancellation(withdrawal, now=self.now))
            case Step.CANCEL:
                self._cancel(row, crash, deaf=deaf)
            case _:
                # No request of this machine sells anything.
                self._record(row, Decision(replace(withdrawal, due_at=None)))
        return step

    def _submit(self, row: int, calls: Calls, crash: Crash, *, doubt_before: bool) -> None:
        if crash is Crash.AFTER_INTENT:
            return
        intended = self.rows[row]
        withdrawal = replace(intended, in_doubt=doubt_before)
        decision = Decision(replace(withdrawal, due_at=self.now + PATIENCE.throttled))
        for made, call in enumerate(calls):
            granted = permit(Held(row, 1, intended), now=self.now, patience=PATIENCE)
            if granted is None:
                break
            answer = self._call(granted, intended.order, call)
            if crash is Crash.WHILE_CALLING:
                return
            decision = decide_create(
                replace(withdrawal, attempts=intended.attempts + made),
                answer,
                now=self.now,
                patience=PATIENCE,
                chance=EVEN,
            )
            withdrawal = decision.withdrawal
            wait = (withdrawal.due_at or self.now) - self.now
            if not isinstance(answer, Unclear | Throttled) or wait > WAIT_IN_HAND:
                break
            self.provider.pass_time(wait)
        if crash is not Crash.BEFORE_RECORDING:
            self._record(row, decision)

    def _call(self, granted: Permit, order: Order, call: Call) -> Answer:
        self.provider.pass_time(call.queued)
        if self.now >= granted.valid_until:
            return Throttled(timedelta(0))
        match call.fate:
            case Fate.THROTTLED:
                return Throttled()
            case Fate.DENIED:
                return Denied()
            case Fate.FAILED:
                self.provider.hear(granted.idempotency_key)
                return Unclear("http_500")
            case Fate.ANSWERED:
                return self.provider.create(granted, order, refuses=call.refuses)
            case Fate.ANSWER_LOST:
                self.provider.create(granted, order, refuses=call.refuses)
            case Fate.LATE:
                arrival = self.provider.now + TIMEOUT + AFTERLIFE
                self.provider.under_way.append((arrival, granted, order, call.refuses))
            case Fate.NEVER_ARRIVED:
                pass
        self.provider.pass_time(TIMEOUT)
        return Unclear("timeout")

    def _look(self, row: int, crash: Crash, *, deaf: bool) -> None:
        withdrawal = self.rows[row]
        answer: Answer = Unclear("timeout")
        if not deaf:
            answer = self.provider.look(withdrawal.withdrawal_id or "")
        decision = decide_look(withdrawal, answer, now=self.now, patience=PATIENCE, chance=EVEN)
        if crash is Crash.NOWHERE:
            self._record(row, decision)

    def _cancel(self, row: int, crash: Crash, *, deaf: bool) -> None:
        withdrawal = self.rows[row]
        withdrawal_id = withdrawal.withdrawal_id or ""
        answer = self.provider.cancel(withdrawal_id)
        if crash is Crash.WHILE_CALLING:
            return
        seen = Unclear("timeout") if deaf else self.provider.look(withdrawal_id)
        decision = decide_cancel(
            withdrawal, answer, seen, now=self.now, patience=PATIENCE, chance=EVEN
        )
        if crash is Crash.NOWHERE:
            self._record(row, decision)

    def _look_up(self, row: int, crash: Crash, *, deaf: bool) -> None:
        withdrawal = self.rows[row]
        answer: ListAnswer = Unclear("timeout") if deaf else self.provider.listed()
        found = Candidates()
        if isinstance(answer, Listed):
            others = {r.withdrawal_id for r in self.rows if r is not withdrawal and r.withdrawal_id}
            found = candidates(withdrawal, answer.entries, window=PATIENCE.window).without(
                frozenset(others)
            )
        decision = decide_lookup(
            withdrawal,
            answer,
            found,
            asked_at=self.now,
            now=self.now,
            patience=PATIENCE,
            chance=EVEN,
        )
        if crash is Crash.NOWHERE:
            self._record(row, decision)

    def _record(self, row: int, decision: Decision) -> None:
        if self.rows[row].cancel_wanted and not decision.withdrawal.cancel_wanted:
            self.wanted.discard(row)
        self.rows[row] = decision.withdrawal
        self.told[row] += decision.changes

    @property
    def open_rows(self) -> list[int]:
        """The requests that have neither ended nor been left to a person."""
        ended = TERMINAL | {Status.UNRESOLVED}
        return [number for number, row in enumerate(self.rows) if row.status not in ended]

    def due_at(self, row: int) -> datetime:
        """Return when a row is to be taken up; an open one always is."""
        due_at = self.rows[row].due_at
        assert due_at is not None
        return due_at

    def is_marked(self, withdrawal: Withdrawal) -> bool:
        """Tell whether the provider's list will show our reference."""
        order = withdrawal.order
        return reference_token(order.idempotency_key).encode() in order.body
