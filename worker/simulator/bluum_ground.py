"""What bank and market of the simulated Bluum stand on together: one tenant's rules and memory.

A container of values that change; whatever decides stands elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from worker.simulator.agenda import Agenda
from worker.simulator.bluum_journal import Effect, Journal, Kind
from worker.simulator.bluum_keys import Keys
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import BLOCKED, CURRENCIES, UNKNOWN, CancelRule, Terms
from worker.simulator.bluum_wallets import Wallets
from worker.simulator.chance import token

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from worker.simulator.bluum_order import Order
    from worker.simulator.bluum_wallets import Wallet
    from worker.simulator.bluum_withdrawal import Withdrawal

Executed: TypeAlias = "Withdrawal | Order"


@dataclass(slots=True)
class Ground:
    """The terms, and what was promised, remembered, held and written down under them."""

    terms: Terms
    agenda: Agenda = field(default_factory=Agenda)
    journal: Journal = field(default_factory=Journal)
    keys: Keys[Executed] = field(init=False)
    wallets: Wallets = field(init=False)
    _executions: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Open the wallets and the memory of keys by the terms."""
        terms = self.terms
        self.keys = Keys(lifetime=terms.key_lifetime, replay_answer=terms.replay_answer)
        self.wallets = Wallets(terms, self.agenda)

    def new_id(self, prefix: str, *, investor_id: str, key: str | None, body: bytes) -> str:
        """Derive an id from the request and how often it was executed, so that a run repeats."""
        request = token(self.terms.seed, prefix, investor_id, key or "", body)
        self._executions[request] += 1
        return prefix + token(self.terms.seed, "id", request, str(self._executions[request]))

    def deposit(
        self, investor_id: str, currency: str, amount: Decimal, *, now: datetime
    ) -> Wallet | Refusal:
        """Add cash to a wallet; 404-001 and 400-004 where there is none."""
        self.agenda.run(now)
        if refusal := refusal_of_investor(investor_id) or refusal_of_currency(currency):
            return refusal
        self.wallets.add(investor_id, currency, amount)
        wallet = self.wallets.wallet(investor_id, currency)
        self.journal.enter(Effect(Kind.DEPOSIT, wallet.id, now, amount))
        return wallet


def refusal_of_investor(investor_id: str) -> Refusal | None:
    """Refuse an investor that does not exist (404-001)."""
    if investor_id.startswith(UNKNOWN):
        return Refusal(Code.NOT_FOUND, "No such investor.", "investor_id")
    return None


def refusal_of_customer(investor_id: str) -> Refusal | None:
    """Refuse an investor that may not withdraw or trade (403-002), or does not exist (404-001)."""
    if investor_id.startswith(BLOCKED):
        return Refusal(Code.NOT_APPROVED, "The investor is not approved.", "investor_id")
    return refusal_of_investor(investor_id)


def refusal_of_currency(currency: str) -> Refusal | None:
    """Refuse a currency in which nobody has a wallet (400-004)."""
    if currency in CURRENCIES:
        return None
    message = "currency must be one of " + ", ".join(CURRENCIES) + "."
    return Refusal(Code.BAD_ENUM, message, "currency")


def refusal_of_cancel(rule: CancelRule, *, stands: str, may: bool) -> Refusal | None:
    """Refuse a cancellation (409-003: the code that fits by its meaning; no page gives one)."""
    if may and rule is not CancelRule.REFUSED:
        return None
    return Refusal(Code.STATE_FORBIDS, f"What is {stands} cannot be cancelled.")
