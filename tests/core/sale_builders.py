"""Sales for the core's tests: each builder gives a plain one, a test changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.core.builders import EVEN, NOW, PATIENCE, an_order
from worker.core.answers import NotNow, Refused, Trace, Unclear
from worker.core.change import Held
from worker.core.permit import take_in
from worker.core.sale import (
    Found,
    OrderReport,
    OrdersListed,
    Sale,
    SaleStatus,
    sale_key,
)
from worker.core.sale_permit import intend_sale
from worker.core.selling import decide_found, decide_placed, decide_seen
from worker.core.withdrawal import Reason, ReasonCode, Withdrawal

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Decision
    from worker.core.sale import OrderAnswer, OrdersAnswer

SILENCE: Final = Unclear("timeout")
TOO_FEW: Final = Refused(Reason(ReasonCode.REFUSED, "B-4"), Trace(provider_code="B-4"))
CLOSED: Final = NotNow(Trace(provider_code="B-2"))
CANCEL: Final[dict[str, Any]] = {"cancel_wanted": True}

PLANNED: Final = SaleStatus.PLANNED
UNKNOWN: Final = SaleStatus.UNKNOWN
OPEN: Final = SaleStatus.OPEN
PARTIAL: Final = SaleStatus.PARTIAL
UNSETTLED: Final = SaleStatus.UNSETTLED
FILLED: Final = SaleStatus.FILLED
CANCELLED: Final = SaleStatus.CANCELLED
FAILED: Final = SaleStatus.FAILED
REFUSED: Final = SaleStatus.REFUSED
NOT_PLACED: Final = SaleStatus.NOT_PLACED

_UNPLACED: Final = frozenset({PLANNED, UNKNOWN, REFUSED, NOT_PLACED})


def a_sale(index: int = 0, status: SaleStatus = PLANNED, **changes: Any) -> Sale:  # noqa: ANN401
    """The order of this index, with the id `ord_<index>` where it is at the provider."""
    plain = Sale(
        key=sale_key("req-1", index),
        body=b'{"symbol":"AAPL"}',
        symbol="AAPL",
        quantity="3",
        status=status,
        order_id=None if status in _UNPLACED else f"ord_{index}",
        provider_status=None if status in _UNPLACED else status.value,
        first_attempt_at=NOW if status is UNKNOWN else None,
        last_attempt_at=None if status is PLANNED else NOW,
        filled_quantity="3" if status is FILLED else "0",
    )
    return replace(plain, **changes)


def selling(*sales: Sale | SaleStatus, **changes: Any) -> Withdrawal:  # noqa: ANN401
    """A withdrawal whose cash these orders raise; its order's own fields may be changed too."""
    made = tuple(
        sale if isinstance(sale, Sale) else a_sale(index, sale) for index, sale in enumerate(sales)
    )
    order = changes.pop("order", None) or an_order()
    begun = Withdrawal(order=order, changed_at=NOW, sales=made)
    return replace(take_in(begun, now=NOW).withdrawal, **changes)


def a_report(index: int = 0, status: SaleStatus | None = OPEN, **changes: Any) -> OrderReport:  # noqa: ANN401
    """What the provider says of the order of this index."""
    plain = OrderReport(
        order_id=f"ord_{index}",
        status=status,
        provider_status="new" if status is None else status.value,
        client_order_id=sale_key("req-1", index),
        symbol="AAPL",
        side="sell",
        quantity="3",
        filled_quantity="0",
        average_price=None,
        created_at=NOW,
    )
    return replace(plain, **changes)


def placed(
    withdrawal: Withdrawal, answer: OrderAnswer, index: int = 0, *, now: datetime = NOW
) -> Decision:
    """Decide on the answer to a place call, by even chance."""
    return decide_placed(withdrawal, index, answer, now=now, patience=PATIENCE, chance=EVEN)


def looked_for(
    withdrawal: Withdrawal,
    found: Found = Found(),  # noqa: B008 - it is frozen
    *,
    answer: OrdersAnswer = OrdersListed(()),  # noqa: B008
    index: int = 0,
    now: datetime = NOW,
    asked_at: datetime | None = None,
) -> Decision:
    """Decide on a look through the list that found these, by even chance; answered at once."""
    return decide_found(
        withdrawal,
        index,
        answer,
        found,
        asked_at=asked_at or now,
        now=now,
        patience=PATIENCE,
        chance=EVEN,
    )


def seen(
    withdrawal: Withdrawal, *answers: OrderAnswer, first: int = 0, now: datetime = NOW
) -> Decision:
    """Decide on what was read of the orders from the first one on, by even chance."""
    by_index = dict(enumerate(answers, first))
    return decide_seen(withdrawal, by_index, now=now, patience=PATIENCE, chance=EVEN)


def intended(withdrawal: Withdrawal, index: int = 0, *, now: datetime = NOW) -> tuple[Held, Held]:
    """The withdrawal as it is held before and after the commit of an intent."""
    after = intend_sale(withdrawal, index, now=now).withdrawal
    return Held(1, 4, withdrawal, 7), Held(1, 5, after, 7)


def statuses(withdrawal: Withdrawal) -> list[SaleStatus]:
    """Where its orders stand."""
    return [sale.status for sale in withdrawal.sales]
