"""Waiting for funds: how long a withdrawal does, when it is tried again, and that it is told once.

Pure. Whether a refusal is final is decided in `decide`; nothing here ends a withdrawal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from worker.core.change import Cause, Decision, move
from worker.core.withdrawal import Status

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from worker.core.schedule import Patience
    from worker.core.withdrawal import Reason, Withdrawal

#: What was sold may not be withdrawable at once. A request that says nothing else waits so long for
#: its proceeds: a settlement over a long weekend.
PROCEEDS_WAITED_FOR: Final = timedelta(days=5)
#: Every so many turns the provider is asked although the wallet seems too small: it decides.
WALLET_BELIEVED: Final = 4


def decide_wallet(
    withdrawal: Withdrawal,
    available: Decimal | None,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
) -> Decision | None:
    """Say whether a withdrawal that waits for funds has to wait on; None when it may be tried.

    `available` is the most that the wallet may give, None when that could not be read. A wallet is
    advisory: every so often the provider itself is asked.
    """
    amount = withdrawal.order.amount
    if available is None or amount is None or available >= amount:
        return None
    if withdrawal.looks % WALLET_BELIEVED == 0:
        return None
    return wait_for_funds(withdrawal, withdrawal.reason, now=now, patience=patience, chance=chance)


def wait_for_funds(
    withdrawal: Withdrawal,
    reason: Reason | None,
    *,
    now: datetime,
    patience: Patience,
    chance: float,
    cause: Cause = Cause.CREATE,
) -> Decision:
    """Try again later; that it waits is told once."""
    is_new = withdrawal.status is not Status.AWAITING_FUNDS
    turn = 0 if is_new else withdrawal.looks
    due_at = now + patience.looks.delay(turn, chance=chance)
    until = awaited_until(withdrawal)
    if until is not None:
        due_at = min(due_at, until)
    waiting = replace(
        withdrawal,
        status=Status.AWAITING_FUNDS,
        reason=reason,
        looks=turn + 1,
        due_at=due_at,
    )
    return move(withdrawal, waiting, cause=cause, now=now) if is_new else Decision(waiting)


def may_wait(withdrawal: Withdrawal, *, now: datetime) -> bool:
    """Tell whether a withdrawal that was refused for want of funds has time to wait for them."""
    until = awaited_until(withdrawal)
    # Right after a sale the proceeds are only just on their way.
    is_sold = until is None and bool(withdrawal.sales)
    return is_sold or (until is not None and now < until)


def has_waited_enough(withdrawal: Withdrawal, *, now: datetime) -> bool:
    """Tell whether a withdrawal waits for funds whose time is over."""
    until = awaited_until(withdrawal)
    is_waiting = withdrawal.status is Status.AWAITING_FUNDS
    return is_waiting and until is not None and now >= until


def awaited_until(withdrawal: Withdrawal) -> datetime | None:
    """Return until when funds are waited for; None where they are not, or not yet."""
    if withdrawal.order.wait_for_funds_until is not None:
        return withdrawal.order.wait_for_funds_until
    if withdrawal.sales and withdrawal.status is Status.AWAITING_FUNDS:
        return withdrawal.changed_at + PROCEEDS_WAITED_FOR
    return None
