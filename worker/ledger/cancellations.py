"""Cancel messages in the ledger: each taken once, bound to its withdrawal, settled with an answer.

A cancellation may come before its request. So whoever writes a request down, or learns the id of a
withdrawal, looks whether one waits for it; and whoever writes a cancellation down looks for its
withdrawal. That the two never miss each other is what `in_turn` is for. Nothing here decides what
becomes of a withdrawal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import bindparam, false, select, true, update

from worker.core.cancellations import Cancel
from worker.core.messages import Context
from worker.core.withdrawal import ReasonCode
from worker.ledger import rows
from worker.ledger.dialects import INSERTS
from worker.ledger.many import Many, of_row
from worker.ledger.schema import cancellations, withdrawals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping

    from worker.core.change import Decision

_P = TypeVar("_P", bound=str | None)

#: So many are given up in one step: it must not hold up what is written beside it.
GIVEN_UP_AT_ONCE: Final = 200

# Every request passes these: texts, since to put them together costs more than to execute them. The
# number is any by which nothing else in the database locks.
_ALONE: Final = "SELECT pg_advisory_xact_lock(109270242354540)"
_NOT_WHILE_ALONE: Final = "SELECT pg_advisory_xact_lock_shared(109270242354540)"
_ANY_WAITS: Final = (
    "SELECT 1 FROM cancellations WHERE withdrawal IS NULL AND settled_at IS NULL LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A cancellation to be written down for the first time. Result: Asked.

    Where its withdrawal is not known it waits, and is not given up before `waits_until`.
    """

    cancel: Cancel
    at: datetime
    waits_until: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of it: new and written down just now, or known from before.

    `same` tells whether the content is that of the first time (true when it is new), `row` is the
    withdrawal that it is for, None while that is not known.
    """

    is_new: bool
    same: bool
    row: int | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Settle some of those that have waited in vain until now. Result: list of GivenUp."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A cancellation of something that has not come, and since when it is settled as such."""

    cancel: Cancel
    at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """The broker confirmed the answers to these given up. Result: None."""

    message_ids: frozenset[str]
    at: datetime


def in_turn(connection: Connection, *, asks: bool, learns: bool) -> None:
    """Let nobody write down a cancellation while somebody writes down what it may be for.

    `asks` is for a transaction that writes or gives up cancellations, `learns` for one that writes
    requests or ids of withdrawals. To be called before anything is locked or read. One that asks is
    alone, so it sees all that was learned before, and all who learn later see what it wrote. On
    SQLite every transaction that writes is alone.
    """
    if connection.dialect.name == "postgresql" and (asks or learns):
        connection.exec_driver_sql(_ALONE if asks else _NOT_WHILE_ALONE)


def ask(connection: Connection, steps: Sequence[tuple[int, Ask]], results: list[Any]) -> None:
    """Write cancellations down and tell their withdrawals, as far as those are known."""
    steps = sorted(steps, key=lambda numbered: numbered[1].cancel.message_id)
    targets = _targets(connection, [step.cancel for _, step in steps])
    new = [_new_row(step, targets.get(_named(step.cancel))) for _, step in steps]
    written = set(connection.scalars(_INSERT[connection.dialect.name], new))
    told: dict[int, datetime] = {}
    for place, step in steps:
        # Of two with one id in one group the first is new; the second finds it known.
        if step.cancel.message_id in written:
            written.remove(step.cancel.message_id)
            row = targets.get(_named(step.cancel))
            results[place] = Asked(is_new=True, same=True, row=row)
            if row is not None:
                told[row] = max(step.at, told.get(row, step.at))
    _find_known(connection, [numbered for numbered in steps if not results[numbered[0]]], results)
    if told:
        # In one order everywhere: whoever records withdrawals locks them so too.
        locked = select(withdrawals.c.id).where(withdrawals.c.id.in_(sorted(told)))
        connection.execute(locked.order_by(withdrawals.c.id).with_for_update())
        want(connection, told)


def want(connection: Connection, at: Mapping[int, datetime]) -> None:
    """Have withdrawals, given by row, taken up to be cancelled; `at` is since when each is woken.

    The rows have to be locked already.
    """
    _WANT.execute(
        connection, [{"id": row, "woken_at": rows.micros(since)} for row, since in at.items()]
    )


def bind_requests(connection: Connection, new: Mapping[str, int]) -> frozenset[str]:
    """Bind what waits for requests, given by message id with their new rows; return their ids."""
    if not new or not _any_waits(connection):
        return frozenset()
    waiting = connection.scalars(
        select(cancellations.c.request_message_id).where(
            cancellations.c.request_message_id.in_(sorted(new)), *_WAITS
        )
    )
    found = frozenset(name for name in waiting if name is not None)
    _BIND_REQUEST.execute(
        connection, [{"request_message_id": name, "withdrawal": new[name]} for name in found]
    )
    return found


