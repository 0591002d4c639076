"""A provider's answers as a table: what came back, what it means to us, and who acts next.

The form of such a table, how a row is found in it, and how it is written down for people. The rows
stand with each provider; nothing here knows one, and nothing here decides what follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from worker.core.withdrawal import ReasonCode

#: Stands for the status where there is none, because no answer came or nothing was sent.
NO_STATUS: Final = 0
#: Every status that a status line can carry; those from 600 on are in no class of HTTP.
STATUSES: Final = range(1, 1000)


class Operation(StrEnum):
    """What was asked of the provider; the word by which the call is paced and measured."""

    CREATE = "create"
    LOOK = "look"
    CANCEL = "cancel"
    LIST = "list"
    #: The same list, read to see how many withdrawals fare: in the class of looks.
    SURVEY = "survey"
    #: An order that raises cash: placed, read, looked for in the list, cancelled.
    SELL = "sell"
    ORDER = "order"
    ORDERS = "orders"
    CANCEL_ORDER = "cancel_order"
    CREDENTIALS = "credentials"


class Body(StrEnum):
    """What came with the status, as far as the meaning depends on it."""

    USABLE = "what was asked for"
    STRANGE = "what was asked for, in a state that is not documented"
    ENVELOPE = "an error in the provider's envelope"
    TEXT = "an error that is a text alone"
    OTHER = "anything else"
    SILENCE = "no answer"
    UNSENT = "the call did not leave"


#: Everything that may come with a status that is no success.
ERRORS: Final = frozenset({Body.ENVELOPE, Body.TEXT, Body.OTHER})


class Meaning(StrEnum):
    """Which of our answers it is (`worker.core.answers`), or how credentials fared."""

    REPORTED = "reported"
    LISTED = "listed"
    REFUSED = "refused"
    NOT_NOW = "not_now"
    CONFLICTED = "conflicted"
    UNCLEAR = "unclear"
    THROTTLED = "throttled"
    DENIED = "denied"
    ACCEPTED = "accepted"


#: What follows from each meaning (`worker.core.decide`, for orders `worker.core.selling`), in words
#: for people: to a first create call, to one after an unclear one, to placing an order, to a look
#: at either, to a look through the list of either.
FOLLOWS: Final[Mapping[Meaning, tuple[str, str, str, str, str]]] = {
    Meaning.REPORTED: ("followed", "followed, the doubt is over", "followed", "followed", "-"),
    Meaning.LISTED: (
        "-",
        "-",
        "-",
        "-",
        "one match is adopted, several need a person, none counts when it was none three times",
    ),
    Meaning.REFUSED: (
        "`rejected`",
        "kept; looked up in the list three times before it is final",
        "the other orders are cancelled, then `rejected`; after an unclear one kept, as a create's",
        "looked at again",
        "looked up again; `unresolved` once the key is forgotten",
    ),
    Meaning.NOT_NOW: ("-", "-", "placed again later", "-", "-"),
    Meaning.CONFLICTED: (
        "looked up in the list; `unresolved` when it is not there three times",
        "the same",
        "the same",
        "looked at again",
        "-",
    ),
    Meaning.UNCLEAR: (
        "the same key and bytes, later",
        "the same",
        "looked up in the list; placed again when it is not there three times",
        "looked at again",
        "looked up again",
    ),
    Meaning.THROTTLED: (
        "the same key and bytes, after `Retry-After`; all calls wait",
        "the same",
        "the same",
        "looked at again",
        "looked up again",
    ),
    Meaning.DENIED: (
        "nothing is taken in until the credentials work; then the same key and bytes",
        "the same",
        "the same",
        "the same, then looked at again",
        "the same, then looked up again",
    ),
}


class Acts(StrEnum):
    """Who has to do something next, for this to get on."""

    CUSTOMER = "customer"
    US = "us, later"
    PERSON = "a person"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: for these calls, statuses, bodies and codes, this meaning.

    Without `codes` it holds for every code that no other row names, and for none. `reason` goes
    with a refusal; `why` is the constant word of an unclear answer, where it is neither
    `http_<status>` nor the kind of silence. `source` names pages of the provider's documentation
    by their keys, or says that there is none.
    """

    operations: frozenset[Operation]
    statuses: frozenset[int]
    bodies: frozenset[Body]
    codes: frozenset[str] = frozenset()
    meaning: Meaning
    acts: Acts
    reason: ReasonCode | None = None
    why: str | None = None
    source: str
    note: str = ""

    def fits(self, operation: Operation, status: int, body: Body) -> bool:
        """Tell whether the row is about such an answer, its code left aside."""
        return operation in self.operations and status in self.statuses and body in self.bodies


