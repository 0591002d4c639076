"""Counters of what was taken in, finished and buried: the side of the books that is not the rows.

A group of steps adds up what it did and writes it in its own transaction, one row for each provider
and currency. A replica has rows of its own, so that no two ever wait for each other. What follows
from the counters stands in `books`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, literal_column, select, tuple_

from worker.ledger.dialects import INSERTS
from worker.ledger.many import Many
from worker.ledger.schema import replicas, tallies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection
    from sqlalchemy.sql.expression import ClauseElement

#: Sums of money are kept modulo this many hundredths (ten thousand million millions of units): no
#: payouts of a lifetime reach it, and no number of hostile amounts makes a counter overflow, which
#: would stop everybody's requests.
MODULUS: Final = 10**18

#: Under this name lie the counters of the replicas that are gone.
PAST: Final = ""

_KEY: Final = ("replica", "provider", "currency")
_COUNTS: Final = ("taken", "finished", "buried")
_COUNTED: Final = tuple(name for count in _COUNTS for name in (count, f"{count}_minor"))


class Tally:
    """What one transaction did, to be added to a replica's counters before it commits.

    `minor` is money in hundredths of the currency unit; a provider, currency or amount that is not
    known is None. `count` is -1 where something is taken back.
    """

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._sums: dict[tuple[str, str], dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(_COUNTED, 0)
        )

    def taken(
        self, provider: str | None, currency: str | None, minor: int | None, count: int = 1
    ) -> None:
        """Count a request that is in the books from now on."""
        self._add("taken", provider, currency, minor, count)

    def finished(
        self, provider: str | None, currency: str | None, minor: int | None, count: int = 1
    ) -> None:
        """Count a withdrawal that came to its end."""
        self._add("finished", provider, currency, minor, count)

    def buried(
        self, provider: str | None, currency: str | None, minor: int | None, count: int = 1
    ) -> None:
        """Count a dead letter that is in no other table."""
        self._add("buried", provider, currency, minor, count)

    def write(self, connection: Connection) -> None:
        """Add it all to the counters, in one statement."""
        _write(connection, self._replica, self._sums)

    def _add(
        self, what: str, provider: str | None, currency: str | None, minor: int | None, count: int
    ) -> None:
        sums = self._sums[provider or "", currency or ""]
        sums[what] += count
        sums[f"{what}_minor"] += count * (minor or 0)


def fold(connection: Connection) -> None:
    """Put the counters of replicas that are gone together, so that the table stays short.

    Harmless while such a replica still counts: it finds no row of its own, and begins another.
    """
    found = connection.execute(_GONE).mappings().all()
    if not found:
        return
    keys = [tuple(row[name] for name in _KEY) for row in found]
    key = tuple_(*(tallies.c[name] for name in _KEY))
    connection.execute(delete(tallies).where(key.in_(keys)))
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTED, 0))
    for row in found:
        for name in _COUNTED:
            sums[row["provider"], row["currency"]][name] += row[name]
    _write(connection, PAST, sums)


def _write(
    connection: Connection, replica: str, sums: dict[tuple[str, str], dict[str, int]]
) -> None:
    # In one order everywhere: two replicas that fold cannot lock each other out.
    _ADD.execute(
        connection,
        [
            {"replica": replica, "provider": provider, "currency": currency, **_reduced(counted)}
            for (provider, currency), counted in sorted(sums.items(), key=lambda item: item[0])
        ],
    )


def _reduced(counted: dict[str, int]) -> dict[str, int]:
    return {
        name: value % MODULUS if name.endswith("_minor") else value
        for name, value in counted.items()
    }


def _addition(names: Iterable[str], statement: Any) -> dict[str, Any]:  # noqa: ANN401 - by dialect
    added: dict[str, Any] = {}
    for name in names:
        total = tallies.c[name] + statement.excluded[name]
        is_money = name.endswith("_minor")
        added[name] = total % literal_column(str(MODULUS)) if is_money else total
    return added


def _upsert(insert: Any) -> ClauseElement:  # noqa: ANN401 - the dialects' inserts share no type
    statement = insert(tallies)
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=list(_KEY), set_=_addition(_COUNTED, statement)
    )
    return upsert


_GONE: Final = (
    select(tallies)
    .where(tallies.c.replica != PAST, tallies.c.replica.not_in(select(replicas.c.id)))
    .with_for_update(skip_locked=True)
)
_ADD: Final = Many(lambda name: _upsert(INSERTS[name]))
