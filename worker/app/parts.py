"""What the settings make: providers, broker, waiting times. Used by the worker and by commands.

Nothing runs here."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, TypeVar

import httpx

from config.signing_keys import read_signing_key
from config.urls import networks
from worker.app.budgets import MODEST_SHARE
from worker.core.budget import gap_of
from worker.core.schedule import Patience, Schedule
from worker.core.signatures import Algorithm, Encoding, Scheme, SignedContent
from worker.flows.hearing import Hearing
from worker.flows.journey import UNTRACED
from worker.flows.reconcile import Reconciliation
from worker.providers import bluum_webhooks, upvest_webhooks
from worker.providers.bluum import Bluum
from worker.providers.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.providers.bluum_subscriptions import BluumSubscriptions
from worker.providers.bluum_webhooks import SharedSecret
from worker.providers.http import Line
from worker.providers.pace import Alone, Pace
from worker.providers.upvest import Upvest
from worker.providers.upvest_access import UpvestAccess
from worker.providers.upvest_keys import VerifyKeys
from worker.providers.upvest_requests import UpvestRequest
from worker.providers.upvest_signature import UpvestSignature
from worker.providers.upvest_subscriptions import UpvestSubscriptions
from worker.providers.upvest_webhooks import UpvestDeliveries
from worker.rabbitmq.connection import Broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack

    from config.bluum import Bluum as BluumGroup
    from config.bluum import Webhook
    from config.settings import Settings
    from config.upvest import Upvest as UpvestGroup
    from worker.app.budgets import Budgets
    from worker.core.budget import Reserved, Wish
    from worker.core.requests import Request
    from worker.flows.journey import Journeys
    from worker.ledger.store import Ledger
    from worker.metrics import Metrics
    from worker.providers.bluum_generation import Generation
    from worker.providers.contract import Provider
    from worker.providers.subscriptions import Subscriptions
    from worker.providers.upvest_keys import Access

    _Group = TypeVar("_Group", BluumGroup, UpvestGroup)

#: The request shape of every provider this release knows, enabled here or not.
SHAPES: Final[Mapping[str, type[Request]]] = {
    **{generation.provider: generation.shape for generation in (INVESTOR_SCOPED, ACCOUNT_SCOPED)},
    Upvest.name: UpvestRequest,
}

_RETRY_JITTER: Final = 0.5


async def open_providers(
    settings: Settings,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    tenure: Callable[[], int | None],
    ledger: Budgets | None,
    journeys: Journeys = UNTRACED,
) -> dict[str, Provider]:
    """Open every provider that has credentials; `stack` closes them.

    `tenure` is the worker's, as `Ledger.tenure` tells it. Through the ledger the request budget is
    shared with all other processes; without one the calls are paced as if there were none.
    A new provider is one more paragraph here.
    """
    providers: dict[str, Provider] = {}
    for generation, group in _bluums(settings):
        line = _bluum_line(generation.provider, group, metrics, ledger, journeys)
        if line is not None:
            metrics.serves(generation.provider, rate_limit=group.rate_limit)
            providers[generation.provider] = Bluum(
                await stack.enter_async_context(line),
                generation,
                reference_in_description=group.reference_in_description,
                now=now,
                tenure=tenure,
            )
    if (access := _upvest_access(settings.upvest, metrics, ledger, journeys)) is not None:
        metrics.serves(Upvest.name, rate_limit=settings.upvest.rate_limit)
        providers[Upvest.name] = Upvest(
            await stack.enter_async_context(access),
            reference_in_remittance=settings.upvest.reference_in_remittance,
            now=now,
            tenure=tenure,
        )
    return providers


def access_of(providers: Mapping[str, Provider]) -> UpvestAccess | None:
    """Return the access to Upvest that these providers use; None without it."""
    upvest = providers.get(Upvest.name)
    return upvest.access if isinstance(upvest, Upvest) else None


def _bluums(settings: Settings) -> tuple[tuple[Generation, BluumGroup], ...]:
    """Return each generation of Bluum's API with its group of settings."""
    return ((INVESTOR_SCOPED, settings.bluum), (ACCOUNT_SCOPED, settings.bluum_accounts))


