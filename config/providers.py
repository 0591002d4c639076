"""What the settings of all providers share: their names, what enables them, how one is reached.

What one of them alone is told stands in the module of its company."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.durations import Duration
from config.urls import check_https
from config.variables import Expected

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
