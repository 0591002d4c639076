"""Recognising a withdrawal of ours in the provider's list, when its outcome is not known.

Pure. Erring here pays twice or leaves a payout orphaned, so nothing is concluded from likeness
alone where a certain sign was to be expected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import reference_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from worker.core.answers import Entry, Reported
    from worker.core.withdrawal import Order, Withdrawal

_TOKEN_MARK: Final = "[wd:"  # noqa: S105 - a mark in a text, no secret
#: A provider's date may be in any time zone.
_DATE_SLACK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Entries of the list that can be the withdrawal.

    `ours` are told apart as well as they can be. `lookalikes` agree in everything but lack the
    reference that we had sent: nobody can say whether they are ours.
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
    alike = [entry for entry in entries if _is_alike(order, entry)]
    if withdrawal.first_attempt_at is not None:
        earliest = (withdrawal.first_attempt_at - _DATE_SLACK).date()
        alike = [entry for entry in alike if _is_not_before(entry.created_on, earliest)]
    if token.encode() not in order.body:
        return Candidates(
            ours=tuple(e.reported for e in alike if _TOKEN_MARK not in (e.text or ""))
        )
    return Candidates(
        ours=tuple(e.reported for e in alike if token in (e.text or "")),
        # With another's reference it is another's; with none it may be ours, shortened on the way.
        lookalikes=tuple(e.reported for e in alike if _TOKEN_MARK not in (e.text or "")),
    )


def _is_alike(order: Order, entry: Entry) -> bool:
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
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def _is_not_before(created_on: date | None, earliest: date) -> bool:
    return created_on is None or created_on >= earliest
