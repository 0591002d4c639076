"""What a provider said, in our words: a closed set, each named by who has to act next.

Values only. Expected outcomes are not exceptions: the type checker counts the arms of a `match`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta

    from worker.core.withdrawal import Reason, ReasonCode, Status


@dataclass(frozen=True, slots=True)
class Trace:
    """What support asks for when a call is to be found again; kept in the ledger with the attempt.

    `text` is what the provider wrote. It may hold personal data: it is never logged or announced.
    """

    http_status: int | None = None
    provider_code: str | None = None
    request_id: str | None = None
    text: str | None = field(default=None, repr=False)


NO_TRACE = Trace()


@dataclass(frozen=True, slots=True)
class Reported:
    """The provider holds this withdrawal, in this state. We follow it.

    `status` is None when the provider used a word that nobody documented: it is kept, counted and
    looked at again, never guessed at. `reason` is why it ended so, where the provider tells that.
    """

    withdrawal_id: str
    status: Status | None
    provider_status: str | None
    trace: Trace = NO_TRACE
    reason: ReasonCode | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider understood and said no. The customer acts next."""

    reason: Reason
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class NotNow:
    """The provider understood, and takes no such order at this hour. We ask again later."""

    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The provider says that the key is known or the state forbids it (409). We look it up."""

    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody knows whether money moved. We ask again, later, with the same key and bytes.

    `why` is a short constant word, fit for a metric's label ("timeout", "http_503").
    """

    why: str
    retry_after: timedelta | None = None
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class Throttled:
    """The provider turned the call away unexecuted because of its rate limit. Everybody waits."""

    retry_after: timedelta | None = None
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class Denied:
    """The provider does not accept our credentials (401). The operator acts next.

    It is never the message's fault: nothing is rejected because of it.
    """

    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True)
class Listed:
    """One look through the provider's list: what it holds for a party over some days, complete."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One withdrawal of a provider's list, with what is needed to recognise ours.

    `text` is the free text; a create body holds it under `text_name`.
    """

    reported: Reported
    amount: str | None
    currency: str | None
    method: str | None
    target_id: str | None = field(repr=False)
    text: str | None = field(repr=False)
    created_on: date | None = None
    party_id: str | None = None
    #: A matter of the provider, not of the withdrawal.
    text_name: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One create call: begun before it leaves, and what came of it once that is known."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    trace: Trace = NO_TRACE


#: What a create call, a look (get) or a cancellation may be answered with.
Answer = Reported | Refused | Conflicted | Unclear | Throttled | Denied
#: What may be answered to a call for one withdrawal with all by which it is recognised.
EntryAnswer = Entry | Refused | Conflicted | Unclear | Throttled | Denied
#: What a look through the list may be answered with.
ListAnswer = Listed | Refused | Unclear | Throttled | Denied
