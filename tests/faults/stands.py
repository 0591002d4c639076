"""The simulated provider of a run: how it is started, and how a worker is told to reach it.

One function for each provider. What is said to it stands in `tongues`, when it fails in `plan`."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.faults.ground import LOOPBACK
from tests.faults.plan import CALL_TIMEOUT, KEY_LIFETIME, LATENESS, WINDOW
from worker.simulator.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import WebhookTerms
from worker.simulator.upvest_options import UpvestOptions
from worker.simulator.upvest_server import serve_upvest
from worker.simulator.upvest_terms import UpvestTerms
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.faults.messages import Cash
    from tests.faults.plan import Plan
    from worker.simulator.bluum_generation import Generation
    from worker.simulator.faults import Faults
    from worker.simulator.server import Server

#: From one status of a withdrawal to the next, and from an order to its fill.
_PACE: Final = timedelta(seconds=0.3)
_FILL_DELAY: Final = timedelta(seconds=0.4)
_SETTLEMENT_DELAY: Final = timedelta(seconds=0.4)
_REVERSAL_DELAY: Final = timedelta(seconds=1)
#: What nobody hears is delivered again, for longer than a run lasts.
_REPEATED: Final = (timedelta(seconds=0.5),) * 600
#: For so long events are gathered that travel together.
_BUNDLING: Final = timedelta(seconds=0.2)
_WEBHOOK_TIMEOUT: Final = timedelta(seconds=3)
#: Opens nothing but the workers of a run.
_SECRET: Final = "whsec-of-the-faults"
#: More than a run can use: the simulator's own limit is what a temper is about.
_RATE_LIMIT: Final = "2000"
#: How settings end whose value is a secret.
_SECRET_SETTINGS: Final = ("__API_KEY", "__API_SECRET", "__CLIENT_SECRET", "__SECRET")
#: Every simulator's word for the call that creates a withdrawal.
_CREATE: Final = "create_withdrawal"


def _nothing() -> None:
    """Where a provider has nothing of the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A running simulator. `settings` are a worker's that reaches it by the given port.

    `pay_in` lets cash come in, `revoke_tokens` ends every access token, `change_webhook_key` signs
    webhooks with another key.
    """

    server: Server[Any]
    pay_in: Callable[[Cash], None]
    settings: Callable[[int], Mapping[str, str]]
    revoke_tokens: Callable[[], object] = _nothing
    change_webhook_key: Callable[[], object] = _nothing

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    @property
    def creates(self) -> int:
        """How many calls it has seen that create a withdrawal."""
        return self.server.simulation.traffic.requests[_CREATE]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that opens anything, in every form in which it is sent or kept."""
        settings = self.settings(0)
        values = [value for name, value in settings.items() if name.endswith(_SECRET_SETTINGS)]
        pairs = [f"{one}:{other}" for one in values for other in values]
        keys = [value for name, value in settings.items() if name.endswith("PRIVATE_KEY_FILE")]
        lines = [line for key in keys for line in Path(key).read_text().splitlines()[1:-1]]
        return (*values, *(base64.b64encode(pair.encode()).decode() for pair in pairs), *lines)

    def record(self) -> Mapping[str, Any]:
        """Return what happened so far."""
        return self.server.record()

    def set_faults(self, faults: Faults) -> None:
        """Replace all faults."""
        self.server.set_faults(faults)

    def refuse_credentials(self, *, refused: bool) -> None:
        """Refuse the credentials of the workers from now on, or accept them again."""
        self.server.simulation.revoked = refused

    def put_clock_forward(self, by: timedelta) -> None:
        """Let time pass for the provider alone."""
        self.server.clock.advance(by)


def a_stand(plan: Plan, hooks: int, folder: Path) -> AbstractAsyncContextManager[Stand]:
    """Start the provider of a run; its webhooks go to the port `hooks`, its keys into `folder`."""
    return _STANDS[plan.provider](plan, hooks, folder)


