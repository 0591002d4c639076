"""What follows for a withdrawal that is held: its row changed, guarded by the row's version.

What follows is not decided here, and who holds it is not chosen here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, null, select, update

from worker.core.change import Held
from worker.ledger import cancellations, chain, rows, sales
from worker.ledger.chronicle import Chapter
from worker.ledger.many import Many, of_row, updating
from worker.ledger.schema import withdrawals

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.core.answers import Attempt
    from worker.core.change import Decision
    from worker.ledger.chronicle import Chronicle
    from worker.ledger.tallies import Tally

_AFTER: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Record:
    """What follows for a held withdrawal. Result: Held, or None when somebody else changed it.

    `owner` None gives the withdrawal free for whoever finds it due.
    """

    held: Held
    decision: Decision
    attempts: tuple[Attempt, ...]
    owner: str | None


def record(
    connection: Connection,
    steps: list[tuple[int, Record]],
    results: list[Any],
    chronicle: Chronicle,
    tally: Tally,
) -> None:
    """Record what follows, given with the places of the results, which are filled in."""
    found = connection.execute(_HELD, {"rows": sorted(step.held.row for _, step in steps)})
    current = {row: (version, head, is_wanted) for row, version, head, is_wanted in found}
    changed, heard, answered, recorded = [], [], {}, []
    for place, step in steps:
        row, version = step.held.row, step.held.version
        stored, head, is_wanted = current.get(row, (None, b"", False))
        if stored != version:
            continue
        chapter = Chapter(head, step.decision)
        after = step.decision.withdrawal
        if step.held.withdrawal.cancel_wanted and not after.cancel_wanted:
            answered[row], is_wanted = step.decision, False
        elif is_wanted:
            # Set meanwhile: whoever goes on with it has to know.
            after = replace(after, cancel_wanted=True)
        current[row] = version + 1, chapter.head, is_wanted
        woken_at = None if step.owner is None else step.held.woken_at
        results[place] = Held(row, version + 1, after, woken_at=woken_at)
        recorded.append((place, step))
        if step.owner is None and step.held.woken_at is not None:
            heard.append({"id": row, "woken_at": rows.micros(step.held.woken_at)})
        state = rows.state_row(step.decision.withdrawal)
        sealed = {"head": chapter.head, "seal": chain.seal(chapter.head, state)}
        own = {"id": row, "version": version + 1, "owner": step.owner}
        changed.append({**state, **sealed, **own})
        chronicle.add(row, chapter, step.attempts)
        chronicle.orders += sales.new_ids(row, step.held.withdrawal, step.decision.withdrawal)
        _count_end(step, tally)
    _UPDATE.execute(connection, changed)
    # Who was woken again meanwhile is taken up again.
    _HEARD.execute(connection, heard)
    cancellations.settle(connection, answered)
    _cancel_learned(connection, recorded, results)


def _learned(step: Record) -> bool:
    """Tell whether the id of a withdrawal becomes known by this."""
    before, after = step.held.withdrawal, step.decision.withdrawal
    return before.withdrawal_id is None and after.withdrawal_id is not None


def _cancel_learned(
    connection: Connection, steps: list[tuple[int, Record]], results: list[Any]
) -> None:
    """Have those cancelled whose cancellation named them before their ids were known."""
    learned = {}
    for place, step in steps:
        withdrawal = step.decision.withdrawal
        if _learned(step):
            learned[withdrawal.order.provider or "", withdrawal.withdrawal_id or ""] = place, step
    rows_of = {name: step.held.row for name, (_, step) in learned.items()}
    wanted = {}
    for name in cancellations.bind_withdrawals(connection, rows_of):
        place, step = learned[name]
        held: Held = results[place]
        results[place] = replace(held, withdrawal=replace(held.withdrawal, cancel_wanted=True))
        # Later than what wakes it now: who releases it later on must not put it to sleep.
        since = step.held.woken_at or held.withdrawal.changed_at
        wanted[held.row] = max(held.withdrawal.changed_at, since + _AFTER)
    cancellations.want(connection, wanted)


def _count_end(step: Record, tally: Tally) -> None:
    before, after = step.held.withdrawal, step.decision.withdrawal
    if before.is_finished is not after.is_finished:
        order = after.order
        count = 1 if after.is_finished else -1
        tally.finished(order.provider, order.currency, rows.minor(order.amount), count)


_HELD: Final = (
    select(*(withdrawals.c[name] for name in ("id", "version", "head", "cancel_wanted")))
    .where(withdrawals.c.id.in_(bindparam("rows", expanding=True)))
    .order_by(withdrawals.c.id)
    .with_for_update()
)
_STATE: Final = [
    "version",
    "owner",
    "status",
    "sequence",
    "withdrawal_id",
    "provider_status",
    "reason_code",
    "reason_provider_code",
    "reason_detail",
    "held_refusal_code",
    "held_refusal_provider_code",
    "held_refusal_detail",
    "in_doubt",
    "attempts",
    "first_attempt_at",
    "empty_lookups",
    "looks",
    "changed_at",
    "finished_at",
    "due_at",
    "errand",
    "sales",
    "head",
    "seal",
]
_UPDATE: Final = Many(lambda _: updating(withdrawals, ["id"], _STATE))
_HEARD: Final = Many(
    lambda _: (
        update(withdrawals)
        .where(withdrawals.c.id == of_row("id"), withdrawals.c.woken_at <= of_row("woken_at"))
        # Not None, which would be a place of the same name.
        .values(woken_at=null())
    )
)
