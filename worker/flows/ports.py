"""What several flows ask of the outside, in small pieces; adapters need not know of these.

Interfaces only. A flow's own interface stands with the flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from decimal import Decimal

    from worker.core.answers import Attempt
    from worker.core.change import Change, Decision, Held
    from worker.core.withdrawal import Withdrawal


class LedgerUnavailable(Exception):  # noqa: N818
    """The ledger did not confirm. It may or may not be written: read before assuming."""


class StepRefused(Exception):  # noqa: N818
    """The ledger refused the content of one step; nothing of it was written."""


class PublishUnconfirmed(Exception):  # noqa: N818
    """The broker did not confirm in time. The message may have arrived: publish it again."""


class PublishUnroutable(Exception):  # noqa: N818
    """No queue is bound for the message, and it must reach one."""


class Lane(IntEnum):
    """What is taken up apart from each other, so that a mass of looks holds nothing up."""

    URGENT = 0
    LOOKS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A queue that an event goes to besides, since it answers a message that named that queue.

    The copy carries the correlation id and the trace of that message.
    """

    reply_to: str
    correlation_id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An event that is committed and that the broker has not confirmed yet.

    `row` is the withdrawal's row in the ledger; the rest is what its publication needs. `copies`
    are for those whose cancellation it answers.
    """

    row: int
    sequence: int
    event_id: str
    type: str
    body: bytes = field(repr=False)
    created_at: datetime
    message_id: str
    correlation_id: str | None
    reply_to: str | None
    traceparent: str | None
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many withdrawals are unfinished in one status, and since when the oldest of them."""

    provider: str | None
    status: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class BooksDifference:
    """By how much the books do not balance, by count and by money in units of the currency.

    Provider and currency are None for requests of which they could not be read.
    """

    provider: str | None
    currency: str | None
    count: int
    amount: Decimal


class Recorder(Protocol):
    """Writes what follows for a withdrawal that is held."""

    @property
    def tenure(self) -> int | None:
        """In which tenure this worker may act on what it holds; None when it may not."""
        ...

    async def record(
        self, held: Held, decision: Decision, made: tuple[Attempt, ...] = (), *, keep: bool = False
    ) -> Held | None:
        """Commit a decision; None when somebody else has it by now."""
        ...


class TakenOrKnown(Protocol):
    """What the ledger says about a request that was to be written down."""

    @property
    def held(self) -> Held:
        """The withdrawal as the ledger has it."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether it was written down just now."""
        ...

    @property
    def same(self) -> bool:
        """Whether the content is that of the first time."""
        ...


class Shelf(Recorder, Protocol):
    """Writes a request down for the first time."""

    async def take(
        self, decision: Decision, fingerprint: bytes, made: tuple[Attempt, ...] = ()
    ) -> TakenOrKnown:
        """Commit a new request with its intent, or find it known."""
        ...


class Announcer(Protocol):
    """Is told that a row has events to be published."""

    def told(self, row: int) -> None:
        """Publish what is unpublished of this row, soon."""
        ...


class Observer(Protocol):
    """Counts what happened; see `worker.metrics` for what each means."""

    def request(self, provider: str | None, result: str) -> None:
        """One message was taken in."""
        ...

    def changed(self, withdrawal: Withdrawal, change: Change) -> None:
        """A withdrawal moved."""
        ...

    def submitted(self, withdrawal: Withdrawal, after: timedelta) -> None:
        """A withdrawal has reached its provider, so long after its request was committed."""
        ...

    def unknown_status(self, provider: str) -> None:
        """A provider used a status word that nobody documented."""
        ...

    def retried(self, provider: str, reason: str) -> None:
        """A create call will be made again, because of this answer."""
        ...


class Now(Protocol):
    """Tells the time by the clock that all replicas share."""

    def __call__(self) -> datetime:
        """Return the time."""
        ...
