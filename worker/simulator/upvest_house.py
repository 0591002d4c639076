"""All of the simulated Upvest that answers calls: bank, market and webhooks on one ground.

It puts together and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.simulator.upvest_bank import UpvestBank
from worker.simulator.upvest_ground import Ground
from worker.simulator.upvest_market import UpvestMarket
from worker.simulator.upvest_record import attempts_document, effects_document
from worker.simulator.upvest_tokens import Tokens
from worker.simulator.upvest_webhooks import UpvestWebhooks

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from worker.simulator.agenda import Agenda
    from worker.simulator.route import Document
    from worker.simulator.upvest_client import Client
    from worker.simulator.upvest_terms import UpvestTerms
    from worker.simulator.upvest_webhooks import UpvestWebhookTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a call may be about."""

    client: Client
    tokens: Tokens
    ground: Ground
    bank: UpvestBank
    market: UpvestMarket
    webhooks: UpvestWebhooks

    @classmethod
    def open(
        cls,
        client: Client,
        terms: UpvestTerms,
        webhook_terms: UpvestWebhookTerms,
        *,
        token_lifetime: timedelta,
    ) -> House:
        """Return a house in which nothing has happened yet."""
        ground = Ground(terms)
        webhooks = UpvestWebhooks(webhook_terms, ground.agenda, seed=terms.seed)
        ground.journal.listeners.append(webhooks.hear)
        return cls(
            client=client,
            tokens=Tokens(lifetime=token_lifetime, seed=terms.seed),
            ground=ground,
            bank=UpvestBank(ground),
            market=UpvestMarket(ground),
            webhooks=webhooks,
        )

    @property
    def agenda(self) -> Agenda:
        """What is going to happen."""
        return self.ground.agenda

    @property
    def seed(self) -> str:
        """The seed of all chance."""
        return self.ground.terms.seed

    @property
    def mail(self) -> UpvestWebhooks:
        """What is to be delivered."""
        return self.webhooks

    def effects(self, now: datetime) -> list[Document]:
        """Return every effect on money, in order."""
        return effects_document(self, now=now)

    def attempts(self) -> list[Document]:
        """Return every attempt at telling an event, in order."""
        return attempts_document(self.webhooks)

    def counters(self) -> Document:
        """Return how many calls a known key answered, tokens, and what became of deliveries."""
        return {
            "replays": self.ground.memory.replays,
            "tokens": self.tokens.issued,
            "webhooks": self.webhooks.counted(),
        }
