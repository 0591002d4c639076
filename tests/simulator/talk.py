"""A client's side of the simulator, so that a test reads as a conversation.

Real HTTP over loopback; it knows no more of the simulator than a team that builds against it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.no_tls import NO_TLS
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Fast and without a limit: what a test says nothing about shall not get in its way.
PLAIN: Final = BluumOptions(rate_limit=0, latency=timedelta())
#: Everything that has been created has certainly ended after this many seconds.
LONG: Final = 3600

FIELDS: Final = {
    "amount": "250.75",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_01",
    "description": "req 7f3a",
}

SALE: Final = {
    "symbol": "AAPL",
    "side": "sell",
    "type": "market",
    "time_in_force": "day",
    "quantity": "3",
    "client_order_id": "sell-1",
}


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and param of an answer in the nested envelope."""
    document = response.json()["error"]
    assert ["type", "code", "message", "param"] == list(document)
    return response.status_code, document["code"], document["param"]


@dataclass(frozen=True, slots=True)
class Talk:
    """A server and an authorised client of it."""

    server: BluumServer
    http: httpx.AsyncClient

    async def create(
        self, investor_id: str = "inv_01", *, key: str | None = "wd-1", **changed: object
    ) -> httpx.Response:
        """Ask for a withdrawal; a field that is changed to ... is left out."""
        fields = {name: value for name, value in (FIELDS | changed).items() if value is not ...}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.http.post(
            f"/investors/{investor_id}/withdrawals", json=fields, headers=headers
        )

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """Read something below the base URL."""
        return await self.http.get(path, params=query)

    async def cancel(self, withdrawal_id: str, investor_id: str = "inv_01") -> httpx.Response:
        """Ask for a cancellation."""
        return await self.http.post(f"/investors/{investor_id}/withdrawals/{withdrawal_id}/cancel")

    async def place(
        self, investor_id: str = "inv_01", *, key: str | None = "sell-1", **changed: object
    ) -> httpx.Response:
        """Place a sell order; a field that is changed to ... is left out."""
        fields = {name: value for name, value in (SALE | changed).items() if value is not ...}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.http.post(
            f"/investors/{investor_id}/orders", json=fields, headers=headers
        )

    async def order(self, order_id: str, investor_id: str = "inv_01") -> dict[str, Any]:
        """Read one order."""
        found: dict[str, Any] = (
            await self.get(f"/investors/{investor_id}/orders/{order_id}")
        ).json()
        return found

    async def cancel_order(self, order_id: str, investor_id: str = "inv_01") -> httpx.Response:
        """Ask for the cancellation of an order."""
        return await self.http.post(f"/investors/{investor_id}/orders/{order_id}/cancel")

    async def wallet(self, investor_id: str = "inv_01", currency: str = "USD") -> dict[str, Any]:
        """Read one wallet."""
        wallets = (await self.get(f"/investors/{investor_id}/wallets")).json()["data"]
        found: dict[str, Any] = next(w for w in wallets if w["currency"] == currency)
        return found

    async def control(self, method: str, name: str, **fields: object) -> httpx.Response:
        """Make a control call, without credentials."""
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as stranger:
            return await stranger.request(
                method, f"{self.server.control_url}/{name}", json=fields or None
            )

    async def advance(self, seconds: float) -> None:
        """Put the simulator's clock forward."""
        (await self.control("POST", "clock", advance_seconds=seconds)).raise_for_status()

    async def record(self) -> dict[str, Any]:
        """Read the record."""
        document: dict[str, Any] = (await self.control("GET", "record")).json()
        return document


@asynccontextmanager
async def talking(options: BluumOptions = PLAIN, *, patience: float = 5.0) -> AsyncIterator[Talk]:
    """Serve and connect, then take both down; `patience` is the client's timeout in seconds."""
    async with (
        serve(options) as server,
        httpx.AsyncClient(
            base_url=server.base_url,
            auth=(options.api_key, options.api_secret),
            timeout=patience,
            trust_env=False,
            verify=NO_TLS,
        ) as http,
    ):
        yield Talk(server, http)
