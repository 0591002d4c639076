"""Recognising a withdrawal of ours in the provider's list, when its outcome is not known.

Pure. Erring here pays twice or leaves a payout orphaned, so nothing is concluded from likeness
alone where a certain sign was to be expected."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import reference_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from worker.core.answers import Entry, Reported
    from worker.core.withdrawal import Order, Withdrawal

#: A reference in either kind of brackets: not every provider takes square ones.
_TOKEN: Final = re.compile(r"\[wd:[0-9a-f]{12}\]|\(wd:[0-9a-f]{12}\)")
#: A provider's date may be in any time zone.
_DATE_SLACK: Final = timedelta(days=1)
#: And whether a day that bounds a list belongs to it, or its midnight bounds it, nobody says.
_BOUND_SLACK: Final = timedelta(days=1)
#: So wide the days of a list are asked for on either side.
LIST_SLACK: Final = _DATE_SLACK + _BOUND_SLACK


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


def days_to_read(withdrawal: Withdrawal, *, now: datetime, window: timedelta) -> tuple[date, date]:
    """Return the first and the last day on which the provider may have listed the withdrawal.

    From the day it was taken in, since a fresh attempt does not undo what an earlier one did, to
    now; with a day of slack on either side for the provider's time zone, and one for what it takes
    the first and the last day for. `window` is for how long after the first attempt calls may
    leave. A clock that went back must not hide what was created by its old time.
    """
    first_at = withdrawal.first_attempt_at
    latest = now if first_at is None or now >= first_at else first_at + window
    earliest = min(withdrawal.order.taken_at, now)
    return (earliest - LIST_SLACK).date(), (latest + LIST_SLACK).date()


def candidates(
    withdrawal: Withdrawal, entries: Iterable[Entry], *, window: timedelta
) -> Candidates:
    """Find the entries that can be this withdrawal, by reference or by everything else.

    `window` is for how long after the first attempt calls may have left.
    """
    order = withdrawal.order
    was_sent = reference_token(order.idempotency_key) in _tokens(order.body.decode())
    ours: list[Reported] = []
    lookalikes: list[Reported] = []
    for entry in possible(order, entries):
        is_marked = carries_reference(order, entry)
        # With a reference sent, an entry without one may be ours, its text shortened on the way.
        is_certain = (
            is_marked is was_sent
            and _agrees_in_all(order, entry)
            and (is_marked or _says_the_same(order, entry))
            and (is_marked or _is_in_time(withdrawal, entry, window))
        )
        (ours if is_certain else lookalikes).append(entry.reported)
    return Candidates(tuple(ours), tuple(lookalikes))


def possible(order: Order, entries: Iterable[Entry]) -> list[Entry]:
    """Leave out the entries that are clearly another's; a person may want to see the others.

    Our own reference is never explained away, whatever else the entry says.
    """
    return [
        entry
        for entry in entries
        if carries_reference(order, entry) or contradiction(order, entry) is None
    ]


def amount_of(text: str | None) -> Decimal | None:
    """Read an amount; None when it is missing or cannot be read as a number."""
    try:
        amount = Decimal(text or "")
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def references(entry: Entry) -> frozenset[str]:
    """Return the tokens of ours that the entry's text holds, whosever requests they are of."""
    return _tokens(entry.text or "")


def carries_reference(order: Order, entry: Entry) -> bool:
    """Tell whether the entry's text holds the token that is appended to our description."""
    return reference_token(order.idempotency_key) in references(entry)


def contradiction(order: Order, entry: Entry) -> str | None:
    """Say what speaks clearly against an entry, in words for people; None when nothing does.

    Method, target and party do not: a provider may write them in other words than it was sent, and
    it was asked for the withdrawals of this party alone.
    """
    known = {*_tokens(order.body.decode()), reference_token(order.idempotency_key)}
    amount = amount_of(entry.amount)
    earliest = (order.taken_at - _DATE_SLACK).date()
    if amount is not None and amount != order.amount:
        return "it has another amount"
    if not _agrees(entry.currency and entry.currency.upper(), order.currency):
        return "it has another currency"
    if references(entry) - known:
        return "it carries the reference of another request"
    if entry.created_on is not None and entry.created_on < earliest:
        return "it was created before the request was taken in"
    return None


def _tokens(text: str) -> frozenset[str]:
    """Return the tokens in a text, in the form of `reference_token`."""
    return frozenset(f"[{token[1:-1]}]" for token in _TOKEN.findall(text))


def _is_in_time(withdrawal: Withdrawal, entry: Entry, window: timedelta) -> bool:
    """Tell whether the entry can have been created by one of our calls.

    One that is younger than all of them may be the customer's own. It is not ruled out: clocks may
    have been wrong, and to rule out ours would be to pay twice.
    """
    first_at = withdrawal.first_attempt_at
    if entry.created_on is None or first_at is None:
        return True
    return entry.created_on <= (first_at + window + _DATE_SLACK).date()


def _agrees_in_all(order: Order, entry: Entry) -> bool:
    return (
        amount_of(entry.amount) == order.amount
        and _agrees(entry.currency, order.currency)
        and _agrees(entry.method, order.method)
        and _agrees(entry.target_id, order.target_id)
        and _agrees(entry.party_id, order.party_id)
    )


def _says_the_same(order: Order, entry: Entry) -> bool:
    """Tell whether the entry's text is the one that was sent, be it spaced or cased otherwise.

    One with another text may be the customer's own. It is not ruled out: providers alter texts.
    """
    sent = json.loads(order.body).get(entry.text_name)
    return not sent or not entry.text or _plain(sent) == _plain(entry.text)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _agrees(listed: str | None, wanted: str | None) -> bool:
    # What the list does not show cannot speak against it.
    return listed is None or wanted is None or listed == wanted
