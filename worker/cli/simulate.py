"""`withdrawals-worker simulate`: run a local stand-in for a provider until a signal ends it.

Options become values here and nowhere else. Credentials are never printed."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import typer

from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import CancelRule, OrderWords, ReplayAnswer, Terms
from worker.simulator.bluum_webhooks import (
    Algorithm,
    Encoding,
    EventKey,
    SignedContent,
    WebhookShape,
    WebhookTerms,
)
from worker.simulator.clock import seconds
from worker.simulator.faults import SHARES, Faults, Reach, read_faults

_FAILED: Final = 1
_DAY: Final = 86_400.0
_TERMS: Final = Terms()
_WEBHOOKS: Final = WebhookTerms()
_ORDERS_PANEL: Final = "Orders"
_WEBHOOKS_PANEL: Final = "Webhooks"
_DOUBT_PANEL: Final = "Faults and doubt"

#: `\b` keeps the lines of the paragraph it opens as they are.
_BLUUM_HELP: Final = """Simulate the Bluum API (investor-scoped) until a signal ends it.

Investors need no registration: every id that begins with inv_ has
wallets in USD, EUR, NGN, KES and GBP. Some ids have a meaning of their
own, by their beginning:

\b
  inv_unknown...   does not exist (404)
  inv_poor...      opens with 1.00 of each currency
  inv_blocked...   is not approved: create calls are refused (403)
  inv_failing...   every withdrawal ends failed, with a reason
  inv_returned...  what was completed fails later (an ACH return)
  inv_recalled...  what was completed is cancelled later
  inv_slow...      every step takes ten times as long
  inv_stubborn...  every cancellation is refused (409)
  inv_unheeded...  a cancellation is answered, and has no effect
  inv_untrue...    the same, and the answer says cancelled
  fs_inactive...   an inactive funding source (400); any other fs_ id is fine

Sell orders are filled whole after --fill-delay, except for some symbols:

\b
  SIM.NONE...      is no asset (404)
  SIM.CLOSED...    has a closed market (422)
  SIM.HALTED...    is not tradable (422)
  SIM.SCARCE...    is held with one share (422 for more)
  SIM.PARTIAL...   is filled in two halves
  SIM.CUT...       is filled half, then cancelled
  SIM.LAPSED...    is cancelled with nothing filled
  SIM.FAILED...    fails with nothing filled
  SIM.RESTING...   rests open until somebody cancels it

\b
Example:
  curl -u simulator-key:simulator-secret -H 'Idempotency-Key: wd-1' \\
    -d '{"amount":"25.00","method":"ach","funding_source_id":"fs_1"}' \\
    http://127.0.0.1:8900/v1/investors/inv_1/withdrawals

\b
Control calls, without a password:
  GET  /_simulator/record       effects on money, deliveries, counters
  GET  /_simulator/faults       PUT replaces them: {"drop_after": 0.1}
  PUT  /_simulator/credentials  {"revoked": true}
  POST /_simulator/clock        {"advance_seconds": 86400}
  POST /_simulator/wallets      {"investor_id": "inv_1", "amount": "9.00"}
  POST /_simulator/reversals    {"withdrawal_id": "wd_1"}
  GET  /_simulator/healthz
"""

simulate = typer.Typer(
    name="simulate",
    help="Run a local stand-in for a provider's API, to develop against.",
    no_args_is_help=True,
)


@simulate.callback()
def simulate_group() -> None:
    """Run a local stand-in for a provider's API, to develop against."""


