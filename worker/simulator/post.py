"""Lets time pass in a simulation, and sends the webhook deliveries that are due, signed.

The only room of the simulator that calls out. A delivery is one POST; what its answer means for the
next attempt is decided in `bluum_webhooks`."""

from __future__ import annotations

import asyncio
import hmac
import time
from base64 import b64encode
from collections import defaultdict, deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aiohttp

from worker.simulator.bluum_webhooks import Encoding, SignedContent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.simulator.bluum_webhooks import Delivery, Subscription, WebhookTerms
    from worker.simulator.simulation import Simulation

#: Deliveries that are on their way at the same time.
SENDING_MAX: Final = 16


@asynccontextmanager
async def passing_time(simulation: Simulation) -> AsyncIterator[None]:
    """Let what is planned happen in time, and deliver what is due, until the block ends."""
    post = _Post(simulation)
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=simulation.options.webhooks.timeout.total_seconds()),
        connector=aiohttp.TCPConnector(limit=SENDING_MAX),
        trust_env=False,
    ) as session:
        task = asyncio.create_task(post.run(session))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def signature(terms: WebhookTerms, *, secret: str, body: bytes, timestamp: str) -> str:
    """Return the signature of a body as its header carries it."""
    with_time = terms.signed_content is SignedContent.TIMESTAMP_AND_BODY
    signed = timestamp.encode() + b"." + body if with_time else body
    digest = hmac.digest(secret.encode(), signed, terms.algorithm.value)
    hexadecimal = terms.encoding is Encoding.HEX
    return terms.prefix + (digest.hex() if hexadecimal else b64encode(digest).decode())


class _Post:
    """Wakes up when something is due. One delivery of a resource at a time, in their order."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._webhooks = simulation.house.webhooks
        self._agenda = simulation.house.ground.agenda
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(SENDING_MAX)
        self._waiting: defaultdict[str, deque[Delivery]] = defaultdict(deque)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Never returns. Cancelling it takes its deliveries back."""
        self._agenda.on_sooner = self._wake.set
        self._simulation.clock.on_advance = self._wake.set
        self._webhooks.on_due = self._wake.set
        async with asyncio.TaskGroup() as lanes:
            while True:
                self._wake.clear()
                self._agenda.run(self._simulation.clock.now())
                self._begin(session, lanes)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._seconds_left())

    def _seconds_left(self) -> float | None:
        """Return how long nothing is going to happen, None for ever."""
        if (next_at := self._agenda.next_at) is None:
            return None
        return max(0.0, (next_at - self._simulation.clock.now()).total_seconds())

    def _begin(self, session: aiohttp.ClientSession, lanes: asyncio.TaskGroup) -> None:
        """Put what is due behind the deliveries of the same resource."""
        while self._webhooks.due:
            delivery = self._webhooks.due.popleft()
            lane = f"{delivery.subscription_id} {delivery.resource_id}"
            self._waiting[lane].append(delivery)
            if len(self._waiting[lane]) == 1:
                lanes.create_task(self._drain(session, lane))

    async def _drain(self, session: aiohttp.ClientSession, lane: str) -> None:
        while self._waiting[lane]:
            await self._deliver(session, self._waiting[lane][0])
            self._waiting[lane].popleft()
        del self._waiting[lane]

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        if (target := self._webhooks.target(delivery)) is None:
            return
        status = await self._send(session, delivery, target)
        self._webhooks.note(delivery, status, now=self._simulation.clock.now())

    async def _send(
        self, session: aiohttp.ClientSession, delivery: Delivery, target: Subscription
    ) -> int | None:
        """Return the status of the answer, None when there was none."""
        # The session's own limit of connections would count the wait for one as the receiver's.
        async with self._room:
            try:
                async with session.post(
                    target.url,
                    data=delivery.body,
                    headers=self._headers(delivery, secret=target.secret),
                    allow_redirects=False,
                ) as response:
                    return response.status
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                return None

    def _headers(self, delivery: Delivery, *, secret: str) -> Mapping[str, str]:
        terms = self._webhooks.terms
        headers = {"Content-Type": "application/json"}
        # The real time: a receiver compares it with its own clock, not with the simulator's.
        timestamp = str(int(time.time()))
        if terms.timestamp_header is not None:
            headers[terms.timestamp_header] = timestamp
        headers[terms.header] = signature(
            terms, secret=secret, body=delivery.body, timestamp=timestamp
        )
        return headers
