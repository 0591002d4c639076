"""By which rules the simulated Bluum works: its terms, and the ids with a meaning of their own.

Values only. Magic ids of investors and funding sources, each by its beginning. An account, whose id
is a UUID, begins with the eight digits that stand behind:

* `inv_unknown...` (`0bad0404-...`) does not exist (404-001).
* `inv_poor...` (`0bad0422-...`) opens with 1.00 of each currency (and as many shares as everybody).
* `inv_blocked...` (`0bad0403-...`) is not approved: its create calls are refused (403-002).
* `inv_failing...` (`0bad0001-...`) is paid nothing: each of its withdrawals ends `failed` with a
  reason.
* `inv_returned...` (`0bad0002-...`) is paid, and the bank returns it: completed, later `failed` (an
  ACH return).
* `inv_recalled...` (`0bad0003-...`) is paid, and it is taken back: completed, later `cancelled`.
* `inv_slow...` (`0bad0010-...`) is paid like everybody, and every step takes ten times as long.
* `inv_stubborn...` (`0bad0409-...`) can cancel nothing: every cancellation is refused (409-003).
* `inv_unheeded...` (`0bad0004-...`) cancels in vain: the answer shows a thing as it stands, and it
  goes on.
* `inv_untrue...` (`0bad0005-...`) is told `cancelled` by the answer, and the thing goes on all the
  same.
* `fs_inactive...` (`item_inactive...` of Plaid) is a funding source that is not active (400-001);
  any other one is.

Magic symbols of orders, each by its beginning; every other symbol is sold whole after `fill_delay`:

* `SIM.NONE...` is no asset (404-003).
* `SIM.CLOSED...` has a closed market (422-002).
* `SIM.HALTED...` is not tradable (422-003).
* `SIM.SCARCE...` is held by every investor with one share (422-004 for more).
* `SIM.PARTIAL...` is sold half after one `fill_delay`, the rest after another.
* `SIM.CUT...` is sold half after one `fill_delay`, and cancelled by the market after another.
* `SIM.LAPSED...` is cancelled by the market after one `fill_delay`, with nothing sold.
* `SIM.FAILED...` fails after one `fill_delay`, with nothing sold.
* `SIM.RESTING...` rests `open` until somebody cancels it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.simulator.bluum_generation import INVESTOR_SCOPED, AnswerShape, Generation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The wallets that every investor has (ORD's wallet currencies).
CURRENCIES: Final = ("USD", "EUR", "NGN", "KES", "GBP")

UNKNOWN: Final = ("inv_unknown", "0bad0404-")
POOR: Final = ("inv_poor", "0bad0422-")
BLOCKED: Final = ("inv_blocked", "0bad0403-")
FAILING: Final = ("inv_failing", "0bad0001-")
RETURNED: Final = ("inv_returned", "0bad0002-")
RECALLED: Final = ("inv_recalled", "0bad0003-")
SLOW: Final = ("inv_slow", "0bad0010-")
STUBBORN: Final = ("inv_stubborn", "0bad0409-")
UNHEEDED: Final = ("inv_unheeded", "0bad0004-")
UNTRUE: Final = ("inv_untrue", "0bad0005-")
INACTIVE: Final = ("fs_inactive", "item_inactive")

NO_ASSET: Final = "SIM.NONE"
CLOSED: Final = "SIM.CLOSED"
HALTED: Final = "SIM.HALTED"
SCARCE: Final = "SIM.SCARCE"
PARTIAL: Final = "SIM.PARTIAL"
CUT: Final = "SIM.CUT"
LAPSED: Final = "SIM.LAPSED"
UNSOLD: Final = "SIM.FAILED"
RESTING: Final = "SIM.RESTING"

POOR_BALANCE: Final = Decimal("1.00")
SLOWNESS: Final = 10
SCARCE_SHARES: Final = Decimal(1)
#: Keeps every sum far inside the 28 digits with which Decimal calculates exactly.
OPENING_BALANCE_MAX: Final = Decimal(10) ** 15
SHARE_PRICE_MAX: Final = Decimal(10) ** 6
OPENING_SHARES_MAX: Final = Decimal(10) ** 9


class ReplayAnswer(StrEnum):
    """What a repeated key with the same body gets.

    IDEM and WD say the original response, some older pages (NB) say 409-001. Whether the original
    shows the state at creation or the current one is not documented: here it is the former, the
    response as it was.
    """

    ORIGINAL = "original"
    CONFLICT = "conflict"


class CancelRule(StrEnum):
    """What becomes of a cancellation. Once a thing has ended every one of them refuses (409-003).

    `pending`: done while pending (CF, PF, DW). `open`: done until the end (JW). `refused`: never
    done, 409-003. `unheeded`: answered with the thing as it stands, and not done. `untrue`:
    answered as if done, and not done. An order counts as pending until it is filled whole.
    """

    PENDING = "pending"
    OPEN = "open"
    REFUSED = "refused"
    UNHEEDED = "unheeded"
    UNTRUE = "untrue"


class OrderWords(StrEnum):
    """In which words an order tells its status: `partial` (CT) or `partially_filled` (PT)."""

    CURRENT = "current"
    LEGACY = "legacy"


_CANCEL_RULES: Final[Mapping[tuple[str, ...], CancelRule]] = {
    STUBBORN: CancelRule.REFUSED,
    UNHEEDED: CancelRule.UNHEEDED,
    UNTRUE: CancelRule.UNTRUE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By which rules the bank works; ValueError naming the field when one makes no sense.

    `pace` is the time from pending to processing, and again from there to the end. `failure_share`
    (0 to 1) of the withdrawals end failed; which ones follows from `seed` and their ids.
    `reversal_delay` passes between a completion and its reversal. `fill_delay` passes between an
    order and its fill, `settlement_delay` between the fill and the moment from which the proceeds
    may be withdrawn; `share_price` is that of all shares, `opening_shares` what every investor
    holds of each. Lists and reads show everything as it was `list_lag` ago.
    """

    opening_balance: Decimal = Decimal("1000000.00")
    pace: timedelta = timedelta(seconds=2)
    failure_share: float = 0.0
    reversal_delay: timedelta = timedelta(seconds=2)
    cancel_rule: CancelRule = CancelRule.PENDING
    key_lifetime: timedelta = timedelta(hours=24)
    replay_answer: ReplayAnswer = ReplayAnswer.ORIGINAL
    list_lag: timedelta = timedelta()
    fill_delay: timedelta = timedelta()
    settlement_delay: timedelta = timedelta()
    share_price: Decimal = Decimal("100.00")
    opening_shares: Decimal = Decimal(1_000_000)
    order_words: OrderWords = OrderWords.CURRENT
    #: IDEM and HOW recommend the key for orders; the page of the call (ORD) knows no such header.
    orders_honour_keys: bool = True
    #: Whether a second order with the same `client_order_id` is refused (409-001); undocumented.
    client_order_ids_unique: bool = False
    seed: str = "0"
    generation: Generation = INVESTOR_SCOPED
    #: What is around the answers about withdrawals, where that is documented in several ways.
    answer_shape: AnswerShape = AnswerShape.BARE

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

    def pace_for(self, investor_id: str) -> timedelta:
        """Return how long a step of an investor's withdrawals takes at the least."""
        return self.pace * (SLOWNESS if investor_id.startswith(SLOW) else 1)

    def cancel_rule_for(self, investor_id: str) -> CancelRule:
        """Return what becomes of an investor's cancellations."""
        for beginnings, rule in _CANCEL_RULES.items():
            if investor_id.startswith(beginnings):
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