@simulate.command(name="bluum", help=_BLUUM_HELP)
def simulate_bluum(
    *,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. The control calls need no password: stay local."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8900,
    api_key: Annotated[
        str, typer.Option(help="User of HTTP Basic authentication.")
    ] = BluumOptions().api_key,
    api_secret: Annotated[
        str, typer.Option(help="Password of HTTP Basic authentication.")
    ] = BluumOptions().api_secret,
    rate_limit: Annotated[
        int,
        typer.Option(
            min=0, help="Calls a second; 0 for no limit. Production allows 25, the sandbox 10."
        ),
    ] = 25,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time before a call takes effect.")
    ] = 0.02,
    pace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time from pending to processing, and again from there to the end.",
        ),
    ] = 2.0,
    failure_share: Annotated[
        float, typer.Option(help="Share of the withdrawals that end failed, 0 to 1.")
    ] = 0.0,
    reversal_delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Time from completion to reversal, for those who have one."
        ),
    ] = _TERMS.reversal_delay.total_seconds(),
    cancel_rule: Annotated[
        CancelRule,
        typer.Option(
            help="What becomes of a cancellation: done while pending, done until the end, "
            "refused (409), or answered and not done (truthfully, or as if it was)."
        ),
    ] = _TERMS.cancel_rule,
    opening_balance: Annotated[
        str, typer.Option(metavar="AMOUNT", help="What every wallet of an investor opens with.")
    ] = "1000000.00",
    key_lifetime: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time after which an idempotency key is forgotten and executes again.",
        ),
    ] = _DAY,
    replay_answer: Annotated[
        ReplayAnswer,
        typer.Option(help="What a repeated key with the same body gets: the response, or a 409."),
    ] = ReplayAnswer.ORIGINAL,
    seed: Annotated[
        str, typer.Option(help="Seed of all chance: ids, jitter, failures and faults.")
    ] = "0",
    fill_delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_ORDERS_PANEL,
            help="Time from an order to its fill, and from a first half to the second.",
        ),
    ] = _TERMS.fill_delay.total_seconds(),
    settlement_delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_ORDERS_PANEL,
            help="Time from a fill until its proceeds may be withdrawn (422-005 before).",
        ),
    ] = _TERMS.settlement_delay.total_seconds(),
    share_price: Annotated[
        str,
        typer.Option(metavar="AMOUNT", rich_help_panel=_ORDERS_PANEL, help="Price of every share."),
    ] = str(_TERMS.share_price),
    opening_shares: Annotated[
        str,
        typer.Option(
            metavar="NUMBER",
            rich_help_panel=_ORDERS_PANEL,
            help="Shares of every asset that each investor begins with.",
        ),
    ] = str(_TERMS.opening_shares),
    order_words: Annotated[
        OrderWords,
        typer.Option(
            rich_help_panel=_ORDERS_PANEL,
            help="Words of an order's status: partial, cancelled, ... or "
            "partially_filled, canceled, ...",
        ),
    ] = _TERMS.order_words,
    orders_honour_keys: Annotated[
        bool,
        typer.Option(
            "--orders-honour-keys/--orders-ignore-keys",
            rich_help_panel=_ORDERS_PANEL,
            help="Whether a repeated Idempotency-Key places one order, or another each time.",
        ),
    ] = _TERMS.orders_honour_keys,
    client_order_ids_unique: Annotated[
        bool,
        typer.Option(
            "--client-order-ids-unique",
            rich_help_panel=_ORDERS_PANEL,
            help="Refuse a client_order_id that was used before (409).",
        ),
    ] = _TERMS.client_order_ids_unique,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Subscribed to all events from the start; others by POST /v1/webhooks.",
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Secret of every subscription; without it each gets its own.",
        ),
    ] = None,
    webhook_header: Annotated[
        str, typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Header of the signature.")
    ] = _WEBHOOKS.header,
    webhook_algorithm: Annotated[
        Algorithm, typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Hash under the HMAC.")
    ] = _WEBHOOKS.algorithm,
    webhook_encoding: Annotated[
        Encoding,
        typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="How the signature is written."),
    ] = _WEBHOOKS.encoding,
    webhook_prefix: Annotated[
        str,
        typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Text in front of the signature."),
    ] = _WEBHOOKS.prefix,
    webhook_timestamp_header: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Header with the time of sending, in unix seconds; without it there is none.",
        ),
    ] = None,
    webhook_signed_content: Annotated[
        SignedContent,
        typer.Option(
            rich_help_panel=_WEBHOOKS_PANEL,
            help="What is signed; the timestamp needs its header.",
        ),
    ] = _WEBHOOKS.signed_content,
    webhook_event_key: Annotated[
        EventKey,
        typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Key of the event in a body."),
    ] = _WEBHOOKS.event_key,
    webhook_shape: Annotated[
        WebhookShape,
        typer.Option(
            rich_help_panel=_WEBHOOKS_PANEL,
            help="How the management calls answer: {status, data} in camelCase, or flat.",
        ),
    ] = _WEBHOOKS.shape,
    webhook_retries: Annotated[
        str,
        typer.Option(
            metavar="SECONDS,...",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Pauses before a delivery is repeated; empty for never.",
        ),
    ] = "1,2,4,8,16",
    webhook_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="Time in which a delivery has to be answered.",
        ),
    ] = _WEBHOOKS.timeout.total_seconds(),
    webhook_delay: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_WEBHOOKS_PANEL,
            help="By how much the fault webhook_delayed delays.",
        ),
    ] = _WEBHOOKS.delay.total_seconds(),
    list_lag: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_DOUBT_PANEL,
            help="By how much lists and reads lag behind what happened.",
        ),
    ] = _TERMS.list_lag.total_seconds(),
    lateness: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_DOUBT_PANEL,
            help="Time after which a call takes effect that the fault late strikes.",
        ),
    ] = BluumOptions().lateness.total_seconds(),
    fault: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_DOUBT_PANEL,
            metavar="KIND=SHARE",
            help="A fault and its share of calls, 0 to 1; repeatable. Kinds: "
            + ", ".join(SHARES)
            + ".",
        ),
    ] = None,
    fault_calls: Annotated[
        Reach,
        typer.Option(rich_help_panel=_DOUBT_PANEL, help="Which calls the shares are shares of."),
    ] = Reach.CREATES,
    outage: Annotated[
        bool,
        typer.Option(
            "--outage",
            rich_help_panel=_DOUBT_PANEL,
            help="Answer every call with 503 until switched off.",
        ),
    ] = False,
) -> None:
    """Serve the simulated API of Bluum; exit 0 on a signal, 1 when the port is taken."""
    try:
        options = BluumOptions(
            host=host,
            port=port,
            api_key=api_key,
            api_secret=api_secret,
            rate_limit=rate_limit,
            latency=seconds(latency, name="latency"),
            lateness=seconds(lateness, name="lateness"),
            terms=Terms(
                opening_balance=_decimal(opening_balance, name="opening_balance"),
                pace=seconds(pace, name="pace"),
                failure_share=failure_share,
                key_lifetime=seconds(key_lifetime, name="key_lifetime"),
                replay_answer=replay_answer,
                reversal_delay=seconds(reversal_delay, name="reversal_delay"),
                cancel_rule=cancel_rule,
                list_lag=seconds(list_lag, name="list_lag"),
                fill_delay=seconds(fill_delay, name="fill_delay"),
                settlement_delay=seconds(settlement_delay, name="settlement_delay"),
                share_price=_decimal(share_price, name="share_price"),
                opening_shares=_decimal(opening_shares, name="opening_shares"),
                order_words=order_words,
                orders_honour_keys=orders_honour_keys,
                client_order_ids_unique=client_order_ids_unique,
                seed=seed,
            ),
            webhooks=WebhookTerms(
                url=webhook_url,
                secret=webhook_secret,
                header=webhook_header,
                algorithm=webhook_algorithm,
                encoding=webhook_encoding,
                prefix=webhook_prefix,
                timestamp_header=webhook_timestamp_header,
                signed_content=webhook_signed_content,
                event_key=webhook_event_key,
                shape=webhook_shape,
                retry_delays=_delays(webhook_retries),
                timeout=seconds(webhook_timeout, name="webhook_timeout"),
                delay=seconds(webhook_delay, name="webhook_delay"),
            ),
            faults=_faults(fault or [], calls=fault_calls, outage=outage),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        asyncio.run(_serve_until_signal(options))
    except OSError as error:
        typer.echo(f"cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(_FAILED) from None


async def _serve_until_signal(options: BluumOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(options) as server:
        typer.echo(f"Bluum simulator listening on {server.base_url}")
        await stop.wait()


def _decimal(text: str, *, name: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name}: a decimal number, not {text!r}") from None


def _delays(text: str) -> tuple[timedelta, ...]:
    try:
        pauses = [float(pause) for pause in text.split(",") if pause.strip()]
    except ValueError:
        raise ValueError(f"webhook_retries: seconds with commas between, not {text!r}") from None
    return tuple(seconds(pause, name="webhook_retries") for pause in pauses)


def _faults(pairs: list[str], *, calls: Reach, outage: bool) -> Faults:
    shares: dict[str, float] = {}
    for pair in pairs:
        kind, _, share = pair.partition("=")
        if kind not in SHARES:
            raise ValueError(f"fault: a kind of {', '.join(SHARES)}, not {kind!r}")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise ValueError(f"fault: KIND=SHARE, not {pair!r}") from None
    return read_faults({**shares, "calls": calls, "outage": outage})
