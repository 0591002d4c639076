"""A withdrawal in Bluum's words: what was asked for, what became of it, how it is searched for.

Values only. A status is never stored: it follows from the withdrawal and the time, so nothing has
to run in the background for one to progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from decimal import Decimal

#: Bluum's page size when a call names none, and the largest one (HOW).
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200


class Method(StrEnum):
    """How the money leaves (WD); `ach_plaid` in the older generation alone (G2)."""

    ACH = "ach"
    ACH_PLAID = "ach_plaid"
    WIRE = "wire"
    INTERNATIONAL_WIRE = "international_wire"
    MANUAL_BANK_TRANSFER = "manual_bank_transfer"


class Status(StrEnum):
    """The external words, as answers carry them (CF, WD): `cancelled` has two l.

    `submitted` is a state of the older generation alone (G2).
    """

    PENDING = "pending"
    PROCESSING = "processing"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What a create call asks for, after validation (WD). The amount is positive.

    In the older generation `options` are its `plaid_options` or `wire_options`, by that name, and
    the funding source is called by Plaid's item.
    """

    amount: Decimal
    currency: str
    method: Method
    funding_source_id: str
    description: str | None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One executed withdrawal with its course, fixed when it was created.

    It is pending before `processing_at`, processing before `ends_at` (in the older generation
    submitted from `submitted_at` on), and then `end` (completed or
    failed), unless it was cancelled; a completed one may be `reversed_to` another end later.
    """

    id: str
    investor_id: str
    wallet_id: str
    idempotency_key: str | None
    instruction: Instruction
    executed_at: datetime
    processing_at: datetime
    ends_at: datetime
    end: Status
    failure_reason: str | None
    cancelled_at: datetime | None = None
    submitted_at: datetime | None = None
    reversed_at: datetime | None = None
    reversed_to: Status | None = None

    def status(self, now: datetime) -> Status:
        """Return where the withdrawal stands at `now`."""
        if self.cancelled_at is not None and self.cancelled_at <= now:
            return Status.CANCELLED
        if now < self.processing_at:
            return Status.PENDING
        if now < self.ends_at:
            is_submitted = self.submitted_at is not None and self.submitted_at <= now
            return Status.SUBMITTED if is_submitted else Status.PROCESSING
        if self.reversed_at is not None and self.reversed_at <= now:
            return self.reversed_to or self.end
        return self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list call asks for (WDL). None leaves a field unfiltered; the dates are inclusive.

    The time zone of the dates is undocumented; here it is UTC.
    """

    method: Method | None = None
    statuses: frozenset[Status] | None = None
    currency: str | None = None
    date_from: date | None = None
    date_to: date | None = None
    limit: int = PAGE_DEFAULT
    offset: int = 0

    def match(self, withdrawal: Withdrawal, now: datetime) -> bool:
        """Tell whether the withdrawal, as it stands at `now`, was asked for."""
        instruction = withdrawal.instruction
        day = withdrawal.executed_at.date()
        return (
            (self.method is None or self.method is instruction.method)
            and (self.statuses is None or withdrawal.status(now) in self.statuses)
            and (self.currency is None or self.currency == instruction.currency)
            and (self.date_from is None or self.date_from <= day)
            and (self.date_to is None or day <= self.date_to)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first, whether more of it follows, and how many there are."""

    withdrawals: tuple[Withdrawal, ...]
    has_more: bool
    total: int
