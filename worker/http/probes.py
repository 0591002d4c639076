"""`/livez`, `/readyz`, `/startupz` and `/metrics` (contract section 6)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    from prometheus_client import CollectorRegistry

    from worker.http.health import Check, Health

    Answer: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Nobody has anything to send here.
_BODY_LIMIT: Final = 16 * 1024
_STOP_SECONDS: Final = 1.0


@asynccontextmanager
async def serve_probes(
    health: Health, registry: CollectorRegistry, *, host: str, port: int
) -> AsyncIterator[int]:
    """Serve probes and metrics as long as the context lasts; gives the port (0 takes a free one).

    Raises OSError when the port is taken.
    """
    application = web.Application(client_max_size=_BODY_LIMIT)
    application.router.add_get("/livez", _probe(health.live))
    application.router.add_get("/readyz", _probe(health.ready))
    application.router.add_get("/startupz", _probe(health.startup))
    application.router.add_get("/metrics", _metrics(registry))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(checks: Callable[[], list[Check]]) -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        found = checks()
        holds = all(check.holds for check in found)
        document = {
            "status": "ok" if holds else "failing",
            "checks": {
                check.name: {
                    "status": "ok" if check.holds else "failing",
                    "detail": check.detail,
                    "age_seconds": round(check.age_seconds, 3),
                }
                for check in found
            },
        }
        return web.json_response(document, status=200 if holds else 503)

    return answer


def _metrics(registry: CollectorRegistry) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        # The scraper says which it reads: OpenMetrics, or Prometheus' own text.
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):
            # The library compares version numbers that it has not made sure are numbers.
            encode, content_type = choose_encoder("")
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return answer
