"""Every span of the worker, declared once, with its meaning; sent to a collector by OTLP over HTTP.

Spans hold ids, names and statuses: no body, no address with ids in it, no text of anybody's.
Nothing waits for the collector, and nothing fails with it. Not imported unless traces are wanted.

The spans of a request hang below the trace it came with, or one that begins here:

    process withdrawals.requests            CONSUMER  one delivery of a message
    follow look                             INTERNAL  one step, days later too
      ledger take, ledger record            CLIENT    until the commit, the wait for it included
      POST bluum create                     CLIENT    one exchange with the provider
    publish withdrawals.events              PRODUCER  one event, until the broker confirmed it
    hear bluum                              SERVER    one genuine webhook, a trace of its own

The names of attributes are those of OpenTelemetry's semantic conventions (messaging, HTTP,
database); ours begin with `withdrawals.`. All else is OpenTelemetry's own: its variables (OTEL_…)
say where to send, how much to sample, how much to keep in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    Resource,
    get_aggregated_resources,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.core import messages
from worker.flows.journey import apart, ids, ids_of, ids_of_message, known, within
from worker.flows.settlement import Accept, Bury, Return, Settlement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span, SpanContext

    from worker.core.messages import Envelope
    from worker.core.withdrawal import Withdrawal
    from worker.flows.ports import Outgoing

_log = logging.getLogger(__name__)

#: So long the last spans may take to be sent when the worker ends.
FLUSH_SECONDS: Final = 2.0
_SERVICE: Final = "withdrawals-worker"
_TRACEPARENT: Final = "traceparent"
_CLIENT_ERRORS: Final = 400
_propagator: Final = TraceContextTextMapPropagator()


class Handling:
    """One message in work, and its span."""

    def __init__(self, envelope: Envelope, span: Span) -> None:
        self.envelope = envelope
        self._span = span

    def settled(self, settlement: Settlement) -> None:
        """Note what became of the message."""
        match settlement:
            case Accept():
                self._span.set_attribute("withdrawals.settlement", "accepted")
            case Bury(reason=reason):
                self._span.set_attribute("withdrawals.settlement", "dead-lettered")
                _fail(self._span, reason.value)
            case Return():
                self._span.set_attribute("withdrawals.settlement", "returned")
                _fail(self._span, "returned")


class Call:
    """One call to a provider, and its span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int, request_id: str | None) -> None:
        """Note the status, and the id by which the provider's support finds the call."""
        self._span.set_attribute("http.response.status_code", status)
        if request_id is not None:
            self._span.set_attribute("withdrawals.provider_request_id", request_id)
        if status >= _CLIENT_ERRORS:
            _fail(self._span, str(status))

    def silent(self, why: str) -> None:
        """Note that no usable answer came."""
        _fail(self._span, why)


class Delivery:
    """One webhook delivery, and its span."""

    def __init__(self, span: Span) -> None:
        self.wants_traces = span.is_recording()
        self._span = span

    def heard(self, outcome: str, traceparents: Sequence[str]) -> None:
        """Note what became of it, and link it to the requests whose withdrawals it woke."""
        self._span.set_attribute("withdrawals.outcome", outcome)
        for traceparent in traceparents:
            self._span.add_link(_span_context_of(traceparent))


