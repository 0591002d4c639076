"""Orders, held to the same sentences as every call: the provider on its stage, with its company.

What each answer means is walked in the tests of the table; here the two sides understand each
other."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

import pytest
from pydantic import ValidationError

from tests.providers.builders import a_sale, a_sale_permit
from tests.providers.stages import ROWS, Options
from worker.core.answers import NotNow, Refused, Unclear
from worker.core.sale import Found, OrderReport, OrdersListed, SaleStatus, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.providers.stages import Row, Stage
    from worker.core.change import Held
    from worker.core.sale import OrderAnswer


SELLERS: Final = [row for row in ROWS if row.sells]
WITH_HOURS: Final = [row for row in ROWS if row.sells and row.sells.closed]
NAME: Final = attrgetter("name")


@pytest.fixture(params=SELLERS, ids=NAME)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Each provider that sells, in turn."""
    row: Row = request.param
    async with row.staged(Options()) as stage:
        yield stage


def held(stage: Stage, order: str = "plain") -> Held:
    """A request that sells first: an order of the row, by what becomes of it."""
    sell = [dict(getattr(stage.row.sells, order))]
    return a_sale(stage.provider, stage.row.request(sell=sell))


async def placed(stage: Stage, order: str = "plain") -> OrderAnswer:
    """Place it."""
    return await stage.provider.sell(a_sale_permit(held(stage, order)))


async def test_an_order_is_placed_and_followed(stage: Stage) -> None:
    """
    What comes back is ours, can be read by its id, and is cancelled when somebody asks for it.
    """
    party, sale = stage.row.party, held(stage, "resting").withdrawal.sales[0]
    answer = await placed(stage, "resting")
    assert isinstance(answer, OrderReport)
    seen = await stage.provider.order(party, answer.order_id)
    cancelled = await stage.provider.cancel_order(party, answer.order_id)
    after = await stage.provider.order(party, answer.order_id)

    assert (sale.key, SaleStatus.OPEN) == (answer.client_order_id, answer.status)
    assert isinstance(seen, OrderReport)
    assert answer.order_id == seen.order_id
    assert isinstance(cancelled, OrderReport | Unclear)
    assert isinstance(after, OrderReport)
    assert SaleStatus.CANCELLED is after.status


async def test_an_order_whose_answer_was_lost_is_found(stage: Stage) -> None:
    """
    In the list, by our key.
    """
    stage.company.strike(drop_after=1.0)
    lost = await placed(stage)
    stage.company.strike()
    withdrawal = held(stage).withdrawal
    listed = await stage.provider.orders(stage.row.party, withdrawal.sales[0])

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


async def test_too_little_to_sell_is_refused(stage: Stage) -> None:
    """
    What is not held cannot be sold: that is the customer's matter.
    """
    assert isinstance(await placed(stage, "scarce"), Refused)


@pytest.mark.parametrize("row", WITH_HOURS, ids=NAME)
async def test_a_closed_market_is_waited_for(row: Row) -> None:
    """
    An order that comes at the wrong hour is no wrong order, where the company tells the two apart.
    """
    async with row.staged() as stage:
        assert isinstance(await placed(stage, "closed"), NotNow)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.sells], ids=NAME)
async def test_who_sells_nothing_takes_no_orders(row: Row) -> None:
    """
    A request with orders is refused by its shape, and one without them has none to place.
    """
    async with row.staged() as stage:
        assert () == stage.provider.compose_sales(row.request(), "req-1")
    with pytest.raises(ValidationError, match="sells nothing"):
        row.request(sell=[{"symbol": "AAPL", "quantity": "3"}])
