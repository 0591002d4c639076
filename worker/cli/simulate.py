"""`withdrawals-worker simulate`: run a local stand-in for a provider until a signal ends it.

Options become values here and nowhere else. Credentials are never printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from worker.cli import simulate_options as options
from worker.cli.simulating import decimal_option, faults_option, pauses_option, run_simulator
from worker.simulator.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.simulator.bluum_server import BluumOptions, serve
from worker.simulator.bluum_terms import ReplayAnswer, Terms
from worker.simulator.bluum_webhooks import EventKey, WebhookTerms
from worker.simulator.clock import seconds
from worker.simulator.faults import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.bluum_generation import Generation

_DAY: Final = 86_400.0
_OPTIONS: Final = BluumOptions()
_TERMS: Final = Terms()
_WEBHOOKS: Final = WebhookTerms()

#: Options that are terms of the simulated bank, by the form in which they are given.
_TERMS_WORDS: Final = (
    "failure_share",
    "replay_answer",
    "cancel_rule",
    "order_words",
    "orders_honour_keys",
    "client_order_ids_unique",
    "answer_shape",
    "seed",
)
_TERMS_TIMES: Final = (
    "pace",
    "key_lifetime",
    "reversal_delay",
    "list_lag",
    "fill_delay",
    "settlement_delay",
)
_TERMS_NUMBERS: Final = ("opening_balance", "share_price", "opening_shares")
#: Options that are terms of the webhooks, each behind `webhook_`.
_WEBHOOK_WORDS: Final = (
    "url",
    "secret",
    "header",
    "algorithm",
    "encoding",
    "prefix",
    "timestamp_header",
    "signed_content",
    "event_key",
    "shape",
)

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

_ACCOUNTS_HELP: Final = """Simulate the older Bluum API (account-scoped) until a signal ends it.

Accounts need no registration: every UUID has wallets in USD, EUR, NGN,
KES and GBP. Some have a meaning of their own, by their first digits:

\b
  0bad0404-...  does not exist (404)
  0bad0422-...  opens with 1.00 of each currency
  0bad0403-...  is not approved: create calls are refused (403)
  0bad0001-...  every withdrawal ends failed, with a reason
  0bad0002-...  what was completed fails later (an ACH return)
  0bad0003-...  what was completed is canceled later
  0bad0010-...  every step takes ten times as long
  0bad0409-...  every cancellation is refused (409)
  0bad0004-...  a cancellation is answered, and has no effect
  0bad0005-...  the same, and the answer says canceled
  item_inactive...   an item of Plaid that is not active (400)

There are no orders and no call for wallets here.

\b
Example:
  curl -u simulator-key:simulator-secret -H 'Idempotency-Key: wd-1' \\
    -d '{"amount":"25.00","method":"ach_plaid",
         "plaid_options":{"item_id":"item_1","account_id":"acc_1"}}' \\
    http://127.0.0.1:8901/v1/accounts/$(uuidgen)/withdrawals

\b
Control calls, without a password:
  GET  /_simulator/record       effects on money, deliveries, counters
  GET  /_simulator/faults       PUT replaces them: {"drop_after": 0.1}
  PUT  /_simulator/credentials  {"revoked": true}
  POST /_simulator/clock        {"advance_seconds": 86400}
  POST /_simulator/wallets      {"account_id": "...", "amount": "9.00"}
  POST /_simulator/reversals    {"withdrawal_id": "wdr_1"}
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
    host: options.Host = "127.0.0.1",
    port: options.Port = 8900,
    api_key: options.ApiKey = _OPTIONS.api_key,
    api_secret: options.ApiSecret = _OPTIONS.api_secret,
    rate_limit: options.RateLimit = 25,
    latency: options.Latency = 0.02,
    pace: options.Pace = 2.0,
    failure_share: options.FailureShare = 0.0,
    reversal_delay: options.ReversalDelay = 2.0,
    cancel_rule: options.CancelRule = _TERMS.cancel_rule,
    opening_balance: options.OpeningBalance = "1000000.00",
    key_lifetime: options.KeyLifetime = _DAY,
    replay_answer: options.ReplayAnswer = ReplayAnswer.ORIGINAL,
    seed: options.Seed = "0",
    fill_delay: options.FillDelay = 0.0,
    settlement_delay: options.SettlementDelay = 0.0,
    share_price: options.SharePrice = str(_TERMS.share_price),
    opening_shares: options.OpeningShares = str(_TERMS.opening_shares),
    order_words: options.OrderWords = _TERMS.order_words,
    orders_honour_keys: options.OrdersHonourKeys = _TERMS.orders_honour_keys,
    client_order_ids_unique: options.ClientOrderIdsUnique = _TERMS.client_order_ids_unique,
    webhook_url: options.WebhookUrl = None,
    webhook_secret: options.WebhookSecret = None,
    webhook_header: options.WebhookHeader = _WEBHOOKS.header,
    webhook_algorithm: options.WebhookAlgorithm = _WEBHOOKS.algorithm,
    webhook_encoding: options.WebhookEncoding = _WEBHOOKS.encoding,
    webhook_prefix: options.WebhookPrefix = _WEBHOOKS.prefix,
    webhook_timestamp_header: options.WebhookTimestampHeader = None,
    webhook_signed_content: options.WebhookSignedContent = _WEBHOOKS.signed_content,
    webhook_event_key: options.WebhookEventKey = _WEBHOOKS.event_key,
    webhook_shape: options.WebhookShape = _WEBHOOKS.shape,
    webhook_retries: options.WebhookRetries = "1,2,4,8,16",
    webhook_timeout: options.WebhookTimeout = 30.0,
    webhook_delay: options.WebhookDelay = 1.0,
    list_lag: options.ListLag = 0.0,
    lateness: options.Lateness = 0.5,
    fault: options.Fault = None,
    fault_calls: options.FaultCalls = Reach.CREATES,
    outage: options.Outage = False,
) -> None:
    """Serve the simulated API of Bluum; exit 0 on a signal, 1 when the port is taken."""
    _simulate(INVESTOR_SCOPED, locals())


