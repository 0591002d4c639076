"""The tables that only grow: transitions, events, attempts, orders; each history chained.

What a withdrawal is at present is not here; its row's `head` is the end of the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.ledger import chain, rows, sales
from worker.ledger.many import Many, upserting
from worker.ledger.schema import attempts, events, transitions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.core.answers import Attempt
    from worker.core.change import Decision


class Chapter:
    """The history's rows of one decision, chained; their withdrawal's row may not be known yet."""

    def __init__(self, before: bytes, decision: Decision) -> None:
        self.head = before
        self.transitions: list[rows.Row] = []
        self.events: list[rows.Row] = []
        for change in decision.changes:
            transition = rows.transition_row(0, change)
            event = rows.event_row(0, decision.withdrawal, change)
            self.head = transition["hash"] = chain.link(self.head, transition, event)
            self.transitions.append(transition)
            self.events.append(event)


class Chronicle:
    """The rows that a group adds to the tables that only grow."""

    def __init__(self) -> None:
        self.transitions: list[rows.Row] = []
        self.events: list[rows.Row] = []
        self.attempts: list[rows.Row] = []
        self.orders: list[rows.Row] = []

    def add(self, row: int, chapter: Chapter, made: tuple[Attempt, ...]) -> None:
        """Add what happened to the withdrawal of a row, which is known by now."""
        for written in (*chapter.transitions, *chapter.events):
            written["withdrawal"] = row
        self.transitions += chapter.transitions
        self.events += chapter.events
        self.attempts += [rows.attempt_row(row, attempt) for attempt in made]

    def write(self, connection: Connection) -> None:
        """Write all of it, table by table."""
        _TRANSITIONS.execute(connection, self.transitions)
        _EVENTS.execute(connection, self.events)
        _ATTEMPTS.execute(connection, self.attempts)
        sales.ORDERS.execute(connection, self.orders)


_ENDED: Final = [
    "ended_at",
    "outcome",
    "http_status",
    "provider_code",
    "request_id",
    "provider_text",
]
_TRANSITIONS: Final = Many(lambda _: transitions.insert())
_EVENTS: Final = Many(lambda _: events.insert())
_ATTEMPTS: Final = Many(lambda name: upserting(name, attempts, ["withdrawal", "number"], _ENDED))
