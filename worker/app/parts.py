"""What the settings make: providers, broker, waiting times. Used by the worker and by commands.

Nothing runs here."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import httpx

from worker.core.budget import gap_of
from worker.core.schedule import Patience, Schedule
from worker.core.signatures import Algorithm, Encoding, Scheme, SignedContent
from worker.flows.hearing import Hearing
from worker.flows.reconcile import Reconciliation
from worker.providers.bluum import Bluum, BluumRequest
from worker.providers.bluum_webhooks import read_delivery
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.rabbitmq.connection import Broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack
    from datetime import datetime

    from config.settings import Settings, Webhook
    from worker.core.budget import Reserved, Wish
    from worker.core.requests import Request
    from worker.ledger.store import Ledger
    from worker.metrics import Metrics
    from worker.providers.contract import Provider

#: The request shape of every provider this release knows, enabled here or not.
SHAPES: Final[Mapping[str, type[Request]]] = {"bluum": BluumRequest}

_RETRY_JITTER: Final = 0.5
#: What the command that manages webhooks takes of the rate limit: less than the budget leaves free.
_SUBSCRIPTIONS_SHARE: Final = 0.07


async def open_providers(
    settings: Settings,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    tenure: Callable[[], int | None],
    ledger: Ledger | None,
) -> dict[str, Provider]:
    """Open every provider that has credentials; `stack` closes them.

    `tenure` is the worker's, as `Ledger.tenure` tells it. Through the ledger the request budget is
    shared with all other processes; without one the calls are paced as if there were none.
    A new provider is one more paragraph here.
    """
    providers: dict[str, Provider] = {}
    bluum = settings.bluum
    if bluum.api_key is not None and bluum.api_secret is not None:
        key = bluum.api_key.get_secret_value()
        line = Line(
            bluum.base_url,
            auth=httpx.BasicAuth(key, bluum.api_secret.get_secret_value()),
            pace=Pace(
                _budget("bluum", key, bluum.rate_limit, ledger),
                waited=metrics.waited,
                granted=partial(metrics.granted, "bluum"),
            ),
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


def subscriptions_line(settings: Settings) -> Line | None:
    """Return a line to Bluum for the few calls about webhooks; None without its credentials.

    They need no ledger, so they take no part in the budget: their own pace lies within its margin.
    """
    bluum = settings.bluum
    if bluum.api_key is None or bluum.api_secret is None:
        return None
    return Line(
        bluum.base_url,
        auth=httpx.BasicAuth(bluum.api_key.get_secret_value(), bluum.api_secret.get_secret_value()),
        pace=Pace(Alone(_SUBSCRIPTIONS_SHARE * bluum.rate_limit).reserve, waited=lambda *_: None),
        timeout=bluum.timeout,
        observe=lambda *_: None,
    )


def _budget(
    provider: str, key: str, rate: float, ledger: Ledger | None
) -> Callable[[Wish], Awaitable[Reserved]]:
    """Return how slots are reserved for calls with this key: the provider counts by key pair."""
    if ledger is None:
        return Alone(rate).reserve
    name = f"{provider}-{sha256(key.encode()).hexdigest()[:16]}"
    return partial(ledger.reserve, name, gap_of(rate))


def hearings_of(
    settings: Settings,
    metrics: Metrics,
    ledger: Ledger,
    *,
    beat: Callable[[str], Callable[[], None]],
) -> dict[str, Hearing]:
    """Return who hears webhooks, by path (contract section 6): nobody where none can be verified.

    `beat` makes a pulse of a name.
    """
    hearings: dict[str, Hearing] = {}
    bluum = settings.bluum
    if bluum.enabled and bluum.webhook.enabled:
        hearings["/webhooks/bluum"] = Hearing(
            "bluum",
            scheme=_scheme(bluum.webhook),
            allow_unsigned=bluum.webhook.allow_unsigned,
            read=read_delivery,
            ledger=ledger,
            now=ledger.now,
            counted=metrics.webhook,
            beat=beat("webhooks of bluum"),
        )
    return hearings


def _scheme(webhook: Webhook) -> Scheme | None:
    if webhook.secret is None:
        return None
    secrets = [webhook.secret, *([webhook.previous_secret] if webhook.previous_secret else [])]
    return Scheme(
        secrets=tuple(secret.get_secret_value().encode() for secret in secrets),
        header=webhook.header,
        algorithm=Algorithm(webhook.algorithm),
        encoding=Encoding(webhook.encoding),
        prefix=webhook.prefix,
        timestamp_header=webhook.timestamp_header,
        tolerance=webhook.tolerance,
        signed_content=SignedContent(webhook.signed_content),
    )


def reconciliation_of(
    settings: Settings, providers: Mapping[str, Provider], ledger: Ledger
) -> Reconciliation:
    """Return what compares the providers' lists with the ledger."""
    return Reconciliation(
        providers=providers,
        ledger=ledger,
        now=ledger.now,
        settling=settings.retry.settling,
        is_served=ledger.is_served,
    )


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
        windows={
            "bluum": settings.bluum.idempotency_window,
            "bluum_accounts": settings.bluum_accounts.idempotency_window,
            "upvest": settings.upvest.idempotency_window,
        },
        settling=retry.settling,
        reversal_days=polling.reversal_window,
    )
