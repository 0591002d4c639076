"""What the provider's list of one party over some days says against the ledger's rows of it.

Pure: rows and entries in, findings out. Nothing is repaired here, and no finding moves a
withdrawal: the most that follows from one is that the worker looks at it, and decides then.

A payout is under way while it is compared, so the order of reading carries the meaning: rows, the
list, rows again. A row that moved in the meantime is not judged by its status; a withdrawal that
was created in the meantime has its row by the second reading; and one that is in doubt is left to
the worker, which looks it up by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from worker.core.lookup import LIST_SLACK, amount_of, references
from worker.core.withdrawal import MOVES, TERMINAL, Status, reference_token

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import date, datetime
    from decimal import Decimal
    from typing import TypeAlias

    from worker.core.answers import Entry

    #: How many findings, by provider and kind.
    Counts: TypeAlias = Mapping[tuple[str, "Kind"], int]

_DAY: Final = timedelta(days=1)
#: A create call may leave, and be carried out, so long after the first attempt of its request.
_CALL_SLACK: Final = _DAY


class Kind(StrEnum):
    """What may be found: a closed set."""

    #: The provider is further on, or took an end back: a look at it repairs that.
    STATUS_DRIFT = "status_drift"
    #: The provider takes an end back in a way that none can be.
    STATUS_CONFLICT = "status_conflict"
    #: A withdrawal at the provider that no request explains: perhaps made elsewhere.
    UNEXPLAINED = "unexplained"
    #: The same, and it carries the reference of a request of ours: perhaps paid twice.
    MARKED_UNEXPLAINED = "marked_unexplained"
    #: A withdrawal of ours that the provider does not list.
    MISSING = "missing"
    #: Amount or currency are not those that were asked for.
    AMOUNT_DIFFERS = "amount_differs"
    #: An unresolved request that a person may be able to settle by what is listed.
    RESOLVABLE = "resolvable"
    #: The party's list could not be read.
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Period:
    """What is reconciled: requests taken in, and withdrawals created, from `since` to `until`."""

    since: datetime
    until: datetime

    @property
    def days(self) -> tuple[date, date]:
        """The first and last day of the list to read: wide enough to explain what is at the edge.

        What was taken in at the end may have been created a day later, and what the list takes its
        first and last day for is not documented (`lookup.LIST_SLACK`).
        """
        first, last = self.since - LIST_SLACK, self.until + _CALL_SLACK + LIST_SLACK
        return first.date(), last.date()

    def holds(self, moment: datetime) -> bool:
        """Tell whether a moment lies in it."""
        return self.since <= moment <= self.until

    def holds_day(self, day: date | None) -> bool:
        """Tell whether a day lies in it; one that is not shown cannot be left out."""
        return day is None or self.since.date() <= day <= self.until.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What is compared of a row of the ledger."""

    row: int
    message_id: str
    idempotency_key: str
    status: Status
    withdrawal_id: str | None
    amount: Decimal | None
    currency: str | None
    in_doubt: bool
    taken_at: datetime
    first_attempt_at: datetime | None
    changed_at: datetime

    @property
    def reference(self) -> str:
        """The token that its withdrawal's text carries, where it had room for one."""
        return reference_token(self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Party:
    """A party with requests in a period; `row` is its first there."""

    provider: str
    party_id: str
    row: int


@dataclass(frozen=True, slots=True)
class PartiesPage:
    """Some parties, and the row up to which the ledger was gone through for them."""

    parties: tuple[Party, ...]
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round through the ledger that is under way: done up to the row `place`, of `last`.

    `found` is what it has found so far, by provider and kind.
    """

    period: Period
    began_at: datetime
    place: int
    last: int
    found: Counts


@dataclass(frozen=True, slots=True)
class Completed:
    """When the last round came to its end, and how many of each kind it had found."""

    at: datetime
    found: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. `why` is a sentence for people.

    What the ledger says (`row`, `message_id`, `status`, `amount`, `currency`) and what the provider
    says (`listed_…`, `created_on`), each as far as there is something. `command` is what a person
    may run next.
    """

    kind: Kind
    provider: str
    party_id: str
    why: str
    message_id: str | None = None
    withdrawal_id: str | None = None
    status: Status | None = None
    listed_status: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    listed_amount: str | None = None
    listed_currency: str | None = None
    created_on: date | None = None
    command: str | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One party's list and rows, read in this order: `before`, the list, `after`.

    `listed_at` is when the reading of the list began. `after` holds the rows that were taken in
    during the period, those without an end, and those that own or are named by an entry. `settling`
    is how long the list may lag behind its own effects.
    """

    provider: str
    party_id: str
    period: Period
    settling: timedelta
    listed_at: datetime
    entries: tuple[Entry, ...]
    before: tuple[Booked, ...]
    after: tuple[Booked, ...]


def unreadable(provider: str, party_id: str, why: str) -> Finding:
    """Return the finding of a party whose list could not be read."""
    return Finding(kind=Kind.UNREADABLE, provider=provider, party_id=party_id, why=why)


def key_start(reference: str) -> str:
    """Return how the key begins that a reference was made from.

    >>> key_start("[wd:f3eca9b7728b]")
    'wd-f3eca9b7-728b'
    """
    digits = reference.removeprefix("[wd:").removesuffix("]")
    return f"wd-{digits[:8]}-{digits[8:]}"


def compare(reading: Reading) -> Iterator[Finding]:
    """Find what does not agree, each row and each entry once at most for each kind."""
    return _Comparison(reading).findings()


class _Comparison:
    """One party's rows and entries, by what they are found by."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._period = reading.period
        self._before = {booked.row: booked for booked in reading.before}
        self._listed = {entry.reported.withdrawal_id: entry for entry in reading.entries}
        self._owned = {row.withdrawal_id: row for row in reading.after if row.withdrawal_id}
        self._marked: Mapping[str, Booked] = {row.reference: row for row in reading.after}
        self._orphans = [e for e in reading.entries if _id(e) not in self._owned]
        self._shown = frozenset(token for e in self._orphans for token in references(e))

    def findings(self) -> Iterator[Finding]:
        for booked in self._owned.values():
            entry = self._listed.get(booked.withdrawal_id or "")
            if entry is not None:
                yield from self._differences(booked, entry)
            elif self._is_missing(booked):
                yield self._found(
                    Kind.MISSING, "the provider does not list this withdrawal", booked=booked
                )
        without_id = [row for row in self._reading.after if row.withdrawal_id is None]
        for booked in without_id:
            if booked.status is Status.UNRESOLVED:
                yield from self._resolvable(booked)
        doubted = [row for row in without_id if _may_own_one(row)]
        for entry in self._orphans:
            if self._period.holds_day(entry.created_on):
                yield from self._unexplained(entry, doubted)

    def _differences(self, booked: Booked, entry: Entry) -> Iterator[Finding]:
        """Compare a row with its own entry."""
        if _differs_in_money(booked, entry):
            why = "the provider lists another amount or currency"
            yield self._found(Kind.AMOUNT_DIFFERS, why, booked=booked, entry=entry)
        there = entry.reported.status
        if there in {None, booked.status} or not self._stood_still(booked):
            return
        if booked.status is Status.UNRESOLVED:
            yield self._settled_by(booked, entry, "the provider lists its withdrawal")
        elif there in MOVES[booked.status]:
            why = f"the provider says {there}, the ledger {booked.status}"
            yield self._found(Kind.STATUS_DRIFT, why, booked=booked, entry=entry)
        elif booked.status in TERMINAL and self._has_settled(booked):
            # Words that lie behind are old news, except behind an end: no move leads there.
            why = f"the provider says {there}, which cannot follow {booked.status}"
            yield self._found(Kind.STATUS_CONFLICT, why, booked=booked, entry=entry)

    def _is_missing(self, booked: Booked) -> bool:
        """Tell whether the list would have to show a row's withdrawal."""
        return self._stood_still(booked) and self._has_settled(booked) and self._is_covered(booked)

    def _resolvable(self, booked: Booked) -> Iterator[Finding]:
        """Name what is listed that could be an unresolved row's, and what to do about it."""
        ours = [entry for entry in self._orphans if booked.reference in references(entry)]
        alike = [entry for entry in self._orphans if _is_alike(booked, entry)]
        for entry in ours:
            yield self._settled_by(booked, entry, "the provider lists one with its reference")
        for entry in () if ours else alike:
            why = "the provider lists one that could be it"
            yield self._to_be_settled(booked, why, entry=entry)
        if not ours and not alike and self._stood_still(booked) and self._is_covered(booked):
            yield self._to_be_settled(booked, "the provider lists nothing that could be it")

    def _unexplained(self, entry: Entry, doubted: Collection[Booked]) -> Iterator[Finding]:
        """Report an entry that no row owns, unless one in doubt may turn out to."""
        tokens = references(entry)
        named = [self._marked[token] for token in sorted(tokens) if token in self._marked]
        if any(booked in doubted for booked in named):
            return
        if named:
            booked = named[0]
            why = f"it carries the reference of a request that is {booked.status} without it"
            if booked.withdrawal_id is not None:
                why = f"it carries the reference of a request that has {booked.withdrawal_id}"
            yield self._found(Kind.MARKED_UNEXPLAINED, why, booked=booked, entry=entry)
        elif tokens:
            why = "it carries a reference of this worker, of no request in this ledger"
            yield self._found(Kind.MARKED_UNEXPLAINED, why, entry=entry)
        elif not any(_is_alike(row, entry) for row in doubted if row.reference not in self._shown):
            yield self._found(Kind.UNEXPLAINED, "no request explains it", entry=entry)

    def _settled_by(self, booked: Booked, entry: Entry, why: str) -> Finding:
        command = f"{_resolve(booked)} --adopt {quote(_id(entry))}"
        return self._found(Kind.RESOLVABLE, why, booked=booked, entry=entry, command=command)

    def _to_be_settled(self, booked: Booked, why: str, *, entry: Entry | None = None) -> Finding:
        # Without a certain sign a person has to look first.
        command = _resolve(booked)
        return self._found(Kind.RESOLVABLE, why, booked=booked, entry=entry, command=command)

    def _stood_still(self, booked: Booked) -> bool:
        """Tell whether a row stood where it stands before the list was read, too."""
        was = self._before.get(booked.row)
        return was is not None and (was.status, was.withdrawal_id) == (
            booked.status,
            booked.withdrawal_id,
        )

    def _has_settled(self, booked: Booked) -> bool:
        """Tell whether what a row says is older than the list may lag behind."""
        return booked.changed_at + self._reading.settling <= self._reading.listed_at

    def _is_covered(self, booked: Booked) -> bool:
        """Tell whether a row's withdrawal was created on the days that were read, if it was.

        What was taken in at the end of the period and sent much later belongs to another.
        """
        begun_at = booked.first_attempt_at or booked.taken_at
        return self._period.holds(booked.taken_at) and self._period.holds(begun_at)

    def _found(
        self,
        kind: Kind,
        why: str,
        *,
        booked: Booked | None = None,
        entry: Entry | None = None,
        command: str | None = None,
    ) -> Finding:
        known = {} if booked is None else _as_booked(booked)
        listed = {} if entry is None else _as_listed(entry)
        return Finding(
            kind=kind,
            provider=self._reading.provider,
            party_id=self._reading.party_id,
            why=why,
            command=command,
            **(known | listed),
        )


def _as_booked(booked: Booked) -> dict[str, Any]:
    return {
        "row": booked.row,
        "message_id": booked.message_id,
        "withdrawal_id": booked.withdrawal_id,
        "status": booked.status,
        "amount": booked.amount,
        "currency": booked.currency,
    }


def _as_listed(entry: Entry) -> dict[str, Any]:
    return {
        "withdrawal_id": _id(entry),
        "listed_status": entry.reported.provider_status,
        "listed_amount": entry.amount,
        "listed_currency": entry.currency,
        "created_on": entry.created_on,
    }


def _resolve(booked: Booked) -> str:
    return f"withdrawals-worker resolve {quote(booked.message_id)}"


def _may_own_one(booked: Booked) -> bool:
    """Tell whether a row without an id may own an entry: the worker, or a person, will find out."""
    return booked.in_doubt or booked.status is Status.UNRESOLVED


def _is_alike(booked: Booked, entry: Entry) -> bool:
    """Tell whether an entry without any reference may be the row's, by what both show."""
    return (
        not references(entry)
        and not _differs_in_money(booked, entry)
        and (entry.created_on is None or entry.created_on >= (booked.taken_at - _DAY).date())
    )


def _differs_in_money(booked: Booked, entry: Entry) -> bool:
    amount = amount_of(entry.amount)
    # What the list does not show cannot speak against it.
    if amount is not None and amount != booked.amount:
        return True
    return entry.currency is not None and entry.currency.upper() != booked.currency


def _id(entry: Entry) -> str:
    return entry.reported.withdrawal_id
