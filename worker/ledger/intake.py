"""Requests written down for the first time, each once, or found known.

What follows for them is not here, but in `recording`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from worker.core.change import Held
from worker.ledger import cancellations, chain, rows
from worker.ledger.chronicle import Chapter
from worker.ledger.dialects import INSERTS
from worker.ledger.schema import withdrawals

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.core.answers import Attempt
    from worker.core.change import Decision
    from worker.ledger.chronicle import Chronicle
    from worker.ledger.tallies import Tally


@dataclass(frozen=True, slots=True)
class Take:
    """A request to be written down for the first time. Result: Taken."""

    decision: Decision
    fingerprint: bytes = field(repr=False)
    owner: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of it: new and written down just now, or known from before.

    `same` tells whether the content is that of the first time (true when it is new).
    """

    held: Held
    is_new: bool
    same: bool


def take(
    connection: Connection,
    steps: list[tuple[int, Take]],
    results: list[Any],
    chronicle: Chronicle,
    tally: Tally,
) -> None:
    """Write requests down, given with the places of their results, which are filled in."""
    # In one order everywhere: two replicas that insert the same ids cannot lock each other out.
    steps = sorted(steps, key=lambda numbered: numbered[1].decision.withdrawal.order.message_id)
    new = [_new_row(step) for _, step in steps]
    inserted = connection.execute(_INSERT[connection.dialect.name], [written for written, _ in new])
    made = {message_id: row for row, message_id in inserted}
    for (place, step), (written, chapter) in zip(steps, new, strict=True):
        withdrawal = step.decision.withdrawal
        # Of two with one id in one group the first is new; the second finds it known.
        row = made.pop(withdrawal.order.message_id, None)
        if row is not None:
            results[place] = Taken(Held(row, 1, withdrawal), is_new=True, same=True)
            chronicle.add(row, chapter, step.attempts)
            money = written["provider"], written["currency"], written["amount_minor"]
            tally.taken(*money)
            if withdrawal.is_finished:
                tally.finished(*money)
    _cancel_early(connection, [place for place, _ in steps if results[place]], results)
    known = [numbered for numbered in steps if results[numbered[0]] is None]
    if known:
        _find_known(connection, known, results)


def _cancel_early(connection: Connection, new: list[int], results: list[Any]) -> None:
    """Have those of the new requests cancelled whose cancellation came before them."""
    places = {results[place].held.withdrawal.order.message_id: place for place in new}
    taken = {message_id: results[place].held.row for message_id, place in places.items()}
    wanted = {}
    for message_id in cancellations.bind_requests(connection, taken):
        held: Held = results[places[message_id]].held
        at = wanted[held.row] = held.withdrawal.changed_at
        withdrawal = replace(held.withdrawal, cancel_wanted=True)
        cancelled = replace(held, withdrawal=withdrawal, woken_at=at)
        results[places[message_id]] = Taken(cancelled, is_new=True, same=True)
    cancellations.want(connection, wanted)


def _new_row(step: Take) -> tuple[rows.Row, Chapter]:
    withdrawal = step.decision.withdrawal
    asked = rows.order_row(withdrawal.order, step.fingerprint)
    state = rows.state_row(withdrawal)
    origin = chain.origin(asked)
    chapter = Chapter(origin, step.decision)
    return {
        **asked,
        **state,
        "origin": origin,
        "head": chapter.head,
        "seal": chain.seal(chapter.head, state),
        "version": 1,
        "cancel_wanted": False,
        # Without an intended call nobody has it in hand: it is free for whoever finds it due.
        "owner": step.owner if withdrawal.in_doubt else None,
    }, chapter


def _find_known(connection: Connection, steps: list[tuple[int, Take]], results: list[Any]) -> None:
    ids = [step.decision.withdrawal.order.message_id for _, step in steps]
    found = connection.execute(select(withdrawals).where(withdrawals.c.message_id.in_(ids)))
    by_id = {row["message_id"]: row for row in found.mappings()}
    for place, step in steps:
        row = by_id[step.decision.withdrawal.order.message_id]
        same = row["fingerprint"] == step.fingerprint
        results[place] = Taken(rows.held(row), is_new=False, same=same)


_INSERT: Final = {
    name: insert(withdrawals)
    .on_conflict_do_nothing(index_elements=["message_id"])
    .returning(withdrawals.c.id, withdrawals.c.message_id)
    for name, insert in INSERTS.items()
}
