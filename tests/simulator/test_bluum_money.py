"""No money appears or vanishes, whatever is done to the bank and in which order."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from worker.simulator.bluum_bank import BluumBank
from worker.simulator.bluum_ground import Ground
from worker.simulator.bluum_refusals import Refusal
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status

NOW: Final = datetime(2026, 6, 1, 10, tzinfo=UTC)
TERMS: Final = Terms(
    opening_balance=Decimal("1000.00"),
    pace=timedelta(seconds=600),
    key_lifetime=timedelta(hours=1),
    failure_share=0.3,
)

#: What may happen to a bank: a create of some cents, a cancellation of an earlier one, time.
_CREATES = st.tuples(
    st.just("create"),
    st.integers(min_value=1, max_value=60_000),
    st.sampled_from(["wd-1", "wd-2", None]),
)
_CANCELS = st.tuples(st.just("cancel"), st.integers(min_value=0, max_value=20), st.none())
_TIMES = st.tuples(st.just("time"), st.integers(min_value=0, max_value=4000), st.none())


@given(st.lists(st.one_of(_CREATES, _CANCELS, _TIMES), max_size=40))
def test_money_is_conserved(happenings: list[tuple[str, int, str | None]]) -> None:
    """
    Whatever happens, what left is what was completed, and what is held is what is still open.

    Balance is available plus reserved, nothing is overdrawn, and a key never executes twice within
    its lifetime.
    """
    bank, now = BluumBank(Ground(TERMS)), NOW

    for kind, number, key in happenings:
        if kind == "create":
            _create(bank, Decimal(number) / 100, key=key, now=now)
        elif kind == "time":
            now += timedelta(seconds=number)
        elif bank.effects:
            effect = bank.effects[number % len(bank.effects)]
            bank.cancel("inv_01", effect.subject_id, now=now)
        _assert_conserved(bank, now)

    _assert_conserved(bank, now + timedelta(days=1))


def _create(bank: BluumBank, amount: Decimal, *, key: str | None, now: datetime) -> None:
    instruction = Instruction(
        amount=amount,
        currency="USD",
        method=Method.ACH,
        funding_source_id="fs_01",
        description=None,
    )
    bank.create("inv_01", instruction, body=str(amount).encode(), key=key, now=now)


def _assert_conserved(bank: BluumBank, now: datetime) -> None:
    page = bank.withdrawals("inv_01", Filters(limit=200), now=now)
    wallets = bank.wallets("inv_01", now=now)
    assert not isinstance(page, Refusal)
    assert not isinstance(wallets, Refusal)
    sums: defaultdict[Status, Decimal] = defaultdict(Decimal)
    for withdrawal in page.withdrawals:
        sums[withdrawal.status(now)] += withdrawal.instruction.amount
    dollars = wallets[0]

    assert dollars.balance == dollars.available + dollars.reserved
    assert dollars.available >= 0
    assert dollars.reserved == sums[Status.PENDING] + sums[Status.PROCESSING]
    assert sums[Status.COMPLETED] == TERMS.opening_balance - dollars.balance
    assert all(TERMS.opening_balance == wallet.balance for wallet in wallets[1:])

    executions: defaultdict[str, list[datetime]] = defaultdict(list)
    for withdrawal in reversed(page.withdrawals):
        if withdrawal.idempotency_key:
            executions[withdrawal.idempotency_key].append(withdrawal.executed_at)
    for times in executions.values():
        assert all(later - earlier >= TERMS.key_lifetime for earlier, later in pairwise(times))
