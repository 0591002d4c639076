"""What each step writes, a group of steps at a time: few statements with many rows.

Runs inside a transaction that `group` opens. One code path for SQLite and PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.core.decide import Held
from worker.ledger import rows
from worker.ledger.schema import attempts, events, replicas, transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Executable, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from worker.core.answers import Attempt
    from worker.core.decide import Decision


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


@dataclass(frozen=True, slots=True)
class Record:
    """What follows for a held withdrawal. Result: Held, or None when somebody else changed it.

    `owner` None gives the withdrawal free for whoever finds it due.
    """

    held: Held
    decision: Decision
    attempts: tuple[Attempt, ...]
    owner: str | None


@dataclass(frozen=True, slots=True)
class Announced:
    """Events that the broker confirmed, as (row, sequence). Result: None."""

    events: tuple[tuple[int, int], ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """Take over what is due and free, oldest first. Result: list of Held, now owned.

    Free is what has no owner, or one that was not seen since `alive_since`, or is owned by this
    replica without being in anybody's hands (`busy` are the message ids that are).
    """

    owner: str
    now: datetime
    alive_since: datetime
    limit: int
    busy: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """A sign of life of this replica. Result: None."""

    replica: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gone:
    """This replica leaves; what it owned is free at once. Result: None."""

    replica: str


Step = Take | Record | Announced | Claim | Seen | Gone

_UPDATE: Final = (
    update(withdrawals)
    .where(withdrawals.c.id == bindparam("at_id"))
    .values(
        {
            name: bindparam(f"to_{name}")
            for name in (
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
                "in_doubt",
                "attempts",
                "first_attempt_at",
                "empty_lookups",
                "looks",
                "changed_at",
                "finished_at",
                "due_at",
            )
        }
    )
)
_ANNOUNCED: Final = (
    update(events)
    .where(
        events.c.withdrawal == bindparam("at_withdrawal"),
        events.c.sequence == bindparam("at_sequence"),
    )
    .values(published_at=bindparam("to_published_at"))
)


async def apply(connection: AsyncConnection, steps: Sequence[Step]) -> list[Any]:
    """Write a group of steps; return their results in the order of the steps."""
    results: list[Any] = [None] * len(steps)
    sorted_steps: dict[type, list[tuple[int, Any]]] = defaultdict(list)
    for index, step in enumerate(steps):
        sorted_steps[type(step)].append((index, step))
    history = _History()
    if Take in sorted_steps:
        await _take(connection, sorted_steps[Take], results, history)
    if Record in sorted_steps:
        await _record(connection, sorted_steps[Record], results, history)
    await history.write(connection)
    if Announced in sorted_steps:
        await _announced(connection, sorted_steps[Announced])
    for index, step in sorted_steps[Claim]:
        results[index] = await _claim(connection, step)
    for _, step in sorted_steps[Seen]:
        await _seen(connection, step)
    for _, step in sorted_steps[Gone]:
        await connection.execute(delete(replicas).where(replicas.c.id == step.replica))
    return results


class _History:
    """The rows that a group adds to the tables that only grow."""

    def __init__(self) -> None:
        self.transitions: list[rows.Row] = []
        self.events: list[rows.Row] = []
        self.attempts: list[rows.Row] = []

    def add(self, row: int, decision: Decision, made: tuple[Attempt, ...]) -> None:
        for change in decision.changes:
            self.transitions.append(rows.transition_row(row, change))
            self.events.append(rows.event_row(row, decision.withdrawal, change))
        self.attempts += [rows.attempt_row(row, attempt) for attempt in made]

    async def write(self, connection: AsyncConnection) -> None:
        if self.transitions:
            await connection.execute(transitions.insert(), self.transitions)
            await connection.execute(events.insert(), self.events)
        if self.attempts:
            await connection.execute(_ATTEMPT[connection.dialect.name], self.attempts)


async def _take(
    connection: AsyncConnection,
    steps: list[tuple[int, Take]],
    results: list[Any],
    history: _History,
) -> None:
    # In one order everywhere: two replicas that insert the same ids cannot lock each other out.
    steps = sorted(steps, key=lambda numbered: numbered[1].decision.withdrawal.order.message_id)
    new = [_new_row(step) for _, step in steps]
    inserted = await connection.execute(_INSERT[connection.dialect.name], new)
    made = {message_id: row for row, message_id in inserted}
    for index, step in steps:
        withdrawal = step.decision.withdrawal
        # Of two with one id in one group the first is new; the second finds it known.
        row = made.pop(withdrawal.order.message_id, None)
        if row is not None:
            results[index] = Taken(Held(row, 1, withdrawal), is_new=True, same=True)
            history.add(row, step.decision, step.attempts)
    known = [numbered for numbered in steps if results[numbered[0]] is None]
    if known:
        await _find_known(connection, known, results)


def _new_row(step: Take) -> rows.Row:
    withdrawal = step.decision.withdrawal
    return {
        **rows.order_row(withdrawal.order, step.fingerprint),
        **rows.state_row(withdrawal),
        "version": 1,
        "owner": None if withdrawal.due_at is None else step.owner,
    }


async def _find_known(
    connection: AsyncConnection, steps: list[tuple[int, Take]], results: list[Any]
) -> None:
    ids = [step.decision.withdrawal.order.message_id for _, step in steps]
    found = await connection.execute(select(withdrawals).where(withdrawals.c.message_id.in_(ids)))
    by_id = {row["message_id"]: row for row in found.mappings()}
    for index, step in steps:
        row = by_id[step.decision.withdrawal.order.message_id]
        same = bytes(row["fingerprint"]) == step.fingerprint
        results[index] = Taken(rows.held(row), is_new=False, same=same)


async def _record(
    connection: AsyncConnection,
    steps: list[tuple[int, Record]],
    results: list[Any],
    history: _History,
) -> None:
    versions = await connection.execute(
        select(withdrawals.c.id, withdrawals.c.version)
        .where(withdrawals.c.id.in_(sorted(step.held.row for _, step in steps)))
        .order_by(withdrawals.c.id)
        .with_for_update()
    )
    # .all(): a result has keys(), so dict() alone would take it for a mapping.
    current = dict(versions.tuples().all())
    changed = []
    for index, step in steps:
        row, version = step.held.row, step.held.version
        if current.get(row) != version:
            continue
        current[row] = version + 1
        results[index] = Held(row, version + 1, step.decision.withdrawal)
        state = rows.state_row(step.decision.withdrawal)
        changed.append(
            {f"to_{name}": value for name, value in state.items()}
            | {"at_id": row, "to_version": version + 1, "to_owner": step.owner}
        )
        history.add(row, step.decision, step.attempts)
    if changed:
        await connection.execute(_UPDATE, changed)


async def _announced(connection: AsyncConnection, steps: list[tuple[int, Announced]]) -> None:
    marks = [
        {"at_withdrawal": row, "at_sequence": sequence, "to_published_at": rows.micros(step.at)}
        for _, step in steps
        for row, sequence in step.events
    ]
    await connection.execute(_ANNOUNCED, marks)


async def _claim(connection: AsyncConnection, step: Claim) -> list[Held]:
    alive = select(replicas.c.id).where(
        replicas.c.seen_at > rows.micros(step.alive_since), replicas.c.id != step.owner
    )
    due = await connection.execute(
        select(withdrawals)
        .where(
            withdrawals.c.due_at <= rows.micros(step.now),
            or_(withdrawals.c.owner.is_(None), withdrawals.c.owner.not_in(alive)),
            withdrawals.c.message_id.not_in(sorted(step.busy)),
        )
        .order_by(withdrawals.c.due_at)
        .limit(step.limit)
        .with_for_update(skip_locked=True)
    )
    found = [rows.held(row) for row in due.mappings()]
    if found:
        await connection.execute(
            _CLAIMED,
            [{"at_id": h.row, "to_version": h.version + 1, "to_owner": step.owner} for h in found],
        )
    return [Held(h.row, h.version + 1, h.withdrawal) for h in found]


async def _seen(connection: AsyncConnection, step: Seen) -> None:
    at = rows.micros(step.at)
    await connection.execute(
        _SEEN[connection.dialect.name], {"id": step.replica, "started_at": at, "seen_at": at}
    )


_CLAIMED: Final = (
    update(withdrawals)
    .where(withdrawals.c.id == bindparam("at_id"))
    .values(version=bindparam("to_version"), owner=bindparam("to_owner"))
)

# The dialects' inserts look alike and share no type.
_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_INSERT: Final = {
    name: insert(withdrawals)
    .on_conflict_do_nothing(index_elements=["message_id"])
    .returning(withdrawals.c.id, withdrawals.c.message_id)
    for name, insert in _INSERTS.items()
}


def _upsert(name: str, table: Table, key: list[str], columns: list[str]) -> Executable:
    statement = _INSERTS[name](table)
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=key, set_={column: statement.excluded[column] for column in columns}
    )
    return upsert


_ENDED: Final = [
    "ended_at",
    "outcome",
    "http_status",
    "provider_code",
    "request_id",
    "provider_text",
]
_ATTEMPT: Final = {
    name: _upsert(name, attempts, ["withdrawal", "number"], _ENDED) for name in _INSERTS
}
_SEEN: Final = {name: _upsert(name, replicas, ["id"], ["seen_at"]) for name in _INSERTS}
