"""All that can be turned when a simulator of Upvest's API starts. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from worker.simulator.simulation import Options
from worker.simulator.upvest_client import Client
from worker.simulator.upvest_client_keys import PrivateKey, PublicKey, make_key
from worker.simulator.upvest_route import Scope
from worker.simulator.upvest_signature import SignatureTerms
from worker.simulator.upvest_terms import UpvestTerms
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

CLIENT_ID: Final = "00000000-0000-4000-8000-00000000c11e"
#: Opens nothing but simulators.
CLIENT_SECRET: Final = "simulator-secret"  # noqa: S105 - it is told to everybody
KEY_ID: Final = "simulator-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpvestOptions(Options):
    """Those of every simulator, and Upvest's own; ValueError naming a senseless one.

    The rate limit is that of the client; 300 is the sandbox's (ENV). `client_key` is what the
    client signs with, made new unless given; with a `public_key` the simulator knows no private
    one. `token_lifetime` is told as `expires_in`, in whole seconds.
    """

    rate_limit: int = 300
    #: Whether a 429 tells when to come again; no page does (THR).
    retry_after: bool = True
    client_id: str = CLIENT_ID
    client_secret: str = field(default=CLIENT_SECRET, repr=False)
    key_id: str = KEY_ID
    client_key: PrivateKey = field(default_factory=make_key, repr=False)
    public_key: PublicKey | None = field(default=None, repr=False)
    scopes: tuple[Scope, ...] = tuple(Scope)
    token_lifetime: timedelta = timedelta(seconds=1800)
    signatures: SignatureTerms = field(default_factory=SignatureTerms)
    terms: UpvestTerms = field(default_factory=UpvestTerms)
    webhooks: UpvestWebhookTerms = field(default_factory=UpvestWebhookTerms)

    def __post_init__(self) -> None:
        """Refuse options that make no sense."""
        Options.__post_init__(self)
        if self.token_lifetime < timedelta(seconds=1):
            raise ValueError(f"token_lifetime: at least 1 second, not {self.token_lifetime}")
        self.client()

    def client(self) -> Client:
        """Return the client as it is registered; ValueError when it cannot be."""
        return Client(
            id=self.client_id,
            secret=self.client_secret,
            key_id=self.key_id,
            key=self.public_key or self.client_key.public_key(),
            scopes=self.scopes,
        )