@simulate.command(name="bluum_accounts", help=_ACCOUNTS_HELP)
def simulate_bluum_accounts(
    *,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8901,
    api_key: options.ApiKey = _OPTIONS.api_key,
    api_secret: options.ApiSecret = _OPTIONS.api_secret,
    rate_limit: options.RateLimit = 25,
    latency: options.Latency = 0.02,
    pace: options.Pace = 2.0,
    failure_share: options.FailureShare = 0.0,
    reversal_delay: options.ReversalDelay = 2.0,
    cancel_rule: options.CancelRule = _TERMS.cancel_rule,
    opening_balance: options.OpeningBalance = "1000000.00",
    key_lifetime: options.KeyLifetime = _DAY,
    replay_answer: options.ReplayAnswer = ReplayAnswer.ORIGINAL,
    answer_shape: options.AnswerShape = _TERMS.answer_shape,
    seed: options.Seed = "0",
    webhook_url: options.WebhookUrl = None,
    webhook_secret: options.WebhookSecret = None,
    webhook_header: options.WebhookHeader = _WEBHOOKS.header,
    webhook_algorithm: options.WebhookAlgorithm = _WEBHOOKS.algorithm,
    webhook_encoding: options.WebhookEncoding = _WEBHOOKS.encoding,
    webhook_prefix: options.WebhookPrefix = _WEBHOOKS.prefix,
    webhook_timestamp_header: options.WebhookTimestampHeader = None,
    webhook_signed_content: options.WebhookSignedContent = _WEBHOOKS.signed_content,
    webhook_event_key: options.WebhookEventKey = EventKey.EVENT_TYPE,
    webhook_shape: options.WebhookShape = _WEBHOOKS.shape,
    webhook_retries: options.WebhookRetries = "1,2,4,8,16",
    webhook_timeout: options.WebhookTimeout = 30.0,
    webhook_delay: options.WebhookDelay = 1.0,
    list_lag: options.ListLag = 0.0,
    lateness: options.Lateness = 0.5,
    fault: options.Fault = None,
    fault_calls: options.FaultCalls = Reach.CREATES,
    outage: options.Outage = False,
) -> None:
    """Serve the older API of Bluum; exit 0 on a signal, 1 when the port is taken."""
    _simulate(ACCOUNT_SCOPED, locals())


def _simulate(generation: Generation, given: Mapping[str, Any]) -> None:
    """Serve a generation of the API, with the options of a command by their names."""
    try:
        chosen = _chosen(generation, given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run_simulator("Bluum", serve(chosen), at=f"{chosen.host}:{chosen.port}")


def _chosen(generation: Generation, given: Mapping[str, Any]) -> BluumOptions:
    """Turn the options of a command into values; ValueError naming a senseless one."""
    terms = {name: given[name] for name in _TERMS_WORDS if name in given}
    terms |= {name: seconds(given[name], name=name) for name in _TERMS_TIMES if name in given}
    terms |= {
        name: decimal_option(given[name], name=name) for name in _TERMS_NUMBERS if name in given
    }
    return BluumOptions(
        **{name: given[name] for name in ("host", "port", "api_key", "api_secret", "rate_limit")},
        latency=seconds(given["latency"], name="latency"),
        lateness=seconds(given["lateness"], name="lateness"),
        terms=Terms(generation=generation, **terms),
        webhooks=WebhookTerms(
            **{name: given[f"webhook_{name}"] for name in _WEBHOOK_WORDS},
            retry_delays=pauses_option(given["webhook_retries"]),
            timeout=seconds(given["webhook_timeout"], name="webhook_timeout"),
            delay=seconds(given["webhook_delay"], name="webhook_delay"),
        ),
        faults=faults_option(
            given["fault"] or [], calls=given["fault_calls"], outage=given["outage"]
        ),
    )
