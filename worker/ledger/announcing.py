"""Marks on events: which of them the broker has confirmed.

What is yet to be published is read in `queries`, and events are written in `chronicle`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.ledger import rows
from worker.ledger.many import Many, updating
from worker.ledger.schema import events

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Announced:
    """Events that the broker confirmed, as (row, sequence). Result: None."""

    events: tuple[tuple[int, int], ...]
    at: datetime


def mark(connection: Connection, steps: list[Announced]) -> None:
    """Mark the events of all steps as published."""
    marks = {event: rows.micros(step.at) for step in steps for event in step.events}
    # In one order everywhere: two replicas that mark the same cannot lock each other out.
    _MARK.execute(
        connection,
        [
            {"withdrawal": row, "sequence": sequence, "published_at": marks[row, sequence]}
            for row, sequence in sorted(marks)
        ],
    )


_MARK: Final = Many(lambda _: updating(events, ["withdrawal", "sequence"], ["published_at"]))