def bind_withdrawals(
    connection: Connection, learned: Mapping[tuple[str, str], int]
) -> frozenset[tuple[str, str]]:
    """Bind what waits for withdrawals, given by provider and id with their rows; return which."""
    if not learned or not _any_waits(connection):
        return frozenset()
    columns = cancellations.c
    found = frozenset(
        (provider, withdrawal_id)
        for provider, ids in _by_provider(learned).items()
        for withdrawal_id in connection.scalars(
            select(columns.withdrawal_id).where(
                columns.provider == provider, columns.withdrawal_id.in_(sorted(ids)), *_WAITS
            )
        )
    )
    _BIND_WITHDRAWAL.execute(
        connection,
        [
            {"provider": name[0], "withdrawal_id": name[1], "withdrawal": learned[name]}
            for name in found
        ],
    )
    return found


def settle(connection: Connection, answered: Mapping[int, Decision]) -> None:
    """Settle the open cancellations of withdrawals, given by row, by what answers them."""
    written = []
    for row, decision in answered.items():
        withdrawal = decision.withdrawal
        last = decision.changes[-1] if decision.changes else None
        outcome = withdrawal.status.value if last is None else last.word or last.status.value
        at = rows.micros(withdrawal.changed_at if last is None else last.at)
        answer = withdrawal.sequence
        written.append({"id": row, "settled_at": at, "outcome": outcome, "answer": answer})
    _UNWANT.execute(connection, written)
    _SETTLE.execute(connection, written)


def give_up(connection: Connection, step: GiveUp) -> list[GivenUp]:
    """Settle some of those that have waited in vain, the longest first."""
    at = rows.micros(step.at)
    found = connection.execute(
        select(cancellations)
        .where(*_WAITS, cancellations.c.waits_until <= at)
        .order_by(cancellations.c.waits_until)
        .limit(GIVEN_UP_AT_ONCE)
    )
    given_up = [GivenUp(_cancel(row), step.at) for row in found.mappings()]
    if given_up:
        connection.execute(
            update(cancellations)
            .where(cancellations.c.message_id.in_([one.cancel.message_id for one in given_up]))
            .values(settled_at=at, outcome=ReasonCode.UNKNOWN_REQUEST.value)
        )
    return given_up


def answered(connection: Connection, step: Answered) -> None:
    """Remember that answers were published."""
    connection.execute(
        update(cancellations)
        .where(cancellations.c.message_id.in_(sorted(step.message_ids)))
        .values(published_at=rows.micros(step.at))
    )


def overdue(connection: Connection, now: datetime) -> bool:
    """Tell whether any cancellation has waited in vain until now."""
    return connection.execute(_OVERDUE, {"now": rows.micros(now)}).first() is not None


def unanswered(connection: Connection, *, before: datetime) -> list[GivenUp]:
    """Return some of those that were given up before a time and have no confirmed answer."""
    found = connection.execute(_UNANSWERED, {"before": rows.micros(before)})
    return [GivenUp(_cancel(row), rows.at(row["settled_at"])) for row in found.mappings()]


def of(connection: Connection, row: int) -> tuple[Mapping[str, Any], ...]:
    """Return the cancellations of a withdrawal as plain rows for people, the oldest first."""
    return _told(connection, cancellations.c.withdrawal == row)


def known(connection: Connection, message_id: str) -> Mapping[str, Any] | None:
    """Return the cancellation with this message id as a plain row for people, if there is one."""
    return next(iter(_told(connection, cancellations.c.message_id == message_id)), None)


def naming(connection: Connection, message_id: str) -> tuple[Mapping[str, Any], ...]:
    """Return the cancellations that name a request as plain rows for people, the oldest first."""
    return _told(connection, cancellations.c.request_message_id == message_id)


def _any_waits(connection: Connection) -> bool:
    # Nearly always nothing does, and then nothing more has to be asked.
    return connection.exec_driver_sql(_ANY_WAITS).first() is not None


#: Neither bound nor settled.
_WAITS: Final = (cancellations.c.withdrawal.is_(None), cancellations.c.settled_at.is_(None))
_TOLD: Final = (
    "message_id",
    "taken_at",
    "reason",
    "correlation_id",
    "waits_until",
    "settled_at",
    "outcome",
)


def _told(connection: Connection, wanted: ColumnElement[bool]) -> tuple[Mapping[str, Any], ...]:
    found = connection.execute(
        select(*(cancellations.c[name] for name in _TOLD))
        .where(wanted)
        .order_by(cancellations.c.taken_at, cancellations.c.message_id)
    )
    return tuple(dict(row) for row in found.mappings())


