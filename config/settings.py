"""Everything an operator can turn, as one tree of typed values, and how it is loaded.

No singleton and no reading at import: who needs settings is handed them."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config.durations import Duration, write_duration
from config.problems import incomplete_credentials, unfit_values, unknown_names
from config.signing_keys import EXPECTED, KeyUnfit, PassphraseUnfit, read_signing_key
from config.sources import gather
from config.urls import (
    check_amqp,
    check_header,
    check_https,
    check_ledger,
    check_path,
    unfit_networks,
)
from config.variables import DELIMITER, PREFIX, SECRETS_DIR, Expected, variables

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "console"]
Provider = Literal["bluum", "bluum_accounts", "upvest"]

#: What enables a provider: all of these variables together.
CREDENTIALS: dict[Provider, tuple[str, ...]] = {
    "bluum": ("WORKER_BLUUM__API_KEY", "WORKER_BLUUM__API_SECRET"),
    "bluum_accounts": (
        "WORKER_BLUUM_ACCOUNTS__API_KEY",
        "WORKER_BLUUM_ACCOUNTS__API_SECRET",
    ),
    "upvest": (
        "WORKER_UPVEST__CLIENT_ID",
        "WORKER_UPVEST__CLIENT_SECRET",
        "WORKER_UPVEST__KEY_ID",
        "WORKER_UPVEST__PRIVATE_KEY_FILE",
    ),
}


#: Where a provider's API is.
ApiUrl = Annotated[
    str,
    AfterValidator(check_https),
    Expected("https://host/path without user, query or fragment (http only for loopback)"),
]

#: How long it may take to answer.
ApiTimeout = Annotated[
    Duration,
    Field(
        gt=timedelta(0),
        le=timedelta(minutes=5),
        description="How long one request may take. After it the outcome is unknown and asked "
        "for again, so be generous.",
    ),
]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Rabbitmq(_Group):
    """The broker."""

    url: Annotated[
        SecretStr,
        AfterValidator(check_amqp),
        Expected("amqp://user:password@host:port/vhost or amqps://…, special characters encoded"),
    ] = Field(
        default=SecretStr("amqp://guest:guest@localhost:5672/"),
        description="Where the broker is. The default is a broker fresh from its package.",
    )
    prefetch: int = Field(
        default=20,
        ge=1,
        le=250,
        description="Requests in work at once. Small, because a restart counts a delivery "
        "against every message that was fetched.",
    )
    declare: bool = Field(
        default=True,
        description="Declare exchanges and queues at start. False makes nothing that is missing, "
        "and only checks; for that too the user needs to configure `withdrawals.*`.",
    )
    heartbeat: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="Heartbeat of the connections. A dead broker is noticed after about three.",
    )
    connect_timeout: Duration = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        le=timedelta(minutes=2),
        description="How long one attempt to connect may take. Long enough for a far TLS broker.",
    )
    publish_timeout: Duration = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        le=timedelta(seconds=30),
        description="How long the broker may take to confirm an event. After it the event is "
        "published again, with the same id.",
    )


class Ledger(_Group):
    """The ledger, where every withdrawal is remembered."""

    url: Annotated[
        SecretStr,
        AfterValidator(check_ledger),
        Expected("sqlite:///path or postgresql://user:password@host:port/database"),
    ] = Field(
        default=SecretStr("sqlite:///withdrawals.db"),
        description="Which database. The default is a file in the working directory, good for one "
        "replica; several need PostgreSQL.",
    )
    shared: bool = Field(
        default=False,
        description="Say that several workers are to share it: a SQLite file is refused then. "
        "Each would have its own, and pay what another has paid.",
    )


class Webhook(_Group):
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


class Bluum(_Group):
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


class UpvestWebhook(_Group):
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


class Upvest(_Group):
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


class Polling(_Group):
    """How often a withdrawal in flight is looked at."""

    first_delay: Duration = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="Time from the submission to the first look. Few withdrawals move sooner.",
    )
    growth: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Factor from one pause to the next. 2 keeps the looks few over days.",
    )
    cap: Duration = Field(
        default=timedelta(minutes=30),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="The longest pause around the time at which withdrawals of a method usually "
        "end. Before it, and while webhooks come in, pauses grow to eight times as much.",
    )
    jitter: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share by which a pause varies at random, so that looks do not bunch.",
    )
    concurrency: int = Field(
        default=20,
        ge=1,
        le=250,
        description="Looks at once. As many as the requests in work by default.",
    )
    reversal_window: int = Field(
        default=5,
        ge=0,
        le=90,
        description="Business days for which an ended withdrawal is looked at once a day, since a "
        "bank may take it back. Webhooks are heard at any time.",
    )


class Retry(_Group):
    """How an unknown outcome is asked for again."""

    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Attempts while the message is held. Few: later ones come from the ledger.",
    )
    first_delay: Duration = Field(
        default=timedelta(seconds=0.5),
        gt=timedelta(0),
        le=timedelta(minutes=5),
        description="Pause before the second attempt. Most broken connections heal at once.",
    )
    growth: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Factor from one pause to the next, in the ledger's retries too.",
    )
    cap: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(hours=1),
        description="The longest pause. Short against the idempotency window, so that an outage "
        "ends well inside it.",
    )
    settling: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(hours=1),
        description="How long a provider's list may lag behind its own effects. A withdrawal that "
        "is looked up counts as absent only when it was missing three times, so far apart. Less "
        "than two minutes is for trials only: a call may still be on its way.",
    )


class Cancellations(_Group):
    """What happens to cancel messages."""

    grace: Duration = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        le=timedelta(days=7),
        description="How long a cancellation waits at the least for a request that is not known. "
        "After it, and only once no request lies in the queue, the answer is that there is none.",
    )


class Reconciliation(_Group):
    """How often the provider's lists are compared with the ledger, in the background."""

    every: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(0),
        le=timedelta(days=30),
        description="From the beginning of one round through all parties to that of the next; 0 "
        "turns it off. Slow: what it reads, looks do without.",
    )
    period: Duration = Field(
        default=timedelta(days=7),
        gt=timedelta(0),
        le=timedelta(days=90),
        description="How far a round looks back. Longer than most withdrawals take.",
    )


