"""The simulated bank: withdrawals, and what becomes of them.

Pure: no HTTP, nothing that waits, and no clock; the time is an argument and must never go back from
one call to the next. What progresses with time (statuses, holds, reversals) is brought up to date
when somebody asks. Investors need no registration: every `inv_` id has one wallet a currency;
`bluum_terms` lists the ids with a meaning of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from worker.simulator import bluum_notices as notices
from worker.simulator.bluum_ground import (
    refusal_of_cancel,
    refusal_of_currency,
    refusal_of_customer,
    refusal_of_investor,
)
from worker.simulator.bluum_journal import Effect, Kind
from worker.simulator.bluum_keys import Remembered
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import FAILING, INACTIVE, RECALLED, RETURNED, CancelRule
from worker.simulator.bluum_withdrawal import Page, Status, Withdrawal
from worker.simulator.chance import fraction

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.bluum_ground import Ground
    from worker.simulator.bluum_wallets import Wallet
    from worker.simulator.bluum_withdrawal import Filters, Instruction

#: A step lasts its pace and up to this share longer, so that not all move at the same instant.
JITTER: Final = 0.25
#: Free text without a catalogue (WD); these are invented.
FAILURE_REASONS: Final = (
    "The receiving bank returned the transfer.",
    "The account was closed at the receiving bank.",
    "The transfer was declined by the payment network.",
)
#: Neither waiting any more nor at its end.
ON_ITS_WAY: Final = frozenset({Status.PROCESSING, Status.SUBMITTED})
#: What a completed withdrawal may still turn into; undocumented, an ACH return is the first.
REVERSALS: Final = frozenset({Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Created:
    """The create call was executed: a hold lies on the money."""

    withdrawal: Withdrawal


@dataclass(frozen=True, slots=True)
class Replayed:
    """The key is known: nothing was executed. The withdrawal is as it was when created."""

    withdrawal: Withdrawal


class BluumBank:
    """Executes withdrawals and answers for them. One tenant, any number of investors."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._withdrawals: dict[str, Withdrawal] = {}
        self._of_investor: dict[str, list[str]] = {}

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Every effect so far, in order; those of orders too."""
        return tuple(self.ground.journal.effects)

    def executed(self, withdrawal_id: str) -> Withdrawal:
        """Return a withdrawal as it is, whoever asks; KeyError when there is none."""
        return self._withdrawals[withdrawal_id]

    def create(
        self,
        investor_id: str,
        instruction: Instruction,
        *,
        body: bytes,
        key: str | None,
        now: datetime,
    ) -> Created | Replayed | Refusal:
        """Execute a withdrawal once a key and key lifetime (WD, IDEM).

        `body` is the request as it came, byte by byte; `key` is its Idempotency-Key, if any (WD
        lists it as optional). Refusals: 404-001, 403-002, 409-001, 409-002, 400-001, 400-004,
        422-001, 422-005.
        """
        self.ground.agenda.run(now)
        if refusal := refusal_of_customer(investor_id):
            return refusal
        caller = ("withdrawal", investor_id)
        if key is not None:
            known = self.ground.keys.recall(key, caller=caller, body=body, now=now)
            if isinstance(known, Withdrawal):
                return Replayed(known)
            if isinstance(known, Refusal):
                return known
        if refusal := self._refusal_of_funds(investor_id, instruction):
            return refusal
        withdrawal = self._execute(investor_id, instruction, body=body, key=key, now=now)
        if key is not None:
            self.ground.keys.remember(key, Remembered(withdrawal, caller, body, now))
        return Created(withdrawal)

    def cancel(
        self, investor_id: str, withdrawal_id: str, *, now: datetime
    ) -> Withdrawal | Refusal:
        """Cancel a withdrawal and release its hold, as the investor's cancel rule says.

        The answer is the withdrawal as the provider tells it, which need not be how it stands.
        Refusals: 404-001, 409-003.
        """
        self.ground.agenda.run(now)
        found = self._found(investor_id, withdrawal_id, now)
        if isinstance(found, Refusal):
            return found
        rule = self.ground.terms.cancel_rule_for(investor_id)
        status = found.status(now)
        may = status is Status.PENDING or (rule is CancelRule.OPEN and status in ON_ITS_WAY)
        if refusal := refusal_of_cancel(rule, stands=status, may=may):
            return refusal
        cancelled = replace(found, cancelled_at=now)
        match rule:
            case CancelRule.UNHEEDED:
                return found
            case CancelRule.UNTRUE:
                return cancelled
            case _:
                self._withdrawals[withdrawal_id] = cancelled
                self._release(cancelled)
                self.ground.journal.enter(Effect(Kind.CANCEL, withdrawal_id, now))
                return cancelled

    def reverse(self, withdrawal_id: str, *, to: Status, now: datetime) -> Withdrawal | Refusal:
        """Take back a completed withdrawal: from now on it is `to`, and the money is back.

        Refusals: 404-001, and 409-003 when it is not completed. ValueError when `to` is none of
        `REVERSALS`.
        """
        if to not in REVERSALS:
            raise ValueError("status: one of " + ", ".join(sorted(REVERSALS)) + f", not {to}")
        self.ground.agenda.run(now)
        found = self._withdrawals.get(withdrawal_id)
        if found is None:
            return Refusal(Code.NOT_FOUND, "No such withdrawal.", "withdrawal_id")
        if (status := found.status(now)) is not Status.COMPLETED:
            message = f"A withdrawal that is {status} cannot be reversed."
            return Refusal(Code.STATE_FORBIDS, message, "withdrawal_id")
        return self._reverse(found, to=to, now=now)

    def withdrawal(
        self, investor_id: str, withdrawal_id: str, *, now: datetime
    ) -> Withdrawal | Refusal:
        """Return one withdrawal; 404-001 when the investor has none of that id, or not yet."""
        self.ground.agenda.run(now)
        return self._found(investor_id, withdrawal_id, self.ground.terms.seen_at(now))

    def withdrawals(self, investor_id: str, filters: Filters, *, now: datetime) -> Page | Refusal:
        """Return a page of an investor's withdrawals, newest first (the order is undocumented)."""
        self.ground.agenda.run(now)
        if refusal := refusal_of_investor(investor_id):
            return refusal
        seen_at = self.ground.terms.seen_at(now)
        newest_first = (
            self._withdrawals[i] for i in reversed(self._of_investor.get(investor_id, ()))
        )
        matching = (
            found
            for found in newest_first
            if found.executed_at <= seen_at and filters.match(found, seen_at)
        )
        found = tuple(matching)
        end = filters.offset + filters.limit
        page = found[filters.offset : end]
        return Page(page, has_more=len(found) > end, total=len(found))

    def wallets(self, investor_id: str, *, now: datetime) -> tuple[Wallet, ...] | Refusal:
        """Return the investor's wallets, one a currency (WAL); 404-001 when it does not exist."""
        self.ground.agenda.run(now)
        if refusal := refusal_of_investor(investor_id):
            return refusal
        return self.ground.wallets.of(investor_id)

    def _found(
        self, investor_id: str, withdrawal_id: str, seen_at: datetime
    ) -> Withdrawal | Refusal:
        found = self._withdrawals.get(withdrawal_id)
        if found is None or found.investor_id != investor_id or found.executed_at > seen_at:
            return Refusal(Code.NOT_FOUND, "No such withdrawal.", "withdrawal_id")
        return found

    def _refusal_of_funds(self, investor_id: str, instruction: Instruction) -> Refusal | None:
        if instruction.funding_source_id.startswith(INACTIVE):
            name = "plaid_options" if instruction.options else "funding_source_id"
            return Refusal(Code.INVALID, "The funding source is not active.", name)
        if refusal := refusal_of_currency(instruction.currency):
            return refusal
        wallet = self.ground.wallets.wallet(investor_id, instruction.currency)
        if instruction.amount > wallet.balance:
            return Refusal(Code.INSUFFICIENT_FUNDS, "The wallet holds less than that.", "amount")
        if instruction.amount > wallet.withdrawable:
            message = "A part of the balance is on hold or has not settled."
            return Refusal(Code.EXCEEDS_AVAILABLE, message, "amount")
        return None

    def _execute(
        self,
        investor_id: str,
        instruction: Instruction,
        *,
        body: bytes,
        key: str | None,
        now: datetime,
    ) -> Withdrawal:
        ground = self.ground
        generation = ground.terms.generation
        withdrawal_id = ground.new_id(
            generation.withdrawal_prefix, investor_id=investor_id, key=key, body=body
        )
        jitter = JITTER * fraction(ground.terms.seed, "pace", withdrawal_id)
        pace = ground.terms.pace_for(investor_id) * (1 + jitter)
        reason = self._failure_reason(investor_id, withdrawal_id)
        withdrawal = Withdrawal(
            id=withdrawal_id,
            investor_id=investor_id,
            wallet_id=ground.wallets.wallet(investor_id, instruction.currency).id,
            idempotency_key=key,
            instruction=instruction,
            executed_at=now,
            processing_at=now + pace,
            ends_at=now + 2 * pace,
            end=Status.COMPLETED if reason is None else Status.FAILED,
            failure_reason=reason,
            submitted_at=now + 1.5 * pace if generation.is_older else None,
        )
        ground.wallets.hold(investor_id, instruction.currency, instruction.amount)
        self._withdrawals[withdrawal_id] = withdrawal
        self._of_investor.setdefault(investor_id, []).append(withdrawal_id)
        ground.journal.enter(Effect(Kind.WITHDRAWAL, withdrawal_id, now))
        ground.journal.tell(notices.initiated(withdrawal, generation))
        ground.agenda.plan(withdrawal.ends_at, lambda at: self._end(withdrawal_id, at))
        return withdrawal

    def _failure_reason(self, investor_id: str, withdrawal_id: str) -> str | None:
        terms = self.ground.terms
        fails = fraction(terms.seed, "failure", withdrawal_id) < terms.failure_share
        if not fails and not investor_id.startswith(FAILING):
            return None
        which = int(fraction(terms.seed, "reason", withdrawal_id) * len(FAILURE_REASONS))
        return FAILURE_REASONS[which]

    def _end(self, withdrawal_id: str, at: datetime) -> None:
        """Let the money leave or come back, once a withdrawal's time is over."""
        withdrawal = self._withdrawals[withdrawal_id]
        # A cancelled one gave its hold back when it was cancelled.
        if withdrawal.cancelled_at is not None:
            return
        if withdrawal.end is Status.COMPLETED:
            self.ground.wallets.pay(
                withdrawal.investor_id,
                withdrawal.instruction.currency,
                withdrawal.instruction.amount,
            )
            self._plan_reversal(withdrawal)
        else:
            self._release(withdrawal)
        self._tell_end(withdrawal, at)

    def _plan_reversal(self, withdrawal: Withdrawal) -> None:
        """Let the bank take back what is paid to a magic investor, unless somebody was faster."""
        beginnings = {RETURNED: Status.FAILED, RECALLED: Status.CANCELLED}
        to = next((s for b, s in beginnings.items() if withdrawal.investor_id.startswith(b)), None)
        if to is None:
            return

        def reverse(at: datetime) -> None:
            standing = self._withdrawals[withdrawal.id]
            if standing.reversed_at is None:
                self._reverse(standing, to=to, now=at)

        delay = self.ground.terms.reversal_delay
        self.ground.agenda.plan(withdrawal.ends_at + delay, reverse)

    def _reverse(self, withdrawal: Withdrawal, *, to: Status, now: datetime) -> Withdrawal:
        reason = FAILURE_REASONS[0] if to is Status.FAILED else None
        turned = replace(withdrawal, reversed_at=now, reversed_to=to, failure_reason=reason)
        self._withdrawals[withdrawal.id] = turned
        instruction = turned.instruction
        self.ground.wallets.add(turned.investor_id, instruction.currency, instruction.amount)
        self.ground.journal.enter(Effect(Kind.REVERSAL, turned.id, now))
        self._tell_end(turned, now)
        return turned

    def _release(self, withdrawal: Withdrawal) -> None:
        instruction = withdrawal.instruction
        self.ground.wallets.release(
            withdrawal.investor_id, instruction.currency, instruction.amount
        )

    def _tell_end(self, withdrawal: Withdrawal, at: datetime) -> None:
        if notice := notices.ended(withdrawal, self.ground.terms.generation, at=at):
            self.ground.journal.tell(notice)
