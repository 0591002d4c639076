"""The money behind the simulated Bluum API: investors, wallets, withdrawals, idempotency keys.

Pure: no HTTP, nothing that waits, and no clock; the time is an argument and must never go back from
one call to the next. What progresses with time (statuses, holds, keys) is brought up to date when
somebody asks. Investors need no registration: every `inv_` id has one wallet a currency, opened on
first use; `bluum_terms` lists the ids with a meaning of their own.

The life of an idempotency key is the danger that clients have to guard against: after
`Terms.key_lifetime` (24 hours, IDEM) the key is forgotten and the same call EXECUTES AGAIN.
Undocumented, and decided here: only a successful create is remembered, the scope is the tenant, a
body is compared byte by byte, and a cancellation takes no notice of a key.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import (
    BLOCKED,
    CURRENCIES,
    FAILING,
    INACTIVE,
    POOR,
    POOR_BALANCE,
    UNKNOWN,
    ReplayAnswer,
    Terms,
)
from worker.simulator.bluum_withdrawal import Page, Status, Withdrawal
from worker.simulator.chance import fraction, token

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.bluum_withdrawal import Filters, Instruction

#: A step lasts its pace and up to this share longer, so that not all move at the same instant.
JITTER: Final = 0.25
#: Free text without a catalogue (WD); these are invented.
FAILURE_REASONS: Final = (
    "The receiving bank returned the transfer.",
    "The account was closed at the receiving bank.",
    "The transfer was declined by the payment network.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """One investor's money in one currency (CWL): `balance` includes what is `reserved`."""

    id: str
    investor_id: str
    currency: str
    balance: Decimal
    reserved: Decimal = Decimal("0.00")

    @property
    def available(self) -> Decimal:
        """What may be withdrawn."""
        return self.balance - self.reserved


@dataclass(frozen=True, slots=True)
class Created:
    """The create call was executed: a hold lies on the money."""

    withdrawal: Withdrawal


@dataclass(frozen=True, slots=True)
class Replayed:
    """The key is known: nothing was executed. The withdrawal is as it was when created."""

    withdrawal: Withdrawal


class Kind(StrEnum):
    """What an effect did."""

    WITHDRAWAL = "withdrawal"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happened to money, in the order of happening; never a mere answer."""

    kind: Kind
    withdrawal_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What the bank knows of an idempotency key."""

    withdrawal: Withdrawal
    body: bytes = field(repr=False)


@dataclass(slots=True)
class _Account:
    """A wallet and its withdrawals that have not ended, soonest end first."""

    wallet: Wallet
    open: list[tuple[datetime, str]] = field(default_factory=list)


