"""Who takes over which withdrawals: the due and the woken that are free, one owner at a time.

What is then done with them is not here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Integer, bindparam, exists, or_, select, tuple_

from worker.core.withdrawal import Errand
from worker.flows.ports import Lane
from worker.ledger import rows
from worker.ledger.many import Many, updating
from worker.ledger.schema import replicas, withdrawals

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Select

    from worker.core.change import Held


@dataclass(frozen=True, slots=True)
class Claim:
    """Take over what is due or woken, and free. Result: list of Held, now owned.

    Free is what has no owner, or one that was not seen since `alive_since`, or is owned by this
    replica without being in anybody's hands (`busy` are the message ids that are). Withdrawals of
    the `shunned` providers are left where they are.

    Of the `lanes`, what was woken comes first, then the due by errand, each the longest due first.
    With `beside`, only looks at other withdrawals of these parties, given as (provider, party):
    those that are due by `now`, which may lie ahead.
    """

    owner: str
    now: datetime
    alive_since: datetime
    limit: int
    busy: frozenset[str]
    shunned: frozenset[str] = frozenset()
    lanes: frozenset[Lane] = frozenset(Lane)
    beside: frozenset[tuple[str, str]] = frozenset()


def claim(connection: Connection, step: Claim, busy: set[str]) -> list[Held]:
    """Take over what a step asks for, but for the `busy`: message ids that are in hand."""
    found: list[Held] = []
    asked = {
        "owner": step.owner,
        "now": rows.micros(step.now),
        "alive_since": rows.micros(step.alive_since),
        "shunned": sorted(step.shunned),
        "beside": sorted(step.beside),
    }
    for query in _queries(connection, step):
        if len(found) == step.limit:
            break
        taken = busy | step.busy | {held.withdrawal.order.message_id for held in found}
        left = step.limit - len(found)
        due = connection.execute(query, {**asked, "busy": sorted(taken), "left": left})
        found += [rows.held(row) for row in due.mappings()]
    claimed = [replace(held, version=held.version + 1) for held in found]
    _CLAIMED.execute(
        connection,
        [{"id": held.row, "version": held.version, "owner": step.owner} for held in claimed],
    )
    return claimed


def _queries(connection: Connection, step: Claim) -> list[Select[Any]]:
    """Return the queries for what is claimed, the first first."""
    if step.beside:
        return [_BESIDE]
    # Mostly nothing is due: one question tells, and the others need not be asked.
    lanes = tuple(sorted(step.lanes))
    are_any = connection.execute(_are_any(lanes), {"now": rows.micros(step.now)}).one()
    sources = zip(_sources(lanes), are_any, strict=True)
    return [source.query for source, is_any in sources if is_any]


@cache
def _are_any(lanes: tuple[Lane, ...]) -> Select[Any]:
    """Return the question whether there are any rows, free or not, in each source of the lanes."""
    questions: list[Any] = [source.is_any for source in _sources(lanes)]
    return select(*questions)


def _sources(lanes: tuple[Lane, ...]) -> list[_Source]:
    return [source for lane in lanes for source in _SOURCES[lane]]


class _Source(NamedTuple):
    """Something to claim: whether there is any of it, and the query for what of it is free.

    Both are made once: workers ask several times a second, and to put such a query together costs
    more than to execute it.
    """

    is_any: ColumnElement[bool]
    query: Select[Any]


def _free(order: Column[Any], *wanted: ColumnElement[bool]) -> Select[Any]:
    """Return the query for what is wanted and free, in this order."""
    alive = select(replicas.c.id).where(
        replicas.c.seen_at > bindparam("alive_since"), replicas.c.id != bindparam("owner")
    )
    owner = withdrawals.c.owner
    return (
        select(withdrawals)
        .where(
            *wanted,
            or_(owner.is_(None), owner.not_in(alive)),
            withdrawals.c.message_id.not_in(bindparam("busy", expanding=True)),
            withdrawals.c.provider.not_in(bindparam("shunned", expanding=True)),
        )
        .order_by(order)
        .limit(bindparam("left", type_=Integer))
        .with_for_update(skip_locked=True)
    )


def _source(order: Column[Any], *wanted: ColumnElement[bool]) -> _Source:
    return _Source(exists(select(withdrawals.c.id).where(*wanted)), _free(order, *wanted))


def _woken(is_wanted: ColumnElement[bool]) -> _Source:
    woken_at = withdrawals.c.woken_at
    return _source(woken_at, woken_at.is_not(None), is_wanted)


def _due(errand: Errand) -> _Source:
    return _source(withdrawals.c.due_at, _IS_DUE, withdrawals.c.errand == errand)


_IS_DUE: Final = withdrawals.c.due_at <= bindparam("now")
_IS_URGENT: Final = or_(withdrawals.c.errand == Errand.ACT, withdrawals.c.cancel_wanted)
#: What is claimed in each lane, the first first. One for each errand: so every one of them reads
#: the index in its own order, and stops.
_SOURCES: Final = {
    Lane.URGENT: (_woken(_IS_URGENT), _due(Errand.ACT)),
    Lane.LOOKS: (
        _woken(~_IS_URGENT),
        _due(Errand.LOOK_EXPECTED),
        _due(Errand.LOOK),
        _due(Errand.LOOK_FINISHED),
    ),
}
_BESIDE: Final = _free(
    withdrawals.c.due_at,
    _IS_DUE,
    withdrawals.c.errand.in_([Errand.LOOK_EXPECTED, Errand.LOOK]),
    withdrawals.c.withdrawal_id.is_not(None),
    tuple_(withdrawals.c.provider, withdrawals.c.party_id).in_(bindparam("beside", expanding=True)),
)
_CLAIMED: Final = Many(lambda _: updating(withdrawals, ["id"], ["version", "owner"]))