class Http(_Group):
    """Where probes and metrics are served."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a probe comes from outside the container
        min_length=1,
        description="Address to listen on. All of them by default: probes come from outside.",
    )
    port: int = Field(
        default=8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one."
    )


class Webhooks(_Group):
    """Where webhooks are taken, for those providers that have a secret for them."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a webhook comes from outside the container
        min_length=1,
        description="Address to listen on. All of them by default: webhooks come from outside.",
    )
    port: int = Field(
        default=8081,
        ge=0,
        le=65_535,
        description="Port to listen on, without TLS: that ends before it; 0 takes a free one.",
    )
    proxies: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How many proxies of yours every request passes. Who sent it is then read so "
        "far from the right of X-Forwarded-For, which nobody may reach the port around them to "
        "write; with 0 it is who connected.",
    )


class Tracing(_Group):
    """Whether each request can be followed from span to span. Where to, OTEL_… variables say."""

    enabled: bool = Field(
        default=False,
        description="Send spans of each request to an OpenTelemetry collector, by OTLP over HTTP. "
        "Needs the extra `tracing`, which the image has. Everything else is said by "
        "OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and "
        "OTEL_TRACES_SAMPLER.",
    )


class Settings(BaseSettings):
    """The whole tree. Made by `load_settings`, or by hand from plain values in a test."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    rabbitmq: Rabbitmq = Rabbitmq()
    ledger: Ledger = Ledger()
    default_provider: Provider = Field(
        default="bluum", description="Provider of requests that name none."
    )
    bluum: Bluum = Bluum()
    bluum_accounts: BluumAccounts = BluumAccounts()
    upvest: Upvest = Upvest()
    polling: Polling = Polling()
    retry: Retry = Retry()
    cancellations: Cancellations = Cancellations()
    reconciliation: Reconciliation = Reconciliation()
    http: Http = Http()
    webhooks: Webhooks = Webhooks()
    tracing: Tracing = Tracing()
    shutdown_timeout: Duration = Field(
        default=timedelta(seconds=25),
        gt=timedelta(0),
        le=timedelta(minutes=10),
        description="How long work in hand may go on after SIGTERM. A little below the 30 s that "
        "Kubernetes grants.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(lambda v: str(v).upper())] = Field(
        default="INFO", description="The least severe records that are written."
    )
    log_format: LogFormat = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json",
        description="One JSON object a line, or lines for people. By default lines for people "
        "when the log goes to a terminal, else JSON.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is handed in: `load_settings` alone looks around."""
        return (init_settings,)