class BluumBank:
    """Executes withdrawals and answers for them. One tenant, any number of investors.

    `replays` counts the calls that a remembered key answered.
    """

    def __init__(self, terms: Terms) -> None:
        self.replays = 0
        self._terms = terms
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._withdrawals: dict[str, Withdrawal] = {}
        self._of_investor: dict[str, list[str]] = {}
        self._effects: list[Effect] = []
        self._executions: Counter[str] = Counter()
        # In the order of their creation, which is the order in which they expire.
        self._keys: OrderedDict[str, _Remembered] = OrderedDict()

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Every effect so far, in order."""
        return tuple(self._effects)

    def withdrawal_of(self, effect: Effect) -> Withdrawal:
        """Return the withdrawal that an effect happened to, as it is now."""
        return self._withdrawals[effect.withdrawal_id]

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
        if refusal := _refusal_of_payee(investor_id):
            return refusal
        self._forget_keys(now)
        if key is not None and (remembered := self._keys.get(key)):
            return self._repeat(remembered, investor_id, body)
        if refusal := self._refusal_of_funds(investor_id, instruction, now):
            return refusal
        withdrawal = self._execute(investor_id, instruction, body=body, key=key, now=now)
        if key is not None:
            self._keys[key] = _Remembered(withdrawal, body)
        return Created(withdrawal)

    def cancel(
        self, investor_id: str, withdrawal_id: str, *, now: datetime
    ) -> Withdrawal | Refusal:
        """Cancel a withdrawal and release its hold, while it is pending (CF, PF, DW).

        Refusals: 404-001, and 409-003 once it is not pending any more (the code that fits by its
        meaning; no page gives one).
        """
        found = self.withdrawal(investor_id, withdrawal_id)
        if isinstance(found, Refusal):
            return found
        if (status := found.status(now)) is not Status.PENDING:
            message = f"A withdrawal that is {status} cannot be cancelled."
            return Refusal(Code.STATE_FORBIDS, message)
        cancelled = replace(found, cancelled_at=now)
        self._withdrawals[withdrawal_id] = cancelled
        account = self._account(investor_id, found.instruction.currency)
        account.wallet = _released(account.wallet, found.instruction.amount)
        self._effects.append(Effect(Kind.CANCEL, withdrawal_id, now))
        return cancelled

    def withdrawal(self, investor_id: str, withdrawal_id: str) -> Withdrawal | Refusal:
        """Return one withdrawal; 404-001 when the investor has none of that id."""
        found = self._withdrawals.get(withdrawal_id)
        if found is None or found.investor_id != investor_id:
            return Refusal(Code.NOT_FOUND, "No such withdrawal.", "withdrawal_id")
        return found

    def withdrawals(self, investor_id: str, filters: Filters, *, now: datetime) -> Page | Refusal:
        """Return a page of an investor's withdrawals, newest first (the order is undocumented)."""
        if refusal := refusal_of_investor(investor_id):
            return refusal
        newest_first = (
            self._withdrawals[i] for i in reversed(self._of_investor.get(investor_id, ()))
        )
        matching = (found for found in newest_first if filters.match(found, now))
        end = filters.offset + filters.limit
        # One more than asked for tells whether another page follows.
        found = tuple(islice(matching, filters.offset, end + 1))
        return Page(found[: filters.limit], has_more=len(found) > filters.limit)

    def wallets(self, investor_id: str, *, now: datetime) -> tuple[Wallet, ...] | Refusal:
        """Return the investor's wallets, one a currency (WAL); 404-001 when it does not exist."""
        if refusal := refusal_of_investor(investor_id):
            return refusal
        return tuple(self._settled(investor_id, currency, now).wallet for currency in CURRENCIES)

    def _forget_keys(self, now: datetime) -> None:
        while self._keys:
            oldest = next(iter(self._keys.values()))
            if now - oldest.withdrawal.executed_at < self._terms.key_lifetime:
                return
            self._keys.popitem(last=False)

    def _repeat(self, remembered: _Remembered, investor_id: str, body: bytes) -> Replayed | Refusal:
        if remembered.withdrawal.investor_id != investor_id or remembered.body != body:
            message = "The idempotency key was used with another request."
            return Refusal(Code.KEY_REUSED, message, "Idempotency-Key")
        self.replays += 1
        if self._terms.replay_answer is ReplayAnswer.CONFLICT:
            message = "The idempotency key was already processed."
            return Refusal(Code.DUPLICATE, message, "Idempotency-Key")
        return Replayed(remembered.withdrawal)

    def _refusal_of_funds(
        self, investor_id: str, instruction: Instruction, now: datetime
    ) -> Refusal | None:
        if instruction.funding_source_id.startswith(INACTIVE):
            return Refusal(Code.INVALID, "The funding source is not active.", "funding_source_id")
        if instruction.currency not in CURRENCIES:
            message = "currency must be one of " + ", ".join(CURRENCIES) + "."
            return Refusal(Code.BAD_ENUM, message, "currency")
        wallet = self._settled(investor_id, instruction.currency, now).wallet
        if instruction.amount > wallet.balance:
            return Refusal(Code.INSUFFICIENT_FUNDS, "The wallet holds less than that.", "amount")
        if instruction.amount > wallet.available:
            return Refusal(Code.EXCEEDS_AVAILABLE, "A part of the balance is on hold.", "amount")
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
        account = self._account(investor_id, instruction.currency)
        withdrawal_id = self._new_id(investor_id, key, body)
        pace = self._terms.pace * (1 + JITTER * fraction(self._terms.seed, "pace", withdrawal_id))
        reason = self._failure_reason(investor_id, withdrawal_id)
        withdrawal = Withdrawal(
            id=withdrawal_id,
            investor_id=investor_id,
            wallet_id=account.wallet.id,
            idempotency_key=key,
            instruction=instruction,
            executed_at=now,
            processing_at=now + pace,
            ends_at=now + 2 * pace,
            end=Status.COMPLETED if reason is None else Status.FAILED,
            failure_reason=reason,
        )
        # From here on the account is worth keeping; before, it was what anybody opens with.
        self._accounts[investor_id, instruction.currency] = account
        account.wallet = replace(
            account.wallet, reserved=account.wallet.reserved + instruction.amount
        )
        heappush(account.open, (withdrawal.ends_at, withdrawal_id))
        self._withdrawals[withdrawal_id] = withdrawal
        self._of_investor.setdefault(investor_id, []).append(withdrawal_id)
        self._effects.append(Effect(Kind.WITHDRAWAL, withdrawal_id, now))
        return withdrawal

    def _new_id(self, investor_id: str, key: str | None, body: bytes) -> str:
        """Derive the id from the request and how often it was executed, so that a run repeats."""
        request = token(self._terms.seed, "request", investor_id, key or "", body)
        self._executions[request] += 1
        return "wd_" + token(
            self._terms.seed, "withdrawal", request, str(self._executions[request])
        )

    def _failure_reason(self, investor_id: str, withdrawal_id: str) -> str | None:
        seed = self._terms.seed
        fails = fraction(seed, "failure", withdrawal_id) < self._terms.failure_share
        if not fails and not investor_id.startswith(FAILING):
            return None
        which = int(fraction(seed, "reason", withdrawal_id) * len(FAILURE_REASONS))
        return FAILURE_REASONS[which]

    def _settled(self, investor_id: str, currency: str, now: datetime) -> _Account:
        """Return the account once all that has ended by `now` took or gave back its money."""
        account = self._account(investor_id, currency)
        while account.open and account.open[0][0] <= now:
            withdrawal = self._withdrawals[heappop(account.open)[1]]
            # A cancelled one gave its hold back when it was cancelled.
            if withdrawal.cancelled_at is not None:
                continue
            wallet = _released(account.wallet, withdrawal.instruction.amount)
            if withdrawal.end is Status.COMPLETED:
                wallet = replace(wallet, balance=wallet.balance - withdrawal.instruction.amount)
            account.wallet = wallet
        return account

    def _account(self, investor_id: str, currency: str) -> _Account:
        """Return the account, or the one with which the investor would begin.

        The latter is not kept: questions about investors without withdrawals cost no memory.
        """
        if account := self._accounts.get((investor_id, currency)):
            return account
        poor = investor_id.startswith(POOR)
        return _Account(
            Wallet(
                id="wlt_" + token(self._terms.seed, "wallet", investor_id, currency),
                investor_id=investor_id,
                currency=currency,
                balance=POOR_BALANCE if poor else self._terms.opening_balance,
            )
        )


def refusal_of_investor(investor_id: str) -> Refusal | None:
    """Refuse an investor that does not exist (404-001)."""
    if investor_id.startswith(UNKNOWN):
        return Refusal(Code.NOT_FOUND, "No such investor.", "investor_id")
    return None


def _refusal_of_payee(investor_id: str) -> Refusal | None:
    if investor_id.startswith(BLOCKED):
        return Refusal(Code.NOT_APPROVED, "The investor is not approved.", "investor_id")
    return refusal_of_investor(investor_id)


def _released(wallet: Wallet, amount: Decimal) -> Wallet:
    return replace(wallet, reserved=wallet.reserved - amount)
