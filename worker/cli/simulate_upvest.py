"""The command that simulates Upvest's API (contract section 8)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli import simulate_options as options
from worker.cli.simulating import (
    decimal_option,
    faults_option,
    pauses_option,
    run_simulator,
)
from worker.simulator.clock import seconds
from worker.simulator.faults import Reach
from worker.simulator.upvest_client_keys import (
    KeyKind,
    make_key,
    private_pem,
    read_private_key,
    read_public_key,
)
from worker.simulator.upvest_options import CLIENT_ID, CLIENT_SECRET, KEY_ID, UpvestOptions
from worker.simulator.upvest_route import Scope
from worker.simulator.upvest_server import serve_upvest
from worker.simulator.upvest_signature import SignatureTerms
from worker.simulator.upvest_terms import (
    CancelRefusal,
    CancelRule,
    FundsRefusal,
    KeyReuse,
    UpvestTerms,
)
from worker.simulator.upvest_webhooks import UpvestWebhookTerms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.upvest_client_keys import PrivateKey

_ACCESS_PANEL: Final = "Access"
_WEBHOOKS_PANEL: Final = "Webhooks"
_DOUBT_PANEL: Final = "Faults and doubt"

_DAY: Final = 86_400.0
_TERMS: Final = UpvestTerms()

_ACCESS_WORDS: Final = (
    "host",
    "port",
    "client_id",
    "client_secret",
    "key_id",
    "rate_limit",
    "retry_after",
)
_TIMES: Final = ("token_lifetime", "latency", "lateness")
#: Options that are terms of the simulated Upvest, by the form in which they are given.
_TERMS_WORDS: Final = (
    "failure_share",
    "cancel_rule",
    "cancel_refusal",
    "funds_refusal",
    "funds_type",
    "key_reuse",
    "failures_remembered",
    "seed",
)
_TERMS_TIMES: Final = (
    "pace",
    "reversal_delay",
    "key_lifetime",
    "list_lag",
    "fill_delay",
    "settlement_delay",
)
_TERMS_NUMBERS: Final = ("opening_balance", "share_price", "opening_shares")

#: Only who owns the file may read a private key.
_PRIVATE: Final = 0o600

#: `\b` keeps the lines of the paragraph it opens as they are.
HELP: Final = """Simulate the Upvest Investment API until a signal ends it.

Every call is checked: its token with its scope, and its signature (draft
15), token calls included. The key that signs is made at start and written
to --write-private-key (or read from there, at the next start), or it is
yours, whose public half --public-key names.

Account groups need no registration: every UUID has cash in EUR, GBP and
USD. Some have a meaning of their own, by their first digits:

\b
  0bad0404-...  does not exist (404), nor does such a reference account
  0bad0422-...  opens with 1.00 of each currency
  0bad0403-...  is blocked: create calls are refused (403)
  0bad0001-...  every withdrawal is cancelled by Upvest
  0bad0002-...  what was confirmed is cancelled by the bank later
  0bad0010-...  every step takes ten times as long
  0bad0409-...  every cancellation is refused (422)
  0bad0004-...  a cancellation is answered (204), and has no effect

An account's orders raise the cash of the account group with the same last
twelve digits. They are filled whole after --fill-delay, except for some
instruments, by the beginning of their ISIN (with a valid check digit):

\b
  ZZNONE...      does not exist (422)               ZZNONE000000
  ZZHALTED...    cannot be traded (422)             ZZHALTED0008
  ZZSCARCE...    one share of it is held            ZZSCARCE0009
  ZZPARTIAL...   is filled in two halves            ZZPARTIAL007
  ZZCUT...       is filled half, then cancelled     ZZCUT0000003
  ZZLAPSED...    is cancelled with nothing filled   ZZLAPSED0009
  ZZMISTRADE...  is filled, and then taken back     ZZMISTRADE03
  ZZRESTING...   stays NEW until it is cancelled    ZZRESTING006
  ZZSTUCK...     stays PROCESSING for ever          ZZSTUCK00002

\b
Example:
  withdrawals-worker simulate upvest --write-private-key key.pem

\b
Settings of a worker that talks to it:
  WORKER_UPVEST__BASE_URL=http://127.0.0.1:8902
  WORKER_UPVEST__CLIENT_ID=00000000-0000-4000-8000-00000000c11e
  WORKER_UPVEST__CLIENT_SECRET=simulator-secret
  WORKER_UPVEST__KEY_ID=simulator-key
  WORKER_UPVEST__PRIVATE_KEY_FILE=key.pem

