"""What a command asks of a request budget that is there, and may not be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.app.budgets import MODEST_SHARE, BudgetOrAlone
from worker.core.budget import Budget, Reserved, Wish
from worker.flows.ports import LedgerUnavailable, StepRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A slot every 40 ms.
GAP = 40_000
WISH = Wish((0, 0, 1))


class Kept:
    """A budget whose keeper fails as often as a test says."""

    def __init__(self, failures: Sequence[Exception]) -> None:
        self.failures = list(failures)
        self.asked: list[str] = []

    async def reserve(self, budget: str, gap: int, wish: Wish) -> Reserved:
        """Give one slot, or fail."""
        self.asked.append(budget)
        if self.failures:
            raise self.failures.pop()
        return Reserved(1_000_000, 1_000_000, sum(wish.wanted), gap, Budget())


async def test_a_budget_that_is_kept_is_shared() -> None:
    """
    Its slots are as far apart as all who share it have agreed on.
    """
    kept = Kept([])
    budgets = BudgetOrAlone(kept)

    reserved = [await budgets.reserve("bluum", GAP, WISH) for _ in range(2)]

    assert [GAP, GAP] == [one.gap for one in reserved]
    assert ["bluum", "bluum"] == kept.asked


@pytest.mark.parametrize("error", [LedgerUnavailable("SQLITE_READONLY"), StepRefused("a rule")])
async def test_one_that_cannot_be_kept_is_left_for_a_pace_within_its_margin(
    error: Exception,
) -> None:
    """
    From then on, and each by itself: what one company's budget lacks says nothing of another's.
    """
    kept = Kept([error])
    budgets = BudgetOrAlone(kept)

    own = [await budgets.reserve("bluum", GAP, WISH) for _ in range(2)]
    shared = await budgets.reserve("upvest", GAP, WISH)

    assert all(one.gap >= GAP / MODEST_SHARE for one in own)
    assert (1, 0) == tuple(one.count for one in own)
    assert (GAP, ["bluum", "upvest"]) == (shared.gap, kept.asked)