class SettingsInvalid(Exception):  # noqa: N818 - named by what is wrong, as every outcome here
    """The settings cannot be used. `problems` says why, one line a problem, no secret in any."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings(
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path = Path(".env"),
    need_provider: bool = True,
) -> Settings:
    """
    The settings from environment, secret files and `.env`; the earlier of these wins.

    Raises SettingsInvalid with every problem found, not only the first.
    """
    values, problems = gather(os.environ if environ is None else environ, dotenv)
    fields = dict(variables(Settings))
    # What is there and cannot be read is not missing as well.
    unread = dict.fromkeys((problem.partition(":")[0] for problem in problems), "")
    problems += unknown_names(values, fields)
    incomplete = incomplete_credentials(CREDENTIALS.values(), values)
    problems += (line for line in incomplete if line.partition(":")[0] not in unread)
    if need_provider:
        problems += _missing_provider(values | unread)
    settings = _parse({name: values[name] for name in fields if name in values}, problems)
    if settings is not None and need_provider:
        problems += _unfit_key(settings.upvest)
    if settings is None or problems:
        raise SettingsInvalid(tuple(problems))
    return settings


# Not checks of the fields: what turns out to be no id may be the secret, set by mistake, and the
# problem of a field shows the field's value.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY_ID = re.compile(r"[!#-\[\]-~]{1,200}")


def _unfit_ids(upvest: Upvest) -> Iterator[str]:
    prefix = f"{PREFIX}UPVEST__"
    if upvest.client_id is not None and not _UUID.fullmatch(upvest.client_id):
        yield f"{prefix}CLIENT_ID: found a text that is no UUID, expected the client's UUID"
    if upvest.key_id is not None and not _KEY_ID.fullmatch(upvest.key_id):
        yield (
            f"{prefix}KEY_ID: found a text with spaces, quotes or other such characters, "
            "expected the key's id"
        )


def _unfit_key(upvest: Upvest) -> Iterator[str]:
    """A line when the key file or its passphrase cannot be used. Reads the file."""
    prefix = f"{PREFIX}UPVEST__PRIVATE_KEY_"
    if upvest.private_key_file is None:
        if upvest.private_key_passphrase is not None:
            yield f"{prefix}FILE: missing, expected together with {prefix}PASSPHRASE"
        return
    try:
        read_signing_key(upvest.private_key_file, upvest.private_key_passphrase)
    except KeyUnfit as unfit:
        yield f"{prefix}FILE: found {unfit}, expected {EXPECTED}"
    except PassphraseUnfit as unfit:
        yield f"{prefix}PASSPHRASE: {unfit}"


def _missing_provider(values: Mapping[str, str]) -> Iterator[str]:
    names = [name for credentials in CREDENTIALS.values() for name in credentials]
    if not any(name in values for name in names):
        choices = " or ".join(" and ".join(credentials) for credentials in CREDENTIALS.values())
        folder = values.get(SECRETS_DIR)
        hint = f"; in {folder} is no file of such a name, or nothing is in it" if folder else ""
        yield f"{names[0]}: no provider is enabled, expected {choices}{hint}"


def _parse(values: Mapping[str, str], problems: list[str]) -> Settings | None:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in values.items()}
    try:
        settings = Settings(**source())
    except ValidationError as error:
        problems += unfit_values(error, dict(variables(Settings)), values)
        return None
    problems += _contradictions(settings)
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    """A line for every pair of values that are fine alone and not together."""
    if settings.ledger.shared and settings.ledger.url.get_secret_value().startswith("sqlite:"):
        yield (
            f"{PREFIX}LEDGER__URL: found a SQLite file, expected postgresql://user:password@host/"
            f"database together with {PREFIX}LEDGER__SHARED"
        )
    yield from _contradictions_of_webhooks("BLUUM", settings.bluum.webhook)
    yield from _contradictions_of_webhooks("BLUUM_ACCOUNTS", settings.bluum_accounts.webhook)
    yield from _unfit_ids(settings.upvest)
    for entry in unfit_networks(settings.upvest.webhook.sources):
        yield (
            f"{PREFIX}UPVEST__WEBHOOK__SOURCES: found {entry!r},"
            " expected an address or a network such as 192.0.2.0/24"
        )
    for name, pauses in (("POLLING", settings.polling), ("RETRY", settings.retry)):
        if pauses.cap < pauses.first_delay:
            first = write_duration(pauses.first_delay)
            yield (
                f"{PREFIX}{name}__CAP: found {write_duration(pauses.cap)}, "
                f"expected at least {PREFIX}{name}__FIRST_DELAY, which is {first}"
            )


def _contradictions_of_webhooks(provider: str, webhook: Webhook) -> Iterator[str]:
    prefix = f"{PREFIX}{provider}__WEBHOOK__"
    if webhook.previous_secret is not None and webhook.secret is None:
        yield f"{prefix}SECRET: missing, expected together with {prefix}PREVIOUS_SECRET"
    if webhook.signed_content == "timestamp.body" and webhook.timestamp_header is None:
        yield (
            f"{prefix}TIMESTAMP_HEADER: missing, expected together with {prefix}SIGNED_CONTENT,"
            " which is timestamp.body"
        )
