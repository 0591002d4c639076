"""What one would write first: aio-pika and httpx, no ledger, nothing remembered.

The yardstick of the throughput benchmark, not an example to follow: it pays twice after an outage.
It does per request what the worker does on the wire: one create call and two confirmed events."""

from __future__ import annotations

import asyncio
import json
import sys
from uuid import NAMESPACE_URL, uuid5

import aio_pika
import httpx


async def main(amqp: str, base_url: str, prefetch: int) -> None:
    """Handle requests until the process is ended."""
    connection = await aio_pika.connect_robust(amqp)
    channel = await connection.channel()
    await channel.set_qos(prefetch)
    events = await channel.get_exchange("withdrawals.events", ensure=False)
    queue = await channel.get_queue("withdrawals.requests", ensure=False)
    client = httpx.AsyncClient(
        base_url=base_url,
        auth=("simulator-key", "simulator-secret"),
        limits=httpx.Limits(max_connections=prefetch, max_keepalive_connections=prefetch),
    )

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        async with message.process():
            request = json.loads(message.body)
            await tell(request, "received")
            answer = await client.post(
                f"/investors/{request['investor_id']}/withdrawals",
                json={
                    name: request[name]
                    for name in ("amount", "currency", "method", "funding_source_id")
                },
                headers={"Idempotency-Key": str(uuid5(NAMESPACE_URL, message.message_id or ""))},
            )
            answer.raise_for_status()
            await tell(request, answer.json()["status"])

    async def tell(request: dict[str, str], status: str) -> None:
        body = json.dumps({**request, "status": status}).encode()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await events.publish(message, f"withdrawal.{status}", mandatory=False)

    await queue.consume(handle)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
