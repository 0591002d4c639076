"""Upvest's webhooks with all that is real but the bank: simulator, keys, access, port, ledger."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from config.settings import Settings
from tests.app.harness import until
from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, an_order, moved, taken_in
from tests.providers.stages import ACCOUNT_GROUP, REFERENCE_ACCOUNT, USER
from tests.providers.upvest_signer import KeyDesk
from worker.app.parts import access_of, hearings_of, open_providers, open_subscriptions
from worker.core.withdrawal import Status
from worker.http.webhooks import open_webhooks
from worker.ledger.store import open_ledger
from worker.metrics import Metrics
from worker.providers.http import Reply
from worker.providers.subscriptions import Registered
from worker.providers.upvest_access import Scope
from worker.simulator.upvest_options import CLIENT_ID, CLIENT_SECRET, KEY_ID
from worker.simulator.upvest_server import UpvestOptions, UpvestServer, serve_upvest
from worker.simulator.upvest_terms import UpvestTerms
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.ledger.store import Ledger
    from worker.providers.upvest_access import UpvestAccess


async def test_upvests_deliveries_are_verified_and_heard(sqlite_url: str, tmp_path: Path) -> None:
    """
    Subscribed by our own calls, signed by the simulator, verified with the keys it lists.
    """
    options = UpvestOptions(
        rate_limit=0,
        latency=timedelta(0),
        terms=UpvestTerms(pace=timedelta(seconds=0.2)),
        webhooks=UpvestWebhookTerms(
            bundling=timedelta(seconds=0.1), retry_delays=(timedelta(seconds=0.5),)
        ),
    )
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve_upvest(options))
        settings, metrics = _settings(server, tmp_path), Metrics(version="0")
        ledger = await stack.enter_async_context(open_ledger(sqlite_url))
        await ledger.heartbeat()
        providers = await open_providers(
            settings, metrics, stack, now=ledger.now, tenure=lambda: 0, ledger=ledger
        )
        access = access_of(providers)
        assert access is not None
        hearings = hearings_of(settings, metrics, ledger, access=access, beat=_beat)
        webhooks = await stack.enter_async_context(
            open_webhooks(hearings, host="127.0.0.1", port=0, counted=metrics.webhook)
        )
        taking = asyncio.create_task(webhooks.run())
        stack.callback(taking.cancel)
        subscriptions = await open_subscriptions(settings, "upvest", metrics, stack, ledger=None)
        assert subscriptions is not None

        url = f"http://127.0.0.1:{webhooks.port}/webhooks/upvest"
        registered = await subscriptions.register(url, subscriptions.events, name="a worker")
        assert isinstance(registered, Registered)
        assert await subscriptions.test(registered.subscription.id) is None
        await until(lambda: _is_told(metrics, "unknown"), _report(server))
        row = await _paid_out(access, ledger)
        await until(lambda: _is_woken(sqlite_url, row), _report(server))

        attempts = server.simulation.house.webhooks.attempts
        assert {200} == {attempt.status for attempt in attempts}
        assert not await _is_told(metrics, "malformed")


async def test_each_provider_has_a_path_of_its_own(sqlite_url: str) -> None:
    """
    Bluum's generations each with a secret, Upvest where it is wanted; nobody else is heard.
    """
    secret = {"api_key": "key", "api_secret": "secret", "webhook": {"secret": "whsec"}}
    wanted = {"webhook": {"enabled": True}}
    every = Settings(bluum=secret, bluum_accounts=secret, upvest=wanted)
    none = Settings(bluum=secret | {"webhook": {}}, upvest={})
    async with open_ledger(sqlite_url) as ledger:
        paths = [
            [*hearings_of(settings, Metrics(version="0"), ledger, access=KeyDesk(), beat=_beat)]
            for settings in (every, none)
        ]

    assert [["/webhooks/bluum", "/webhooks/bluum_accounts", "/webhooks/upvest"], []] == paths


def _settings(server: UpvestServer, folder: Path) -> Settings:
    key = folder / "key.pem"
    key.write_bytes(server.private_pem)
    return Settings(
        upvest={
            "base_url": server.base_url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "key_id": KEY_ID,
            "private_key_file": key,
            "rate_limit": 1000,
            "webhook": {"enabled": True, "sources": "127.0.0.0/8"},
        }
    )


async def _paid_out(access: UpvestAccess, ledger: Ledger) -> int:
    """Have Upvest pay out, and put it into the ledger; return its row."""
    key = str(uuid4())
    document = {
        "account_group_id": ACCOUNT_GROUP,
        "reference_account_id": REFERENCE_ACCOUNT,
        "user_id": USER,
        "amount": "75.50",
        "currency": "EUR",
    }
    reply = await access.exchange(
        "create",
        "POST",
        "/payments/withdrawals",
        scope=Scope.PAYMENTS_ADMIN,
        body=json.dumps(document).encode(),
        headers={"idempotency-key": key},
    )
    assert isinstance(reply, Reply)
    order = an_order(key, provider="upvest")
    held = (await ledger.take(taken_in(order), FINGERPRINT)).held
    pending = moved(held, Status.PENDING, withdrawal_id=(reply.document or {})["id"])
    assert await ledger.record(held, pending) is not None
    return held.row


async def _is_woken(url: str, row: int) -> bool:
    woken = f"SELECT id FROM withdrawals WHERE woken_at IS NOT NULL AND id = {row}"  # noqa: S608
    return bool(await second.read(url, woken))


async def _is_told(metrics: Metrics, result: str) -> bool:
    labels = {"provider": "upvest", "result": result}
    return bool(metrics.registry.get_sample_value("withdrawals_webhooks_total", labels))


def _report(server: UpvestServer) -> Callable[[], str]:
    """Return what tells what became of the deliveries."""
    return lambda: str(server.simulation.house.webhooks.attempts)


def _beat(_name: str) -> Callable[[], None]:
    return lambda: None