\b
Control calls, without a token or a signature:
  GET  /_simulator/record        effects on money, deliveries, counters
  GET  /_simulator/faults        PUT replaces them: {"drop_after": 0.1}
  PUT  /_simulator/credentials   {"revoked": true}
  POST /_simulator/tokens        {} makes all access tokens useless
  POST /_simulator/webhook-keys  {"overlap": false} rotates them
  POST /_simulator/clock         {"advance_seconds": 86400}
  POST /_simulator/cash          {"account_group_id": "...", "amount": "9.00"}
  POST /_simulator/accounts      {"account_id": "...", "account_group_id": "..."}
  POST /_simulator/reversals     {"withdrawal_id": "..."}
  GET  /_simulator/healthz
"""


def simulate_upvest(
    *,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8902,
    client_id: Annotated[
        str, typer.Option(rich_help_panel=_ACCESS_PANEL, help="Id of the client, a UUID.")
    ] = CLIENT_ID,
    client_secret: Annotated[
        str, typer.Option(rich_help_panel=_ACCESS_PANEL, help="Secret of the client.")
    ] = CLIENT_SECRET,
    scopes: Annotated[
        str,
        typer.Option(
            metavar="SCOPE,...",
            rich_help_panel=_ACCESS_PANEL,
            help="What the client is granted; without it everything.",
        ),
    ] = "",
    token_lifetime: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_ACCESS_PANEL,
            help="Time after which a token expires, told as expires_in.",
        ),
    ] = 1800.0,
    key_id: Annotated[
        str, typer.Option(rich_help_panel=_ACCESS_PANEL, help="Id of the key that signs.")
    ] = KEY_ID,
    public_key: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            rich_help_panel=_ACCESS_PANEL,
            help="PEM file with the public key of the client: ECDSA on P-521, or Ed25519.",
        ),
    ] = None,
    key_kind: Annotated[
        KeyKind,
        typer.Option(
            rich_help_panel=_ACCESS_PANEL, help="Which key is made where none is registered."
        ),
    ] = KeyKind.ECDSA,
    write_private_key: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            rich_help_panel=_ACCESS_PANEL,
            help="File to write the private key to that was made, as PEM; one that is there "
            "is used.",
        ),
    ] = None,
    clock_tolerance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_ACCESS_PANEL,
            help="By how much a client's clock may be wrong.",
        ),
    ] = 10.0,
    signature_lifetime: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_ACCESS_PANEL,
            help="For how long a signature may hold, from created to expires.",
        ),
    ] = 300.0,
    rate_limit: Annotated[
        int,
        typer.Option(min=0, help="Calls a second; 0 for no limit. The sandbox allows 300."),
    ] = 300,
    retry_after: Annotated[
        bool,
        typer.Option("--retry-after/--no-retry-after", help="Whether a 429 has a Retry-After."),
    ] = True,
    latency: options.Latency = 0.02,
    pace: options.Pace = 2.0,
    failure_share: Annotated[
        float, typer.Option(help="Share of the withdrawals that Upvest cancels, 0 to 1.")
    ] = 0.0,
    reversal_delay: options.ReversalDelay = 2.0,
    cancel_rule: Annotated[
        CancelRule,
        typer.Option(help="What becomes of a cancellation while the withdrawal or order is NEW."),
    ] = _TERMS.cancel_rule,
    cancel_refusal: Annotated[
        CancelRefusal, typer.Option(help="Status that refuses the cancellation of other ones.")
    ] = _TERMS.cancel_refusal,
    opening_balance: Annotated[
        str, typer.Option(metavar="AMOUNT", help="What an account group opens with.")
    ] = "1000000.00",
    funds_refusal: Annotated[
        FundsRefusal, typer.Option(help="Status that refuses a withdrawal without enough cash.")
    ] = _TERMS.funds_refusal,
    funds_type: Annotated[
        str | None,
        typer.Option(help="Last word of that problem's type; without it the status's own."),
    ] = None,
    key_lifetime: options.KeyLifetime = _DAY,
    key_reuse: Annotated[
        KeyReuse,
        typer.Option(help="What a known key with another body gets: a 409, or the first success."),
    ] = _TERMS.key_reuse,
    failures_remembered: Annotated[
        bool,
        typer.Option(
            "--failures-remembered/--failures-forgotten",
            help="Whether a key whose call was refused is refused again without another try.",
        ),
    ] = _TERMS.failures_remembered,
    seed: options.Seed = "0",
    fill_delay: options.FillDelay = 0.0,
    settlement_delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel="Orders",
            help="Time from a fill until its execution is settled and the cash is withdrawable.",
        ),
    ] = 0.0,
    share_price: options.SharePrice = str(_TERMS.share_price),
    opening_shares: options.OpeningShares = str(_TERMS.opening_shares),
    webhook_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Subscribed to all events from the start; others by POST /webhooks.",
        ),
    ] = None,
    webhook_bundling: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Time in which events are gathered into a delivery; without it the "
            "subscription's own config.delay.",
        ),
    ] = None,
    webhook_retries: Annotated[
        str,
        typer.Option(
            metavar="SECONDS,...",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Pauses before a delivery is repeated, the last of them without limit.",
        ),
    ] = "1,2,3,5,8,13,21,34,55,89,144,233,377,600",
    webhook_timeout: options.WebhookTimeout = 30.0,
    webhook_delay: options.WebhookDelay = 1.0,
    list_lag: options.ListLag = 0.0,
    lateness: options.Lateness = 0.5,
    fault: options.Fault = None,
    fault_calls: options.FaultCalls = Reach.CREATES,
    outage: options.Outage = False,
) -> None:
    """Serve the simulated API of Upvest; exit 0 on a signal, 1 when the port is taken."""
    _simulate(locals())


def _simulate(given: Mapping[str, Any]) -> None:
    """Serve the API, with the options of the command by their names."""
    try:
        chosen = _chosen(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run_simulator("Upvest", serve_upvest(chosen), at=f"{chosen.host}:{chosen.port}")


def _chosen(given: Mapping[str, Any]) -> UpvestOptions:
    """Turn the options of the command into values; ValueError naming a senseless one."""
    public_key = given["public_key"]
    if public_key is not None and given["write_private_key"] is not None:
        raise ValueError("write_private_key: there is none of a public_key that is registered")
    terms = {name: given[name] for name in _TERMS_WORDS}
    terms |= {name: seconds(given[name], name=name) for name in _TERMS_TIMES}
    terms |= {name: decimal_option(given[name], name=name) for name in _TERMS_NUMBERS}
    words: dict[str, Any] = {name: given[name] for name in _ACCESS_WORDS}
    words |= {name: seconds(given[name], name=name) for name in _TIMES}
    return UpvestOptions(
        **words,
        scopes=_scopes(given["scopes"]),
        client_key=client_key(given["write_private_key"], given["key_kind"]),
        public_key=None if public_key is None else read_public_key(public_key.read_bytes()),
        signatures=SignatureTerms(
            tolerance=seconds(given["clock_tolerance"], name="clock_tolerance"),
            lifetime_max=seconds(given["signature_lifetime"], name="signature_lifetime"),
        ),
        terms=UpvestTerms(**terms),
        webhooks=_webhooks(given),
        faults=faults_option(
            given["fault"] or [], calls=given["fault_calls"], outage=given["outage"]
        ),
    )


def _webhooks(given: Mapping[str, Any]) -> UpvestWebhookTerms:
    bundling = given["webhook_bundling"]
    return UpvestWebhookTerms(
        url=given["webhook_url"],
        bundling=None if bundling is None else seconds(bundling, name="webhook_bundling"),
        retry_delays=pauses_option(given["webhook_retries"]),
        timeout=seconds(given["webhook_timeout"], name="webhook_timeout"),
        delay=seconds(given["webhook_delay"], name="webhook_delay"),
    )


def _scopes(text: str) -> tuple[Scope, ...]:
    """Read the scopes that a client is granted; all of them when none is named."""
    try:
        return tuple(Scope(word.strip()) for word in text.split(",") if word.strip()) or tuple(
            Scope
        )
    except ValueError:
        raise ValueError("scopes: of " + ", ".join(Scope) + f", not {text!r}") from None


def client_key(path: Path | None, kind: KeyKind) -> PrivateKey:
    """Return the key that a file holds; without a file a new one, which is written to it.

    So a simulator that is started again knows its client. Nobody but the owner may read the file.
    ValueError when it cannot be written, or holds something else: then it is left as it is.
    """
    try:
        if path is not None and path.exists():
            return read_private_key(path.read_bytes())
        key = make_key(kind)
        if path is not None:
            path.touch(_PRIVATE, exist_ok=False)
            path.write_bytes(private_pem(key))
    except OSError as error:
        raise ValueError(f"write_private_key: {error.strerror}") from None
    return key
