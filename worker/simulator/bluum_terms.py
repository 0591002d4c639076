"""By which rules the simulated bank works: its terms, and the ids that have a meaning of their own.

Values only. Magic ids, each by its beginning:

* `inv_unknown...` does not exist (404-001).
* `inv_poor...` opens with 1.00 of each currency.
* `inv_blocked...` is not approved: its create calls are refused (403-002).
* `inv_failing...` is paid nothing: each of its withdrawals ends `failed` with a reason.
* `fs_inactive...` is a funding source that is not active (400-001); any other `fs_` id is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

#: The wallets that every investor has (ORD's wallet currencies).
CURRENCIES: Final = ("USD", "EUR", "NGN", "KES", "GBP")

UNKNOWN: Final = "inv_unknown"
POOR: Final = "inv_poor"
BLOCKED: Final = "inv_blocked"
FAILING: Final = "inv_failing"
INACTIVE: Final = "fs_inactive"

POOR_BALANCE: Final = Decimal("1.00")
#: Keeps every sum far inside the 28 digits with which Decimal calculates exactly.
OPENING_BALANCE_MAX: Final = Decimal(10) ** 15


class ReplayAnswer(StrEnum):
    """What a repeated key with the same body gets.

    IDEM and WD say the original response, some older pages (NB) say 409-001. Whether the original
    shows the state at creation or the current one is not documented: here it is the former, the
    response as it was.
    """

    ORIGINAL = "original"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By which rules the bank works; ValueError naming the field when one makes no sense.

    `pace` is the time from pending to processing, and again from there to the end. `failure_share`
    (0 to 1) of the withdrawals end failed; which ones follows from `seed` and their ids.
    """

    opening_balance: Decimal = Decimal("1000000.00")
    pace: timedelta = timedelta(seconds=2)
    failure_share: float = 0.0
    key_lifetime: timedelta = timedelta(hours=24)
    replay_answer: ReplayAnswer = ReplayAnswer.ORIGINAL
    seed: str = "0"

    def __post_init__(self) -> None:
        """Refuse terms that make no sense."""
        balance = self.opening_balance
        if not balance.is_finite() or not 0 <= balance <= OPENING_BALANCE_MAX:
            raise ValueError(f"opening_balance: 0 to {OPENING_BALANCE_MAX:f}, not {balance}")
        if balance != balance.quantize(POOR_BALANCE):
            raise ValueError(f"opening_balance: at most two decimals, not {balance}")
        if self.pace < timedelta():
            raise ValueError(f"pace: not negative, but {self.pace}")
        if not 0 <= self.failure_share <= 1:
            raise ValueError(f"failure_share: 0 to 1, not {self.failure_share}")
        if self.key_lifetime <= timedelta():
            raise ValueError(f"key_lifetime: longer than 0 seconds, not {self.key_lifetime}")
