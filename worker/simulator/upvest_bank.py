"""The simulated Upvest's withdrawals, and what becomes of them (sources WG, WREF, PWH, S26).

Pure: no HTTP, nothing that waits, and no clock; the time is an argument and must never go back from
one call to the next. Cash is reserved at NEW, leaves at CONFIRMED and is there again when the bank
sends it back: the return is inferred, the rest is in WG."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.simulator.chance import fraction
from worker.simulator.upvest_documents import withdrawal_document
from worker.simulator.upvest_ground import problem_of_customer, problem_of_group
from worker.simulator.upvest_journal import Effect, Kind, Notice
from worker.simulator.upvest_problems import Kind as ProblemKind
from worker.simulator.upvest_problems import Problem
from worker.simulator.upvest_terms import FAILING, RETURNED, UNKNOWN, CancelRule
from worker.simulator.upvest_withdrawal import CancellationReason, Status, Withdrawal

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.upvest_ground import Ground
    from worker.simulator.upvest_withdrawal import Instruction

#: A step lasts its pace and up to this share longer, so that not all move at the same instant.
JITTER: Final = 0.25
#: Why a withdrawal that was confirmed may be cancelled afterwards (S26); the client cannot.
RETURN_REASONS: Final = (
    CancellationReason.BANK,
    CancellationReason.UPVEST,
    CancellationReason.OTHER,
)
_NOT_FOUND: Final = Problem(ProblemKind.NOT_FOUND, "No such withdrawal.", "withdrawal_id")


class UpvestBank:
    """Executes withdrawals and answers for them. One client, any number of account groups."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._withdrawals: dict[str, Withdrawal] = {}
        self._of_group: dict[str, list[str]] = {}

    def executed(self, withdrawal_id: str) -> Withdrawal:
        """Return a withdrawal as it is; KeyError when there is none."""
        return self._withdrawals[withdrawal_id]

    def create(
        self, instruction: Instruction, *, key: str, body: bytes, now: datetime
    ) -> Withdrawal | Problem:
        """Execute a withdrawal; that its key is new has been found out before.

        Problems: 403, 404, and for the lack of cash the terms' own.
        """
        self._ground.agenda.run(now)
        if problem := self._problem(instruction):
            return problem
        withdrawal = self._withdrawal(instruction, key=key, body=body, now=now)
        self._withdrawals[withdrawal.id] = withdrawal
        self._of_group.setdefault(withdrawal.account_group_id, []).append(withdrawal.id)
        self._reserve(withdrawal, 1)
        self._ground.journal.enter(Effect(Kind.WITHDRAWAL, withdrawal.id, now))
        self._tell(withdrawal.as_created(), now, has_moved_cash=True)
        self._ground.agenda.plan(withdrawal.processing_at, lambda at: self._pass_on(withdrawal, at))
        self._ground.agenda.plan(withdrawal.ends_at, lambda at: self._end(withdrawal, at))
        return withdrawal.as_created()

    def cancel(self, withdrawal_id: str, *, now: datetime) -> Problem | None:
        """Cancel a withdrawal that is NEW, as its group's cancel rule says; None: it is answered.

        Problems: 404, and the terms' own for one that is not NEW.
        """
        self._ground.agenda.run(now)
        terms = self._ground.terms
        found = self._withdrawals.get(withdrawal_id)
        if found is None:
            return _NOT_FOUND
        rule = terms.cancel_rule_for(found.account_group_id)
        status = found.status(now)
        if status is not Status.NEW or rule is CancelRule.REFUSED:
            detail = f"A withdrawal that is {status} cannot be cancelled."
            return Problem.of_status(int(terms.cancel_refusal), detail)
        if rule is CancelRule.HEEDED:
            cancelled = replace(found, cancelled_at=now)
            self._withdrawals[withdrawal_id] = cancelled
            self._reserve(cancelled, -1)
            self._ground.journal.enter(Effect(Kind.CANCEL, withdrawal_id, now))
            self._tell(cancelled, now, has_moved_cash=True)
        return None

    def reverse(
        self, withdrawal_id: str, *, reason: CancellationReason, now: datetime
    ) -> Withdrawal | Problem:
        """Take back a confirmed withdrawal, for one of `RETURN_REASONS`; the cash is back.

        Problems: 404, and 409 when it is not confirmed.
        """
        self._ground.agenda.run(now)
        found = self._withdrawals.get(withdrawal_id)
        if found is None:
            return _NOT_FOUND
        if (status := found.status(now)) is not Status.CONFIRMED:
            detail = f"A withdrawal that is {status} cannot be returned."
            return Problem(ProblemKind.CONFLICT, detail, "withdrawal_id")
        return self._return(found, reason, now)

    def withdrawal(self, withdrawal_id: str, *, now: datetime) -> Withdrawal | Problem:
        """Return one withdrawal; 404 when there is none of that id, or not yet."""
        self._ground.agenda.run(now)
        found = self._withdrawals.get(withdrawal_id)
        if found is None or found.created_at > self._ground.terms.seen_at(now):
            return _NOT_FOUND
        return found

    def withdrawals(
        self, account_group_id: str, *, sort: str, now: datetime
    ) -> tuple[Withdrawal, ...] | Problem:
        """Return all withdrawals of a group, ascending; 404 when it does not exist."""
        self._ground.agenda.run(now)
        if problem := problem_of_group(account_group_id):
            return problem
        seen_at = self._ground.terms.seen_at(now)
        ids = self._of_group.get(account_group_id, ())
        found = [self._withdrawals[i] for i in ids if self._withdrawals[i].created_at <= seen_at]
        return tuple(sorted(found, key=lambda one: one.id) if sort == "id" else found)

    def _problem(self, instruction: Instruction) -> Problem | None:
        if problem := problem_of_customer(instruction.account_group_id):
            return problem
        if instruction.reference_account_id.startswith(UNKNOWN):
            detail = "No such reference account."
            return Problem(ProblemKind.NOT_FOUND, detail, "reference_account_id")
        cash = self._ground.coffers.cash(instruction.account_group_id, instruction.currency)
        if instruction.amount > cash.available:
            terms = self._ground.terms
            detail = "The cash that is available for withdrawal does not suffice."
            return Problem.of_status(int(terms.funds_refusal), detail, word=terms.funds_type)
        return None

    def _withdrawal(
        self, instruction: Instruction, *, key: str, body: bytes, now: datetime
    ) -> Withdrawal:
        terms = self._ground.terms
        group = instruction.account_group_id
        withdrawal_id = self._ground.new_id("withdrawal", key, body)
        jitter = JITTER * fraction(terms.seed, "pace", withdrawal_id)
        pace = terms.pace_for(group) * (1 + jitter)
        has_failed = fraction(terms.seed, "failure", withdrawal_id) < terms.failure_share
        fails = has_failed or group.startswith(FAILING)
        return Withdrawal(
            id=withdrawal_id,
            idempotency_key=key,
            instruction=instruction,
            created_at=now,
            processing_at=now + pace,
            ends_at=now + 2 * pace,
            reason=CancellationReason.UPVEST if fails else None,
        )

    def _pass_on(self, withdrawal: Withdrawal, at: datetime) -> None:
        """Tell that it is PROCESSING; no cash moves (WG)."""
        standing = self._withdrawals[withdrawal.id]
        if standing.status(at) is Status.PROCESSING:
            self._tell(standing, at, has_moved_cash=False)

    def _end(self, withdrawal: Withdrawal, at: datetime) -> None:
        """Let the cash leave or be free again, once a withdrawal's time is over."""
        standing = self._withdrawals[withdrawal.id]
        # A cancelled one gave back what was reserved when it was cancelled.
        if standing.cancelled_at is not None:
            return
        self._reserve(standing, -1)
        if standing.reason is None:
            instruction = standing.instruction
            self._ground.coffers.add(
                standing.account_group_id, instruction.currency, -instruction.amount
            )
            self._plan_return(standing)
        self._tell(standing, at, has_moved_cash=True)

    def _plan_return(self, withdrawal: Withdrawal) -> None:
        """Let the bank send back what a magic group is paid, unless somebody was faster."""
        if not withdrawal.account_group_id.startswith(RETURNED):
            return

        def send_back(at: datetime) -> None:
            standing = self._withdrawals[withdrawal.id]
            if standing.returned_at is None:
                self._return(standing, CancellationReason.BANK, at)

        delay = self._ground.terms.reversal_delay
        self._ground.agenda.plan(withdrawal.ends_at + delay, send_back)

    def _return(self, found: Withdrawal, reason: CancellationReason, now: datetime) -> Withdrawal:
        returned = replace(found, returned_at=now, return_reason=reason)
        self._withdrawals[found.id] = returned
        instruction = returned.instruction
        self._ground.coffers.add(
            returned.account_group_id, instruction.currency, instruction.amount
        )
        self._ground.journal.enter(Effect(Kind.REVERSAL, returned.id, now))
        self._tell(returned, now, has_moved_cash=True)
        return returned

    def _reserve(self, withdrawal: Withdrawal, sign: int) -> None:
        instruction = withdrawal.instruction
        self._ground.coffers.reserve(
            withdrawal.account_group_id, instruction.currency, sign * instruction.amount
        )

    def _tell(self, withdrawal: Withdrawal, at: datetime, *, has_moved_cash: bool) -> None:
        document = withdrawal_document(withdrawal, now=at)
        kind = f"WITHDRAWAL.{withdrawal.status(at)}"
        self._ground.journal.tell(Notice(kind, at, withdrawal.id, document))
        if has_moved_cash:
            currency = withdrawal.instruction.currency
            self._ground.tell_balance(withdrawal.account_group_id, currency, at)
