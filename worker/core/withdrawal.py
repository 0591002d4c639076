"""A withdrawal: its statuses, the moves between them, and the value that carries it.

Pure, and the single place where a move is allowed or refused. What follows from an answer stands in
`decide`; how a withdrawal is stored stands in the ledger.

Three rules shape the table below.

1. A provider's word moves a withdrawal only forward. Answers arrive late and out of order (a look
   that was sent before another may be answered after it), so a word that lies behind the present
   status is old news and moves nothing.
2. Only a provider's own word ends a withdrawal that may have reached the provider. `rejected` is
   ours, and is therefore reached only from statuses in which nothing was withdrawn.
3. An end may be taken back by the bank. Such a move is a reversal: it is announced with
   `"reversal": true`, and it leads only from one end to another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from worker.core.sale import Sale

#: The one namespace of every identifier that we derive. It must never change: a changed namespace
#: is another idempotency key, and another key is another payout.
NAMESPACE: Final = UUID("6f1d3c1e-7a52-5b0e-9c55-0d8d5ad6a1f4")


class Status(StrEnum):
    """Where a withdrawal stands; the word is also the last part of its event's type."""

    RECEIVED = "received"
    RAISING_CASH = "raising_cash"
    AWAITING_FUNDS = "awaiting_funds"
    PENDING = "pending"
    PROCESSING = "processing"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REJECTED = "rejected"
    UNRESOLVED = "unresolved"


_ENDS_AT_PROVIDER: Final = frozenset({Status.COMPLETED, Status.CANCELLED, Status.FAILED})
_AT_PROVIDER: Final = (
    frozenset({Status.PENDING, Status.PROCESSING, Status.SUBMITTED}) | _ENDS_AT_PROVIDER
)

#: From each status the ones that may follow it. A pair that is not here moves nothing.
MOVES: Final[Mapping[Status, frozenset[Status]]] = {
    Status.RECEIVED: _AT_PROVIDER
    | {Status.RAISING_CASH, Status.AWAITING_FUNDS, Status.REJECTED, Status.UNRESOLVED},
    Status.RAISING_CASH: _AT_PROVIDER | {Status.AWAITING_FUNDS, Status.REJECTED, Status.UNRESOLVED},
    Status.AWAITING_FUNDS: _AT_PROVIDER | {Status.REJECTED, Status.UNRESOLVED},
    Status.PENDING: _ENDS_AT_PROVIDER | {Status.PROCESSING, Status.SUBMITTED},
    Status.PROCESSING: _ENDS_AT_PROVIDER | {Status.SUBMITTED},
    Status.SUBMITTED: _ENDS_AT_PROVIDER,
    # Nobody knows, so whatever turns out to be true may follow: also that it never left.
    Status.UNRESOLVED: _AT_PROVIDER | {Status.RECEIVED, Status.REJECTED},
    # From here on every move is a reversal: the bank took back what the provider had said.
    Status.COMPLETED: _ENDS_AT_PROVIDER - {Status.COMPLETED},
    Status.CANCELLED: _ENDS_AT_PROVIDER - {Status.CANCELLED},
    Status.FAILED: _ENDS_AT_PROVIDER - {Status.FAILED},
    Status.REJECTED: frozenset(),
}

#: The statuses after which nothing more is expected to happen.
TERMINAL: Final = _ENDS_AT_PROVIDER | {Status.REJECTED}


def is_reversal(before: Status, after: Status) -> bool:
    """Tell whether a move takes back an end that was already announced."""
    return before in TERMINAL and after in MOVES[before]


class ReasonCode(StrEnum):
    """Why a withdrawal stands where it stands: the closed set that consumers may branch on."""

    INVALID_REQUEST = "invalid_request"
    EXPIRED = "expired"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    NOT_PERMITTED = "not_permitted"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    FAILED_AT_PROVIDER = "failed_at_provider"
    CANCELLED_AT_PROVIDER = "cancelled_at_provider"
    CANCELLED_BY_PROVIDER = "cancelled_by_provider"
    CANCELLED_BY_BANK = "cancelled_by_bank"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SEVERAL_CANDIDATES = "several_candidates"
    SALE_REFUSED = "sale_refused"
    SALE_ENDED = "sale_ended"
    CANCELLED_ON_REQUEST = "cancelled_on_request"
    CANCEL_TOO_LATE = "cancel_too_late"
    UNKNOWN_REQUEST = "unknown_request"


