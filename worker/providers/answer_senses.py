"""What an answer of a provider's means to each kind of call: what the rows of every table are of.

The same for all providers; which answer it is about, and why, each provider's table says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.providers.answer_table import ERRORS, Acts, Body, Meaning, Operation, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from worker.core.withdrawal import ReasonCode


@dataclass(frozen=True, slots=True)
class Sense:
    """What an answer means to one kind of call; fields as in `Row`."""

    meaning: Meaning
    acts: Acts
    reason: ReasonCode | None = None
    why: str | None = None


Senses: TypeAlias = "Mapping[frozenset[Operation], Sense]"

CREATE: Final = frozenset({Operation.CREATE})
SELL: Final = frozenset({Operation.SELL})
#: Calls about one withdrawal or order that is known.
ONE: Final = frozenset({Operation.LOOK, Operation.CANCEL, Operation.ORDER, Operation.CANCEL_ORDER})
LIST: Final = frozenset({Operation.LIST, Operation.SURVEY, Operation.ORDERS})
CREDENTIALS: Final = frozenset({Operation.CREDENTIALS})
ALL: Final = (CREATE, SELL, ONE, LIST, CREDENTIALS)

_ACCEPTED: Final = Sense(Meaning.ACCEPTED, Acts.US)


def alike(sense: Sense) -> Senses:
    """Mean the same to every call."""
    return dict.fromkeys(ALL, sense)


def unclear(why: str | None = None, acts: Acts = Acts.US) -> Senses:
    """Say nothing about anything."""
    return alike(Sense(Meaning.UNCLEAR, acts, why=why))


def refusal(reason: ReasonCode, acts: Acts = Acts.CUSTOMER) -> Senses:
    """End a first create or place call; a refused look says nothing about the money.

    Whoever is refused in the provider's words was let in: the credentials work.
    """
    refused_look = Sense(Meaning.REFUSED, Acts.US, reason)
    return {
        CREATE: Sense(Meaning.REFUSED, acts, reason),
        SELL: Sense(Meaning.REFUSED, acts, reason),
        ONE: refused_look,
        LIST: refused_look,
        CREDENTIALS: _ACCEPTED,
    }


REPORTED: Final[Senses] = dict.fromkeys((CREATE, SELL, ONE), Sense(Meaning.REPORTED, Acts.US))
AS_ASKED: Final[Senses] = {
    **REPORTED,
    LIST: Sense(Meaning.LISTED, Acts.US),
    CREDENTIALS: _ACCEPTED,
}
DENIED: Final = alike(Sense(Meaning.DENIED, Acts.OPERATOR))
#: Both are no answer to the question whether the credentials work.
THROTTLED: Final[Senses] = {
    **alike(Sense(Meaning.THROTTLED, Acts.US)),
    CREDENTIALS: Sense(Meaning.UNCLEAR, Acts.US),
}
#: There is nothing for a list to be in conflict with.
CONFLICTED: Final[Senses] = {
    **alike(Sense(Meaning.UNCLEAR, Acts.US)),
    CREATE: Sense(Meaning.CONFLICTED, Acts.US),
    SELL: Sense(Meaning.CONFLICTED, Acts.US),
    ONE: Sense(Meaning.CONFLICTED, Acts.US),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a provider's, with what it means to each kind of call; fields as in `Row`."""

    statuses: frozenset[int]
    bodies: frozenset[Body]
    codes: frozenset[str]
    senses: Senses
    source: str
    note: str


def said(
    statuses: AbstractSet[int] | range,
    senses: Senses,
    source: str,
    note: str = "",
    *,
    codes: AbstractSet[str] = frozenset(),
    bodies: AbstractSet[Body] = ERRORS,
) -> Said:
    """Write one answer down; without `bodies` it may have come with any error."""
    return Said(frozenset(statuses), frozenset(bodies), frozenset(codes), senses, source, note)


def rows(told: Iterable[Said]) -> Iterator[Row]:
    """Make the rows of a table, grouped by the kinds of calls."""
    answers = tuple(told)
    for operations in ALL:
        for answer in answers:
            if (sense := answer.senses.get(operations)) is not None:
                yield Row(
                    operations=operations,
                    statuses=answer.statuses,
                    bodies=answer.bodies,
                    codes=answer.codes,
                    meaning=sense.meaning,
                    acts=sense.acts,
                    reason=sense.reason,
                    why=sense.why,
                    source=answer.source,
                    note=answer.note,
                )
