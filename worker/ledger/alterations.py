"""What in the rows of one withdrawal is not as the worker wrote it.

Pure: rows in, words out. The words name columns and numbers, never a value: an altered row may hold
a bank detail where none belongs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.core.change import CANCEL_REFUSED
from worker.core.withdrawal import TERMINAL, event_id, idempotency_key
from worker.ledger import chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Row = dict[str, Any]

_ENDS: Final = frozenset(status.value for status in TERMINAL)
#: Columns of what was asked for that stand in every event as well.
_ASKED_AND_TOLD: Final = (
    "message_id",
    "idempotency_key",
    "provider",
    "party_id",
    "currency",
    "method",
)
_MOVED_AND_TOLD: Final = ("status", "previous_status", "provider_status", "reversal", "sequence")
_STANDS_AND_MOVED: Final = ("provider_status", "reason_code", "reason_provider_code")


@dataclass(frozen=True, slots=True)
class Story:
    """All rows of one withdrawal; the lists in the order of their numbers."""

    withdrawal: Row
    transitions: Sequence[Row]
    events: Sequence[Row]
    attempts: Sequence[int]


def alterations(story: Story) -> Iterator[str]:
    """Yield what was altered, a phrase each; nothing for a withdrawal as the worker wrote it."""
    events = {event["sequence"]: event for event in story.events}
    yield from _asked_for(story.withdrawal, events)
    yield from _history(story, events)
    yield from _standing(story, events)
    yield from _calls(story.withdrawal["attempts"], story.attempts)


def _asked_for(row: Row, events: Mapping[int, Row]) -> Iterator[str]:
    if row["idempotency_key"] != idempotency_key(row["message_id"]):
        yield "idempotency_key or message_id: one does not follow from the other"
    if chain.origin(row) == row["origin"]:
        return
    told = _told(events.get(1))
    differing = [name for name in _ASKED_AND_TOLD if name in told and row[name] != told[name]]
    if "amount" in told and _text(row["amount_minor"]) != told["amount"]:
        differing.append("amount_minor")
    yield f"what was asked for: {_named(differing, 'a column that no event tells of')}"


def _history(story: Story, events: Mapping[int, Row]) -> Iterator[str]:
    before, status, expected = story.withdrawal["origin"], None, 1
    for transition in story.transitions:
        number = transition["sequence"]
        for missing in _numbers(expected, number):
            yield f"transition {missing} is missing"
        is_next, expected = number == expected, number + 1
        event = events.get(number)
        if event is None:
            yield f"event {number} is missing"
        elif event["event_id"] != event_id(story.withdrawal["message_id"], number):
            yield f"event {number}: event_id"
        if is_next and transition["previous_status"] != status:
            yield f"transition {number}: previous_status"
        if is_next and event and chain.link(before, transition, event) != transition["hash"]:
            yield f"transition {number} or its event: {_disagreement(transition, event)}"
        before, status = transition["hash"], transition["status"]
    for number in sorted(events.keys() - {one["sequence"] for one in story.transitions}):
        yield f"event {number} tells of no transition"


def _standing(story: Story, events: Mapping[int, Row]) -> Iterator[str]:
    row, history = story.withdrawal, story.transitions
    newest = history[-1] if history else None
    if row["sequence"] != (0 if newest is None else newest["sequence"]):
        yield "sequence: not that of the newest transition"
    if newest is not None and row["status"] != newest["status"]:
        yield "status: not that of the newest transition"
    if row["head"] != (row["origin"] if newest is None else newest["hash"]):
        yield "head: not the hash of the newest transition"
    if (row["finished_at"] is not None) is not (row["status"] in _ENDS):
        yield "finished_at: does not go with the status"
    if chain.seal(row["head"], row) != row["seal"]:
        # A mere answer (a refused cancellation) leaves everything else as the last move left it.
        moves = [one for one in history if one["status"] != one["previous_status"]]
        differing = _differing(row, moves[-1] if moves else None, events)
        yield f"where it stands: {_named(differing, 'a column of it')}"


def _differing(row: Row, newest: Row | None, events: Mapping[int, Row]) -> list[str]:
    """Name what of the present state does not agree with the newest transition or its event."""
    if newest is None:
        return []
    names = [name for name in ("status", *_STANDS_AND_MOVED) if row[name] != newest[name]]
    if row["changed_at"] != newest["at"]:
        names.append("changed_at")
    if row["finished_at"] not in {None, newest["at"]}:
        names.append("finished_at")
    told = _told(events.get(newest["sequence"]))
    if "withdrawal_id" in told and row["withdrawal_id"] != told["withdrawal_id"]:
        names.append("withdrawal_id")
    return names


def _calls(begun: int, numbers: Sequence[int]) -> Iterator[str]:
    expected = 1
    for number in numbers:
        for missing in _numbers(expected, number):
            yield f"attempt {missing} is missing"
        expected = number + 1
    if expected <= begun:
        yield f"attempts: {begun} were begun, {expected - 1} are written down"


def _disagreement(transition: Row, event: Row) -> str:
    told = _told(event)
    differing = [n for n in _MOVED_AND_TOLD if n in told and transition[n] != told[n]]
    reason = told.get("reason") or {}
    if "reason" in told and isinstance(reason, dict):
        pairs = {"reason_code": "code", "reason_provider_code": "provider_code"}
        differing += [n for n, name in pairs.items() if transition[n] != reason.get(name)]
    if transition["at"] != event["created_at"]:
        differing.append("at")
    is_move = transition["status"] != transition["previous_status"]
    word = transition["status"] if is_move else CANCEL_REFUSED
    if event["type"] != f"withdrawal.{word}" and "status" not in differing:
        differing.append("event's type")
    return _named(differing, "a column in which they cannot be compared")


def _named(columns: Sequence[str], otherwise: str) -> str:
    return ", ".join(columns) or otherwise


def _numbers(first: int, end: int) -> range:
    """Return the numbers that are missing; an altered one may be absurd, so not all of them."""
    return range(first, min(end, first + _MISSING_TOLD))


_MISSING_TOLD: Final = 10


def _told(event: Row | None) -> Mapping[str, Any]:
    """Read an event's body; an altered one may hold anything."""
    try:
        document = json.loads(event["body"]) if event else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(minor: int | None) -> str | None:
    return None if minor is None else f"{minor // 100}.{minor % 100:02}"


def message_id_in(events: Sequence[Row]) -> str | None:
    """Return the message id that some event's body tells, for rows whose withdrawal is missing."""
    for event in events:
        if isinstance(told := _told(event).get("message_id"), str):
            return told
    return None
