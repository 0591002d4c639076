"""The providers of the demo: how each is simulated, and what makes the worker call it.

Data only. What is asked of them stands in `scenarios`, and who starts them in `stage`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Under which the simulators of Bluum sign their webhooks.
SECRET: Final = "whsec-of-the-demo"  # noqa: S105 - nothing real is opened by it
SIGNATURE_HEADER: Final = "X-Bluum-Signature"
#: Where the simulator of Upvest writes the key that it made for the worker, in the demo's folder.
UPVEST_KEY: Final = "upvest-key.pem"

#: Slow enough to watch, and to be killed in the middle of a call. What the worker misses while it
#: is down is delivered again soon.
_ALL: Final = {
    "--pace": "1.0",
    "--latency": "0.4",
    "--rate-limit": "25",
    "--webhook-retries": ",".join(["0.5"] * 40),
}
_BLUUM: Final = _ALL | {"--webhook-secret": SECRET, "--webhook-header": SIGNATURE_HEADER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """One provider.

    `name` is the word for it in messages, settings and commands, `root` the path at which its API
    begins. `options` are those of `simulate`, `settings` the worker's, without the prefix that all
    of this provider have.
    """

    name: str
    title: str
    root: str
    options: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def webhook_path(self) -> str:
        """Where the worker takes its webhooks."""
        return f"/webhooks/{self.name}"

    def environ(self, base_url: str) -> dict[str, str]:
        """Return the worker's settings for it, as environment variables."""
        prefix = f"WORKER_{self.name.upper()}__"
        return {prefix + name: text for name, text in self.settings.items()} | {
            f"{prefix}BASE_URL": base_url
        }


def _bluum(name: str, title: str, **options: str) -> Company:
    return Company(
        name=name,
        title=title,
        root="/v1",
        options=_BLUUM | options,
        settings={
            "API_KEY": "simulator-key",
            "API_SECRET": "simulator-secret",
            "RATE_LIMIT": "25",
            "WEBHOOK__SECRET": SECRET,
            "WEBHOOK__HEADER": SIGNATURE_HEADER,
        },
    )


#: A few withdrawals fail, as they do in real life; shares are sold a moment later.
BLUUM: Final = _bluum(
    "bluum", "Bluum simulator", **{"--failure-share": "0.04", "--fill-delay": "0.7"}
)
ACCOUNTS: Final = _bluum("bluum_accounts", "The same, by account")
#: What was sold is settled later than it is filled.
UPVEST: Final = Company(
    name="upvest",
    title="Upvest simulator",
    root="",
    options=_ALL
    | {
        "--fill-delay": "0.5",
        "--settlement-delay": "1.0",
        "--webhook-bundling": "0.3",
        "--write-private-key": UPVEST_KEY,
    },
    settings={
        "CLIENT_ID": "00000000-0000-4000-8000-00000000c11e",
        "CLIENT_SECRET": "simulator-secret",
        "KEY_ID": "simulator-key",
        "PRIVATE_KEY_FILE": UPVEST_KEY,
        "RATE_LIMIT": "25",
    },
)
#: The first has most of the work.
COMPANIES: Final = (BLUUM, ACCOUNTS, UPVEST)
