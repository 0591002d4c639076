"""How a JSON body and a query become values by a table of what fits.

Pure, and it knows no resource: which fields there are is said by who reads one. Unknown fields and
parameters are refused, and where Bluum's pages are silent the stricter reading is taken, so that a
client built against the simulator has nothing to unlearn."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_withdrawal import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from enum import StrEnum

#: Where a list may begin at the latest; undocumented, but everything has a limit.
OFFSET_MAX: Final = 1_000_000

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NUMBER: Final = re.compile(r"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What fits a field, which code refuses the rest, and the rule in words."""

    fits: Callable[[object], bool]
    code: Code
    words: str


def read_fields(
    body: bytes, rules: Mapping[str, Rule], *, required: Iterable[str] = ()
) -> dict[str, Any] | Refusal:
    """Read a JSON object whose fields all fit their rules.

    Refusals: 400-001, 400-002, and those of the rules.
    """
    fields = _read_object(body)
    if isinstance(fields, Refusal):
        return fields
    for name in fields:
        if name not in rules:
            return Refusal(Code.INVALID, f"{name[:64]!r} is not a field here.", name[:64])
    for name in required:
        if name not in fields:
            return Refusal(Code.MISSING_FIELD, f"{name} is required.", name)
    for name, value in fields.items():
        if not rules[name].fits(value):
            return Refusal(rules[name].code, f"{name} must be {rules[name].words}.", name)
    return fields


def read_query(
    query: Iterable[tuple[str, str]], readers: Mapping[str, Callable[[str, str], Any]]
) -> dict[str, Any] | Refusal:
    """Read every parameter with its reader, which may refuse it; none may come twice."""
    read: dict[str, Any] = {}
    for name, text in query:
        if name not in readers or name in read:
            return Refusal(Code.INVALID, f"{name} is unknown or given twice.", name)
        value = readers[name](name, text)
        if isinstance(value, Refusal):
            return value
        read[name] = value
    return read


def read_limit(name: str, text: str) -> int | Refusal:
    """Read how many entries a page may have (HOW)."""
    return _read_number(name, text, smallest=1, largest=PAGE_MAX)


def read_offset(name: str, text: str) -> int | Refusal:
    """Read how many entries come before the page (HOW)."""
    return _read_number(name, text, smallest=0, largest=OFFSET_MAX)


def is_currency(value: object) -> bool:
    """Tell whether this is written like a currency."""
    return isinstance(value, str) and bool(_CURRENCY.fullmatch(value))


def is_flag(value: object) -> bool:
    """Tell whether this is true or false."""
    return isinstance(value, bool)


def is_object(value: object) -> bool:
    """Tell whether this is a JSON object."""
    return isinstance(value, dict)


def is_text(most: int, *, least: int = 0) -> Callable[[object], bool]:
    """Return the check for a text of so many characters."""
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def is_text_or_null(most: int) -> Callable[[object], bool]:
    """Return the check for a text of at most so many characters, or nothing."""
    return lambda value: value is None or (isinstance(value, str) and len(value) <= most)


def one_of(words: type[StrEnum]) -> Rule:
    """Return the rule for a field with a closed set of words (400-004)."""
    known = set(words)
    return Rule(
        lambda value: isinstance(value, str) and value in known,
        Code.BAD_ENUM,
        "one of " + ", ".join(words),
    )


def _read_object(body: bytes) -> dict[str, Any] | Refusal:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(Code.INVALID, "The body is not JSON.")
    if not isinstance(document, dict):
        return Refusal(Code.INVALID, "The body is not a JSON object.")
    return document


def _read_number(name: str, text: str, *, smallest: int, largest: int) -> int | Refusal:
    if _NUMBER.fullmatch(text) and smallest <= int(text) <= largest:
        return int(text)
    return Refusal(Code.BAD_FORMAT, f"{name} must lie from {smallest} to {largest}.", name)