#: Our own text for each reason. What the provider wrote may hold personal data and stays inside.
REASON_TEXTS: Final[Mapping[ReasonCode, str]] = {
    ReasonCode.INVALID_REQUEST: "the request is not valid",
    ReasonCode.EXPIRED: "the time given in not_after passed before the provider had the request",
    ReasonCode.INSUFFICIENT_FUNDS: "the funds do not suffice",
    ReasonCode.NOT_PERMITTED: "the provider does not permit this party to withdraw",
    ReasonCode.NOT_FOUND: "the provider does not know the party or the payout target",
    ReasonCode.REFUSED: "the provider refused the request",
    ReasonCode.FAILED_AT_PROVIDER: "the provider reported that the withdrawal failed",
    ReasonCode.CANCELLED_AT_PROVIDER: "the provider reported that the withdrawal was cancelled",
    ReasonCode.CANCELLED_BY_PROVIDER: "the provider cancelled the withdrawal of its own accord",
    ReasonCode.CANCELLED_BY_BANK: "the bank did not carry the withdrawal out",
    ReasonCode.OUTCOME_UNKNOWN: "it could not be established whether money moved",
    ReasonCode.SEVERAL_CANDIDATES: "several withdrawals at the provider could be this one",
    ReasonCode.SALE_REFUSED: "the provider refused an order to raise the cash",
    ReasonCode.SALE_ENDED: "an order to raise the cash ended without being filled",
    ReasonCode.CANCELLED_ON_REQUEST: "it was cancelled on request",
    ReasonCode.CANCEL_TOO_LATE: "it could not be cancelled any more",
    ReasonCode.UNKNOWN_REQUEST: "no such request is known",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in our words; `provider_code` is the provider's own code where it gave one."""

    code: ReasonCode
    provider_code: str | None = None
    detail: str | None = None

    @property
    def message(self) -> str:
        """Our own text: the detail where there is one, else the text of the code."""
        return self.detail or REASON_TEXTS[self.code]


def idempotency_key(message_id: str) -> str:
    """Derive the key of a request: the same in every process, on every machine, in every release.

    >>> idempotency_key("demo")
    'wd-f3eca9b7-728b-5861-9782-aeb3cdc02f27'
    """
    return f"wd-{uuid5(NAMESPACE, message_id)}"


def event_id(message_id: str, sequence: int) -> str:
    """Derive the id of an event, so that a repeated publication repeats the id as well."""
    return str(uuid5(NAMESPACE, f"event/{sequence}/{message_id}"))


def reference_token(key: str) -> str:
    """Shorten a key to the token that travels in the provider's free text, for finding it again.

    48 bits of the key: enough to tell the withdrawals of one party apart, short enough to fit
    beside a description. A match on the token is always checked against the amount as well.
    """
    return f"[wd:{key.replace('-', '')[2:14]}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for, once and for all: it never changes after the intent is committed.

    `body` is the exact create body; every attempt sends these bytes (a re-serialised body is
    another body to the provider). Fields that name a bank account stay out of `repr`.
    """

    message_id: str
    idempotency_key: str
    provider: str | None
    party_id: str | None
    amount: Decimal | None
    currency: str | None
    method: str | None
    target_id: str | None = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)
    request: str = field(default="{}", repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    correlation_id: str | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    not_after: datetime | None = None
    wait_for_funds_until: datetime | None = None
    taken_at: datetime


class Errand(IntEnum):
    """What a withdrawal is due for, in the order in which the request budget is spent on it."""

    #: Something that ends a doubt or moves money: a call to create, look up, sell or cancel.
    ACT = 0
    #: A look at one that usually ends about now.
    LOOK_EXPECTED = 1
    LOOK = 2
    #: A look at one that has ended: only the bank could still take it back.
    LOOK_FINISHED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One withdrawal as it stands now. Change is `replace`; the ledger keeps the history.

    `sequence` is the number of its newest event. `in_doubt` says that some create call may have
    reached the provider without its outcome being known: from then on no refusal is final and no
    silence is failure. `attempts` counts the create calls that were begun. `first_attempt_at` is
    when the key was first sent (or may have been) since it was last forgotten for certain. `due_at`
    is when to take it up again, None when nothing more is to be done by itself.
    """

    order: Order
    status: Status = Status.RECEIVED
    sequence: int = 0
    withdrawal_id: str | None = None
    provider_status: str | None = None
    reason: Reason | None = None
    held_refusal: Reason | None = None
    in_doubt: bool = False
    attempts: int = 0
    first_attempt_at: datetime | None = None
    empty_lookups: int = 0
    looks: int = 0
    changed_at: datetime
    due_at: datetime | None = None
    #: The orders that raise the cash first, in the order of the request.
    sales: tuple[Sale, ...] = ()
    #: Whether it is due at a time at which such withdrawals usually end.
    is_expected: bool = False
    #: Whether a cancellation waits for it. Set beside the row's history, at any time.
    cancel_wanted: bool = False

    @property
    def errand(self) -> Errand:
        """What it is due for."""
        if self.cancel_wanted:
            return Errand.ACT
        if self.is_finished:
            return Errand.LOOK_FINISHED
        if self.withdrawal_id is None:
            return Errand.LOOK if self._waits_for_fills else Errand.ACT
        return Errand.LOOK_EXPECTED if self.is_expected else Errand.LOOK

    @property
    def is_finished(self) -> bool:
        """Whether nothing more is expected to happen."""
        return self.status in TERMINAL

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more is done by itself: it is finished, or a person must decide."""
        return self.is_finished or self.status is Status.UNRESOLVED

    @property
    def _waits_for_fills(self) -> bool:
        is_placed = all(sale.is_awaited or sale.is_filled for sale in self.sales)
        return is_placed and any(sale.is_awaited for sale in self.sales)
