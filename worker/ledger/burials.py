"""Dead letters in the books: each counted once, before it is published.

A request that the ledger knows is counted as what it is there, never as a dead letter. A message
with an id counts once however often it comes. Of messages without one nobody can tell a second copy
from a second delivery; the broker's flag decides: what it never delivered before is another
message. Nothing here talks to a broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select, update

from worker.ledger import rows
from worker.ledger.dialects import INSERTS
from worker.ledger.many import Many, of_row
from worker.ledger.schema import dead_letters, withdrawals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from worker.core.burials import Burial
    from worker.ledger.tallies import Tally

#: How a dead letter ceases to lie in its queue.
Way = Literal["replayed", "dropped"]


@dataclass(frozen=True, slots=True)
class Bury:
    """A message is about to become a dead letter. Result: None."""

    burial: Burial
    at: datetime


@dataclass(frozen=True, slots=True)
class Left:
    """An operator takes a dead letter out of its queue. Result: None."""

    identity: bytes
    how: Way


def bury(connection: Connection, steps: Sequence[Bury], tally: Tally) -> None:
    """Count the burials that are not counted yet."""
    requests = _requests(connection, [step.burial for step in steps])
    steps = [step for step in steps if not _is_request(step.burial, requests)]
    new = {step.burial.identity: _new_row(step) for step in reversed(steps)}
    _ADD.execute(connection, [new[identity] for identity in sorted(new)])
    known = _locked(connection, new)
    for step in steps:
        burial, row = step.burial, known[step.burial.identity]
        if row["copies"] and (burial.message_id is not None or burial.redelivered):
            continue
        row["copies"] += 1
        row["last_at"] = rows.micros(step.at)
        money = row["provider"], row["currency"], row["amount_minor"]
        tally.taken(*money)
        tally.buried(*money)
    _CHANGE.execute(connection, known.values())


def leave(connection: Connection, steps: Sequence[Left], tally: Tally) -> None:
    """Count the dead letters that leave; one that is not in the books changes nothing there."""
    known = _locked(connection, {step.identity for step in steps})
    for step in steps:
        row = known.get(step.identity)
        if row is None or row["copies"] == row["dropped"]:
            continue
        if step.how == "dropped":
            row["dropped"] += 1
            continue
        row["copies"] -= 1
        row["replayed"] += 1
        money = row["provider"], row["currency"], row["amount_minor"]
        tally.taken(*money, count=-1)
        tally.buried(*money, count=-1)
    _CHANGE.execute(connection, known.values())


def _is_request(burial: Burial, requests: Mapping[str | None, bytes]) -> bool:
    fingerprint = requests.get(burial.message_id)
    # One that was not read goes by its name alone.
    return fingerprint is not None and burial.fingerprint in {fingerprint, None}


def _requests(connection: Connection, burials: list[Burial]) -> dict[str | None, bytes]:
    """Return the fingerprints of the requests that the ledger has under these message ids."""
    ids = {burial.message_id for burial in burials} - {None}
    found = connection.execute(
        select(withdrawals.c.message_id, withdrawals.c.fingerprint).where(
            withdrawals.c.message_id.in_(sorted(str(one) for one in ids))
        )
    )
    return {row.message_id: row.fingerprint for row in found}


def _locked(connection: Connection, identities: Iterable[bytes]) -> dict[bytes, dict[str, Any]]:
    # In one order everywhere: two replicas with the same dead letters cannot lock each other out.
    found = connection.execute(
        select(dead_letters)
        .where(dead_letters.c.identity.in_(sorted(identities)))
        .order_by(dead_letters.c.identity)
        .with_for_update()
    )
    return {row["identity"]: dict(row) for row in found.mappings()}


def _new_row(step: Bury) -> rows.Row:
    burial, at = step.burial, rows.micros(step.at)
    return {
        "identity": burial.identity,
        "reason": burial.reason.value,
        "message_id": burial.message_id,
        "provider": burial.provider,
        "currency": burial.currency,
        "amount_minor": rows.minor(burial.amount),
        "first_at": at,
        "last_at": at,
        "copies": 0,
        "dropped": 0,
        "replayed": 0,
    }


_COUNTED: Final = ("last_at", "copies", "dropped", "replayed")
_ADD: Final = Many(
    lambda name: INSERTS[name](dead_letters).on_conflict_do_nothing(index_elements=["identity"])
)
_CHANGE: Final = Many(
    lambda _: (
        update(dead_letters)
        .where(dead_letters.c.identity == of_row("identity"))
        .values({name: of_row(name) for name in _COUNTED})
    )
)
