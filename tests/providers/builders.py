"""Values for the providers' tests: a permit made the one way there is, and what it is made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.core.change import Held
from worker.core.permit import permit, take_in
from worker.core.sale_permit import intend_sale, sale_permit
from worker.core.schedule import Patience, Schedule
from worker.core.withdrawal import Order, Withdrawal, idempotency_key

if TYPE_CHECKING:
    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale_permit import SalePermit
    from worker.providers.contract import Provider

#: When permits are given. The real time, because the simulators' clocks begin with it too.
NOW: Final = datetime.now(UTC)

_SCHEDULE: Final = Schedule(
    first_delay=timedelta(seconds=1), growth=2.0, cap=timedelta(minutes=5), jitter=0.1
)
PATIENCE: Final = Patience(looks=_SCHEDULE, retries=_SCHEDULE, window=timedelta(hours=23))


class Clock:
    """The time that a provider is told; it moves only when a test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


def a_held(provider: Provider, request: Request, message_id: str = "req-1") -> Held:
    """A withdrawal as a ledger would have committed it: intended at NOW, in doubt from then on."""
    key = idempotency_key(message_id)
    order = Order(
        message_id=message_id,
        idempotency_key=key,
        provider=provider.name,
        party_id=request.party_id,
        amount=request.amount,
        currency=request.currency,
        method=request.payout_method,
        target_id=request.target_id,
        body=provider.compose(request, key),
        taken_at=NOW,
    )
    taken = take_in(Withdrawal(order=order, changed_at=NOW), now=NOW)
    return Held(row=1, version=1, withdrawal=taken.withdrawal)


def a_sale(provider: Provider, request: Request, message_id: str = "req-1") -> Held:
    """A withdrawal as a ledger would have taken it in that raises its cash first."""
    held = a_held(provider, request, message_id)
    begun = Withdrawal(
        order=held.withdrawal.order,
        changed_at=NOW,
        sales=provider.compose_sales(request, message_id),
    )
    return Held(row=1, version=1, withdrawal=take_in(begun, now=NOW).withdrawal)


def a_sale_permit(held: Held) -> SalePermit:
    """The right to place the first order."""
    intent = intend_sale(held.withdrawal, 0, now=NOW).withdrawal
    intended = Held(held.row, held.version + 1, intent)
    granted = sale_permit(held, intended, now=NOW, patience=PATIENCE)
    assert granted is not None
    return granted


def a_permit(held: Held) -> Permit:
    """The right to send the create call of a withdrawal."""
    granted = permit(held, now=NOW, patience=PATIENCE)
    assert granted is not None
    return granted
