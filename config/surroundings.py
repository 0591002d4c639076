"""What an operator can say about what is around the worker: broker, ledger, ports, collector.

No provider is here."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from config.durations import Duration
from config.group import Group
from config.urls import check_amqp, check_ledger
from config.variables import Expected


class Rabbitmq(Group):
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


class Ledger(Group):
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


class Http(Group):
    """Where probes and metrics are served."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a probe comes from outside the container
        min_length=1,
        description="Address to listen on. All of them by default: probes come from outside.",
    )
    port: int = Field(
        default=8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one."
    )


class Webhooks(Group):
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


class Tracing(Group):
    """Whether each request can be followed from span to span. Where to, OTEL_… variables say."""

    enabled: bool = Field(
        default=False,
        description="Send spans of each request to an OpenTelemetry collector, by OTLP over HTTP. "
        "Needs the extra `tracing`, which the image has. Everything else is said by "
        "OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and "
        "OTEL_TRACES_SAMPLER.",
    )
