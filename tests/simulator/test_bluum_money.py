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
from worker.simulator.bluum_journal import Kind
from worker.simulator.bluum_market import BluumMarket, OrderPage, Placed
from worker.simulator.bluum_order import OrderFilters, OrderType, Ticket, TimeInForce
from worker.simulator.bluum_refusals import Refusal
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status

NOW: Final = datetime(2026, 6, 1, 10, tzinfo=UTC)
TERMS: Final = Terms(
    opening_balance=Decimal("1000.00"),
    pace=timedelta(seconds=600),
    key_lifetime=timedelta(hours=1),
    failure_share=0.3,
    fill_delay=timedelta(seconds=300),
    settlement_delay=timedelta(seconds=900),
)

#: What may happen to a bank: a create of some cents, a cancellation of an earlier one, time.
_CREATES = st.tuples(
    st.just("create"),
    st.integers(min_value=1, max_value=60_000),
    st.sampled_from(["wd-1", "wd-2", None]),
)
_CANCELS = st.tuples(st.just("cancel"), st.integers(min_value=0, max_value=20), st.none())
_SALES = st.tuples(
    st.just("sell"),
    st.integers(min_value=1, max_value=900),
    st.sampled_from(["AAPL", "SIM.PARTIAL", "SIM.CUT", "SIM.LAPSED"]),
)
_REVERSALS = st.tuples(st.just("reverse"), st.integers(min_value=0, max_value=20), st.none())
_TIMES = st.tuples(st.just("time"), st.integers(min_value=0, max_value=4000), st.none())


@given(st.lists(st.one_of(_CREATES, _CANCELS, _SALES, _REVERSALS, _TIMES), max_size=40))
def test_money_is_conserved(happenings: list[tuple[str, int, str | None]]) -> None:
    """
    Whatever happens, what left is what is completed, and what is held is what is still open.

    What came is what was sold. Balance is available plus reserved, nothing is overdrawn, no more
    may leave than has settled, and a key never executes twice within its lifetime.
    """
    ground, now = Ground(TERMS), NOW
    bank, market = BluumBank(ground), BluumMarket(ground)

    for kind, number, word in happenings:
        executed = [e.subject_id for e in bank.effects if e.kind is Kind.WITHDRAWAL]
        if kind == "create":
            _create(bank, Decimal(number) / 100, key=word, now=now)
        elif kind == "sell":
            _sell(market, Decimal(number) / 100, symbol=word or "", now=now)
        elif kind == "time":
            now += timedelta(seconds=number)
        elif executed and kind == "cancel":
            bank.cancel("inv_01", executed[number % len(executed)], now=now)
        elif executed:
            bank.reverse(executed[number % len(executed)], to=Status.FAILED, now=now)
        _assert_conserved(bank, market, now)

    _assert_conserved(bank, market, now + timedelta(days=1))


def _create(bank: BluumBank, amount: Decimal, *, key: str | None, now: datetime) -> None:
    instruction = Instruction(
        amount=amount,
        currency="USD",
        method=Method.ACH,
        funding_source_id="fs_01",
        description=None,
    )
    bank.create("inv_01", instruction, body=str(amount).encode(), key=key, now=now)


def _sell(market: BluumMarket, quantity: Decimal, *, symbol: str, now: datetime) -> None:
    ticket = Ticket(
        symbol=symbol,
        side="sell",
        type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        quantity=quantity,
        currency="USD",
    )
    placed = market.place("inv_01", ticket, body=str(quantity).encode(), key=None, now=now)
    assert isinstance(placed, Placed)


def _assert_conserved(bank: BluumBank, market: BluumMarket, now: datetime) -> None:
    page = bank.withdrawals("inv_01", Filters(limit=200), now=now)
    wallets = bank.wallets("inv_01", now=now)
    assert not isinstance(page, Refusal)
    assert not isinstance(wallets, Refusal)
    sums: defaultdict[Status, Decimal] = defaultdict(Decimal)
    for withdrawal in page.withdrawals:
        sums[withdrawal.status(now)] += withdrawal.instruction.amount
    orders = market.orders("inv_01", OrderFilters(limit=200), now=now)
    assert isinstance(orders, OrderPage)
    proceeds = sum((order.proceeds(now) for order in orders.orders), Decimal(0))
    dollars = wallets[0]

    assert dollars.balance == dollars.available + dollars.reserved
    assert dollars.available >= 0
    assert dollars.reserved == sums[Status.PENDING] + sums[Status.PROCESSING]
    assert sums[Status.COMPLETED] == TERMS.opening_balance + proceeds - dollars.balance
    assert 0 <= dollars.withdrawable <= dollars.available
    assert all(TERMS.opening_balance == wallet.balance for wallet in wallets[1:])

    executions: defaultdict[str, list[datetime]] = defaultdict(list)
    for withdrawal in reversed(page.withdrawals):
        if withdrawal.idempotency_key:
            executions[withdrawal.idempotency_key].append(withdrawal.executed_at)
    for times in executions.values():
        assert all(later - earlier >= TERMS.key_lifetime for earlier, later in pairwise(times))
