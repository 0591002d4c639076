"""Orders, held to the same sentences as every call: the provider on its stage, with its company.

What each answer means is walked in the tests of the table; here the two sides understand each
other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.providers.builders import a_sale, a_sale_permit
from tests.providers.stages import ROWS, Options
from worker.core.answers import NotNow, Refused, Unclear
from worker.core.sale import Found, OrderReport, OrdersListed, Sale, SaleStatus, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.providers.stages import Row, Stage
    from worker.core.decide import Held
    from worker.core.sale import OrderAnswer


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Each provider in turn."""
    row: Row = request.param
    async with row.staged(Options()) as stage:
        yield stage


def held(stage: Stage, **order: Any) -> Held:  # noqa: ANN401 - any field of an order
    """A request that sells three shares first."""
    plain = {"symbol": "AAPL", "quantity": "3"}
    return a_sale(stage.provider, stage.row.request(sell=[plain | order]))


async def placed(stage: Stage, **order: Any) -> OrderAnswer:  # noqa: ANN401
    """Place it."""
    return await stage.provider.sell(a_sale_permit(held(stage, **order)))


async def test_an_order_is_placed_and_followed(stage: Stage) -> None:
    """
    What comes back is ours, and can be read and listed by its id.
    """
    sale = held(stage).withdrawal.sales[0]
    answer = await placed(stage, symbol="SIM.RESTING")
    assert isinstance(answer, OrderReport)
    seen = await stage.provider.order("inv_01", answer.order_id)
    cancelled = await stage.provider.cancel_order("inv_01", answer.order_id)
    after = await stage.provider.order("inv_01", answer.order_id)

    assert (sale.key, SaleStatus.OPEN) == (answer.client_order_id, answer.status)
    assert isinstance(seen, OrderReport)
    assert answer.order_id == seen.order_id
    assert isinstance(cancelled, OrderReport)
    assert isinstance(after, OrderReport)
    assert SaleStatus.CANCELLED is after.status


async def test_an_order_whose_answer_was_lost_is_found(stage: Stage) -> None:
    """
    In the list, by our key.
    """
    stage.company.strike(drop_after=1.0)
    lost = await placed(stage)
    stage.company.strike()
    listed = await stage.provider.orders("inv_01", Sale(key="sell-1"))
    withdrawal = held(stage).withdrawal

    assert isinstance(lost, Unclear)
    assert isinstance(listed, OrdersListed)
    found = find(
        withdrawal.sales[0],
        listed.orders,
        taken_at=withdrawal.order.taken_at,
        owned=frozenset(),
    )
    assert Found(ours=listed.orders) == found
    assert 1 == len(listed.orders)


async def test_what_cannot_be_sold_is_refused_or_waits(stage: Stage) -> None:
    """
    Too few shares is the customer's; a closed market is nobody's.
    """
    refused = await placed(stage, symbol="SIM.SCARCE")
    closed = await placed(stage, symbol="SIM.CLOSED")

    assert isinstance(refused, Refused)
    assert isinstance(closed, NotNow)
