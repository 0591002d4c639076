"""What is wrong with settings each of which its field takes: a line for each such thing.

No line holds the value of a secret. What a single field takes is said with the field."""

import re
from collections.abc import Iterator

from config.bluum import Webhook
from config.durations import write_duration
from config.settings import Settings
from config.signing_keys import EXPECTED, KeyUnfit, PassphraseUnfit, read_signing_key
from config.upvest import Upvest
from config.urls import unfit_networks
from config.variables import PREFIX

# Not checks of the fields: what turns out to be no id may be the secret, set by mistake, and the
# problem of a field shows the field's value.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY_ID = re.compile(r"[!#-\[\]-~]{1,200}")


def contradictions(settings: Settings) -> Iterator[str]:
    """A line for every pair of values that are fine alone and not together, and every unfit id."""
    if settings.ledger.shared and settings.ledger.url.get_secret_value().startswith("sqlite:"):
        yield (
            f"{PREFIX}LEDGER__URL: found a SQLite file, expected postgresql://user:password@host/"
            f"database together with {PREFIX}LEDGER__SHARED"
        )
    yield from _of_webhooks("BLUUM", settings.bluum.webhook)
    yield from _of_webhooks("BLUUM_ACCOUNTS", settings.bluum_accounts.webhook)
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


def _of_webhooks(provider: str, webhook: Webhook) -> Iterator[str]:
    prefix = f"{PREFIX}{provider}__WEBHOOK__"
    if webhook.previous_secret is not None and webhook.secret is None:
        yield f"{prefix}SECRET: missing, expected together with {prefix}PREVIOUS_SECRET"
    if webhook.signed_content == "timestamp.body" and webhook.timestamp_header is None:
        yield (
            f"{prefix}TIMESTAMP_HEADER: missing, expected together with {prefix}SIGNED_CONTENT,"
            " which is timestamp.body"
        )


def _unfit_ids(upvest: Upvest) -> Iterator[str]:
    prefix = f"{PREFIX}UPVEST__"
    if upvest.client_id is not None and not _UUID.fullmatch(upvest.client_id):
        yield f"{prefix}CLIENT_ID: found a text that is no UUID, expected the client's UUID"
    if upvest.key_id is not None and not _KEY_ID.fullmatch(upvest.key_id):
        yield (
            f"{prefix}KEY_ID: found a text with spaces, quotes or other such characters, "
            "expected the key's id"
        )


def unfit_key(upvest: Upvest) -> Iterator[str]:
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
