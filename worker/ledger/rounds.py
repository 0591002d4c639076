"""Slow work that the replicas share: one of them at a time goes through a round of it.

How far a round has got is kept with every step, so that a restart, or another replica, goes on from
there. What the work is stands in the flows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from worker.core.reconciliation import Completed, Kind, Period, Round
from worker.ledger import rows
from worker.ledger.dialects import INSERTS
from worker.ledger.reconciling import span
from worker.ledger.schema import rounds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, RowMapping

    from worker.core.reconciliation import Counts

#: The one kind of work there is so far.
NAME: Final = "reconciliation"


@dataclass(frozen=True, slots=True)
class TakeRound:
    """Go on with the round that nobody holds, or begin one that is due.

    Due is one `every` after the beginning of the last; the first so long after this was first
    asked. It is held until `held_until`. Result: Round, or None.
    """

    replica: str
    at: datetime
    held_until: datetime
    every: timedelta
    period: timedelta


@dataclass(frozen=True, slots=True)
class KeepRound:
    """Remember how far a round has got, and hold it on; or that it is over (`is_over`).

    Result: whether this replica still held it; if not, nothing was written.
    """

    replica: str
    round: Round
    at: datetime
    held_until: datetime
    is_over: bool


def take(connection: Connection, step: TakeRound) -> Round | None:
    """Carry out a `TakeRound`."""
    row = _locked(connection)
    if row is None:
        _write_first(connection, step.at)
        return None
    if row["holder"] is not None and row["held_until"] > rows.micros(step.at):
        return None
    held = {"holder": step.replica, "held_until": rows.micros(step.held_until)}
    if row["place"] is not None:
        _set(connection, held)
        return _round(row)
    if rows.at(row["began_at"]) + step.every > step.at:
        return None
    period = Period(step.at - step.period, step.at)
    place, last = span(connection, period)
    begun = {
        "began_at": rows.micros(step.at),
        "since": rows.micros(period.since),
        "until": rows.micros(period.until),
        "place": place,
        "last": last,
        "found": _text({}),
    }
    _set(connection, begun | held)
    return _round(begun)


def keep(connection: Connection, step: KeepRound) -> bool:
    """Carry out a `KeepRound`."""
    row = _locked(connection)
    if row is None or row["holder"] != step.replica:
        return False
    found = _text(step.round.found)
    if step.is_over:
        at = rows.micros(step.at)
        _set(connection, {"holder": None, "place": None, "completed_at": at, "completed": found})
    else:
        held_until = rows.micros(step.held_until)
        _set(connection, {"place": step.round.place, "held_until": held_until, "found": found})
    return True


def completed(connection: Connection) -> Completed | None:
    """Return what the last round found that came to its end; None before there is one."""
    row = connection.execute(_OWN).mappings().one_or_none()
    if row is None or row["completed_at"] is None:
        return None
    return Completed(rows.at(row["completed_at"]), _counts(row["completed"]))


def _locked(connection: Connection) -> RowMapping | None:
    return connection.execute(_OWN.with_for_update()).mappings().one_or_none()


def _set(connection: Connection, values: rows.Row) -> None:
    connection.execute(update(rounds).where(rounds.c.name == NAME).values(values))


def _write_first(connection: Connection, at: datetime) -> None:
    # As if a round had begun now: the first is due one `every` later.
    insert = INSERTS[connection.dialect.name](rounds)
    first = {"name": NAME, "began_at": rows.micros(at)}
    connection.execute(insert.values(first).on_conflict_do_nothing(index_elements=["name"]))


def _round(row: Mapping[Any, Any]) -> Round:
    return Round(
        period=Period(rows.at(row["since"]), rows.at(row["until"])),
        began_at=rows.at(row["began_at"]),
        place=row["place"],
        last=row["last"],
        found=_counts(row["found"]),
    )


def _text(counts: Counts) -> str:
    return json.dumps([[provider, kind, n] for (provider, kind), n in sorted(counts.items())])


def _counts(text: str) -> dict[tuple[str, Kind], int]:
    return {(provider, Kind(kind)): n for provider, kind, n in json.loads(text)}


_OWN: Final = select(rounds).where(rounds.c.name == NAME)
