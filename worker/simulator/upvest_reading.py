"""How a JSON body and a query become values by a table of what fits.

Pure, and it knows no resource: which fields there are is said by who reads one. Unknown fields are
refused, as Upvest's schema says (S19), and unknown parameters too; where the pages are silent the
stricter reading is taken, so that a client built against the simulator has nothing to unlearn."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.simulator.upvest_problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from enum import StrEnum

#: (S26; PAG speaks of 10000)
LIMIT_MAX: Final = 1000
LIMIT_DEFAULT: Final = 100
#: Where a list may begin at the latest; undocumented, but everything has a limit.
OFFSET_MAX: Final = 10_000_000

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: The schema of idempotency keys (S19): versions 0 to 5, hyphens optional.
_KEY: Final = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-5][0-9a-f]{3}-?[089ab][0-9a-f]{3}-?[0-9a-f]{12}", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]{1,8}")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Rule:
    """What fits a field, and the rule in words."""

    fits: Callable[[object], bool]
    words: str


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list, and in which order (PAG, S26)."""

    sort: str = "created_at"
    order: str = "ASC"
    offset: int = 0
    limit: int = LIMIT_DEFAULT

    def page(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the part of a sorted list that is asked for."""
        ordered = items if self.order == "ASC" else items[::-1]
        return ordered[self.offset : self.offset + self.limit]


def read_fields(
    body: bytes, rules: Mapping[str, Rule], *, required: Iterable[str] = ()
) -> dict[str, Any] | Problem:
    """Read a JSON object whose fields all fit their rules; else a 400 that names the field."""
    fields = _object(body)
    if fields is None:
        return invalid("The body is not a JSON object.")
    for name in fields:
        if name not in rules:
            return invalid(f"{name[:64]!r} is not a field here.", name[:64])
    for name in required:
        if name not in fields:
            return invalid(f"{name} is required.", name)
    for name, value in fields.items():
        if not rules[name].fits(value):
            return invalid(f"{name} must be {rules[name].words}.", name)
    return fields


def read_query(
    query: Iterable[tuple[str, str]], rules: Mapping[str, Rule]
) -> dict[str, str] | Problem:
    """Read every parameter; unknown ones and repeated ones are refused."""
    read: dict[str, str] = {}
    for name, text in query:
        if name not in rules or name in read:
            return invalid(f"{name[:64]} is unknown or given twice.", name[:64])
        if not rules[name].fits(text):
            return invalid(f"{name} must be {rules[name].words}.", name)
        read[name] = text
    return read


def paging_of(read: Mapping[str, str]) -> Paging:
    """Return the part of a list that a query asks for, which has been read."""
    return Paging(
        sort=read.get("sort", "created_at"),
        order=read.get("order", "ASC"),
        offset=int(read.get("offset", 0)),
        limit=int(read.get("limit", LIMIT_DEFAULT)),
    )


def invalid(detail: str, instance: str | None = None) -> Problem:
    """Return a 400."""
    return Problem(Kind.INVALID_REQUEST, detail, instance)


def is_uuid(value: object) -> bool:
    """Tell whether this is written like a UUID."""
    return isinstance(value, str) and bool(_UUID.fullmatch(value))


def is_key(value: str) -> bool:
    """Tell whether this fits the schema of idempotency keys: a UUID of version 7 does not."""
    return bool(_KEY.fullmatch(value))


def is_match(pattern: str) -> Callable[[object], bool]:
    """Return the check for a text that fits a pattern from end to end."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and bool(compiled.fullmatch(value))


def one_of(words: Iterable[str] | type[StrEnum]) -> Rule:
    """Return the rule for a field with a closed set of words."""
    known = tuple(words)
    return Rule(
        lambda value: isinstance(value, str) and value in known, "one of " + ", ".join(known)
    )


def number(least: int, most: int) -> Rule:
    """Return the rule for a parameter that is a whole number."""

    def fits(text: object) -> bool:
        is_number = isinstance(text, str) and bool(_NUMBER.fullmatch(text))
        return is_number and least <= int(str(text)) <= most

    return Rule(fits, f"a number from {least} to {most}")


UUID: Final = Rule(is_uuid, "a UUID")
#: The parameters of every list (PAG, S26).
PAGING: Final[Mapping[str, Rule]] = {
    "sort": one_of(("created_at", "id")),
    "order": one_of(("ASC", "DESC")),
    "offset": number(0, OFFSET_MAX),
    "limit": number(1, LIMIT_MAX),
}


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
