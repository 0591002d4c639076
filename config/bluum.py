"""What an operator can say about Bluum: both generations of its API, and its webhooks.

No value is compared with another one here."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from config.durations import Duration
from config.group import Group
from config.providers import ApiTimeout, ApiUrl
from config.urls import check_header
from config.variables import Expected


class Webhook(Group):
    """How a provider signs what it tells by webhook; with a secret, deliveries are taken."""

    secret: SecretStr | None = Field(
        default=None,
        description="Secret of the webhook subscription, as `webhooks register` shows it. Without "
        "it no webhook is served, and withdrawals are followed by looking alone.",
    )
    previous_secret: SecretStr | None = Field(
        default=None,
        description="The secret before, which is accepted too while a rotation is under way.",
    )
    header: Annotated[str, AfterValidator(check_header), Expected("the name of an HTTP header")] = (
        Field(default="X-Bluum-Signature", description="Header that carries the signature.")
    )
    algorithm: Literal["sha256", "sha512"] = Field(
        default="sha256", description="Hash of the signature, which is an HMAC."
    )
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="How the signature is written."
    )
    prefix: str = Field(
        default="",
        max_length=64,
        description="What stands before the signature in its header, such as `sha256=`.",
    )
    signed_content: Literal["body", "timestamp.body"] = Field(
        default="body",
        description="What is signed: the body alone, or the text of the timestamp header, a dot "
        "and the body.",
    )
    timestamp_header: Annotated[
        str | None, AfterValidator(check_header), Expected("the name of an HTTP header")
    ] = Field(
        default=None,
        description="Header that carries the time of the delivery, in unix seconds or ISO 8601. "
        "None by default: the time is not checked.",
    )
    tolerance: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="How far that time may be from ours, in either direction.",
    )
    allow_unsigned: bool = Field(
        default=False,
        description="Take deliveries that carry no signature. Whoever reaches the port can then "
        "have any withdrawal looked at as often as they like: for trials, or behind a gate of "
        "your own.",
    )

    @property
    def enabled(self) -> bool:
        """Whether deliveries are taken."""
        return self.secret is not None or self.allow_unsigned


class Bluum(Group):
    """Bluum, enabled by giving its key and secret."""

    base_url: ApiUrl = Field(
        default="https://api.bluumfinance.com/v1",
        description="Address of the API. The default is production; the sandbox is "
        "https://sandbox.api.bluumfinance.com/v1.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Key of the API credentials, tenant-wide."
    )
    api_secret: SecretStr | None = Field(
        default=None, description="Secret of the API credentials; shown once, when they are made."
    )
    rate_limit: float = Field(
        default=25.0,
        gt=0,
        le=10_000,
        description="Requests a second that all replicas together may send. The default is "
        "Bluum's own limit.",
    )
    timeout: ApiTimeout = timedelta(seconds=30)
    idempotency_window: Duration = Field(
        default=timedelta(hours=23),
        gt=timedelta(0),
        le=timedelta(hours=23, minutes=30),
        description="For how long the same key is sent again. Bluum forgets keys after 24 hours "
        "and then pays anew, so the default stays an hour below.",
    )
    reference_in_description: bool = Field(
        default=True,
        description="Append a short reference to the description of a withdrawal, by which it is "
        "found again when an answer was lost.",
    )
    webhook: Webhook = Webhook()

    @property
    def enabled(self) -> bool:
        """Whether both credentials are there."""
        return self.api_key is not None and self.api_secret is not None


class BluumAccounts(Bluum):
    """Bluum's older, account-scoped API, enabled by giving its key and secret."""
