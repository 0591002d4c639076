"""What each step writes, a group of steps at a time: few statements with many rows.

Runs inside a transaction that `group` opens. One code path for SQLite and PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    Integer,
    bindparam,
    delete,
    exists,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from worker.core.decide import Held
from worker.core.withdrawal import Errand
from worker.flows.ports import Lane
from worker.ledger import (
    burials,
    cancellations,
    chain,
    hints,
    rate_budget,
    reconciling,
    rounds,
    rows,
    sales,
    tallies,
)
from worker.ledger.many import Many, of_row
from worker.ledger.schema import attempts, events, replicas, suspects, transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Select, Table
    from sqlalchemy.sql.expression import ClauseElement

    from worker.core.answers import Attempt
    from worker.core.decide import Decision
    from worker.core.withdrawal import Withdrawal


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


@dataclass(frozen=True, slots=True)
class Mark:
    """A message that came again is about to be read; earlier ones did no harm. Result: None."""

    identity: bytes
    at: datetime
    unmark: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Unmark:
    """These messages did no harm. Result: None."""

    identities: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Seen:
    """A sign of life of this replica. Result: None."""

    replica: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gone:
    """This replica leaves; what it owned is free at once. Result: None."""

    replica: str


@dataclass(frozen=True, slots=True)
class Alone:
    """Every other replica is gone; what they owned is free at once. Result: None."""

    replica: str


Step = (
    Take
    | Record
    | Announced
    | Claim
    | Mark
    | Unmark
    | burials.Bury
    | burials.Left
    | cancellations.Ask
    | cancellations.GiveUp
    | cancellations.Answered
    | hints.Hear
    | hints.Forget
    | rate_budget.Reserve
    | reconciling.Wake
    | rounds.TakeRound
    | rounds.KeepRound
    | Seen
    | Gone
    | Alone
)

_AFTER: Final = timedelta(microseconds=1)

#: A replica without a sign of life for so long is forgotten: much longer than it counts as gone.
FORGOTTEN_AFTER: Final = timedelta(hours=1)


def apply(connection: Connection, steps: Sequence[Step], *, replica: str) -> list[Any]:
    """Write a group of steps; return their results in the order of the steps.

    `replica` is who writes: what the group did is added to its counters in the same transaction.
    """
    results: list[Any] = [None] * len(steps)
    of_kind: dict[type, list[tuple[int, Any]]] = defaultdict(list)
    for place, step in enumerate(steps):
        of_kind[type(step)].append((place, step))
    _ask_in_turn(connection, of_kind, results)
    _keep_the_books(connection, of_kind, results, tallies.Tally(replica))
    _give_up(connection, of_kind, results)
    if Announced in of_kind:
        _announced(connection, [step for _, step in of_kind[Announced]])
    # Whoever takes a request in has it in hand; and of two claims only one gets a row.
    busy = {step.decision.withdrawal.order.message_id for _, step in of_kind[Take]}
    for place, step in of_kind[Claim]:
        results[place] = _claim(connection, step, busy)
        busy |= {held.withdrawal.order.message_id for held in results[place]}
    for _, step in of_kind[Mark]:
        _marked(connection, step)
    for _, step in of_kind[Unmark]:
        _unmarked(connection, step.identities)
    _signs_of_life(connection, of_kind)
    for place, step in of_kind[hints.Forget]:
        results[place] = hints.forget(connection, step)
    _go_round(connection, of_kind, results)
    if hints.Hear in of_kind:
        hints.hear(connection, of_kind[hints.Hear], results)
    # The very last: the fewer moments between its clock and the commit, the more slots are of use.
    for place, step in of_kind[rate_budget.Reserve]:
        results[place] = rate_budget.reserve(connection, step, in_group=True)
    return results


def _go_round(
    connection: Connection, of_kind: dict[type, list[tuple[int, Any]]], results: list[Any]
) -> None:
    if reconciling.Wake in of_kind:
        reconciling.wake(connection, [step for _, step in of_kind[reconciling.Wake]])
    for place, step in of_kind[rounds.KeepRound]:
        results[place] = rounds.keep(connection, step)
    for place, step in of_kind[rounds.TakeRound]:
        results[place] = rounds.take(connection, step)


def _ask_in_turn(
    connection: Connection, of_kind: dict[type, list[tuple[int, Any]]], results: list[Any]
) -> None:
    cancellations.in_turn(
        connection,
        asks=cancellations.Ask in of_kind or cancellations.GiveUp in of_kind,
        # Whoever records locks rows in an order of its own: beside one that asks, each might wait
        # for the other.
        learns=Take in of_kind or Record in of_kind,
    )
    if cancellations.Ask in of_kind:
        # Before the takes: a request that comes together with its cancellation finds it.
        cancellations.ask(connection, of_kind[cancellations.Ask], results)


def _give_up(
    connection: Connection, of_kind: dict[type, list[tuple[int, Any]]], results: list[Any]
) -> None:
    # After the takes: a request that comes at the last moment has come.
    for place, step in of_kind[cancellations.GiveUp]:
        results[place] = cancellations.give_up(connection, step)
    for _, step in of_kind[cancellations.Answered]:
        cancellations.answered(connection, step)


def _keep_the_books(
    connection: Connection,
    of_kind: dict[type, list[tuple[int, Any]]],
    results: list[Any],
    tally: tallies.Tally,
) -> None:
    """Write all that moves a request, and count it."""
    history = _History()
    if Take in of_kind:
        _take(connection, of_kind[Take], results, history, tally)
    if Record in of_kind:
        _record(connection, of_kind[Record], results, history, tally)
    history.write(connection)
    # After the takes: a request that this very group took in is no dead letter of its own.
    if burials.Bury in of_kind:
        burials.bury(connection, [step for _, step in of_kind[burials.Bury]], tally)
    if burials.Left in of_kind:
        burials.leave(connection, [step for _, step in of_kind[burials.Left]], tally)
    tally.write(connection)


def _signs_of_life(connection: Connection, of_kind: dict[type, list[tuple[int, Any]]]) -> None:
    for _, step in of_kind[Seen]:
        at = rows.micros(step.at)
        _SEEN.execute(connection, [{"id": step.replica, "started_at": at, "seen_at": at}])
        _forget(connection, step.at - FORGOTTEN_AFTER)
        tallies.fold(connection)
    for _, step in of_kind[Gone]:
        connection.execute(delete(replicas).where(replicas.c.id == step.replica))
        tallies.fold(connection)
    for _, step in of_kind[Alone]:
        connection.execute(delete(replicas).where(replicas.c.id != step.replica))
        tallies.fold(connection)


class _Chapter:
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


class _History:
    """The rows that a group adds to the tables that only grow."""

    def __init__(self) -> None:
        self.transitions: list[rows.Row] = []
        self.events: list[rows.Row] = []
        self.attempts: list[rows.Row] = []
        self.orders: list[rows.Row] = []

    def add(self, row: int, chapter: _Chapter, made: tuple[Attempt, ...]) -> None:
        for written in (*chapter.transitions, *chapter.events):
            written["withdrawal"] = row
        self.transitions += chapter.transitions
        self.events += chapter.events
        self.attempts += [rows.attempt_row(row, attempt) for attempt in made]

    def write(self, connection: Connection) -> None:
        _TRANSITIONS.execute(connection, self.transitions)
        _EVENTS.execute(connection, self.events)
        _ATTEMPTS.execute(connection, self.attempts)
        sales.ORDERS.execute(connection, self.orders)


def _take(
    connection: Connection,
    steps: list[tuple[int, Take]],
    results: list[Any],
    history: _History,
    tally: tallies.Tally,
) -> None:
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
            history.add(row, chapter, step.attempts)
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
        cancelled = replace(held, withdrawal=_to_be_cancelled(held.withdrawal), woken_at=at)
        results[places[message_id]] = Taken(cancelled, is_new=True, same=True)
    cancellations.want(connection, wanted)


def _to_be_cancelled(withdrawal: Withdrawal) -> Withdrawal:
    return replace(withdrawal, cancel_wanted=True)


def _new_row(step: Take) -> tuple[rows.Row, _Chapter]:
    withdrawal = step.decision.withdrawal
    asked = rows.order_row(withdrawal.order, step.fingerprint)
    state = rows.state_row(withdrawal)
    origin = chain.origin(asked)
    chapter = _Chapter(origin, step.decision)
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


def _record(
    connection: Connection,
    steps: list[tuple[int, Record]],
    results: list[Any],
    history: _History,
    tally: tallies.Tally,
) -> None:
    found = connection.execute(_HELD, {"rows": sorted(step.held.row for _, step in steps)})
    current = {row: (version, head, is_wanted) for row, version, head, is_wanted in found}
    changed, heard, answered, recorded = [], [], {}, []
    for place, step in steps:
        row, version = step.held.row, step.held.version
        stored, head, is_wanted = current.get(row, (None, b"", False))
        if stored != version:
            continue
        chapter = _Chapter(head, step.decision)
        after = step.decision.withdrawal
        if step.held.withdrawal.cancel_wanted and not after.cancel_wanted:
            answered[row], is_wanted = step.decision, False
        elif is_wanted:
            # Set meanwhile: whoever goes on with it has to know.
            after = _to_be_cancelled(after)
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
        history.add(row, chapter, step.attempts)
        history.orders += sales.new_ids(row, step.held.withdrawal, step.decision.withdrawal)
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
        results[place] = replace(held, withdrawal=_to_be_cancelled(held.withdrawal))
        # Later than what wakes it now: who releases it later on must not put it to sleep.
        since = step.held.woken_at or held.withdrawal.changed_at
        wanted[held.row] = max(held.withdrawal.changed_at, since + _AFTER)
    cancellations.want(connection, wanted)


def _count_end(step: Record, tally: tallies.Tally) -> None:
    before, after = step.held.withdrawal, step.decision.withdrawal
    if before.is_finished is not after.is_finished:
        order = after.order
        count = 1 if after.is_finished else -1
        tally.finished(order.provider, order.currency, rows.minor(order.amount), count)


def _forget(connection: Connection, before: datetime) -> None:
    # One that was only asleep appears again with its next sign of life.
    gone = connection.scalars(_GONE, {"before": rows.micros(before)}).all()
    if gone:
        connection.execute(delete(replicas).where(replicas.c.id.in_(gone)))


def _announced(connection: Connection, steps: list[Announced]) -> None:
    marks = {mark: rows.micros(step.at) for step in steps for mark in step.events}
    # In one order everywhere, as above.
    _MARK.execute(
        connection,
        [
            {"withdrawal": row, "sequence": sequence, "published_at": marks[row, sequence]}
            for row, sequence in sorted(marks)
        ],
    )


def _claim(connection: Connection, step: Claim, busy: set[str]) -> list[Held]:
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


def _marked(connection: Connection, step: Mark) -> None:
    if step.unmark:
        _unmarked(connection, step.unmark)
    insert = _INSERTS[connection.dialect.name](suspects)
    first = {"identity": step.identity, "starts": 1, "started_at": rows.micros(step.at)}
    again = {"starts": suspects.c.starts + 1, "started_at": first["started_at"]}
    connection.execute(
        insert.values(first).on_conflict_do_update(index_elements=["identity"], set_=again)
    )


def _unmarked(connection: Connection, identities: frozenset[bytes]) -> None:
    connection.execute(delete(suspects).where(suspects.c.identity.in_(sorted(identities))))


_HELD: Final = (
    select(*(withdrawals.c[name] for name in ("id", "version", "head", "cancel_wanted")))
    .where(withdrawals.c.id.in_(bindparam("rows", expanding=True)))
    .order_by(withdrawals.c.id)
    .with_for_update()
)
_GONE: Final = (
    select(replicas.c.id)
    .where(replicas.c.seen_at < bindparam("before"))
    .with_for_update(skip_locked=True)
)

# The dialects' inserts look alike and share no type.
_INSERTS: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_INSERT: Final = {
    name: insert(withdrawals)
    .on_conflict_do_nothing(index_elements=["message_id"])
    .returning(withdrawals.c.id, withdrawals.c.message_id)
    for name, insert in _INSERTS.items()
}


def _update(table: Table, key: list[str], columns: list[str]) -> ClauseElement:
    return (
        update(table)
        .where(*(table.c[name] == of_row(name) for name in key))
        .values({name: of_row(name) for name in columns})
    )


def _upsert(name: str, table: Table, key: list[str], columns: list[str]) -> ClauseElement:
    statement = _INSERTS[name](table)
    upsert: ClauseElement = statement.on_conflict_do_update(
        index_elements=key, set_={column: statement.excluded[column] for column in columns}
    )
    return upsert


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
_ENDED: Final = [
    "ended_at",
    "outcome",
    "http_status",
    "provider_code",
    "request_id",
    "provider_text",
]
_UPDATE: Final = Many(lambda _: _update(withdrawals, ["id"], _STATE))
_HEARD: Final = Many(
    lambda _: (
        update(withdrawals)
        .where(withdrawals.c.id == of_row("id"), withdrawals.c.woken_at <= of_row("woken_at"))
        # Not None, which would be a place of the same name.
        .values(woken_at=null())
    )
)
_CLAIMED: Final = Many(lambda _: _update(withdrawals, ["id"], ["version", "owner"]))
_TRANSITIONS: Final = Many(lambda _: transitions.insert())
_EVENTS: Final = Many(lambda _: events.insert())
_ATTEMPTS: Final = Many(lambda name: _upsert(name, attempts, ["withdrawal", "number"], _ENDED))
_MARK: Final = Many(lambda _: _update(events, ["withdrawal", "sequence"], ["published_at"]))
_SEEN: Final = Many(lambda name: _upsert(name, replicas, ["id"], ["seen_at"]))
