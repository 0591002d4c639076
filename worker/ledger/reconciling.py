"""What reconciliation reads and writes: the parties of a period, their rows, who is to be woken.

Every statement is bounded, in rows read and in rows returned, however large the ledger is. What
follows from the rows stands in the core, and who goes through them in the flows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, tuple_, update

from worker.core.reconciliation import Booked, PartiesPage, Party, key_start
from worker.core.withdrawal import Status
from worker.ledger import rows
from worker.ledger.queries import first_since
from worker.ledger.schema import replicas, withdrawals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping, Select

    from worker.core.reconciliation import Period

#: So many rows are gone through for one page of parties.
ROWS_AT_ONCE: Final = 2_000
#: A page of one party's rows.
PAGE: Final = 500
#: Rows are numbered as they are written, and may have been taken in so much earlier; twice, since
#: `first_since` allows for it too.
_LATE: Final = timedelta(hours=2)
_KEY_START: Final = len(key_start("[wd:000000000000]"))

_BOOKED: Final = (
    withdrawals.c.id,
    withdrawals.c.message_id,
    withdrawals.c.idempotency_key,
    withdrawals.c.status,
    withdrawals.c.withdrawal_id,
    withdrawals.c.amount_minor,
    withdrawals.c.currency,
    withdrawals.c.in_doubt,
    withdrawals.c.taken_at,
    withdrawals.c.first_attempt_at,
    withdrawals.c.changed_at,
)


@dataclass(frozen=True, slots=True)
class Wake:
    """These rows are to be taken up now, by whoever claims what is due. Result: None.

    One that is being written at this very moment is left out: somebody has it in hand.
    """

    rows: tuple[int, ...]
    at: datetime


def wake(connection: Connection, steps: Sequence[Wake]) -> None:
    """Wake rows, waiting for nobody who writes them."""
    wanted = sorted({row for step in steps for row in step.rows})
    free = connection.scalars(
        select(withdrawals.c.id)
        .where(withdrawals.c.id.in_(wanted))
        .order_by(withdrawals.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    if free:
        at = rows.micros(max(step.at for step in steps))
        connection.execute(
            update(withdrawals).where(withdrawals.c.id.in_(free)).values(woken_at=at)
        )


def span(connection: Connection, period: Period) -> tuple[int, int]:
    """Return a number below the first row that may be of a period, and that of the last."""
    first = first_since(connection, period.since)
    return first - 1, first_since(connection, period.until + _LATE) - 1


def parties(
    connection: Connection,
    period: Period,
    *,
    after: int,
    last: int,
    provider: str | None,
    at_once: int,
) -> PartiesPage:
    """Return some of the parties that have requests in a period, each at its first row there.

    `after` is the place of the page before; the next `at_once` rows are gone through, up to
    `last`. So each party comes once, and nothing has to be remembered of those that came before.
    """
    end = min(last, after + at_once)
    earlier = withdrawals.alias("earlier")
    is_first = ~(
        select(earlier.c.id)
        .where(
            earlier.c.provider == withdrawals.c.provider,
            earlier.c.party_id == withdrawals.c.party_id,
            _is_in(period, earlier.c.taken_at),
            earlier.c.id < withdrawals.c.id,
        )
        .exists()
    )
    statement = (
        select(withdrawals.c.id, withdrawals.c.provider, withdrawals.c.party_id)
        .where(
            withdrawals.c.id > after,
            withdrawals.c.id <= end,
            _is_in(period, withdrawals.c.taken_at),
            withdrawals.c.party_id.is_not(None),
            *([] if provider is None else [withdrawals.c.provider == provider]),
            is_first,
        )
        .order_by(withdrawals.c.id)
    )
    found = connection.execute(statement)
    return PartiesPage(tuple(Party(row.provider, row.party_id, row.id) for row in found), place=end)


def booked(
    connection: Connection,
    provider: str,
    party_id: str,
    period: Period,
    *,
    after: Booked | None,
    limit: int,
) -> list[Booked]:
    """Return a page of the rows of one party that were taken in during a period.

    `after` is the last row of the page before.
    """
    statement = _of(provider, party_id).where(_is_in(period, withdrawals.c.taken_at))
    if after is not None:
        place = tuple_(withdrawals.c.taken_at, withdrawals.c.id)
        statement = statement.where(place > (rows.micros(after.taken_at), after.row))
    statement = statement.order_by(withdrawals.c.taken_at, withdrawals.c.id).limit(limit)
    return [_booked(row) for row in connection.execute(statement).mappings()]


def still_open(
    connection: Connection, provider: str, party_id: str, period: Period
) -> list[Booked]:
    """Return the unfinished rows of a party from before a period; of very many, some."""
    statement = (
        _of(provider, party_id)
        .where(
            withdrawals.c.taken_at < rows.micros(period.since),
            withdrawals.c.finished_at.is_(None),
        )
        .limit(PAGE)
    )
    return [_booked(row) for row in connection.execute(statement).mappings()]


def explaining(
    connection: Connection,
    provider: str,
    party_id: str,
    *,
    ids: Collection[str],
    references: Collection[str],
) -> list[Booked]:
    """Return the rows that own these ids of the provider's, and the party's with these tokens."""
    return [
        _booked(row)
        for statement in _explanations(provider, party_id, sorted(ids), sorted(references))
        for row in connection.execute(statement).mappings()
    ]


def is_served(connection: Connection, *, alive_since: datetime) -> bool:
    """Tell whether a worker was seen at this ledger since then."""
    statement = select(func.count()).where(replicas.c.seen_at > rows.micros(alive_since))
    return connection.execute(statement).scalar_one() > 0


def _explanations(
    provider: str, party_id: str, ids: list[str], references: list[str]
) -> Iterator[Select[Any]]:
    for start in range(0, len(ids), PAGE):
        yield select(*_BOOKED).where(
            withdrawals.c.provider == provider,
            withdrawals.c.withdrawal_id.in_(ids[start : start + PAGE]),
        )
    starts = [key_start(reference) for reference in references]
    for start in range(0, len(starts), PAGE):
        yield _of(provider, party_id).where(
            func.substr(withdrawals.c.idempotency_key, 1, _KEY_START).in_(
                starts[start : start + PAGE]
            )
        )


def _of(provider: str, party_id: str) -> Select[Any]:
    return select(*_BOOKED).where(
        withdrawals.c.provider == provider, withdrawals.c.party_id == party_id
    )


def _is_in(period: Period, taken_at: ColumnElement[Any]) -> ColumnElement[bool]:
    return taken_at.between(rows.micros(period.since), rows.micros(period.until))


def _booked(row: RowMapping) -> Booked:
    return Booked(
        row=row["id"],
        message_id=row["message_id"],
        idempotency_key=row["idempotency_key"],
        status=Status(row["status"]),
        withdrawal_id=row["withdrawal_id"],
        amount=rows.amount(row["amount_minor"]),
        currency=row["currency"],
        in_doubt=row["in_doubt"],
        taken_at=rows.at(row["taken_at"]),
        first_attempt_at=rows.moment(row["first_attempt_at"]),
        changed_at=rows.at(row["changed_at"]),
    )
