"""The books: that every request which was taken is somewhere, and its rows are as written.

Reads only. What is counted and hashed when something happens stands in `tallies`, `burials` and
`chain`; here it is compared.

    requests taken = finished + in flight + unresolved + dead-lettered

by count and by money, for each provider and currency, at any moment.

The left side is a counter (`tallies`). It goes up in the very transaction that writes the request
down, once, and never by a redelivery: who is told that a transaction failed which did take place
finds the request known when it comes again. Dead letters that are in no other table (no message id,
unreadable, an id that was used before, poison) get a row and a count of their own before they are
published; a crash in between finds them counted. A dead letter of a request that the ledger knows
(an invalid one is recorded as rejected) counts once, as what it is there. A replay by an operator
takes a dead letter out on both sides, and whoever takes the message counts it anew.

The right side is the rows. Two looks at it:

`differences` is for the metric, every few seconds. Summing up millions of finished rows would be
too dear, so the counters also tell how much was finished and buried, and only what is open is
summed up, from its small index: taken - finished - buried - open rows. It finds what was lost,
doubled, deleted or moved among open rows, and every request that a bug counted but did not write.

`audit` is for `check --books`. It trusts no counter but `taken`: it walks every row, in chunks of
bounded size and all in one snapshot, so that workers may go on; recomputes every sum and every
hash; compares the counters with the sums; and names each withdrawal whose rows are not as they were
written. What such hashes are worth stands in `chain`. While it runs, PostgreSQL keeps the old
versions of rows, and SQLite its write-ahead log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, literal, select

from worker.core.withdrawal import TERMINAL, Status
from worker.flows.ports import BooksDifference
from worker.ledger import chain
from worker.ledger.alterations import Row, Story, alterations, message_id_in
from worker.ledger.engine import open_database
from worker.ledger.failures import meaning
from worker.ledger.schema import (
    attempts,
    dead_letters,
    events,
    tallies,
    transitions,
    withdrawals,
)
from worker.ledger.tallies import MODULUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Column, Connection, Select, Table

#: So many withdrawals are held in memory at once.
CHUNK: Final = 500

_CENT: Final = Decimal("0.01")
_ENDS: Final = frozenset(status.value for status in TERMINAL)
#: Sums are taken in two halves, since SQLite's `sum` fails beyond 64 bits.
_HALF: Final = 10**9
_NO_END: Final = 2**63 - 1

Account = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sum:
    """How many, and how much money in units of the currency."""

    count: int
    amount: Decimal

    @property
    def is_zero(self) -> bool:
        """Whether there is nothing, neither by count nor by money."""
        return not self.count and not self.amount


@dataclass(frozen=True, slots=True)
class Balance:
    """One provider and currency: what was taken, and where all of it is now.

    `taken` comes from the counters, everything else from the rows. `difference` is 0 in honest
    books. `miscounted` is by how much the other counters, on which the metric relies, differ from
    the rows.
    """

    provider: str | None
    currency: str | None
    taken: Sum
    finished: Mapping[str, Sum]
    in_flight: Sum
    unresolved: Sum
    dead_lettered: Sum
    difference: Sum
    miscounted: Sum

    @property
    def holds(self) -> bool:
        """Whether nothing is missing and nothing is there that was never taken."""
        return self.difference.is_zero and self.miscounted.is_zero


@dataclass(frozen=True, slots=True)
class Alteration:
    """Something that is not as the worker wrote it. `message_id` is None where it is not known."""

    message_id: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Books:
    """What an audit found. `checked` counts the withdrawals, transitions and dead letters."""

    balances: tuple[Balance, ...]
    checked: Mapping[str, int]
    altered: int

    @property
    def hold(self) -> bool:
        """Whether every account balances and no row was altered."""
        return not self.altered and all(balance.holds for balance in self.balances)


async def audit(url: str, *, found: Callable[[Alteration], None]) -> Books:
    """Go through the whole ledger; `found` is told of each alteration as it is met.

    Memory stays bounded however large the ledger is. Raises LedgerUnavailable when the ledger does
    not answer.
    """
    database = open_database(url, writer=False, connections=1)
    try:
        return await database.run(lambda connection: _audit(connection, found))
    except Exception as error:  # noqa: BLE001 - a bug is raised again as it is
        raise meaning(error) from None
    finally:
        await database.close()


def differences(connection: Connection) -> list[BooksDifference]:
    """Compare the counters with what is open, in one statement and so in one snapshot."""
    sums: dict[Account, _Running] = defaultdict(_Running)
    for provider, currency, count, high, low in connection.execute(_COUNTED_AND_OPEN):
        sums[provider, currency].add(int(count), int(high) * _HALF + int(low))
    totals = {account: sums[account].signed() for account in sorted(sums)}
    return [
        BooksDifference(provider or None, currency or None, total.count, total.amount)
        for (provider, currency), total in totals.items()
    ]


@dataclass(slots=True)
class _Running:
    """A sum that goes on; money in hundredths, exact."""

    count: int = 0
    minor: int = 0

    def add(self, count: int, minor: int) -> None:
        self.count += count
        self.minor += minor

    def less(self, *others: _Running) -> _Running:
        return _Running(
            self.count - sum(other.count for other in others),
            self.minor - sum(other.minor for other in others),
        )

    def whole(self) -> Sum:
        return Sum(self.count, self.minor * _CENT)

    def signed(self) -> Sum:
        """Return a difference of sums that are kept modulo MODULUS."""
        minor = (self.minor + MODULUS // 2) % MODULUS - MODULUS // 2
        return Sum(self.count, minor * _CENT)


@dataclass(slots=True)
class _Accounted:
    """One provider and currency, while the rows are being walked."""

    taken: _Running = field(default_factory=_Running)
    counted: _Running = field(default_factory=_Running)
    finished: dict[str, _Running] = field(default_factory=lambda: defaultdict(_Running))
    in_flight: _Running = field(default_factory=_Running)
    unresolved: _Running = field(default_factory=_Running)
    dead: _Running = field(default_factory=_Running)

    def place(self, status: str) -> _Running:
        if status in _ENDS:
            return self.finished[status]
        return self.unresolved if status == Status.UNRESOLVED.value else self.in_flight

    def balance(self, provider: str, currency: str) -> Balance:
        ended = (*self.finished.values(), self.dead)
        rest = self.taken.less(*ended, self.in_flight, self.unresolved)
        return Balance(
            provider=provider or None,
            currency=currency or None,
            taken=self.taken.whole(),
            finished={status: self.finished[status].whole() for status in sorted(self.finished)},
            in_flight=self.in_flight.whole(),
            unresolved=self.unresolved.whole(),
            dead_lettered=self.dead.whole(),
            difference=rest.signed(),
            miscounted=self.counted.less(*ended).signed(),
        )


def _audit(connection: Connection, found: Callable[[Alteration], None]) -> Books:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    accounts: dict[Account, _Accounted] = defaultdict(_Accounted)
    checked = dict.fromkeys(("withdrawals", "transitions", "dead_letters"), 0)
    altered = 0
    for tally in _rows(connection, select(tallies), {}):
        account = accounts[tally["provider"], tally["currency"]]
        account.taken.add(tally["taken"], tally["taken_minor"])
        account.counted.add(tally["finished"], tally["finished_minor"])
        account.counted.add(tally["buried"], tally["buried_minor"])
    for row in _dead_letters(connection):
        checked["dead_letters"] += 1
        account = accounts[row["provider"] or "", row["currency"] or ""]
        account.dead.add(row["copies"], row["copies"] * (row["amount_minor"] or 0))
    for told in _told_of_withdrawals(connection, accounts, checked):
        altered += 1
        found(told)
    balances = tuple(accounts[key].balance(*key) for key in sorted(accounts))
    return Books(balances, checked, altered)


def _told_of_withdrawals(
    connection: Connection, accounts: dict[Account, _Accounted], checked: dict[str, int]
) -> Iterator[Alteration]:
    """Walk every withdrawal: put it where it belongs in the accounts, and look at its rows."""
    for story in _stories(connection):
        checked["transitions"] += len(story.transitions)
        row = story.withdrawal
        if not row:
            yield Alteration(message_id_in(story.events), "its withdrawal is missing")
            continue
        checked["withdrawals"] += 1
        account = accounts[row["provider"] or "", row["currency"] or ""]
        account.place(row["status"]).add(1, row["amount_minor"] or 0)
        for what in alterations(story):
            yield Alteration(row["message_id"], what)


def _stories(connection: Connection) -> Iterator[Story]:
    """Yield the rows of one withdrawal after the other, a chunk of them at a time in memory.

    History that belongs to no withdrawal comes as a story whose withdrawal is empty.
    """
    after = -_NO_END
    while after < _NO_END:
        given = {"after": after, "limit": CHUNK}
        chunk = {row["id"]: row for row in _rows(connection, _WITHDRAWALS, given)}
        until = max(chunk) if len(chunk) == CHUNK else _NO_END
        span = {"after": after, "until": until}
        moves = _by_withdrawal(_rows(connection, _TRANSITIONS, span))
        told = _by_withdrawal(_rows(connection, _EVENTS, span))
        calls = _by_withdrawal(_rows(connection, _ATTEMPTS, span))
        for key in sorted(chunk.keys() | moves.keys() | told.keys() | calls.keys()):
            numbers = [call["number"] for call in calls.get(key, [])]
            yield Story(chunk.get(key, {}), moves.get(key, []), told.get(key, []), numbers)
        after = until


def _dead_letters(connection: Connection) -> Iterator[Row]:
    after = b""
    while chunk := _rows(connection, _DEAD_LETTERS, {"after": after, "limit": CHUNK}):
        yield from chunk
        after = chunk[-1]["identity"]


def _rows(connection: Connection, query: Select[Any], given: Mapping[str, Any]) -> list[Row]:
    found = connection.execute(query, given)
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found]


def _by_withdrawal(rows: Iterable[Row]) -> dict[int, list[Row]]:
    of: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        of[row["withdrawal"]].append(row)
    return of


def _chunk(table: Table, key: Column[Any], *columns: Column[Any]) -> Select[Any]:
    wanted = columns or tuple(table.c)
    return select(*wanted).where(key > bindparam("after")).order_by(key).limit(bindparam("limit"))


def _span(order: Column[Any], *columns: str) -> Select[Any]:
    table = order.table
    return (
        select(*(table.c[name] for name in columns))
        .where(table.c.withdrawal > bindparam("after"), table.c.withdrawal <= bindparam("until"))
        .order_by(table.c.withdrawal, order)
    )


_WITHDRAWALS: Final = _chunk(withdrawals, withdrawals.c.id)
_DEAD_LETTERS: Final = _chunk(dead_letters, dead_letters.c.identity)
_TRANSITIONS: Final = _span(transitions.c.sequence, "withdrawal", "hash", *chain.TRANSITION)
_EVENTS: Final = _span(events.c.sequence, "withdrawal", *chain.EVENT)
_ATTEMPTS: Final = _span(attempts.c.number, "withdrawal", "number")

_MONEY: Final = func.coalesce(withdrawals.c.amount_minor, 0)
_LEFT_OPEN: Final = tallies.c.taken_minor - tallies.c.finished_minor - tallies.c.buried_minor
_COUNTED_AND_OPEN: Final = select(
    tallies.c.provider,
    tallies.c.currency,
    (tallies.c.taken - tallies.c.finished - tallies.c.buried).label("count"),
    literal(0).label("high"),
    _LEFT_OPEN.label("low"),
).union_all(
    select(
        func.coalesce(withdrawals.c.provider, ""),
        func.coalesce(withdrawals.c.currency, ""),
        -func.count(),
        -func.sum(_MONEY // _HALF),
        -func.sum(_MONEY % _HALF),
    )
    .where(withdrawals.c.finished_at.is_(None))
    .group_by(withdrawals.c.provider, withdrawals.c.currency)
)
