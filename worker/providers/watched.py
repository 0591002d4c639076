"""A provider whose every call is heard by whoever watches it as a whole.

Nothing is decided here, and nothing of any call is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from worker.core.answers import Answer, EntryAnswer, ListAnswer
    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit
    from worker.flows.outage import Outage
    from worker.providers.contract import Provider


class Watched:
    """A provider whose every call is heard by its `Outage`; otherwise the provider itself."""

    def __init__(self, provider: Provider, outage: Outage) -> None:
        self._provider = provider
        self._outage = outage
        self.name = provider.name
        self.shape = provider.shape

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the exact create body."""
        return self._provider.compose(request, idempotency_key)

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the exact body of each order."""
        return self._provider.compose_sales(request, message_id)

    async def create(self, permit: Permit) -> Answer:
        """Send one create call."""
        return await self._outage.call(
            permit.idempotency_key, lambda: self._provider.create(permit)
        )

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read one withdrawal."""
        return await self._outage.call(
            withdrawal_id, lambda: self._provider.look(party_id, withdrawal_id)
        )

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read all withdrawals of a party over some days."""
        return await self._outage.call(
            party_id, lambda: self._provider.listed(party_id, since, until)
        )

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the same list in the class of looks."""
        return await self._outage.call(
            party_id, lambda: self._provider.survey(party_id, since, until)
        )

    async def entry(self, party_id: str, withdrawal_id: str) -> EntryAnswer:
        """Read one withdrawal with all by which it is recognised."""
        return await self._outage.call(
            withdrawal_id, lambda: self._provider.entry(party_id, withdrawal_id)
        )

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Ask for a cancellation."""
        return await self._outage.call(
            withdrawal_id, lambda: self._provider.cancel(party_id, withdrawal_id)
        )

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Place one order."""
        return await self._outage.call(permit.key, lambda: self._provider.sell(permit))

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Read one order."""
        return await self._outage.call(order_id, lambda: self._provider.order(party_id, order_id))

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """Read all orders of a party among which this one would be."""
        return await self._outage.call(party_id, lambda: self._provider.orders(party_id, sale))

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Ask for an order's cancellation."""
        return await self._outage.call(
            order_id, lambda: self._provider.cancel_order(party_id, order_id)
        )

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """Read a wallet; advisory, so that nobody counts whether it was answered."""
        return await self._provider.available(party_id, currency)

    async def try_credentials(self) -> bool | None:
        """Read something harmless; it is the probe itself, so that nobody counts it."""
        return await self._provider.try_credentials()