def _named(cancel: Cancel) -> tuple[str | None, str]:
    """Return what a cancellation names: a provider's withdrawal, or without provider a request."""
    return cancel.provider, cancel.withdrawal_id or cancel.request_message_id or ""


def _targets(
    connection: Connection, cancels: Iterable[Cancel]
) -> dict[tuple[str | None, str], int]:
    """Return the rows that are named, by name; one that is not known is left out."""
    table = withdrawals.c
    targets: dict[tuple[str | None, str], int] = {}
    for provider, names in _by_provider(_named(cancel) for cancel in cancels).items():
        name = table.message_id if provider is None else table.withdrawal_id
        named = select(table.id, name).where(name.in_(sorted(names)))
        if provider is not None:
            named = named.where(table.provider == provider)
        for row, found in connection.execute(named):
            targets[provider, found] = row
    return targets


def _by_provider(names: Iterable[tuple[_P, str]]) -> dict[_P, set[str]]:
    found: dict[_P, set[str]] = {}
    for provider, name in names:
        found.setdefault(provider, set()).add(name)
    return found


def _find_known(
    connection: Connection, steps: Collection[tuple[int, Ask]], results: list[Any]
) -> None:
    if not steps:
        return
    columns = cancellations.c
    found = connection.execute(
        select(columns.message_id, columns.fingerprint, columns.withdrawal).where(
            columns.message_id.in_([step.cancel.message_id for _, step in steps])
        )
    )
    by_id = {row.message_id: row for row in found}
    for place, step in steps:
        row = by_id[step.cancel.message_id]
        same = row.fingerprint == step.cancel.fingerprint
        results[place] = Asked(is_new=False, same=same, row=row.withdrawal)


def _new_row(step: Ask, row: int | None) -> rows.Row:
    cancel = step.cancel
    return {
        "message_id": cancel.message_id,
        "fingerprint": cancel.fingerprint,
        "request_message_id": cancel.request_message_id,
        "provider": cancel.provider,
        "withdrawal_id": cancel.withdrawal_id,
        "reason": cancel.reason,
        "correlation_id": cancel.context.correlation_id,
        "reply_to": cancel.context.reply_to,
        "traceparent": cancel.context.traceparent,
        "taken_at": rows.micros(step.at),
        "waits_until": rows.micros(step.waits_until),
        "withdrawal": row,
    }


def _cancel(row: RowMapping) -> Cancel:
    return Cancel(
        message_id=row["message_id"],
        request_message_id=row["request_message_id"],
        provider=row["provider"],
        withdrawal_id=row["withdrawal_id"],
        reason=row["reason"],
        fingerprint=row["fingerprint"],
        context=Context(
            message_id=row["message_id"],
            correlation_id=row["correlation_id"],
            reply_to=row["reply_to"],
            traceparent=row["traceparent"],
        ),
    )


# Asked again and again: made once.
_OVERDUE: Final = (
    select(cancellations.c.message_id)
    .where(*_WAITS, cancellations.c.waits_until <= bindparam("now"))
    .limit(1)
)
_UNANSWERED: Final = (
    select(cancellations)
    .where(
        cancellations.c.withdrawal.is_(None),
        cancellations.c.published_at.is_(None),
        cancellations.c.settled_at <= bindparam("before"),
    )
    .order_by(cancellations.c.settled_at)
    .limit(GIVEN_UP_AT_ONCE)
)
_INSERT: Final[dict[str, Any]] = {
    name: insert(cancellations)
    .on_conflict_do_nothing(index_elements=["message_id"])
    .returning(cancellations.c.message_id)
    for name, insert in INSERTS.items()
}
_BIND_REQUEST: Final = Many(
    lambda _: (
        update(cancellations)
        .where(cancellations.c.request_message_id == of_row("request_message_id"), *_WAITS)
        .values(withdrawal=of_row("withdrawal"))
    )
)
_BIND_WITHDRAWAL: Final = Many(
    lambda _: (
        update(cancellations)
        .where(
            cancellations.c.provider == of_row("provider"),
            cancellations.c.withdrawal_id == of_row("withdrawal_id"),
            *_WAITS,
        )
        .values(withdrawal=of_row("withdrawal"))
    )
)
_SETTLE: Final = Many(
    lambda _: (
        update(cancellations)
        .where(cancellations.c.withdrawal == of_row("id"), cancellations.c.settled_at.is_(None))
        .values({name: of_row(name) for name in ("settled_at", "outcome", "answer")})
    )
)
_WANT: Final = Many(
    lambda _: (
        update(withdrawals)
        .where(withdrawals.c.id == of_row("id"))
        .values(cancel_wanted=true(), woken_at=of_row("woken_at"))
    )
)
_UNWANT: Final = Many(
    lambda _: (
        update(withdrawals).where(withdrawals.c.id == of_row("id")).values(cancel_wanted=false())
    )
)
