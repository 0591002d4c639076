"""Hints from outside that a withdrawal should be looked at now, each heard once.

A hint sets `woken_at` and nothing else: whoever claims the row then reads the truth from the
provider. No content of a delivery is kept here, and none decides anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from sqlalchemy import case, delete, select, update

from worker.ledger import rows
from worker.ledger.dialects import INSERTS
from worker.ledger.schema import sale_orders, webhooks, withdrawals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from sqlalchemy import Connection

    from worker.flows.hearing import Notice

    #: The rows that ids belong to, by provider and id.
    Owners: TypeAlias = Mapping[tuple[str, str], Collection[int]]

_T = TypeVar("_T", int, str)

#: What became of a hint. Occupied: somebody writes the withdrawal at this moment; ask again.
Fate = Literal["heard", "duplicate", "unknown", "occupied"]

#: How often, and after which pauses, one asks again that found its withdrawal occupied. Who writes
#: it is done within a commit.
TRIES: Final = 40
PAUSE_SECONDS: Final = 0.05

#: So many values stand in one statement. The databases take some thousands.
VALUES_AT_ONCE: Final = 1000

#: So many old deliveries are forgotten in one step: it must not hold up what is written beside it.
FORGET_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Hear:
    """A delivery tells of these events of a provider. Result: the Fate of each.

    Each names ids of withdrawals or orders. Its digest tells it from others; a repeated one changes
    nothing. Its kind is kept beside it for people.
    """

    provider: str
    notices: Sequence[Notice] = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class Forget:
    """Deliveries received before a time are forgotten, some at once. Result: how many."""

    before: datetime


def hear(connection: Connection, steps: Sequence[tuple[int, Hear]], results: list[Any]) -> None:
    """Write a group of deliveries; the result of each goes to its place in `results`.

    To be the last that a transaction waits in. A replica that waited here for another one's row
    while it holds rows of its own could wait for ever, so a row that is being written is left
    alone; what is waited for are digests, in one order everywhere.
    """
    owners = _owners(connection, [step for _, step in steps])
    found = [[_rows(step.provider, notice, owners) for notice in step.notices] for _, step in steps]
    free = _locked(connection, frozenset().union(*chain.from_iterable(found)))
    new = {
        notice.digest: _delivery(step, notice, owners)
        for (_, step), named in zip(steps, found, strict=True)
        for notice, rows_named in zip(step.notices, named, strict=True)
        if rows_named and rows_named <= free
    }
    written = _written(connection, new)
    woken: set[int] = set()

    def fate(notice: Notice, rows_named: frozenset[int]) -> Fate:
        if not rows_named <= free:
            return "occupied"
        if not rows_named:
            return "unknown"
        if notice.digest not in written:
            return "duplicate"
        # Of two with one digest in a group, the second finds it known.
        written.remove(notice.digest)
        woken.update(rows_named)
        return "heard"

    for (place, step), named in zip(steps, found, strict=True):
        results[place] = [fate(*each) for each in zip(step.notices, named, strict=True)]
    _wake(connection, woken, max(step.at for _, step in steps))


def forget(connection: Connection, step: Forget) -> int:
    """Delete some of the deliveries that are older than anybody repeats them; return how many."""
    old = connection.scalars(
        select(webhooks.c.digest)
        .where(webhooks.c.received_at < rows.micros(step.before))
        .order_by(webhooks.c.received_at)
        .limit(FORGET_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    if old:
        connection.execute(delete(webhooks).where(webhooks.c.digest.in_(old)))
    return len(old)


def traces_of(connection: Connection, provider: str, ids: Collection[str]) -> list[str]:
    """Return the traceparents of the requests whose withdrawals or orders have these ids."""
    found = _owners_of(connection, provider, ids)
    named = {row for rows_named in found.values() for row in rows_named}
    return [
        traceparent
        for some in _batched(named)
        for traceparent in connection.scalars(
            select(withdrawals.c.traceparent)
            .where(withdrawals.c.id.in_(some), withdrawals.c.traceparent.is_not(None))
            .order_by(withdrawals.c.id)
        )
    ]


def heard_since(connection: Connection, since: datetime) -> frozenset[str]:
    """Return the providers of whose webhooks one was heard since then."""
    statement = (
        select(webhooks.c.provider).where(webhooks.c.received_at >= rows.micros(since)).distinct()
    )
    return frozenset(connection.scalars(statement))


def _owners(connection: Connection, steps: Iterable[Hear]) -> Owners:
    ids: dict[str, set[str]] = {}
    for step in steps:
        ids.setdefault(step.provider, set()).update(*(notice.ids for notice in step.notices))
    owners: dict[tuple[str, str], Collection[int]] = {}
    for provider, named in ids.items():
        owners.update(_owners_of(connection, provider, named))
    return owners


def _owners_of(connection: Connection, provider: str, named: Collection[str]) -> Owners:
    owners: dict[tuple[str, str], set[int]] = {}
    for some in _batched(named):
        for statement in (
            select(withdrawals.c.withdrawal_id, withdrawals.c.id).where(
                withdrawals.c.provider == provider, withdrawals.c.withdrawal_id.in_(some)
            ),
            select(sale_orders.c.order_id, sale_orders.c.withdrawal).where(
                sale_orders.c.provider == provider, sale_orders.c.order_id.in_(some)
            ),
        ):
            for name, row in connection.execute(statement):
                owners.setdefault((provider, name), set()).add(row)
    return owners


def _rows(provider: str, notice: Notice, owners: Owners) -> frozenset[int]:
    return frozenset().union(*(owners.get((provider, name), ()) for name in notice.ids))


def _locked(connection: Connection, wanted: Collection[int]) -> frozenset[int]:
    """Lock those of the rows that nobody else has locked; return them."""
    return frozenset(
        row
        for some in _batched(wanted)
        for row in connection.scalars(
            select(withdrawals.c.id)
            .where(withdrawals.c.id.in_(some))
            .order_by(withdrawals.c.id)
            .with_for_update(skip_locked=True)
        )
    )


def _delivery(step: Hear, notice: Notice, owners: Owners) -> rows.Row:
    return {
        "digest": notice.digest,
        "provider": step.provider,
        "event": notice.event,
        "resource_id": next(name for name in notice.ids if (step.provider, name) in owners),
        "received_at": rows.micros(step.at),
    }


def _written(connection: Connection, new: Mapping[bytes, rows.Row]) -> set[bytes]:
    """Insert the deliveries that are not known yet; return their digests."""
    if not new:
        return set()
    insert = _INSERT[connection.dialect.name]
    return set(connection.scalars(insert, [new[digest] for digest in sorted(new)]))


def _wake(connection: Connection, woken: Collection[int], at: datetime) -> None:
    moment = rows.micros(at)
    for some in _batched(woken):
        connection.execute(
            update(withdrawals)
            # Also one that is awake already, and never to an earlier time: whoever has it in hand
            # sees that it was woken again since, and does not put it to sleep.
            .where(withdrawals.c.id.in_(some))
            .values(
                woken_at=case(
                    (withdrawals.c.woken_at >= moment, withdrawals.c.woken_at + 1), else_=moment
                )
            )
        )


def _batched(values: Collection[_T]) -> Iterator[list[_T]]:
    """Yield the values in order, some at a time."""
    ordered = sorted(values)
    for first in range(0, len(ordered), VALUES_AT_ONCE):
        yield ordered[first : first + VALUES_AT_ONCE]


_INSERT: Final[dict[str, Any]] = {
    name: insert(webhooks)
    .on_conflict_do_nothing(index_elements=["digest"])
    .returning(webhooks.c.digest)
    for name, insert in INSERTS.items()
}
