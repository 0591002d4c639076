"""The orders that raise cash, in the ledger: whose each one is, for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, NOW, an_order, taken_in
from worker.core.change import Decision
from worker.core.permit import take_in
from worker.core.sale import Sale, SaleStatus, sale_key
from worker.core.withdrawal import Withdrawal
from worker.flows.ports import StepRefused

if TYPE_CHECKING:
    from worker.core.change import Held
    from worker.ledger.store import Ledger


def selling(message_id: str) -> Withdrawal:
    """A request that raises its cash by two orders."""
    sales = tuple(Sale(key=sale_key(message_id, index), symbol="AAPL") for index in (0, 1))
    return Withdrawal(order=an_order(message_id), changed_at=NOW, sales=sales)


def known(held: Held, *order_ids: str | None) -> Decision:
    """A decision by which the ids of its orders are known."""
    sales = tuple(
        replace(sale, order_id=order_id, status=SaleStatus.OPEN)
        for sale, order_id in zip(held.withdrawal.sales, order_ids, strict=True)
    )
    return Decision(replace(held.withdrawal, sales=sales))


async def take(ledger: Ledger, message_id: str) -> Held:
    """Take such a request in."""
    taken = await ledger.take(take_in(selling(message_id), now=NOW), FINGERPRINT)
    return taken.held


async def test_an_order_is_found_by_its_id(ledger: Ledger, url: str) -> None:
    """
    Written once, in the commit in which it became known.
    """
    held = await take(ledger, "req-1")
    once = await ledger.record(held, known(held, "ord_1", None))
    assert once is not None
    await ledger.record(once, known(once, "ord_1", "ord_2"))

    assert [("bluum", "ord_1", held.row), ("bluum", "ord_2", held.row)] == await second.read(
        url, "SELECT provider, order_id, withdrawal FROM sale_orders ORDER BY order_id"
    )


async def test_an_order_raises_cash_for_one_request(ledger: Ledger) -> None:
    """
    A second one that claims it is refused, and nothing of that is written.
    """
    first, other = await take(ledger, "req-1"), await take(ledger, "req-2")
    await ledger.record(first, known(first, "ord_1", None))

    with pytest.raises(StepRefused):
        await ledger.record(other, known(other, "ord_2", "ord_1"))
    history = await ledger.history("req-2")
    assert history is not None
    assert other == history.held
    asked = ("ord_1", "ord_2", "ord_3")
    assert {"ord_1"} == await ledger.orders_of_others("bluum", asked, row=other.row)
    assert frozenset() == await ledger.orders_of_others("bluum", asked, row=first.row)
    assert frozenset() == await ledger.orders_of_others("bluum", (), row=other.row)


async def test_a_request_that_sells_first_is_nobodys_yet(ledger: Ledger, url: str) -> None:
    """
    Whoever finds it due takes it up; one whose call is intended is in its worker's hands.
    """
    await take(ledger, "req-1")
    await ledger.take(taken_in(an_order("req-2")), FINGERPRINT)

    assert [(None,), (ledger.replica,)] == await second.read(
        url, "SELECT owner FROM withdrawals ORDER BY id"
    )
