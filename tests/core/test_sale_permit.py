"""Who may place an order: only who committed its intent, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.core.builders import NOW, PATIENCE, SECOND, an_order
from tests.core.sale_builders import (
    OPEN,
    PLANNED,
    intended,
    selling,
)
from worker.core.sale_permit import SalePermit, sale_permit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from worker.core.change import Held

LATE: Final = an_order(not_after=NOW - SECOND)


def test_a_permit_carries_what_was_committed() -> None:
    """
    The key and the bytes of the order whose turn it is, and the tenure of the commit.
    """
    before, after = intended(selling(OPEN, PLANNED), 1)
    granted = sale_permit(before, after, now=NOW, patience=PATIENCE)
    sale = before.withdrawal.sales[1]

    assert granted is not None
    assert (sale.key, "inv_01", sale.body, 7, NOW + PATIENCE.settling) == (
        granted.key,
        granted.party_id,
        granted.body,
        granted.tenure,
        granted.valid_until,
    )


def test_a_permit_ends_with_the_requests_own_time() -> None:
    """
    However long the intent is good for.
    """
    before, after = intended(selling(PLANNED, order=an_order(not_after=NOW + SECOND)))
    granted = sale_permit(before, after, now=NOW, patience=PATIENCE)

    assert granted is not None
    assert NOW + SECOND == granted.valid_until


def _changed(held: Held, **changes: Any) -> Held:  # noqa: ANN401
    return replace(held, withdrawal=replace(held.withdrawal, **changes))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _before, after: (after, after),
        lambda _before, after: (after, replace(after, version=after.version + 1)),
        lambda before, after: (before, replace(after, version=after.version + 1)),
        lambda before, after: (before, replace(after, row=2)),
        lambda before, after: (before, replace(before, version=after.version)),
        lambda before, after: (before, _changed(after, cancel_wanted=True)),
        lambda before, after: (before, _changed(after, looks=9)),
        lambda before, after: (_changed(before, order=LATE), _changed(after, order=LATE)),
        lambda before, after: (
            _changed(before, order=an_order(party_id=None)),
            _changed(after, order=an_order(party_id=None)),
        ),
    ],
)
def test_nobody_else_gets_a_permit(spoil: Callable[[Held, Held], tuple[Held, Held]]) -> None:
    """
    Not whoever finds an intent, of whatever version; not for another row; not when it changed.
    """
    assert sale_permit(*spoil(*intended(selling(PLANNED))), now=NOW, patience=PATIENCE) is None


@pytest.mark.parametrize(("at", "may"), [(-SECOND, False), (0 * SECOND, True), (None, False)])
def test_an_intent_is_good_for_a_settling_delay(at: timedelta | None, *, may: bool) -> None:
    """
    After it others may look for what it did; and a clock that went back proves nothing.
    """
    now = NOW + (PATIENCE.settling if at is None else at)
    granted = sale_permit(*intended(selling(PLANNED)), now=now, patience=PATIENCE)

    assert may is (granted is not None)


def test_permits_are_made_by_one_function() -> None:
    """
    Not by hand, and not by changing one.
    """
    granted = sale_permit(*intended(selling(PLANNED)), now=NOW, patience=PATIENCE)
    assert granted is not None

    with pytest.raises(TypeError, match=r"made by worker\.core\.sale_permit\.sale_permit alone"):
        SalePermit("sell-1", "inv_01", b"{}", 0, NOW, object())
    with pytest.raises(TypeError):
        replace(granted, key="sell-2", made_by=object())
    assert "AAPL" not in repr(granted)
