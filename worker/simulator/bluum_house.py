"""All of the simulated Bluum that answers calls: bank, market and webhooks on one ground.

It puts together and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.simulator.bluum_bank import BluumBank
from worker.simulator.bluum_ground import Ground
from worker.simulator.bluum_market import BluumMarket
from worker.simulator.bluum_webhooks import Webhooks

if TYPE_CHECKING:
    from worker.simulator.bluum_terms import Terms
    from worker.simulator.bluum_webhooks import WebhookTerms


@dataclass(frozen=True, slots=True)
class House:
    """What a call may be about."""

    ground: Ground
    bank: BluumBank
    market: BluumMarket
    webhooks: Webhooks

    @classmethod
    def open(cls, terms: Terms, webhook_terms: WebhookTerms) -> House:
        """Return a house in which nothing has happened yet."""
        ground = Ground(terms)
        webhooks = Webhooks(webhook_terms, ground.agenda, seed=terms.seed)
        ground.journal.listeners.append(webhooks.hear)
        return cls(ground, BluumBank(ground), BluumMarket(ground), webhooks)