def _bluum_line(
    name: str,
    group: BluumGroup,
    metrics: Metrics,
    ledger: Budgets | None,
    journeys: Journeys = UNTRACED,
) -> Line | None:
    """Return the line to one generation of Bluum's API; None without its credentials."""
    if group.api_key is None or group.api_secret is None:
        return None
    key = group.api_key.get_secret_value()
    return Line(
        group.base_url,
        auth=httpx.BasicAuth(key, group.api_secret.get_secret_value()),
        pace=Pace(
            # One key pair has one limit, whichever generation it is used for (ERR).
            _budget(INVESTOR_SCOPED.provider, key, group.rate_limit, ledger),
            waited=metrics.waited,
            granted=partial(metrics.granted, name),
        ),
        timeout=group.timeout,
        observe=lambda *told: metrics.called(name, *told),
        provider=name,
        journeys=journeys,
    )


def _upvest_access(
    group: UpvestGroup,
    metrics: Metrics,
    ledger: Budgets | None,
    journeys: Journeys = UNTRACED,
) -> UpvestAccess | None:
    """Return the access to Upvest; None without its credentials. Reads the key's file."""
    client_id, secret, key_id = group.client_id, group.client_secret, group.key_id
    if client_id is None or secret is None or key_id is None or group.private_key_file is None:
        return None
    signature = UpvestSignature(
        key=read_signing_key(group.private_key_file, group.private_key_passphrase),
        key_id=key_id,
        client_id=client_id,
        now=_machine_time,
        nonce=token_urlsafe,
    )
    line = Line(
        group.base_url,
        auth=signature,
        pace=Pace(
            _budget(Upvest.name, client_id, group.rate_limit, ledger),
            waited=metrics.waited,
            granted=partial(metrics.granted, Upvest.name),
        ),
        timeout=group.timeout,
        observe=lambda *told: metrics.called(Upvest.name, *told),
        request_id_header="upvest-request-id",
        provider=Upvest.name,
        journeys=journeys,
    )
    return UpvestAccess(
        line, client_id=client_id, client_secret=secret.get_secret_value(), now=_machine_time
    )


def _machine_time() -> datetime:
    """Tell the time of this machine, by which signatures and tokens end."""
    return datetime.now(UTC)


async def open_subscriptions(
    settings: Settings,
    name: str,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    ledger: Budgets | None,
) -> Subscriptions | None:
    """Open the few calls about webhooks of one provider, which `stack` closes; None without it.

    Webhooks can be registered before there is a ledger, and so before there is a request budget to
    share: these calls then keep a pace of their own, within the margin of that budget.
    """
    for generation, group in _bluums(settings):
        if generation.provider == name:
            line = _bluum_line(name, _modest(group, ledger), metrics, ledger)
            if line is None:
                return None
            return BluumSubscriptions(await stack.enter_async_context(line))
    access = _upvest_access(_modest(settings.upvest, ledger), metrics, ledger)
    if access is None:
        return None
    path = settings.upvest.webhook.path
    return UpvestSubscriptions(await stack.enter_async_context(access), path=path)


def _modest(group: _Group, ledger: Budgets | None) -> _Group:
    """Return the settings of a provider, with a small share of its rate where none is shared."""
    if ledger is not None:
        return group
    return group.model_copy(update={"rate_limit": MODEST_SHARE * group.rate_limit})


def _budget(
    provider: str, key: str, rate: float, ledger: Budgets | None
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
    access: Access | None,
    beat: Callable[[str], Callable[[], None]],
    journeys: Journeys = UNTRACED,
) -> dict[str, Hearing]:
    """Return who hears webhooks, by path (contract section 6): nobody where none can be verified.

    `access` fetches the keys of Upvest; None without it. `beat` makes a pulse of a name.
    """
    hearings: dict[str, Hearing] = {}
    for generation, bluum in _bluums(settings):
        if bluum.enabled and bluum.webhook.enabled:
            name = generation.provider
            hearings[f"/webhooks/{name}"] = Hearing(
                name,
                verifier=SharedSecret(
                    _scheme(bluum.webhook),
                    allows_unsigned=bluum.webhook.allow_unsigned,
                    now=ledger.now,
                ),
                read=bluum_webhooks.read_delivery,
                ledger=ledger,
                now=ledger.now,
                counted=metrics.webhook,
                beat=beat(f"webhooks of {name}"),
                journeys=journeys,
            )
    upvest = settings.upvest.webhook
    if access is not None and upvest.enabled:
        hearings["/webhooks/upvest"] = Hearing(
            "upvest",
            verifier=UpvestDeliveries(
                VerifyKeys(access), path=upvest.path, tolerance=upvest.tolerance, now=ledger.now
            ),
            read=upvest_webhooks.read_delivery,
            ledger=ledger,
            now=ledger.now,
            counted=metrics.webhook,
            sources=networks(upvest.sources),
            beat=beat("webhooks of upvest"),
            journeys=journeys,
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
