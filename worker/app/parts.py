"""What the settings make: providers, broker, waiting times. Used by the worker and by commands.

Nothing runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from worker.core.schedule import Patience, Schedule
from worker.providers.bluum import Bluum, BluumRequest
from worker.providers.http import Line
from worker.providers.pace import Pace
from worker.rabbitmq.connection import Broker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AsyncExitStack
    from datetime import datetime

    from config.settings import Settings
    from worker.core.requests import Request
    from worker.metrics import Metrics
    from worker.providers.contract import Provider

#: The request shape of every provider this release knows, enabled here or not.
SHAPES: Final[Mapping[str, type[Request]]] = {"bluum": BluumRequest}

_RETRY_JITTER: Final = 0.5


async def open_providers(
    settings: Settings,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    tenure: Callable[[], int | None],
) -> dict[str, Provider]:
    """Open every provider that has credentials; `stack` closes them.

    `tenure` is the worker's, as `Ledger.tenure` tells it.
    A new provider is one more paragraph here.
    """
    providers: dict[str, Provider] = {}
    bluum = settings.bluum
    if bluum.api_key is not None and bluum.api_secret is not None:
        line = Line(
            bluum.base_url,
            auth=httpx.BasicAuth(
                bluum.api_key.get_secret_value(), bluum.api_secret.get_secret_value()
            ),
            pace=Pace(bluum.rate_limit, waited=metrics.waited),
            timeout=bluum.timeout,
            observe=lambda *told: metrics.called("bluum", *told),
        )
        providers["bluum"] = Bluum(
            await stack.enter_async_context(line),
            reference_in_description=bluum.reference_in_description,
            now=now,
            tenure=tenure,
        )
    return providers


def broker_of(settings: Settings) -> Broker:
    """Return where the broker is, from the settings."""
    rabbitmq = settings.rabbitmq
    return Broker(
        url=rabbitmq.url.get_secret_value(),
        heartbeat=rabbitmq.heartbeat,
        connect_timeout=rabbitmq.connect_timeout,
        publish_timeout=rabbitmq.publish_timeout,
    )


def patience_of(settings: Settings) -> Patience:
    """Return every waiting time, from the settings."""
    polling, retry = settings.polling, settings.retry
    return Patience(
        looks=Schedule(
            first_delay=polling.first_delay,
            growth=polling.growth,
            cap=polling.cap,
            jitter=polling.jitter,
        ),
        retries=Schedule(
            first_delay=retry.first_delay,
            growth=retry.growth,
            cap=retry.cap,
            jitter=_RETRY_JITTER,
        ),
        window=settings.bluum.idempotency_window,
        settling=retry.settling,
    )
