"""The right to place an order: the intent that is committed before it, and the permit.

Pure, and the rule that it serves is: shares are never sold on a guess. Bluum may not honour the key
of an order, so placing one again is not harmless, as it is with a withdrawal. A place call may go
out only with a `SalePermit`; a permit exists only for an order that is known not to be at the
provider, between the commit of its intent and the call. Nothing else makes one."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.core.change import Decision
from worker.core.sale import put_in_doubt, with_sale
from worker.core.sale_steps import Place, sale_step

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Held
    from worker.core.schedule import Patience
    from worker.core.withdrawal import Withdrawal


@dataclass(frozen=True, slots=True)
class SalePermit:
    """The right to place one order once, until `valid_until`. Made by `sale_permit` alone.

    It carries all that the call may use: the key and the exact bytes that were committed. It ends
    with the `tenure` in which they were: a worker that was taken for dead since must not use it.
    """

    key: str
    party_id: str
    body: bytes = field(repr=False)
    tenure: int
    valid_until: datetime
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        """Refuse a permit that did not come from `sale_permit`."""
        if made_by is not _SALE_MARK:
            message = "a permit to sell is made by worker.core.sale_permit.sale_permit alone"
            raise TypeError(message)


_SALE_MARK: Final = object()


def intend_sale(withdrawal: Withdrawal, index: int, *, now: datetime) -> Decision:
    """Mark that the call to place an order is about to leave; committed before it does."""
    sale = withdrawal.sales[index]
    called = replace(sale, attempts=sale.attempts + 1, last_attempt_at=now)
    return Decision(with_sale(withdrawal, index, put_in_doubt(called, None, now=now)))


def sale_permit(
    before: Held, intended: Held, *, now: datetime, patience: Patience
) -> SalePermit | None:
    """Give the right to place an order, or None when it must not be placed (any more).

    `before` is the withdrawal as it was held, `intended` what the ledger made of it by committing
    the intent. Only who made that very commit holds both: for whoever finds an intent, it is a
    doubt. The right ends a settling delay after the intent: later, others may look into the list
    for what it did not do yet.
    """
    step = sale_step(before.withdrawal, now=now)
    party_id = before.withdrawal.order.party_id
    if not isinstance(step, Place) or party_id is None:
        return None
    sale = intended.withdrawal.sales[step.index]
    intended_at = sale.last_attempt_at
    if intended_at is None or not intended_at <= now < intended_at + patience.settling:
        return None
    intent = intend_sale(before.withdrawal, step.index, now=intended_at).withdrawal
    if (intended.row, intended.version) != (before.row, before.version + 1):
        return None
    if intended.withdrawal != intent:
        return None
    valid_until = intended_at + patience.settling
    not_after = before.withdrawal.order.not_after
    if not_after is not None:
        valid_until = min(valid_until, not_after)
    return SalePermit(sale.key, party_id, sale.body, intended.tenure, valid_until, _SALE_MARK)
