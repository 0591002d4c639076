"""Recognising a withdrawal of ours in the provider's list, when its outcome is not known.

Pure. Erring here pays twice or leaves a payout orphaned, so nothing is concluded from likeness
alone where a certain sign was to be expected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import reference_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.answers import Entry, Reported
    from worker.core.withdrawal import Order, Withdrawal

_TOKEN: Final = re.compile(r"\[wd:[0-9a-f]{12}\]")
#: A provider's date may be in any time zone.
_DATE_SLACK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Entries of the list that can be the withdrawal.

    `ours` carry the reference that we sent, or agree in everything where we could send none.
    `lookalikes` cannot be ruled out and cannot be made sure of: a person must look.
    """

    ours: tuple[Reported, ...] = ()
    lookalikes: tuple[Reported, ...] = ()

    def without(self, owned: frozenset[str]) -> Candidates:
        """Leave out what belongs to another request already."""
        return Candidates(
            tuple(found for found in self.ours if found.withdrawal_id not in owned),
            tuple(found for found in self.lookalikes if found.withdrawal_id not in owned),
        )

    @property
    def ids(self) -> frozenset[str]:
        """The provider's ids of all candidates."""
        return frozenset(found.withdrawal_id for found in (*self.ours, *self.lookalikes))


def candidates(withdrawal: Withdrawal, entries: Iterable[Entry]) -> Candidates:
    """Find the entries that can be this withdrawal, by reference or by everything else."""
    order = withdrawal.order
    token = reference_token(order.idempotency_key)
    was_sent = token.encode() in order.body
    ours: list[Reported] = []
    lookalikes: list[Reported] = []
    for entry in entries:
        is_marked = token in (entry.text or "")
        # Our own reference is never explained away, whatever else the entry says.
        if not is_marked and _is_anothers(order, entry):
            continue
        # With a reference sent, an entry without one may be ours, its text shortened on the way.
        is_certain = is_marked is was_sent and _agrees_in_all(order, entry)
        (ours if is_certain else lookalikes).append(entry.reported)
    return Candidates(tuple(ours), tuple(lookalikes))


def _is_anothers(order: Order, entry: Entry) -> bool:
    """Tell whether something speaks clearly against an entry without our reference.

    Method and target do not: a provider may write them in other words than it was sent.
    """
    foreign = set(_TOKEN.findall(entry.text or "")) - set(_TOKEN.findall(order.body.decode()))
    amount = _amount(entry.amount)
    earliest = (order.taken_at - _DATE_SLACK).date()
    return (
        bool(foreign)
        or (amount is not None and amount != order.amount)
        or not _agrees(entry.currency and entry.currency.upper(), order.currency)
        or (entry.created_on is not None and entry.created_on < earliest)
    )


def _agrees_in_all(order: Order, entry: Entry) -> bool:
    return (
        _amount(entry.amount) == order.amount
        and _agrees(entry.currency, order.currency)
        and _agrees(entry.method, order.method)
        and _agrees(entry.target_id, order.target_id)
    )


def _agrees(listed: str | None, wanted: str | None) -> bool:
    # What the list does not show cannot speak against it.
    return listed is None or wanted is None or listed == wanted


def _amount(text: str | None) -> Decimal | None:
    """Read an amount; None when it is missing or cannot be read as a number."""
    try:
        amount = Decimal(text or "")
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
