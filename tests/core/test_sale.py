"""An order that raises cash: its key, and how it is recognised in the provider's list."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.builders import NOW, a_pending, a_withdrawal
from tests.core.sale_builders import (
    CANCELLED,
    FILLED,
    OPEN,
    PARTIAL,
    PLANNED,
    REFUSED,
    UNKNOWN,
    a_report,
    a_sale,
    selling,
)
from worker.core.sale import Found, SaleStatus, find, is_over, more_filled, sale_key
from worker.core.withdrawal import Errand, idempotency_key

if TYPE_CHECKING:
    from worker.core.withdrawal import Withdrawal

EARLY = NOW - timedelta(days=2)


def test_a_key_belongs_to_one_order_for_ever() -> None:
    """
    Written down here: another key in another release would be another sale.
    """
    assert "sell-cba1aab2-2906-5576-81dd-85f2e4996ba8" == sale_key("demo", 0)
    assert 4 == len({sale_key(name, index) for name in ("a", "b") for index in (0, 1)})
    # Upvest hears both without the word before them.
    payouts = {
        idempotency_key(name).removeprefix("wd-") for name in ("demo", "0/demo", "sale/0/demo")
    }
    assert sale_key("demo", 0).removeprefix("sell-") not in payouts


@pytest.mark.parametrize("status", SaleStatus)
def test_a_sale_is_over_when_all_is_filled(status: SaleStatus) -> None:
    """
    And a request that sells nothing has nothing to wait for.
    """
    assert is_over(())
    assert (status is FILLED) is is_over([a_sale(0, FILLED), a_sale(1, status)])


def test_our_own_key_is_the_certain_sign() -> None:
    """
    Whatever else the order says, and whoever seems to own it; shown twice, it is one.
    """
    ours = a_report(0, symbol="MSFT", side="buy", quantity="1", created_at=EARLY)

    found = find(a_sale(), [ours, ours], taken_at=NOW, owned=frozenset({"ord_0"}))

    assert Found(ours=(ours,)) == found
    assert {"ord_0"} == found.ids


@pytest.mark.parametrize(
    ("changes", "could_be"),
    [
        ({}, True),
        ({"symbol": None, "side": None, "quantity": None, "created_at": None}, True),
        ({"symbol": "aapl", "side": "SELL", "quantity": "3.000"}, True),
        ({"quantity": "three"}, True),
        ({"quantity": "NaN"}, True),
        ({"created_at": NOW - timedelta(hours=23)}, True),
        ({"created_at": EARLY}, False),
        ({"symbol": "MSFT"}, False),
        ({"side": "buy"}, False),
        ({"quantity": "3.001"}, False),
        ({"client_order_id": "another's"}, False),
        ({"order_id": "owned"}, False),
    ],
    ids=repr,
)
def test_likeness_without_a_key_is_told_apart(changes: dict[str, Any], *, could_be: bool) -> None:
    """
    What is not shown, or cannot be read, speaks against nothing; a clear contradiction does.
    """
    order = a_report(0, **({"client_order_id": None} | changes))

    found = find(a_sale(), [order], taken_at=NOW, owned=frozenset({"owned"}))

    assert Found(lookalikes=(order,) if could_be else ()) == found


@pytest.mark.parametrize(
    ("one", "other", "more"),
    [("0", "2", "2"), ("2", "1.5", "2"), ("2", "2.0", "2"), ("2", None, "2"), ("2", "x", "2")],
)
def test_what_was_sold_is_not_taken_back(one: str, other: str | None, more: str) -> None:
    """
    An older word, or none, lowers no filled quantity.
    """
    assert more == more_filled(one, other)


@pytest.mark.parametrize(
    ("withdrawal", "errand"),
    [
        (selling(OPEN), Errand.LOOK),
        (selling(FILLED, PARTIAL), Errand.LOOK),
        (selling(PLANNED), Errand.ACT),
        (selling(OPEN, PLANNED), Errand.ACT),
        (selling(OPEN, UNKNOWN), Errand.ACT),
        (selling(OPEN, REFUSED), Errand.ACT),
        (selling(OPEN, CANCELLED), Errand.ACT),
        (selling(OPEN, cancel_wanted=True), Errand.ACT),
        (selling(FILLED), Errand.ACT),
        (a_withdrawal(), Errand.ACT),
        (a_pending(), Errand.LOOK),
    ],
)
def test_only_waiting_for_fills_is_a_look(withdrawal: Withdrawal, errand: Errand) -> None:
    """
    Placing, looking up and cancelling go before.
    """
    assert errand is withdrawal.errand
