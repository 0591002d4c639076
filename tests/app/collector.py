"""A collector for traces: takes spans by OTLP over HTTP, and shows them as plain values.

The messages are decoded by OpenTelemetry's own definition of them. Nothing is forwarded."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from worker.demo.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

#: OpenTelemetry's numbers for them.
KINDS: Final = ("", "internal", "server", "client", "producer", "consumer")
_LIMIT_SECONDS: Final = 90.0
_ERROR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSeen:
    """One span as it came; `parent` is empty for one that begins a trace."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool
    resource: dict[str, Any] = field(repr=False)


class Collector:
    """What has come so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[SpanSeen] = []
        self._news = asyncio.Condition()

    async def have(self, holds: Callable[[list[SpanSeen]], bool]) -> None:
        """Wait until what has come is as it should be."""
        try:
            async with asyncio.timeout(_LIMIT_SECONDS), self._news:
                await self._news.wait_for(lambda: holds(self.spans))
        except TimeoutError:
            raise AssertionError([span.name for span in self.spans]) from None

    def of(self, trace_id: str) -> list[SpanSeen]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def take(self, request: web.Request) -> web.Response:
        """Take an export."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        async with self._news:
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._news.notify_all()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )


@asynccontextmanager
async def a_collector() -> AsyncIterator[Collector]:
    """A collector that is listening."""
    (port,) = free_ports(1)
    collector = Collector(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield collector
    finally:
        await runner.cleanup()


def _spans(request: ExportTraceServiceRequest) -> Iterable[SpanSeen]:
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield SpanSeen(
                    name=span.name,
                    kind=KINDS[span.kind],
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_values(span.attributes),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    failed=span.status.code == _ERROR,
                    resource=resource,
                )


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}
