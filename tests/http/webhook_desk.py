"""A webhooks' port with a real ledger behind it, and somebody who delivers to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, moved, taken_in
from tests.no_tls import NO_TLS
from worker.core.signatures import Scheme
from worker.core.withdrawal import Status
from worker.flows.hearing import Hearing, Outcome
from worker.http.webhooks import SECONDS, open_webhooks
from worker.ledger.store import open_ledger
from worker.providers.bluum_webhooks import SharedSecret, read_delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.http.webhooks import Webhooks
    from worker.ledger.store import Ledger

SECRET: Final = b"a webhook's secret"
SCHEME: Final = Scheme(secrets=(SECRET,), header="X-Bluum-Signature")
#: No wait of a test is longer.
LIMIT_SECONDS: Final = 60.0


class Desk:
    """Delivers webhooks and looks into the ledger."""

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        hearing: Hearing,
        webhooks: Webhooks,
        *,
        told: Counter[Any],
        heard: Mapping[Outcome, asyncio.Event],
    ) -> None:
        self.ledger = ledger
        self.hearing = hearing
        self.provider = hearing.provider
        self.port = webhooks.port
        #: How often each outcome was counted, by provider and outcome.
        self.told = told
        #: Set when an outcome was counted for the first time.
        self.heard = heard
        self._url = url

    async def order(self, message_id: str, order_id: str) -> None:
        """Have an order raise the cash for a withdrawal."""
        await second.write(
            self._url,
            f"INSERT INTO sale_orders SELECT provider, '{order_id}', id FROM withdrawals"  # noqa: S608
            f" WHERE message_id = '{message_id}'",
        )

    async def withdrawal(self, message_id: str, withdrawal_id: str) -> int:
        """Put a withdrawal into the ledger that is at the provider; return its row."""
        order = an_order(message_id, provider=self.provider)
        held = (await self.ledger.take(taken_in(order), FINGERPRINT)).held
        pending = moved(held, Status.PENDING, withdrawal_id=withdrawal_id)
        assert await self.ledger.record(held, pending) is not None
        return held.row

    async def send(
        self,
        body: bytes,
        *,
        method: str = "POST",
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Send one request, signed unless other headers are given; return its status."""
        given = {"X-Bluum-Signature": signature(body)} if headers is None else headers
        path = path or f"/webhooks/{self.provider}"
        async with httpx.AsyncClient(
            trust_env=False, verify=NO_TLS, timeout=LIMIT_SECONDS
        ) as client:
            url = f"http://127.0.0.1:{self.port}{path}"
            return (await client.request(method, url, content=body, headers=given)).status_code

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to send what no client would."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def woken(self) -> set[int]:
        """Return the rows that are to be taken up at once."""
        found = await second.read(
            self._url, "SELECT id FROM withdrawals WHERE woken_at IS NOT NULL"
        )
        return {row[0] for row in found}

    async def asleep(self) -> None:
        """Put every withdrawal to sleep, as if it had been taken up."""
        await second.write(self._url, "UPDATE withdrawals SET woken_at = NULL")

    async def written(self) -> list[tuple[str, str, str]]:
        """Return provider, event and id of every delivery that was written down."""
        return await second.read(
            self._url, "SELECT provider, event, resource_id FROM webhooks ORDER BY received_at"
        )


@asynccontextmanager
async def a_desk(
    url: str,
    *,
    provider: str = "bluum",
    proxies: int = 0,
    scheme: Scheme | None = SCHEME,
    allows_unsigned: bool = False,
    seconds: float = SECONDS,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[Desk]:
    """Serve webhooks over a ledger, as long as the context lasts."""
    told: Counter[Any] = Counter()
    heard = {outcome: asyncio.Event() for outcome in Outcome}

    def counted(provider: str | None, outcome: Outcome) -> None:
        told[provider, outcome] += 1
        heard[outcome].set()

    async with open_ledger(url) as ledger:
        await ledger.heartbeat()
        verifier = SharedSecret(scheme, allows_unsigned=allows_unsigned, now=now)
        plain: dict[str, Any] = {
            "verifier": verifier,
            "ledger": ledger,
            "read": read_delivery,
            "now": now,
        }
        hearing = Hearing(provider, counted=counted, **(plain | changes))
        async with open_webhooks(
            {f"/webhooks/{provider}": hearing},
            host="127.0.0.1",
            port=0,
            counted=counted,
            proxies=proxies,
            seconds=seconds,
        ) as webhooks:
            running = asyncio.create_task(webhooks.run())
            try:
                yield Desk(url, ledger, hearing, webhooks, told=told, heard=heard)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


def now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(UTC)


def signature(body: bytes, secret: bytes = SECRET) -> str:
    """Sign a body."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def delivery(resource: str, event: str = "transfer.withdrawal.completed", **data: Any) -> bytes:  # noqa: ANN401
    """A body as in PW: event, timestamp, data."""
    at = "2026-06-02T09:00:00Z"
    return json.dumps({"event": event, "timestamp": at, "data": {"id": resource} | data}).encode()


def ago(seconds: float) -> str:
    """A time in unix seconds."""
    return str(int((now() - timedelta(seconds=seconds)).timestamp()))
