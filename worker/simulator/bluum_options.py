"""All that can be turned when a simulator of Bluum's API starts. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.simulator.bluum_terms import Terms
from worker.simulator.bluum_webhooks import WebhookTerms
from worker.simulator.simulation import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class BluumOptions(Options):
    """Those of every simulator, and Bluum's own; ValueError naming a senseless one.

    The rate limit is that of the key pair; 25 is production's, the sandbox's is 10 (ERR). The
    credentials open nothing but this simulator.
    """

    rate_limit: int = 25
    api_key: str = "simulator-key"
    api_secret: str = field(default="simulator-secret", repr=False)
    terms: Terms = field(default_factory=Terms)
    webhooks: WebhookTerms = field(default_factory=WebhookTerms)

    def __post_init__(self) -> None:
        """Refuse options that make no sense."""
        Options.__post_init__(self)
        # Basic authentication ends the key at the first colon.
        if not self.api_key or ":" in self.api_key or not self.api_secret:
            raise ValueError("api_key, api_secret: not empty, and no colon in the key")
