"""A group of steps, written in the one order in which they do each other no harm.

Runs inside a transaction that `group` opens. What a kind of step writes stands in its own module:
few statements with many rows, and one code path for SQLite and PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from worker.ledger import (
    announcing,
    burials,
    cancellations,
    claiming,
    hints,
    intake,
    rate_budget,
    reconciling,
    recording,
    replicas,
    rounds,
    suspects,
    tallies,
)
from worker.ledger.chronicle import Chronicle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

Step = (
    intake.Take
    | recording.Record
    | announcing.Announced
    | claiming.Claim
    | suspects.Mark
    | suspects.Unmark
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
    | replicas.Seen
    | replicas.Gone
    | replicas.Alone
)


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
    if announcing.Announced in of_kind:
        announcing.mark(connection, [step for _, step in of_kind[announcing.Announced]])
    # Whoever takes a request in has it in hand; and of two claims only one gets a row.
    busy = {step.decision.withdrawal.order.message_id for _, step in of_kind[intake.Take]}
    for place, step in of_kind[claiming.Claim]:
        results[place] = claiming.claim(connection, step, busy)
        busy |= {held.withdrawal.order.message_id for held in results[place]}
    for _, step in of_kind[suspects.Mark]:
        suspects.mark(connection, step)
    for _, step in of_kind[suspects.Unmark]:
        suspects.unmark(connection, step.identities)
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
        learns=intake.Take in of_kind or recording.Record in of_kind,
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
    chronicle = Chronicle()
    if intake.Take in of_kind:
        intake.take(connection, of_kind[intake.Take], results, chronicle, tally)
    if recording.Record in of_kind:
        recording.record(connection, of_kind[recording.Record], results, chronicle, tally)
    chronicle.write(connection)
    # After the takes: a request that this very group took in is no dead letter of its own.
    if burials.Bury in of_kind:
        burials.bury(connection, [step for _, step in of_kind[burials.Bury]], tally)
    if burials.Left in of_kind:
        burials.leave(connection, [step for _, step in of_kind[burials.Left]], tally)
    tally.write(connection)


def _signs_of_life(connection: Connection, of_kind: dict[type, list[tuple[int, Any]]]) -> None:
    for _, step in of_kind[replicas.Seen]:
        replicas.seen(connection, step)
    for _, step in of_kind[replicas.Gone]:
        replicas.gone(connection, step)
    for _, step in of_kind[replicas.Alone]:
        replicas.alone(connection, step)
