"""How long withdrawals took, read from the ledger's own history.

Reads only, and a bounded number of rows by their keys, however large the ledger is."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from worker.core.usual import Course
from worker.core.withdrawal import TERMINAL, Status
from worker.ledger import rows
from worker.ledger.queries import first_since
from worker.ledger.schema import transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

#: How far back is looked, and how many withdrawals at most, evenly spread over that time.
HISTORY: Final = timedelta(days=30)
SAMPLE: Final = 10_000
#: What is younger may not have ended, and only the quick ones would be seen.
TOO_YOUNG: Final = timedelta(days=7)
_CHUNK: Final = 500

_IN_FLIGHT: Final = (Status.PENDING, Status.PROCESSING, Status.SUBMITTED)
#: Ends that the provider brings about by itself; a cancellation may come at any time.
_ENDS: Final = (Status.COMPLETED, Status.FAILED)


def courses(connection: Connection, *, now: datetime) -> list[Course]:
    """Return how the withdrawals of the last 30 days went that are old enough to have ended."""
    first = first_since(connection, now - HISTORY)
    last = first_since(connection, now - TOO_YOUNG) - 1
    found: list[Course] = []
    chosen = spread(first, last, limit=SAMPLE)
    for start in range(0, len(chosen), _CHUNK):
        found += _courses_of(connection, chosen[start : start + _CHUNK])
    return found


def spread(first: int, last: int, *, limit: int) -> Sequence[int]:
    """Return up to `limit` numbers from `first` to `last`, evenly spread."""
    return range(first, last + 1, max(1, -(-(last + 1 - first) // limit)))


def _courses_of(connection: Connection, ids: Sequence[int]) -> Iterator[Course]:
    statement = (
        select(
            withdrawals.c.id,
            withdrawals.c.provider,
            withdrawals.c.method,
            transitions.c.status,
            func.min(transitions.c.at).label("at"),
        )
        .join(transitions, transitions.c.withdrawal == withdrawals.c.id)
        .where(
            withdrawals.c.id.in_(ids),
            withdrawals.c.provider.is_not(None),
        )
        .group_by(
            withdrawals.c.id,
            withdrawals.c.provider,
            withdrawals.c.method,
            transitions.c.status,
        )
        .order_by(withdrawals.c.id)
    )
    found = connection.execute(statement).mappings()
    for _, moves in groupby(found, lambda row: row["id"]):
        yield from _course(moves)


def _course(moves: Iterable[RowMapping]) -> Iterator[Course]:
    """Read one withdrawal's course; nothing where its beginning or its end was not seen."""
    at: dict[Status, int] = {}
    provider = method = ""
    for move in moves:
        provider, method = move["provider"], move["method"] or ""
        at[Status(move["status"])] = move["at"]
    begun = [at[status] for status in _IN_FLIGHT if status in at]
    ended = min((status for status in at if status in TERMINAL), key=at.__getitem__, default=None)
    if begun and ended in _ENDS and min(begun) <= at[ended]:
        yield Course(provider, method, rows.at(min(begun)), rows.at(at[ended]))
