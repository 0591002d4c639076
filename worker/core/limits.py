"""Where trying ends: the provider's memory of a key, a request's own time, look-ups in vain.

Pure: how long and how often, by a time that is an argument. What follows once a limit is reached is
decided by those who ask: `steps` and `decide`, and for orders `sale_steps` and `selling`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal

#: So many look-ups in a row, a settling delay apart, must find nothing before it counts as nothing.
#: The first may come right after the last call left: one delay is for that call still to execute,
#: another for the list to show it.
EMPTY_LOOKUPS_NEEDED: Final = 3
#: A list that could not be read so often in a row, and still cannot be so long after the provider
#: has forgotten the key, is left to a person. Both: a worker that was off for days begins to look.
LOOKUPS_IN_VAIN_MAX: Final = 20
LOOKUPS_GIVEN_UP_AFTER: Final = timedelta(hours=24)
#: A request without a time limit of its own is not begun anew by itself when it is older: about
#: five rounds of calls, in none of which the provider did what it was asked or said why not.
FRESH_ATTEMPTS_END_AFTER: Final = timedelta(days=10)
#: What was sold is settled after two business days, after a week with its weekend and holidays. So
#: long after that it was sold a person has to be told.
SETTLEMENT_WAITED_FOR: Final = timedelta(days=10)


def is_remembered(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the provider still remembers the key, should it ever have heard it.

    Counts from the first call since it was last forgotten for certain: whether later ones renew its
    memory is not documented.
    """
    first_at = withdrawal.first_attempt_at
    if first_at is None or now < first_at - patience.settling:
        # A clock that went back would make an old key look young: its age is unknown.
        return False
    return now < first_at + patience.window_of(withdrawal.order.provider)


def forgotten_at(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> datetime:
    """Return when the key was or will be forgotten for certain; `now` when it was never used.

    Counts from the last call that may have been heard, since the provider's memory may begin with
    it. Calls leave within the window after the first attempt, and none has left after `now`: so a
    first attempt that lies in the future, of a clock that went back, puts nothing off for years.
    """
    first_at = withdrawal.first_attempt_at
    if first_at is None:
        return now
    last_at = min(first_at + patience.window_of(withdrawal.order.provider), now)
    return last_at + patience.forgotten


def next_call_at(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> datetime:
    """Return when the next create call may leave for one that is not in doubt: `now`, or later.

    Its key is in use while it is remembered, and again once it is forgotten for certain. A call in
    between that remained without an answer could not be repeated safely.
    """
    if is_remembered(withdrawal, now=now, patience=patience):
        return now
    return max(now, forgotten_at(withdrawal, now=now, patience=patience))


def is_too_late(withdrawal: Withdrawal, *, now: datetime) -> bool:
    """Tell whether the request's own time limit has passed."""
    not_after = withdrawal.order.not_after
    return not_after is not None and now > not_after


def is_in_vain(withdrawal: Withdrawal, *, now: datetime, patience: Patience) -> bool:
    """Tell whether the list could not be read so often, and for so long, that it will not be."""
    first_at = withdrawal.first_attempt_at or withdrawal.order.taken_at
    window = patience.window_of(withdrawal.order.provider)
    given_up_at = first_at + window + LOOKUPS_GIVEN_UP_AFTER
    # Of a clock that went back nothing is waited for: that may be years.
    is_over = now >= given_up_at or now < first_at - patience.settling
    return withdrawal.looks >= LOOKUPS_IN_VAIN_MAX and is_over
