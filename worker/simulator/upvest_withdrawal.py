"""A withdrawal in Upvest's words: what was asked for, and what becomes of it (WREF, S26).

Values only. The moments are fixed when it is created and the status follows from them and the time,
so that a withdrawal can be told as it stood a while ago."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

    from worker.simulator.route import Document

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Status(StrEnum):
    """Where a withdrawal stands (WG, PWH, S26)."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"


class CancellationReason(StrEnum):
    """Why one was cancelled (S26)."""

    BANK = "CANCELLED_BY_BANK"
    UPVEST = "CANCELLED_BY_UPVEST"
    CLIENT = "CANCELLED_BY_CLIENT"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What is asked for, after validation; `fields` is the request as it is told again."""

    account_group_id: str
    reference_account_id: str
    amount: Decimal
    currency: str
    fields: Document = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One withdrawal that was executed.

    Without a `reason` it is confirmed at `ends_at`, else cancelled. `cancelled_at` is the client's
    doing; `returned_at` is when the bank sent back what was confirmed.
    """

    id: str
    idempotency_key: str
    instruction: Instruction
    created_at: datetime
    processing_at: datetime
    ends_at: datetime
    reason: CancellationReason | None = None
    cancelled_at: datetime | None = None
    returned_at: datetime | None = None
    return_reason: CancellationReason | None = None

    @property
    def account_group_id(self) -> str:
        """Whose money it is."""
        return self.instruction.account_group_id

    def as_created(self) -> Withdrawal:
        """Return it as it is told at first: NEW, however soon it goes on."""
        return replace(self, processing_at=_NEVER, ends_at=_NEVER)

    def status(self, now: datetime) -> Status:
        """Return where it stands at `now`."""
        if self.cancellation(now) is not None:
            return Status.CANCELLED
        if now >= self.ends_at:
            return Status.CONFIRMED
        return Status.PROCESSING if now >= self.processing_at else Status.NEW

    def cancellation(self, now: datetime) -> CancellationReason | None:
        """Return why it is cancelled at `now`, None when it is not."""
        if self.cancelled_at is not None:
            return CancellationReason.CLIENT if self.cancelled_at <= now else None
        if self.returned_at is not None and self.returned_at <= now:
            return self.return_reason
        return self.reason if now >= self.ends_at else None

    def updated_at(self, now: datetime) -> datetime:
        """Return when it last changed, as seen at `now`."""
        if self.cancelled_at is not None:
            return self.cancelled_at if self.cancelled_at <= now else self.created_at
        moments = (self.created_at, self.processing_at, self.ends_at, self.returned_at)
        return max(at for at in moments if at is not None and at <= max(now, self.created_at))
