"""One running simulator of the Bluum API: its options, and everything that changes while it runs.

Values and their container; it speaks no HTTP. The API serves it, the control calls turn it, and a
test may look into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.simulator import bluum_documents as documents
from worker.simulator.bluum_house import House
from worker.simulator.bluum_notices import WILDCARDS
from worker.simulator.bluum_record import attempts_document, effects_document
from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import WebhookTerms
from worker.simulator.clock import Clock
from worker.simulator.faults import Faults
from worker.simulator.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class BluumOptions:
    """All that can be turned when a simulator starts; ValueError naming a senseless one.

    `port` 0 picks a free port. `latency` passes before every authorised call takes effect,
    `lateness` before one does that the fault `late` strikes.
    `rate_limit` is in calls a second for the key pair, 0 for none; 25 is production's, the
    sandbox's is 10 (ERR). The credentials open nothing but this simulator.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str = "simulator-key"
    api_secret: str = field(default="simulator-secret", repr=False)
    rate_limit: int = 25
    latency: timedelta = timedelta(milliseconds=20)
    lateness: timedelta = timedelta(milliseconds=500)
    terms: Terms = field(default_factory=Terms)
    webhooks: WebhookTerms = field(default_factory=WebhookTerms)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse options that make no sense."""
        if self.rate_limit < 0:
            raise ValueError(f"rate_limit: not negative, but {self.rate_limit}")
        for name in ("latency", "lateness"):
            if getattr(self, name) < timedelta():
                raise ValueError(f"{name}: not negative, but {getattr(self, name)}")
        # Basic authentication ends the key at the first colon.
        if not self.api_key or ":" in self.api_key or not self.api_secret:
            raise ValueError("api_key, api_secret: not empty, and no colon in the key")


@dataclass(slots=True)
class Simulation:
    """The state of a run. `faults` and `revoked` may be replaced at any time."""

    options: BluumOptions
    house: House
    faults: Faults
    clock: Clock = field(default_factory=Clock)
    traffic: Traffic = field(default_factory=Traffic)
    revoked: bool = False
    #: Set when the server closes: whoever hangs is let go.
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def begin(cls, options: BluumOptions) -> Simulation:
        """Return a simulation in which nothing has happened yet."""
        house = House.open(options.terms, options.webhooks)
        simulation = cls(options=options, house=house, faults=options.faults)
        house.webhooks.faults = lambda: simulation.faults
        if options.webhooks.url is not None:
            house.webhooks.subscribe(
                options.webhooks.url, WILDCARDS, name="simulate", now=simulation.clock.now()
            )
        return simulation

    def record(self) -> Mapping[str, Any]:
        """Return what happened so far: `now`, `effects` in order, `webhooks` and `counters`."""
        now = self.clock.now()
        ground = self.house.ground
        ground.agenda.run(now)
        return {
            "now": documents.instant(now),
            "effects": effects_document(self.house, now=now),
            "webhooks": attempts_document(self.house.webhooks),
            "counters": self.traffic.document()
            | {"replays": ground.keys.replays, "webhooks": self.house.webhooks.counted()},
        }