@asynccontextmanager
async def _bluum(
    plan: Plan, hooks: int, _folder: Path, *, generation: Generation
) -> AsyncIterator[Stand]:
    temper = plan.temper
    options = BluumOptions(
        rate_limit=temper.rate_limit,
        lateness=LATENESS,
        terms=Terms(
            pace=_PACE,
            key_lifetime=KEY_LIFETIME,
            replay_answer=temper.replay_answer,
            list_lag=temper.list_lag,
            orders_honour_keys=temper.orders_honour_keys,
            fill_delay=_FILL_DELAY,
            settlement_delay=_SETTLEMENT_DELAY,
            reversal_delay=_REVERSAL_DELAY,
            generation=generation,
            answer_shape=temper.answer_shape,
            seed=f"{plan.scenario} {plan.seed}",
        ),
        webhooks=WebhookTerms(
            url=f"http://{LOOPBACK}:{hooks}/webhooks/{plan.provider}",
            secret=_SECRET,
            retry_delays=_REPEATED,
            timeout=_WEBHOOK_TIMEOUT,
        ),
        faults=temper.faults,
    )
    async with serve(options) as server:

        def pay_in(cash: Cash) -> None:
            ground, now = server.simulation.house.ground, server.clock.now()
            ground.deposit(cash.party, "USD", Decimal(cash.amount), now=now)

        yield Stand(
            server=server,
            pay_in=pay_in,
            settings=lambda port: _prefixed(
                plan.provider,
                BASE_URL=f"http://{LOOPBACK}:{port}/v1",
                API_KEY=options.api_key,
                API_SECRET=options.api_secret,
                WEBHOOK__SECRET=_SECRET,
            ),
        )


@asynccontextmanager
async def _upvest(plan: Plan, hooks: int, folder: Path) -> AsyncIterator[Stand]:
    temper = plan.temper
    options = UpvestOptions(
        rate_limit=temper.rate_limit,
        lateness=LATENESS,
        token_lifetime=temper.token_lifetime,
        terms=UpvestTerms(
            pace=_PACE,
            key_lifetime=KEY_LIFETIME,
            list_lag=temper.list_lag,
            fill_delay=_FILL_DELAY,
            settlement_delay=_SETTLEMENT_DELAY,
            reversal_delay=_REVERSAL_DELAY,
            seed=f"{plan.scenario} {plan.seed}",
        ),
        webhooks=UpvestWebhookTerms(
            url=f"http://{LOOPBACK}:{hooks}/webhooks/{plan.provider}",
            bundling=_BUNDLING,
            retry_delays=_REPEATED,
            timeout=_WEBHOOK_TIMEOUT,
        ),
        faults=temper.faults,
    )
    async with serve_upvest(options) as server:
        house = server.simulation.house
        key = folder / "client-key.pem"
        key.write_bytes(server.private_pem)

        def pay_in(cash: Cash) -> None:
            house.ground.deposit(cash.party, "EUR", Decimal(cash.amount), now=server.clock.now())

        def change_webhook_key() -> None:
            # The old key is not shown any more: what it signed is delivered in vain.
            house.webhooks.keys.rotate(overlap=False)

        yield Stand(
            server=server,
            pay_in=pay_in,
            settings=lambda port: _prefixed(
                plan.provider,
                BASE_URL=f"http://{LOOPBACK}:{port}",
                CLIENT_ID=options.client_id,
                CLIENT_SECRET=options.client_secret,
                KEY_ID=options.key_id,
                PRIVATE_KEY_FILE=str(key),
                REFERENCE_IN_REMITTANCE=str(temper.references).lower(),
                WEBHOOK__ENABLED="true",
            ),
            revoke_tokens=house.tokens.revoke,
            change_webhook_key=change_webhook_key,
        )


def _prefixed(provider: str, **settings: str) -> Mapping[str, str]:
    """Return the settings of one provider, with those that are alike for all of them."""
    alike = {
        "TIMEOUT": f"{CALL_TIMEOUT.total_seconds()}",
        "IDEMPOTENCY_WINDOW": f"{WINDOW.total_seconds()}",
        "RATE_LIMIT": _RATE_LIMIT,
    }
    group = f"WORKER_{provider.upper()}__"
    return {group + name: value for name, value in (alike | settings).items()}


_STANDS: Final[Mapping[str, Callable[[Plan, int, Path], AbstractAsyncContextManager[Stand]]]] = {
    "bluum": partial(_bluum, generation=INVESTOR_SCOPED),
    "bluum_accounts": partial(_bluum, generation=ACCOUNT_SCOPED),
    "upvest": _upvest,
}
