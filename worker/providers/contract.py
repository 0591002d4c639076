"""What we ask of a provider. Every provider is held to the same sentences by one suite of tests.

Interfaces only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from worker.core.answers import Answer, EntryAnswer, ListAnswer
    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit


class Provider(Protocol):
    """One provider: its request shape, and the calls on it. No call raises for what it was told."""

    name: str
    shape: type[Request]

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the exact create body for a request; it is stored and sent, never made again."""
        ...

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the exact body of each order of a request, with its own key; none are sent here."""
        ...

    async def create(self, permit: Permit) -> Answer:
        """Send one create call. The only call that moves money; it takes nothing but a permit."""
        ...

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read one withdrawal."""
        ...

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all withdrawals of a party over some days, every page of them, to end a doubt."""
        ...

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the same list to see how its withdrawals fare, in the class of looks."""
        ...

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """Read one withdrawal with all by which it is recognised, as the list shows it."""
        ...

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Ask for a cancellation. Whatever the answer, the withdrawal is to be read afterwards."""
        ...

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Place one order. The only call that sells; it takes nothing but a permit."""
        ...

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Read one order."""
        ...

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """Read all orders of a party among which this one would be, every page of them."""
        ...

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Ask for an order's cancellation. Whatever the answer, it is to be read afterwards."""
        ...

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """Return the most that may be withdrawn, None when that could not be read. Advisory."""
        ...

    async def try_credentials(self) -> bool | None:
        """Read something harmless: True accepted, False refused, None not answered."""
        ...
