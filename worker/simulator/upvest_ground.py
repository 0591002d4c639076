"""What bank, market and webhooks of the simulated Upvest stand on together: rules and memory.

A container of values that change; whatever decides stands elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.simulator.agenda import Agenda
from worker.simulator.chance import token, uuid
from worker.simulator.upvest_cash import Coffers
from worker.simulator.upvest_documents import balance_document
from worker.simulator.upvest_journal import Effect, Journal, Kind, Notice
from worker.simulator.upvest_memory import Memory
from worker.simulator.upvest_problems import Kind as ProblemKind
from worker.simulator.upvest_problems import Problem
from worker.simulator.upvest_terms import BLOCKED, UNKNOWN, UpvestTerms

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(slots=True)
class Ground:
    """The terms, and what was promised, remembered, held and written down under them."""

    terms: UpvestTerms
    agenda: Agenda = field(default_factory=Agenda)
    journal: Journal = field(default_factory=Journal)
    memory: Memory = field(init=False)
    coffers: Coffers = field(init=False)
    _executions: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Open the coffers and the memory of keys by the terms."""
        self.memory = Memory(self.terms)
        self.coffers = Coffers(self.terms)

    def new_id(self, kind: str, *parts: str | bytes) -> str:
        """Derive an id from what it is for and how often that happened, so that a run repeats."""
        request = token(self.terms.seed, kind, *parts)
        self._executions[request] += 1
        return uuid(self.terms.seed, "id", request, str(self._executions[request]))

    def deposit(
        self, account_group_id: str, currency: str, amount: Decimal, *, now: datetime
    ) -> None:
        """Add cash to an account group."""
        self.agenda.run(now)
        self.coffers.add(account_group_id, currency, amount)
        self.journal.enter(Effect(Kind.DEPOSIT, account_group_id, now, amount))
        self.tell_balance(account_group_id, currency, now)

    def tell_balance(self, account_group_id: str, currency: str, at: datetime) -> None:
        """Tell that a balance has changed (WG)."""
        cash = self.coffers.cash(account_group_id, currency)
        document = balance_document(account_group_id, currency, cash)
        self.journal.tell(Notice("CASH_BALANCE.UPDATED", at, account_group_id, document))


def problem_of_group(account_group_id: str) -> Problem | None:
    """Refuse an account group that does not exist (404)."""
    if account_group_id.startswith(UNKNOWN):
        return Problem(ProblemKind.NOT_FOUND, "No such account group.", "account_group_id")
    return None


def problem_of_customer(account_group_id: str) -> Problem | None:
    """Refuse an account group that may not withdraw (403), or does not exist (404)."""
    if account_group_id.startswith(BLOCKED):
        return Problem(ProblemKind.FORBIDDEN, "The account group is blocked.", "account_group_id")
    return problem_of_group(account_group_id)
