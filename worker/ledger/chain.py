"""Hashes over what the ledger wrote, so that a row which somebody altered later is found.

Pure; who compares them stands in `books`.

Every withdrawal has a chain of its own. It begins with its `origin`, a hash of what was asked for.
Each transition's `hash` covers the one before it, the transition itself and the event that tells of
it. The newest is the withdrawal's `head`, and its `seal` covers the head and all that is written
with every change. SHA-256 throughout; rows are written down as JSON (see `_canonical`), so that the
hashes can be computed again by any program.

What this does not protect from: the hashes have no key. Whoever may write to the database and knows
this page can alter a row and compute its hashes anew. They find what an operator, a script, a
restored backup or a bug changed past the worker; against an adversary with write access they are
worth something only together with a copy of the heads kept elsewhere. A withdrawal that is taken
away whole, with all its rows, leaves no hash behind: that shows in the books, unless the counters
were altered as well. When and by whom it is worked on (`version`, `owner`, `woken_at`,
`cancel_wanted`, an event's `published_at`) and the outcome of single calls (`attempts`) are not
covered."""

from __future__ import annotations

from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

from worker.ledger.schema import events, transitions, withdrawals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Table

_CHAINED: Final = {"origin", "head", "seal", "hash"}
_BOUND_BY_THE_CHAIN: Final = {"id", "withdrawal"}
_WORK: Final = {"version", "owner", "woken_at", "cancel_wanted", "published_at"}


def _covered(table: Table, *others: str) -> tuple[str, ...]:
    left_out = _CHAINED | _BOUND_BY_THE_CHAIN | _WORK | set(others)
    return tuple(sorted(column.name for column in table.c if column.name not in left_out))


#: What was asked for: written once.
ASKED: Final = tuple(
    sorted(
        (
            "message_id",
            "fingerprint",
            "idempotency_key",
            "provider",
            "party_id",
            "target_id",
            "amount_minor",
            "currency",
            "method",
            "body",
            "request",
            "metadata",
            "correlation_id",
            "reply_to",
            "traceparent",
            "not_after",
            "wait_for_funds_until",
            "taken_at",
        )
    )
)
#: Where it stands: written with every change.
STATE: Final = _covered(withdrawals, *ASKED)
TRANSITION: Final = _covered(transitions)
EVENT: Final = _covered(events)


def origin(asked: Mapping[str, Any]) -> bytes:
    """Return the beginning of a withdrawal's chain, from the columns that are written once."""
    return sha256(_canonical(asked, ASKED)).digest()


def link(before: bytes, transition: Mapping[str, Any], event: Mapping[str, Any]) -> bytes:
    """Return the hash of a transition: over the hash before it, itself, and its event."""
    return sha256(before + _canonical(transition, TRANSITION) + _canonical(event, EVENT)).digest()


def seal(head: bytes, state: Mapping[str, Any]) -> bytes:
    """Return the seal of where a withdrawal stands; `head` is the newest hash of its chain."""
    return sha256(head + _canonical(state, STATE)).digest()


def _canonical(row: Mapping[str, Any], columns: Iterable[str]) -> bytes:
    """Write columns down as a JSON object, in the order of their names and without white space.

    Bytes are written in hexadecimal, texts in ASCII. What is NULL is left out, so that a column
    which a later release adds leaves the hashes of older rows as they are. By hand: this is done
    several times for each withdrawal, and the library's encoder takes twice as long.
    """
    members = []
    for name in columns:
        value = row.get(name)
        if value is None:
            continue
        kind = type(value)
        if kind is str:
            members.append(f'"{name}":{encode_basestring_ascii(value)}')
        elif kind is bool:
            members.append(f'"{name}":true' if value else f'"{name}":false')
        elif kind is int:
            members.append(f'"{name}":{value}')
        elif kind is bytes:
            members.append(f'"{name}":"{value.hex()}"')
        else:
            message = f"a column of type {kind.__name__} has no canonical form"
            raise TypeError(message)
    return f"{{{','.join(members)}}}".encode()
