"""The spans of a real worker, as a collector of traces gets them."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aio_pika
import pytest

from tests.app.collector import a_collector
from tests.app.harness import a_request
from worker.rabbitmq import topology
from worker.simulator.bluum_server import BluumOptions, BluumServer, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import WebhookTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.app.collector import SpanSeen
    from tests.app.conftest import Start
    from tests.app.harness import Desk

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"
OTHER: Final = "11111111111111111111111111111111"
UNSAMPLED: Final = "22222222222222222222222222222222"
#: Each trace that comes with a request: its id, and its flags.
GIVEN: Final = {"traced": (TRACE, "01"), "poor": (OTHER, "01"), "unsampled": (UNSAMPLED, "00")}
_WEBHOOK_SECRET: Final = "whsec_of_the_test"
_SECRETS: Final = (
    "simulator-key",
    "simulator-secret",
    _WEBHOOK_SECRET,
    "guest",
    "fs_secret_1",
    "a private purpose",
    "inv_1",
    "5.00",
)
#: What belongs to one request that came with a trace, each span with those around it.
_WAYS: Final = {
    (SPAN, "consumer: process withdrawals.requests"),
    (SPAN, "consumer: process withdrawals.requests", "client: ledger take"),
    (SPAN, "consumer: process withdrawals.requests", "client: POST bluum create"),
    (SPAN, "consumer: process withdrawals.requests", "client: ledger record"),
    (SPAN, "internal: follow look"),
    (SPAN, "internal: follow look", "client: ledger record"),
    (SPAN, "producer: publish withdrawals.events"),
}
#: The same of one that came without.
_WAYS_OF_ITS_OWN: Final = {
    ("consumer: process withdrawals.requests", *inside)
    for inside in (
        (),
        ("client: ledger take",),
        ("client: POST bluum create",),
        ("internal: follow look",),
        ("internal: follow look", "client: ledger record"),
        ("producer: publish withdrawals.events",),
    )
}


@pytest.fixture
async def server(port: int) -> AsyncIterator[BluumServer]:
    """A provider that tells of every end by webhook, again until it is heard."""
    webhooks = WebhookTerms(
        url=f"http://127.0.0.1:{port}/webhooks/bluum",
        secret=_WEBHOOK_SECRET,
        retry_delays=(timedelta(seconds=0.5),) * 60,
    )
    terms = Terms(pace=timedelta(seconds=0.5))
    async with serve(BluumOptions(rate_limit=0, terms=terms, webhooks=webhooks)) as running:
        yield running


async def test_a_request_is_one_trace_from_its_message_to_its_last_event(
    rabbitmq_vhost: str, desk: Desk, start: Start, sqlite_url: str, port: int
) -> None:
    """
    Consume, ledger, provider and publish hang below what it came with, and its events carry it on.

    So do its later steps. One without a trace gets one, and one that is not sampled has no spans.
    """
    async with a_collector() as collector, _traceparents(rabbitmq_vhost) as carried:
        worker = await start(
            sqlite_url,
            WORKER_WEBHOOKS__HOST="127.0.0.1",
            WORKER_WEBHOOKS__PORT=str(port),
            WORKER_BLUUM__WEBHOOK__SECRET=_WEBHOOK_SECRET,
            WORKER_TRACING__ENABLED="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        for message_id, (trace_id, flags) in GIVEN.items():
            changes = {"amount": "99999.00", "investor_id": "inv_poor_1"}
            await _ask(
                rabbitmq_vhost,
                message_id,
                f"00-{trace_id}-{SPAN}-{flags}",
                **(changes if message_id == "poor" else {}),
            )
        await desk.ask("untraced", description="a private purpose")
        await desk.have_ended(4)
        # What a webhook wakes is linked to it, in a trace of its own.
        await collector.have(lambda spans: any(_links_to(TRACE, span) for span in spans))
        assert 0 == await worker.end(signal.SIGTERM)
    spans, lines = collector.spans, [json.loads(line) for line in worker.output.splitlines()]
    (untraced,) = {_parts(one)[0] for one in carried["untraced"]}

    assert {"withdrawals-worker"} == {span.resource["service.name"] for span in spans}
    of_webhooks = {span.trace_id for span in spans if span.name == "hear bluum"}
    assert {TRACE, OTHER, untraced} == {span.trace_id for span in spans} - of_webhooks
    assert _WAYS <= _ways(collector.of(TRACE))
    assert _WAYS_OF_ITS_OWN <= _ways(collector.of(untraced))
    assert {"accepted"} == {
        span.attributes["withdrawals.settlement"] for span in spans if span.kind == "consumer"
    }
    for message_id, (trace_id, flags) in GIVEN.items():
        published = {span.span_id for span in collector.of(trace_id) if span.kind == "producer"}
        told = [_parts(one) for one in carried[message_id]]
        assert {(trace_id, flags)} == {(trace, flag) for trace, _, flag in told}
        assert (published == {span for _, span, _ in told}) is (flags == "01")
    # What is written about a request names its trace, whether it is sampled or not.
    moved = {(line["message_id"], line["trace_id"]) for line in lines if "status" in line}
    assert {(name, trace_id) for name, (trace_id, _) in GIVEN.items()} <= moved
    named = {line["span_id"] for line in lines if line.get("trace_id", UNSAMPLED) != UNSAMPLED}
    assert named
    assert named <= {span.span_id for span in spans}
    shown = json.dumps([[span.name, span.attributes] for span in spans])
    assert [] == [secret for secret in _SECRETS if secret in shown]


@asynccontextmanager
async def _traceparents(amqp: str) -> AsyncIterator[dict[str, list[str]]]:
    """What each request's events carry, by its message id."""
    carried: dict[str, list[str]] = defaultdict(list)

    async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        message_id = json.loads(message.body)["message_id"]
        carried[message_id].append(str(message.headers["traceparent"]))

    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS_EXCHANGE, "#")
        await queue.consume(hear, no_ack=True)
        yield carried


async def _ask(amqp: str, message_id: str, traceparent: str, **changes: object) -> None:
    """Publish a request that comes with a trace."""
    body = json.dumps(a_request(description="a private purpose", **changes)).encode()
    message = aio_pika.Message(body, message_id=message_id, headers={"traceparent": traceparent})
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(topology.COMMANDS_EXCHANGE)
        await exchange.publish(message, topology.REQUEST_KEY)


def _links_to(trace_id: str, span: SpanSeen) -> bool:
    return span.kind == "server" and trace_id in {trace for trace, _ in span.links}


def _parts(traceparent: str) -> tuple[str, str, str]:
    """Return the ids of trace and span, and the flags."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return trace_id, span_id, flags


def _ways(spans: list[SpanSeen]) -> set[tuple[str, ...]]:
    """Return the way to each span of a trace, by kinds and names from the outermost one on."""
    by_id = {span.span_id: span for span in spans}

    def way(span: SpanSeen) -> tuple[str, ...]:
        above = by_id.get(span.parent)
        outside = (span.parent,) if span.parent else ()
        return (*(outside if above is None else way(above)), f"{span.kind}: {span.name}")

    return {way(span) for span in spans}
