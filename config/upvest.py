"""What an operator can say about Upvest: its API, the key that signs, and its webhooks.

The key is not read here."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from config.durations import Duration
from config.group import Group
from config.providers import ApiTimeout, ApiUrl
from config.urls import check_path
from config.variables import Expected


class UpvestWebhook(Group):
    """What Upvest tells by webhook. It is verified with Upvest's own keys; no secret is shared."""

    enabled: bool = Field(
        default=False,
        description="Take Upvest's deliveries. Without it withdrawals are followed by looking "
        "alone.",
    )
    path: Annotated[
        str, AfterValidator(check_path), Expected("a path such as /webhooks/upvest")
    ] = Field(
        default="/webhooks/upvest",
        description="Path of the address that Upvest calls, which its signature covers. Only "
        "a proxy that changes paths makes it another than the worker's own.",
    )
    tolerance: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="How far Upvest's clock may be from ours: so much longer, either way, a "
        "delivery counts than it says. It changes nothing when it is sent again.",
    )
    sources: str = Field(
        default="",
        max_length=4000,
        description="Addresses and networks that deliveries may come from, separated by commas; "
        "all of them when empty. Behind proxies WORKER_WEBHOOKS__PROXIES is needed too.",
    )


class Upvest(Group):
    """Upvest, enabled by giving the client's id and secret, and the key that signs its calls."""

    base_url: ApiUrl = Field(
        default="https://api.upvest.co",
        description="Address of the API. The default is production; the sandbox is "
        "https://sandbox.upvest.co.",
    )
    client_id: str | None = Field(
        default=None, min_length=1, description="Id of the client, as Upvest issued it: a UUID."
    )
    client_secret: SecretStr | None = Field(
        default=None, description="Secret of the client, for tokens (OAuth2)."
    )
    key_id: str | None = Field(
        default=None,
        min_length=1,
        description="Id of the key that signs, as Upvest issued it.",
    )
    private_key_file: Path | None = Field(
        default=None,
        description="Path of the PEM file with the key that signs every call: ECDSA on P-521, or "
        "Ed25519. In Kubernetes the path at which the secret is mounted, not the key itself.",
    )
    private_key_passphrase: SecretStr | None = Field(
        default=None, description="Passphrase of that file, where it is encrypted."
    )
    rate_limit: float = Field(
        default=25.0,
        gt=0,
        le=10_000,
        description="Requests a second that all replicas together may send. Upvest documents 300 "
        "for the sandbox, and no number for production.",
    )
    timeout: ApiTimeout = timedelta(seconds=30)
    idempotency_window: Duration = Field(
        default=timedelta(hours=23),
        gt=timedelta(0),
        le=timedelta(hours=23, minutes=30),
        description="For how long the same key is sent again. Upvest recognises a repeat for at "
        "least 24 hours, so the default stays an hour below.",
    )
    reference_in_remittance: bool = Field(
        default=False,
        description="Append a short reference to the remittance information of a withdrawal, by "
        "which it is found again when an answer was lost. The customer sees it on the statement.",
    )
    webhook: UpvestWebhook = UpvestWebhook()

    @property
    def enabled(self) -> bool:
        """Whether all credentials are there."""
        given = (self.client_id, self.client_secret, self.key_id, self.private_key_file)
        return all(value is not None for value in given)
