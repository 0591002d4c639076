"""The options of the commands that simulate Bluum's API, with what each is about.

Types only: which command has which, and how they become values, stands in `simulate`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from worker.simulator.bluum_generation import AnswerShape as Shape
from worker.simulator.bluum_terms import CancelRule as Rule
from worker.simulator.bluum_terms import OrderWords as Words
from worker.simulator.bluum_terms import ReplayAnswer as Replay
from worker.simulator.bluum_webhooks import Algorithm, Encoding, EventKey, SignedContent
from worker.simulator.bluum_webhooks import WebhookShape as ManagementShape
from worker.simulator.faults import SHARES, Reach

_ORDERS_PANEL: Final = "Orders"
_WEBHOOKS_PANEL: Final = "Webhooks"
_DOUBT_PANEL: Final = "Faults and doubt"

Host = Annotated[
    str,
    typer.Option(help="Address to listen on. The control calls need no password: stay local."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]
ApiKey = Annotated[str, typer.Option(help="User of HTTP Basic authentication.")]
ApiSecret = Annotated[str, typer.Option(help="Password of HTTP Basic authentication.")]
RateLimit = Annotated[
    int,
    typer.Option(
        min=0, help="Calls a second; 0 for no limit. Production allows 25, the sandbox 10."
    ),
]
Latency = Annotated[float, typer.Option(metavar="SECONDS", help="Time before a call takes effect.")]
Pace = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Time from pending to processing, and again from there to the end.",
    ),
]
FailureShare = Annotated[
    float, typer.Option(help="Share of the withdrawals that end failed, 0 to 1.")
]
ReversalDelay = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", help="Time from completion to reversal, for those who have one."
    ),
]
CancelRule = Annotated[
    Rule,
    typer.Option(
        help="What becomes of a cancellation: done while pending, done until the end, "
        "refused (409), or answered and not done (truthfully, or as if it was)."
    ),
]
OpeningBalance = Annotated[
    str, typer.Option(metavar="AMOUNT", help="What every wallet of an investor opens with.")
]
KeyLifetime = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Time after which an idempotency key is forgotten and executes again.",
    ),
]
ReplayAnswer = Annotated[
    Replay,
    typer.Option(help="What a repeated key with the same body gets: the response, or a 409."),
]
Seed = Annotated[str, typer.Option(help="Seed of all chance: ids, jitter, failures and faults.")]
FillDelay = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_ORDERS_PANEL,
        help="Time from an order to its fill, and from a first half to the second.",
    ),
]
SettlementDelay = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_ORDERS_PANEL,
        help="Time from a fill until its proceeds may be withdrawn (422-005 before).",
    ),
]
SharePrice = Annotated[
    str,
    typer.Option(metavar="AMOUNT", rich_help_panel=_ORDERS_PANEL, help="Price of every share."),
]
OpeningShares = Annotated[
    str,
    typer.Option(
        metavar="NUMBER",
        rich_help_panel=_ORDERS_PANEL,
        help="Shares of every asset that each investor begins with.",
    ),
]
OrderWords = Annotated[
    Words,
    typer.Option(
        rich_help_panel=_ORDERS_PANEL,
        help="Words of an order's status: partial, cancelled, ... or "
        "partially_filled, canceled, ...",
    ),
]
OrdersHonourKeys = Annotated[
    bool,
    typer.Option(
        "--orders-honour-keys/--orders-ignore-keys",
        rich_help_panel=_ORDERS_PANEL,
        help="Whether a repeated Idempotency-Key places one order, or another each time.",
    ),
]
ClientOrderIdsUnique = Annotated[
    bool,
    typer.Option(
        "--client-order-ids-unique",
        rich_help_panel=_ORDERS_PANEL,
        help="Refuse a client_order_id that was used before (409).",
    ),
]
WebhookUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        rich_help_panel=_WEBHOOKS_PANEL,
        help="Subscribed to all events from the start; others by POST /v1/webhooks.",
    ),
]
WebhookSecret = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_WEBHOOKS_PANEL,
        help="Secret of every subscription; without it each gets its own.",
    ),
]
WebhookHeader = Annotated[
    str, typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Header of the signature.")
]
WebhookAlgorithm = Annotated[
    Algorithm, typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Hash under the HMAC.")
]
WebhookEncoding = Annotated[
    Encoding,
    typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="How the signature is written."),
]
WebhookPrefix = Annotated[
    str,
    typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Text in front of the signature."),
]
WebhookTimestampHeader = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_WEBHOOKS_PANEL,
        help="Header with the time of sending, in unix seconds; without it there is none.",
    ),
]
WebhookSignedContent = Annotated[
    SignedContent,
    typer.Option(
        rich_help_panel=_WEBHOOKS_PANEL,
        help="What is signed; the timestamp needs its header.",
    ),
]
WebhookEventKey = Annotated[
    EventKey,
    typer.Option(rich_help_panel=_WEBHOOKS_PANEL, help="Key of the event in a body."),
]
WebhookShape = Annotated[
    ManagementShape,
    typer.Option(
        rich_help_panel=_WEBHOOKS_PANEL,
        help="How the management calls answer: {status, data} in camelCase, or flat.",
    ),
]
WebhookRetries = Annotated[
    str,
    typer.Option(
        metavar="SECONDS,...",
        rich_help_panel=_WEBHOOKS_PANEL,
        help="Pauses before a delivery is repeated; empty for never.",
    ),
]
WebhookTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_WEBHOOKS_PANEL,
        help="Time in which a delivery has to be answered.",
    ),
]
WebhookDelay = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_WEBHOOKS_PANEL,
        help="By how much the fault webhook_delayed delays.",
    ),
]
ListLag = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_DOUBT_PANEL,
        help="By how much lists and reads lag behind what happened.",
    ),
]
Lateness = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=_DOUBT_PANEL,
        help="Time after which a call takes effect that the fault late strikes.",
    ),
]
Fault = Annotated[
    list[str] | None,
    typer.Option(
        rich_help_panel=_DOUBT_PANEL,
        metavar="KIND=SHARE",
        help="A fault and its share of calls, 0 to 1; repeatable. Kinds: "
        + ", ".join(SHARES)
        + ".",
    ),
]
FaultCalls = Annotated[
    Reach,
    typer.Option(rich_help_panel=_DOUBT_PANEL, help="Which calls the shares are shares of."),
]
Outage = Annotated[
    bool,
    typer.Option(
        "--outage",
        rich_help_panel=_DOUBT_PANEL,
        help="Answer every call with 503 until switched off.",
    ),
]
AnswerShape = Annotated[
    Shape,
    typer.Option(
        help="What is around a withdrawal in an answer: nothing, data, or status and data."
    ),
]