class Tracing:
    """Makes the spans; the `Journeys` of flows and adapters. `provider` keeps and sends them."""

    def __init__(self, provider: TracerProvider, *, version: str) -> None:
        self._tracer = provider.get_tracer(_SERVICE, version)

    @contextmanager
    def message(self, queue: str, envelope: Envelope) -> Iterator[Handling]:
        """Span of one delivery. Without a trace of its own the message gets the one begun here."""
        traceparent = messages.unwrap(envelope).context.traceparent
        span = self._tracer.start_span(
            f"process {queue}",
            _context_of(traceparent),
            SpanKind.CONSUMER,
            known(
                {
                    "messaging.system": "rabbitmq",
                    "messaging.operation.type": "process",
                    "messaging.operation.name": "process",
                    "messaging.destination.name": queue,
                    "messaging.message.id": envelope.message_id,
                    "messaging.message.conversation_id": envelope.correlation_id,
                    "messaging.message.body.size": len(envelope.body),
                    "withdrawals.redelivered": envelope.redelivered,
                }
            ),
        )
        if traceparent is None and (traceparent := _traceparent_of(span)) is not None:
            headers = {**envelope.headers, _TRACEPARENT: traceparent}
            envelope = replace(envelope, headers=headers)
        with _inside(span, ids_of_message(envelope, traceparent)):
            yield Handling(envelope, span)

    @contextmanager
    def step(self, withdrawal: Withdrawal, step: str) -> Iterator[None]:
        """Span of one step, in the trace of the request; linked to what it shares with others."""
        around = trace.get_current_span().get_span_context()
        span = self._span_of(withdrawal, step, [Link(around)] if around.is_valid else [])
        with _inside(span, ids_of(withdrawal)):
            yield

    @contextmanager
    def steps(self, withdrawals: Sequence[Withdrawal], step: str) -> Iterator[None]:
        """Span of what several have in common: in the trace of one, linked to the others'.

        The one is the first whose trace is sampled, if any is. Lines of the log carry no ids here,
        as they do without traces: they are about nobody alone.
        """
        own = [(one, _span_context_of(one.order.traceparent)) for one in withdrawals]
        own.sort(key=lambda each: not each[1].trace_flags.sampled)
        links = [Link(context) for _, context in own[1:] if context.is_valid]
        span = self._span_of(own[0][0], f"{step} together", links)
        with apart(), _inside(span, None):
            yield

    @contextmanager
    def commit(self, database: str, what: str) -> Iterator[None]:
        """Span of the wait for one commit of the ledger."""
        name = f"ledger {what}"
        attributes = {
            "db.system.name": database,
            "db.operation.name": what,
            "db.query.summary": name,
        }
        with self._part(name, SpanKind.CLIENT, attributes):
            yield

    @contextmanager
    def call(self, provider: str, operation: str, method: str, host: str) -> Iterator[Call]:
        """Span of one exchange with a provider; its address holds ids, so it is not told."""
        attributes = {
            "http.request.method": method,
            "server.address": host,
            "withdrawals.provider": provider,
            "withdrawals.operation": operation,
        }
        with self._part(f"{method} {provider} {operation}", SpanKind.CLIENT, attributes) as span:
            yield Call(span)

    @contextmanager
    def publication(self, event: Outgoing, exchange: str, key: str) -> Iterator[str | None]:
        """Span of one publication, in the trace of the request, which the event carries on."""
        span = self._tracer.start_span(
            f"publish {exchange}" if exchange else "publish reply",
            _context_of(event.traceparent),
            SpanKind.PRODUCER,
            known(
                {
                    "messaging.system": "rabbitmq",
                    "messaging.operation.type": "send",
                    "messaging.operation.name": "publish",
                    "messaging.destination.name": exchange or None,
                    "messaging.rabbitmq.destination.routing_key": key,
                    "messaging.message.id": event.event_id,
                    "messaging.message.conversation_id": event.correlation_id,
                    "messaging.message.body.size": len(event.body),
                    "withdrawals.message_id": event.message_id,
                    "withdrawals.sequence": event.sequence,
                }
            ),
        )
        traceparent = _traceparent_of(span) or event.traceparent
        with _inside(span, {"message_id": event.message_id}):
            yield traceparent

    @contextmanager
    def delivery(self, provider: str) -> Iterator[Delivery]:
        """Span of one genuine delivery; it begins a trace, for nobody knows yet whose it is."""
        span = self._tracer.start_span(
            f"hear {provider}",
            otel_context.Context(),
            SpanKind.SERVER,
            {"http.request.method": "POST", "withdrawals.provider": provider},
        )
        with _inside(span, {}):
            yield Delivery(span)

    def _span_of(self, withdrawal: Withdrawal, step: str, links: Sequence[Link]) -> Span:
        """Begin the span of a step in the trace of a withdrawal's request."""
        order = withdrawal.order
        return self._tracer.start_span(
            f"follow {step}",
            _context_of(order.traceparent),
            SpanKind.INTERNAL,
            known(
                {
                    "withdrawals.message_id": order.message_id,
                    "withdrawals.provider": order.provider,
                    "withdrawals.withdrawal_id": withdrawal.withdrawal_id,
                    "withdrawals.status": withdrawal.status.value,
                }
            ),
            links,
        )

    @contextmanager
    def _part(self, name: str, kind: SpanKind, attributes: Mapping[str, str]) -> Iterator[Span]:
        """Span below the one around it; none where nobody's journey is under way."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield trace.INVALID_SPAN
            return
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        # What nobody's ids are around is about nobody alone.
        with _inside(span, {} if ids() else None):
            yield span


@contextmanager
def _inside(span: Span, added: Mapping[str, str] | None) -> Iterator[None]:
    """Make the span the current one, end it at the end.

    Every line of the log carries its ids and those that are `added`; neither where that is None.
    """
    own = {} if added is None else {**added, **_ids_of_span(span.get_span_context())}
    token = otel_context.attach(trace.set_span_in_context(span))
    try:
        with within(own):
            yield
    except Exception as error:
        # Its words may hold anything; its kind is ours or a library's.
        _fail(span, type(error).__name__)
        raise
    finally:
        otel_context.detach(token)
        span.end()


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _context_of(traceparent: str | None) -> Context:
    """Return the context of a trace that was begun elsewhere; an empty one begins another."""
    carrier = {} if traceparent is None else {_TRACEPARENT: traceparent}
    return _propagator.extract(carrier, otel_context.Context())


def _span_context_of(traceparent: str | None) -> SpanContext:
    return trace.get_current_span(_context_of(traceparent)).get_span_context()


def _traceparent_of(span: Span) -> str | None:
    """Return what carries the span's trace on; None where OpenTelemetry itself is turned off."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, otel_context.Context()))
    return carrier.get(_TRACEPARENT)


