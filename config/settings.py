"""Everything an operator can turn, as one tree of typed values: the root and its groups.

What a group holds stands in its own module, and how the tree is loaded in `loading`."""

import sys
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.bluum import Bluum, BluumAccounts
from config.durations import Duration
from config.providers import Provider
from config.surroundings import Http, Ledger, Rabbitmq, Tracing, Webhooks
from config.timing import Cancellations, Polling, Reconciliation, Retry
from config.upvest import Upvest
from config.variables import DELIMITER, PREFIX

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "console"]


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
