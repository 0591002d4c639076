"""What follows for a request whose ledger was put back to an earlier moment: a doubt.

Pure, and no way round the horizon. Between that moment and now there were calls that nobody
remembers: what looks as if it had not been sent may be paid. Nothing is sent here, and nothing is
ended; the steps that follow from the doubt are those of every other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.change import Decision
from worker.core.limits import forgotten_at, is_remembered
from worker.core.sale import SaleStatus, put_in_doubt

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.sale import Sale
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal


def distrust(
    withdrawal: Withdrawal, *, since: datetime, now: datetime, patience: Patience
) -> Decision | None:
    """Put a request in doubt that may have been called for after `since`; None where none can be.

    `since` is what the ledger was put back to, and the workers were stopped before `now`. What has
    the provider's id is looked at anyway, and what is at rest sends nothing by itself. An order
    that is not known to be placed may be by now, and is looked for in the list too.

    No event tells of it: whatever the provider's list says is told then.
    """
    if withdrawal.is_at_rest or withdrawal.withdrawal_id is not None:
        return None
    first_at = _first_call(withdrawal, since=since, now=now, patience=patience)
    doubted = replace(
        withdrawal,
        in_doubt=True,
        first_attempt_at=first_at,
        empty_lookups=0,
        looks=0,
        due_at=now,
        sales=tuple(_distrusted(sale, since=since) for sale in withdrawal.sales),
    )
    return Decision(doubted)


def _first_call(
    withdrawal: Withdrawal, *, since: datetime, now: datetime, patience: Patience
) -> datetime:
    """Say from when on the age of the key is to be counted, so that no use of it can pay twice.

    Where less than a window was lost: from its first call, or else from when there may have been
    one. The same key is then used at once, as after every silence. Else, and where it is not known
    whether it was forgotten in between, from a moment that lies ahead. Until then its age counts as
    unknown: the list is read, and nothing is sent. From then on whatever was called before now is
    forgotten for certain, so that it is as good as new.
    """
    first_at = withdrawal.first_attempt_at
    if now < since + patience.window_of(withdrawal.order.provider):
        if first_at is not None and is_remembered(withdrawal, now=now, patience=patience):
            return first_at
        forgotten = forgotten_at(withdrawal, now=since, patience=patience)
        if first_at is None or (not withdrawal.in_doubt and since >= forgotten):
            return since
    return now + patience.forgotten


def _distrusted(sale: Sale, *, since: datetime) -> Sale:
    if sale.status not in {SaleStatus.PLANNED, SaleStatus.UNKNOWN}:
        return sale
    return put_in_doubt(sale, sale.reason, now=since)
