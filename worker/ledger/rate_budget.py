"""The request budget that all replicas share: who gets which slots, one after the other.

How slots are shared out is decided in the core; here it is read and written. No lock is held while
a replica computes: a budget is written back only if it stands where it stood, so that one that is
stopped in between keeps nobody waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, literal, select, true, update

from worker.core.budget import NONE, Budget, Calls, Reserved, Wish, allot, beyond
from worker.flows.ports import LedgerUnavailable
from worker.ledger.clock import steady
from worker.ledger.dialects import INSERTS
from worker.ledger.queries import NOW
from worker.ledger.schema import budget_demands, budgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Connection

#: A demand that was told longer ago counts no more: who waits tells it several times a second.
FRESH: Final = 1_000_000
#: A demand as old as this is that of a replica that is gone, and is forgotten.
_FORGOTTEN_AFTER: Final = 3_600_000_000
#: An unchanged demand is not told again before it is so old.
_TOLD_AGAIN_AFTER: Final = FRESH // 4
#: How often a budget is tried that others change at the same time; each time, one of them got some.
_TRIES: Final = 50
_CONTENDED: Final = "the request budget is contended"
#: What two clocks may drift apart, and how exactly SQLite tells its own (microseconds).
_DRIFT: Final = 200e-6
_EXACT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Reserve:
    """Slots that a replica wants of a budget, which are `gap` microseconds apart. Result: Got."""

    budget: str
    replica: str
    gap: int
    wish: Wish


@dataclass(frozen=True, slots=True)
class Got:
    """What it got, and between which steady seconds the database's clock said `now`."""

    asked_at: float
    now: int
    answered_at: float
    first: int
    count: int
    gap: int
    budget: Budget


class Offset:
    """How far the database's clock is ahead of this process's steady one.

    Each reading lies somewhere between question and answer, and the true offset is in all of them:
    one answer that was read late spoils nothing.
    """

    def __init__(self, *, steady: Callable[[], float] = steady) -> None:
        self._steady = steady
        self._read_at = 0.0
        self._least = self._most = 0.0

    def reserved(self, got: Got) -> Reserved:
        """Return what was got, with the time that the database's clock shows now."""
        self._narrow(got)
        offset, doubt = (self._least + self._most) / 2, (self._most - self._least) / 2
        now = round(self._steady() * 1e6 + offset)
        age = max(0, now - got.now)
        return Reserved(now, got.first, got.count, got.gap, got.budget, age=age, doubt=round(doubt))

    def _narrow(self, got: Got) -> None:
        least, most = got.now - got.answered_at * 1e6, got.now - got.asked_at * 1e6
        least, most = least - _EXACT, most + _EXACT
        drift = (got.answered_at - self._read_at) * 1e6 * _DRIFT
        both = max(least, self._least - drift), min(most, self._most + drift)
        # Never at once: one of the clocks was set, or this is the first reading.
        self._least, self._most = both if both[0] <= both[1] else (least, most)
        self._read_at = got.answered_at


def reserve(connection: Connection, step: Reserve, *, in_group: bool) -> Got:
    """Give a replica its slots, and remember what it could not get.

    Outside a group each statement is a transaction of its own, and none of these waits for the
    disk.
    """
    haste = true() if in_group else _NO_DISK
    for _ in range(_TRIES):
        found = _look(connection, step.budget)
        others = _others(found, step.replica)
        first, count, after = allot(found.budget, step.wish, others, gap=step.gap, now=found.now)
        if after == found.budget or _change(connection, step.budget, found.budget, after, haste):
            _tell(connection, step, found, beyond(step.wish.wanted, count), haste)
            return Got(found.asked_at, found.now, found.answered_at, first, count, step.gap, after)
    raise LedgerUnavailable(_CONTENDED)


@dataclass(frozen=True, slots=True)
class _Found:
    """A budget, what replicas told to want of it and when; and the time, as in Got."""

    asked_at: float
    now: int
    answered_at: float
    budget: Budget
    demands: dict[str, tuple[Calls, int]]


def _look(connection: Connection, name: str) -> _Found:
    statement = _LOOK[connection.dialect.name]
    asked_at = steady()
    rows = connection.execute(statement, {"wanted": name}).all()
    answered_at = steady()
    if not rows:
        insert = INSERTS[connection.dialect.name](budgets).on_conflict_do_nothing()
        connection.execute(insert.values(name=name, next_at=0, paused_until=0, passed=0))
        return _look(connection, name)
    first = rows[0]
    demands = {
        row.replica: ((row.urgent, row.submissions, row.looks), row.told_at)
        for row in rows
        if row.replica is not None
    }
    budget = Budget(first.next_at, first.paused_until, first.passed)
    return _Found(asked_at, first.now, answered_at, budget, demands)


def _others(found: _Found, replica: str) -> Calls:
    fresh = [
        calls
        for other, (calls, told_at) in found.demands.items()
        if other != replica and told_at > found.now - FRESH
    ]
    urgent, submissions, looks = (sum(rank) for rank in zip(NONE, *fresh, strict=True))
    return urgent, submissions, looks


def _change(
    connection: Connection, name: str, before: Budget, after: Budget, haste: ColumnElement[bool]
) -> bool:
    """Write a budget, unless somebody else has changed it meanwhile."""
    changed = connection.execute(
        update(budgets)
        .where(
            haste,
            budgets.c.name == name,
            budgets.c.next_at == before.next_at,
            budgets.c.paused_until == before.paused_until,
        )
        .values(next_at=after.next_at, paused_until=after.paused_until, passed=after.passed)
    )
    return changed.rowcount == 1


def _tell(
    connection: Connection, step: Reserve, found: _Found, unmet: Calls, haste: ColumnElement[bool]
) -> None:
    """Leave word of what is still wanted; nothing is written where nothing is."""
    own, told_at = found.demands.get(step.replica, (NONE, 0))
    if unmet == own and (unmet == NONE or told_at > found.now - _TOLD_AGAIN_AFTER):
        return
    if unmet == NONE:
        old = [
            replica
            for replica, (_, at) in found.demands.items()
            if replica == step.replica or at < found.now - _FORGOTTEN_AFTER
        ]
        connection.execute(
            delete(budget_demands).where(
                haste,
                budget_demands.c.budget == step.budget,
                budget_demands.c.replica.in_(sorted(old)),
            )
        )
        return
    urgent, submissions, looks = unmet
    told = {"urgent": urgent, "submissions": submissions, "looks": looks, "told_at": found.now}
    row = {"budget": step.budget, "replica": step.replica, **told}
    insert = INSERTS[connection.dialect.name](budget_demands)
    connection.execute(
        insert.from_select(
            list(row),
            select(*(literal(value) for value in row.values())).where(haste),
        ).on_conflict_do_update(
            index_elements=["budget", "replica"],
            set_={name: insert.excluded[name] for name in told},
        )
    )


#: Part of a statement that writes: its commit does not wait for the disk. It is said in the very
#: statement and holds for its own transaction, so that no other commit can ever be meant.
_NO_DISK: Final = func.set_config("synchronous_commit", "off", True) == "off"

_LOOK: Final = {
    name: select(
        now.label("now"),
        budgets.c.next_at,
        budgets.c.paused_until,
        budgets.c.passed,
        budget_demands.c.replica,
        budget_demands.c.urgent,
        budget_demands.c.submissions,
        budget_demands.c.looks,
        budget_demands.c.told_at,
    )
    .select_from(budgets.outerjoin(budget_demands, budget_demands.c.budget == budgets.c.name))
    .where(budgets.c.name == bindparam("wanted"))
    for name, now in NOW.items()
}