def _ids_of_span(context: SpanContext) -> dict[str, str]:
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


class _Quiet(SpanExporter):
    """Sends spans, and says once when that begins to fail, and once when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever it is, it is about spans
            result = SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning("spans are not taken by the collector", extra={"spans": len(spans)})
        elif self._fails and not fails:
            _log.info("spans are taken again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Exporting:
    """Keeps spans until they are sent, in a thread of its own; as a context it ends with a flush.

    What does not fit (OTEL_BSP_MAX_QUEUE_SIZE) is dropped; at the end so is what is not sent within
    `FLUSH_SECONDS`.
    """

    def __init__(self, *, version: str) -> None:
        # It repeats what its variables hold, secrets too, and later itself for every batch; what is
        # to be known we say ourselves.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self.provider: Final = TracerProvider(
            resource=_resource(version),
            # Ours ends within the time that the worker has for it.
            shutdown_on_exit=False,
        )
        self._exporter = _Quiet(OTLPSpanExporter())
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    async def __aenter__(self) -> TracerProvider:
        """Return what makes the spans."""
        return self.provider

    async def __aexit__(self, *_: object) -> None:
        """Send what is left, unless that takes too long."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self.provider.shutdown()
            with suppress(RuntimeError):
                # Too late: the loop is closed, and nobody waits any more.
                loop.call_soon_threadsafe(sent.set)

        # Nobody waits for such a thread at the end of the process.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await sent.wait()
        except TimeoutError:
            _log.warning("the last spans are not sent")
            # Whatever is tried again at this moment is given up.
            self._exporter.shutdown()


def _resource(version: str) -> Resource:
    """Return who we are; what the variables say (OTEL_SERVICE_NAME) goes before it."""
    own = Resource({SERVICE_NAME: _SERVICE, SERVICE_VERSION: version})
    told = get_aggregated_resources(())
    if str(told.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return told.merge(own)
    return own.merge(told)