class AnswerTable:
    """The rows of one provider. Exactly one holds for every answer: a test of each table's."""

    def __init__(self, provider: str, rows: Iterable[Row]) -> None:
        self.provider = provider
        self.rows = tuple(rows)
        #: Every code that some row names.
        self.codes = frozenset(chain.from_iterable(row.codes for row in self.rows))
        self._found: dict[tuple[Operation, int, Body, str | None], Row] = {}

    def row(self, operation: Operation, status: int, body: Body, code: str | None) -> Row:
        """Return the row that holds for an answer."""
        # Codes that nobody documented are without number and all alike: they fill no memory.
        known = code if code in self.codes else None
        key = (operation, status, body, known)
        if key not in self._found:
            self._found[key] = self.candidates(*key)[0]
        return self._found[key]

    def candidates(
        self, operation: Operation, status: int, body: Body, code: str | None
    ) -> tuple[Row, ...]:
        """Return all rows that claim an answer; in a sound table that is one.

        A row that names the code goes before the rows that name none.
        """
        fitting = [row for row in self.rows if row.fits(operation, status, body)]
        named = tuple(row for row in fitting if code in row.codes)
        return named or tuple(row for row in fitting if not row.codes)

    def markdown(self) -> str:
        """Write the table for people, one section for each set of calls that it treats alike."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from ("", "## What follows", "", *_head(_FOLLOWS_HEAD))
        yield from (_line((meaning.value, *follows)) for meaning, follows in FOLLOWS.items())
        yield from ("", *_LEGEND)
        sets = dict.fromkeys(row.operations for row in self.rows)
        for operations in sets:
            names = ", ".join(operation for operation in Operation if operation in operations)
            yield from ("", f"## {self.provider}: {names}", "", *_head(_ROW_HEAD))
            yield from (_line(_cells(row)) for row in self.rows if row.operations == operations)


_FOLLOWS_HEAD: Final = (
    "Means",
    "To a first create call",
    "To a create call after an unclear one",
    "To placing an order",
    "To a look",
    "To a look-up in the list",
)
_ROW_HEAD: Final = ("Status", "Code", "Came with", "Means", "Acts next", "Source", "Note")
_LEGEND: Final = (
    "Of credentials: accepted opens the intake, denied closes it, unclear is no refusal.",
    "",
    "`Retry-After` is read as seconds or as a date, from an unclear answer too, and bounded by an",
    "hour. `http_<status>` is the word under which an unclear answer is counted. A row that names",
    "a code goes before those that name none.",
)


def _head(names: tuple[str, ...]) -> tuple[str, str]:
    return _line(names), "|" + len(names) * "---|"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _spans(row.statuses),
        ", ".join(f"`{code}`" for code in sorted(row.codes)) or "any other, or none",
        _bodies(row),
        _meaning(row),
        row.acts.value,
        row.source,
        row.note,
    )


def _bodies(row: Row) -> str:
    if row.bodies == ERRORS:
        return "anything"
    return "; ".join(body.value for body in Body if body in row.bodies)


def _meaning(row: Row) -> str:
    if row.meaning is Meaning.UNCLEAR:
        silent = Body.SILENCE in row.bodies
        return f"unclear: `{row.why or ('the kind of silence' if silent else 'http_<status>')}`"
    return row.meaning.value + (f": `{row.reason.value}`" if row.reason is not None else "")


def _spans(numbers: frozenset[int]) -> str:
    """Write numbers as spans: 1, 2, 3 and 7 are "1-3, 7"."""
    if numbers == {NO_STATUS}:
        return "none"
    firsts = sorted(number for number in numbers if number - 1 not in numbers)
    lasts = sorted(number for number in numbers if number + 1 not in numbers)
    return ", ".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(firsts, lasts, strict=True)
    )
