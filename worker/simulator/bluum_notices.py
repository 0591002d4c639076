"""What Bluum tells by webhook: the events it has, and the change that each of them names (PW).

Values only: who is told, how and when stands elsewhere. There is no event for a withdrawal that is
processing, submitted or cancelled. Only an `order.filled` payload is shown in the pages, so the
fields of `data` are inferred: enough to know what to read, never enough to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_order import LEGACY_WORDS, OrderStatus, shares
from worker.simulator.bluum_withdrawal import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.simulator.bluum_generation import Generation
    from worker.simulator.bluum_order import Order
    from worker.simulator.bluum_withdrawal import Withdrawal

WITHDRAWAL_INITIATED: Final = "transfer.withdrawal.initiated"
_WITHDRAWAL_ENDS: Final[Mapping[Status, str]] = {
    Status.COMPLETED: "transfer.withdrawal.completed",
    Status.FAILED: "transfer.withdrawal.failed",
}
_ORDER_EVENTS: Final[Mapping[OrderStatus, str]] = {
    OrderStatus.OPEN: "order.accepted",
    OrderStatus.PENDING: "order.accepted",
    OrderStatus.PARTIAL: "order.partially_filled",
    OrderStatus.FILLED: "order.filled",
    OrderStatus.CANCELLED: "order.canceled",
    OrderStatus.FAILED: "order.rejected",
}
#: Every event there is, in the order of a life.
EVENT_TYPES: Final = (
    WITHDRAWAL_INITIATED,
    *_WITHDRAWAL_ENDS.values(),
    *dict.fromkeys(_ORDER_EVENTS.values()),
)
#: What stands for several of them (CW, PW).
WILDCARDS: Final = ("order.*", "transfer.*")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell: the event, its moment, and the `data` of its body.

    There is no event id: the pages speak of one, and no sample shows it.
    """

    event: str
    at: datetime
    data: Mapping[str, str | None]

    def is_wanted(self, event_types: tuple[str, ...]) -> bool:
        """Tell whether one of the names, which may be wildcards, means this event."""
        return any(
            self.event.startswith(name[:-1]) if name in WILDCARDS else self.event == name
            for name in event_types
        )


def initiated(withdrawal: Withdrawal, generation: Generation) -> Notice:
    """Return the notice of a withdrawal that was created."""
    at = withdrawal.executed_at
    return _of_withdrawal(WITHDRAWAL_INITIATED, withdrawal, generation, Status.PENDING, at=at)


def ended(withdrawal: Withdrawal, generation: Generation, *, at: datetime) -> Notice | None:
    """Return the notice of a withdrawal that has ended at `at`; a cancellation has none."""
    status = withdrawal.status(at)
    if (event := _WITHDRAWAL_ENDS.get(status)) is None:
        return None
    return _of_withdrawal(event, withdrawal, generation, status, at=at)


def moved(order: Order, *, at: datetime) -> Notice:
    """Return the notice of an order that has come to where it stands at `at`.

    Its status is in the older words, which are those of the events' names.
    """
    status = order.status(at)
    data = {
        "id": order.id,
        "investor_id": order.investor_id,
        "status": LEGACY_WORDS[status],
        "symbol": order.ticket.symbol,
        "side": order.ticket.side,
        "quantity": shares(order.ticket.quantity),
        "filled_quantity": shares(order.filled(at)),
        "client_order_id": order.ticket.client_order_id,
    }
    return Notice(_ORDER_EVENTS[status], at, data)


def _of_withdrawal(
    event: str, withdrawal: Withdrawal, generation: Generation, status: Status, *, at: datetime
) -> Notice:
    data = {
        "id": withdrawal.id,
        generation.party_name: withdrawal.investor_id,
        "status": generation.word(status),
        "amount": f"{withdrawal.instruction.amount:.2f}",
        "currency": withdrawal.instruction.currency,
    }
    return Notice(event, at, data)
