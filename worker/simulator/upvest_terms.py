"""By which rules the simulated Upvest works: its terms, and the ids with a meaning of their own.

Values only. Account groups need no registration: every UUID is one. Some have a meaning of their
own, by their beginning:

* `0bad0404-...` does not exist (404); nor does a reference account of that beginning.
* `0bad0422-...` is poor: it opens with 1.00 of each currency.
* `0bad0403-...` is blocked: its create calls are refused (403).
* `0bad0001-...` is paid nothing: each of its withdrawals is cancelled by Upvest.
* `0bad0002-...` is paid, and its bank sends the money back: confirmed, later cancelled.
* `0bad0010-...` is paid like everybody, and every step takes ten times as long.
* `0bad0409-...` can cancel nothing: every cancellation is refused.
* `0bad0004-...` cancels in vain: the cancellation is answered by 204, and has no effect.

Orders are accepted, refused and cancelled in the same way for accounts of these beginnings.
Whose cash an account's orders raise: that of the account group with the same last twelve digits,
unless a control call has told otherwise.

Instruments with a meaning of their own, by the beginning of their ISIN (of a country that is none);
every other instrument is sold whole after `fill_delay`. An ISIN ends with its check digit:

* `ZZNONE...` does not exist (422), e.g. `ZZNONE000000`.
* `ZZHALTED...` cannot be traded (422).
* `ZZSCARCE...` is held by every account with one share (422 for more).
* `ZZPARTIAL...` is sold half after one `fill_delay`, the rest after another.
* `ZZCUT...` is sold half, then cancelled by the trading partner.
* `ZZLAPSED...` is cancelled by the trading partner with nothing sold.
* `ZZMISTRADE...` is sold, and then its execution is cancelled instead of settled.
* `ZZRESTING...` stays NEW until somebody cancels it.
* `ZZSTUCK...` stays PROCESSING for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: In which a withdrawal can be (S26).
CURRENCIES: Final = ("EUR", "GBP")
#: In which there are cash balances (S26).
CASH_CURRENCIES: Final = ("EUR", "GBP", "USD")

UNKNOWN: Final = "0bad0404"
POOR: Final = "0bad0422"
BLOCKED: Final = "0bad0403"
FAILING: Final = "0bad0001"
RETURNED: Final = "0bad0002"
SLOW: Final = "0bad0010"
STUBBORN: Final = "0bad0409"
UNHEEDED: Final = "0bad0004"

NO_INSTRUMENT: Final = "ZZNONE"
HALTED: Final = "ZZHALTED"
SCARCE: Final = "ZZSCARCE"
PARTIAL: Final = "ZZPARTIAL"
CUT: Final = "ZZCUT"
LAPSED: Final = "ZZLAPSED"
MISTRADE: Final = "ZZMISTRADE"
RESTING: Final = "ZZRESTING"
STUCK: Final = "ZZSTUCK"

POOR_BALANCE: Final = Decimal("1.00")
SLOWNESS: Final = 10
SCARCE_SHARES: Final = Decimal(1)
#: Keeps every sum far inside the 28 digits with which Decimal calculates exactly.
OPENING_BALANCE_MAX: Final = Decimal(10) ** 15
SHARE_PRICE_MAX: Final = Decimal(10) ** 6
OPENING_SHARES_MAX: Final = Decimal(10) ** 9


class KeyReuse(StrEnum):
    """What a known key with another body gets; no page tells. 409, or what the first call got."""

    CONFLICT = "conflict"
    ORIGINAL = "original"


class CancelRefusal(StrEnum):
    """How the cancellation of what is not NEW is refused.

    422 is listed for the call, 409 is what its general description fits.
    """

    UNPROCESSABLE = "422"
    CONFLICT = "409"


class FundsRefusal(StrEnum):
    """How a withdrawal without enough cash is refused: no page tells."""

    UNPROCESSABLE = "422"
    INVALID = "400"
    FORBIDDEN = "403"
    CONFLICT = "409"


class CancelRule(StrEnum):
    """What becomes of a cancellation while it is possible: done, refused, or answered in vain."""

    HEEDED = "heeded"
    REFUSED = "refused"
    UNHEEDED = "unheeded"


_CANCEL_RULES: Final[Mapping[str, CancelRule]] = {
    STUBBORN: CancelRule.REFUSED,
    UNHEEDED: CancelRule.UNHEEDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpvestTerms:
    """By which rules Upvest works; ValueError naming the field when one makes no sense.

    `pace` is the time from NEW to PROCESSING, and again from there to the end. `failure_share`
    (0 to 1) of the withdrawals are cancelled by Upvest; which ones follows from `seed` and their
    ids. `reversal_delay` passes between CONFIRMED and a bank's return. `fill_delay` passes between
    an order and its fill, `settlement_delay` between the fill and the settlement of its execution.
    `share_price` is that of all shares, in every currency, `opening_shares` what every account
    holds of each. Lists and reads show everything as it was `list_lag` ago.
    """

    opening_balance: Decimal = Decimal("1000000.00")
    pace: timedelta = timedelta(seconds=2)
    failure_share: float = 0.0
    reversal_delay: timedelta = timedelta(seconds=2)
    cancel_rule: CancelRule = CancelRule.HEEDED
    cancel_refusal: CancelRefusal = CancelRefusal.UNPROCESSABLE
    funds_refusal: FundsRefusal = FundsRefusal.UNPROCESSABLE
    #: The last word of the `type` of that refusal; None for the general one of its status.
    funds_type: str | None = None
    key_lifetime: timedelta = timedelta(hours=24)
    key_reuse: KeyReuse = KeyReuse.CONFLICT
    #: Whether a key remembers a refusal too; no page tells.
    failures_remembered: bool = False
    list_lag: timedelta = timedelta()
    fill_delay: timedelta = timedelta()
    settlement_delay: timedelta = timedelta()
    share_price: Decimal = Decimal("100.00")
    opening_shares: Decimal = Decimal(1_000_000)
    seed: str = "0"

    def __post_init__(self) -> None:
        """Refuse terms that make no sense."""
        _require_amount("opening_balance", self.opening_balance, Decimal(0), OPENING_BALANCE_MAX)
        _require_amount("share_price", self.share_price, Decimal("0.01"), SHARE_PRICE_MAX)
        _require_amount("opening_shares", self.opening_shares, Decimal(0), OPENING_SHARES_MAX)
        for name in ("pace", "reversal_delay", "list_lag", "fill_delay", "settlement_delay"):
            if getattr(self, name) < timedelta():
                raise ValueError(f"{name}: not negative, but {getattr(self, name)}")
        if not 0 <= self.failure_share <= 1:
            raise ValueError(f"failure_share: 0 to 1, not {self.failure_share}")
        if self.key_lifetime <= timedelta():
            raise ValueError(f"key_lifetime: longer than 0 seconds, not {self.key_lifetime}")
        if self.funds_type == "":
            raise ValueError("funds_type: not empty")

    def pace_for(self, account_group_id: str) -> timedelta:
        """Return how long a step of a group's withdrawals takes at the least."""
        return self.pace * (SLOWNESS if account_group_id.startswith(SLOW) else 1)

    def opening_for(self, account_group_id: str) -> Decimal:
        """Return what an account group opens with, in each currency."""
        return POOR_BALANCE if account_group_id.startswith(POOR) else self.opening_balance

    def cancel_rule_for(self, account_group_id: str) -> CancelRule:
        """Return what becomes of a group's cancellations."""
        for beginning, rule in _CANCEL_RULES.items():
            if account_group_id.startswith(beginning):
                return rule
        return self.cancel_rule

    def seen_at(self, now: datetime) -> datetime:
        """Return the moment whose state lists and reads show at `now`."""
        return now - self.list_lag


def _require_amount(name: str, amount: Decimal, least: Decimal, most: Decimal) -> None:
    if not amount.is_finite() or not least <= amount <= most:
        raise ValueError(f"{name}: {least:f} to {most:f}, not {amount}")
    if amount != amount.quantize(POOR_BALANCE):
        raise ValueError(f"{name}: at most two decimals, not {amount}")
