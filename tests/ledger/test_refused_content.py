"""Group commit over real databases: content that cannot be stored harms nobody else."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.ledger.builders import FINGERPRINT, an_attempt, an_order, moved, take, taken_in
from worker.core.answers import Trace
from worker.core.withdrawal import Status
from worker.flows.ports import StepRefused
from worker.ledger.intake import Taken
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.store import Ledger

_SURROGATE: Final = "\ud800"


async def test_steps_that_come_together_share_commits(url: str) -> None:
    """
    Three hundred requests at once are a handful of transactions, not three hundred.
    """
    commits: list[float] = []
    async with open_ledger(url, observe_commit=commits.append) as ledger:
        held = await asyncio.gather(*(take(ledger, f"req-{number}") for number in range(300)))
        await asyncio.gather(
            *(ledger.record(h, moved(h, Status.PENDING)) for h in held),
            *(ledger.mark_announced([(h.row, 1)]) for h in held),
        )

    assert len(commits) < 20


async def test_a_text_that_cannot_be_written_refuses_its_step_alone(ledger: Ledger) -> None:
    """
    A lone surrogate has no bytes on any database.
    """
    await _expect_one_refused(ledger, party_id=_SURROGATE)


async def test_a_nul_refuses_its_step_alone_on_postgresql(postgres_url: str) -> None:
    """
    PostgreSQL stores no NUL; whoever brings one is refused, and nobody else.
    """
    async with open_ledger(postgres_url) as ledger:
        await _expect_one_refused(ledger, party_id="inv\0")


async def test_a_number_that_is_too_large_refuses_its_step_alone(ledger: Ledger) -> None:
    """
    No database column has more than 64 bits.
    """
    await _expect_one_refused(ledger, amount=Decimal(10) ** 30)


async def test_a_bug_is_told_to_the_step_that_set_it_off(ledger: Ledger) -> None:
    """
    An amount that would lose a decimal is an error of ours; the others are written.
    """
    results = await _together(ledger, amount=Decimal("0.001"))

    assert [True, False, True] == [isinstance(result, Taken) for result in results]
    assert isinstance(results[1], ValueError)


async def test_a_refused_step_can_be_followed_by_another(ledger: Ledger) -> None:
    """
    Who was refused an answer's text may record the same outcome without it.
    """
    held = await take(ledger, "req-1")
    decision = moved(held, Status.PENDING, withdrawal_id="wd_01")
    with pytest.raises(StepRefused):
        await ledger.record(held, decision, (an_attempt(trace=Trace(text=_SURROGATE)),))
    recorded = await ledger.record(held, decision)

    assert recorded is not None
    assert decision.withdrawal == recorded.withdrawal


async def test_a_question_that_cannot_be_asked_is_refused(ledger: Ledger) -> None:
    """
    Reading by an id that no database can hold is no outage.
    """
    with pytest.raises(StepRefused):
        await ledger.history(_SURROGATE)


async def _expect_one_refused(ledger: Ledger, **changes: Any) -> None:  # noqa: ANN401 - any field
    results = await _together(ledger, **changes)

    assert [True, False, True] == [isinstance(result, Taken) for result in results]
    assert isinstance(results[1], StepRefused)


async def _together(ledger: Ledger, **changes: Any) -> list[Taken | BaseException]:  # noqa: ANN401
    """Take three requests in one group; the changes are those of the second."""
    orders = [an_order("req-1"), an_order("req-2", **changes), an_order("req-3")]
    return await asyncio.gather(
        *(ledger.take(taken_in(order), FINGERPRINT) for order in orders), return_exceptions=True
    )
