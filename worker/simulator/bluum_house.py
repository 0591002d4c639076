"""All of the simulated Bluum that answers calls: bank, market and webhooks on one ground.

It puts together and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.simulator.bluum_bank import BluumBank
from worker.simulator.bluum_ground import Ground
from worker.simulator.bluum_market import BluumMarket
from worker.simulator.bluum_record import attempts_document, effects_document
from worker.simulator.bluum_webhooks import Webhooks

if TYPE_CHECKING:
    from datetime import datetime

    from worker.simulator.agenda import Agenda
    from worker.simulator.bluum_terms import Terms
    from worker.simulator.bluum_webhooks import WebhookTerms
    from worker.simulator.route import Document


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

    @property
    def agenda(self) -> Agenda:
        """What is going to happen."""
        return self.ground.agenda

    @property
    def seed(self) -> str:
        """The seed of all chance."""
        return self.ground.terms.seed

    @property
    def mail(self) -> Webhooks:
        """What is to be delivered."""
        return self.webhooks

    def effects(self, now: datetime) -> list[Document]:
        """Return every effect on money, in order."""
        return effects_document(self, now=now)

    def attempts(self) -> list[Document]:
        """Return every attempt at a webhook delivery, in order."""
        return attempts_document(self.webhooks)

    def counters(self) -> Document:
        """Return how many calls a known key answered, and what became of the deliveries."""
        return {"replays": self.ground.keys.replays, "webhooks": self.webhooks.counted()}
