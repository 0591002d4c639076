"""The request budget for commands that do without a ledger where there is none to be had.

What the budget's slots are is decided in the core, and who keeps them in the ledger; here is only
what takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.providers.pace import Alone

if TYPE_CHECKING:
    from worker.core.budget import Reserved, Wish

#: What those take of a rate limit who cannot share it: less than the budget leaves free.
MODEST_SHARE: Final = 0.07
_SECOND: Final = 1_000_000


class Budgets(Protocol):
    """Keeps request budgets, by name."""

    async def reserve(self, budget: str, gap: int, wish: Wish) -> Reserved:
        """Reserve slots of a budget, which are `gap` microseconds apart."""
        ...


class BudgetOrAlone:
    """The budgets of a ledger; in place of one that it cannot keep, a small share for oneself.

    A ledger that can be read may still take no writes (a standby, a full disk, another user's
    file), for as long as a command could ever wait. For commands alone: workers are paced by what
    they share, and do nothing without.
    """

    def __init__(self, kept: Budgets) -> None:
        self._kept = kept
        self._alone: dict[str, Alone] = {}

    async def reserve(self, budget: str, gap: int, wish: Wish) -> Reserved:
        """Reserve slots; of what could not be kept once, never again at its keeper."""
        if budget not in self._alone:
            try:
                return await self._kept.reserve(budget, gap, wish)
            except (LedgerUnavailable, StepRefused):
                self._alone[budget] = Alone(MODEST_SHARE * _SECOND / gap)
        return await self._alone[budget].reserve(wish)
