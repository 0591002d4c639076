"""What a client wrote, and how it becomes values: bodies, identifiers in paths, list filters.

Pure, and it knows no bank: a call that is refused here would be refused whoever makes it. Rules are
those of WD (body), WDL (filters) and HOW (identifiers); where the pages are silent the stricter
reading is taken, so that a client built against the simulator has nothing to unlearn."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_withdrawal import PAGE_MAX, Filters, Instruction, Method, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Characters of a description (WD).
DESCRIPTION_MAX: Final = 500
CURRENCY_DEFAULT: Final = "USD"
#: Where a list may begin at the latest; undocumented, but everything has a limit.
OFFSET_MAX: Final = 1_000_000

_AMOUNT: Final = re.compile(r"[0-9]+(\.[0-9]{1,2})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER: Final = re.compile(r"[0-9]{1,7}")
#: A funding source is the one resource that may also be named by a UUID (WD).
_FUNDING_SOURCE: Final = re.compile(
    r"fs_[A-Za-z0-9_-]{1,120}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
_IDENTIFIERS: Final[Mapping[str, re.Pattern[str]]] = {
    "investor_id": re.compile(r"inv_[A-Za-z0-9_-]{1,120}"),
    "withdrawal_id": re.compile(r"wd_[A-Za-z0-9_-]{1,120}"),
}

#: The filter takes the internal words, answers carry the external ones (WDL): `canceled` has one l
#: here. `submitted` is a word of the filter that this simulator's withdrawals never reach.
_FILTER_STATUSES: Final[Mapping[str, frozenset[Status]]] = {
    "pending": frozenset({Status.PENDING}),
    "processing": frozenset({Status.PROCESSING}),
    "submitted": frozenset(),
    "completed": frozenset({Status.COMPLETED}),
    "canceled": frozenset({Status.CANCELLED}),
    "failed": frozenset({Status.FAILED}),
}


def refusal_of_identifiers(identifiers: Mapping[str, str]) -> Refusal | None:
    """Refuse a path whose identifiers lack their prefix: a UUID in their place is a 400 (HOW)."""
    for name, value in identifiers.items():
        if not _IDENTIFIERS[name].fullmatch(value):
            return Refusal(Code.BAD_FORMAT, f"{name} is not a prefixed identifier.", name)
    return None


def read_instruction(body: bytes) -> Instruction | Refusal:
    """Read the body of a create call (WD); unknown fields are refused."""
    fields = _read_object(body)
    if isinstance(fields, Refusal):
        return fields
    if refusal := _refusal_of_names(fields) or _refusal_of_values(fields):
        return refusal
    return Instruction(
        amount=Decimal(fields["amount"]),
        currency=fields.get("currency", CURRENCY_DEFAULT),
        method=Method(fields["method"]),
        funding_source_id=fields["funding_source_id"],
        description=fields.get("description"),
    )


def read_filters(query: Iterable[tuple[str, str]]) -> Filters | Refusal:
    """Read the query of a list call (WDL); unknown and repeated parameters are refused."""
    read: dict[str, Any] = {}
    for name, text in query:
        if name not in _PARAMETERS or name in read:
            return Refusal(Code.INVALID, f"{name} is unknown or given twice.", name)
        value = _PARAMETERS[name](name, text)
        if isinstance(value, Refusal):
            return value
        read["statuses" if name == "status" else name] = value
    filters = Filters(**read)
    if filters.date_from and filters.date_to and filters.date_from > filters.date_to:
        return Refusal(Code.BAD_DATE_RANGE, "date_from lies after date_to.", "date_from")
    return filters


def _read_object(body: bytes) -> dict[str, Any] | Refusal:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(Code.INVALID, "The body is not JSON.")
    if not isinstance(document, dict):
        return Refusal(Code.INVALID, "The body is not a JSON object.")
    return document


def _refusal_of_names(fields: Mapping[str, Any]) -> Refusal | None:
    for name in fields:
        if name not in _FIELDS:
            return Refusal(
                Code.INVALID, f"{name[:64]!r} is not a field of a withdrawal.", name[:64]
            )
    for name in ("amount", "method", "funding_source_id"):
        if name not in fields:
            return Refusal(Code.MISSING_FIELD, f"{name} is required.", name)
    return None


def _refusal_of_values(fields: Mapping[str, Any]) -> Refusal | None:
    for name, value in fields.items():
        fits, code, rule = _FIELDS[name]
        if not fits(value):
            return Refusal(code, f"{name} must be {rule}.", name)
    return None


def _is_amount(value: object) -> bool:
    # The documented pattern alone admits "0", which CODES excludes.
    return isinstance(value, str) and bool(_AMOUNT.fullmatch(value)) and Decimal(value) > 0


def _is_method(value: object) -> bool:
    return isinstance(value, str) and value in set(Method)


def _is_funding_source(value: object) -> bool:
    return isinstance(value, str) and bool(_FUNDING_SOURCE.fullmatch(value))


def _is_currency(value: object) -> bool:
    return isinstance(value, str) and bool(_CURRENCY.fullmatch(value))


def _is_description(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= DESCRIPTION_MAX)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


#: Every field of a create body: what fits, which code refuses the rest, and the rule in words.
_FIELDS: Final[Mapping[str, tuple[Callable[[object], bool], Code, str]]] = {
    "amount": (
        _is_amount,
        Code.BAD_AMOUNT,
        "a positive decimal string with at most two decimals",
    ),
    "method": (_is_method, Code.BAD_ENUM, "one of " + ", ".join(Method)),
    "funding_source_id": (
        _is_funding_source,
        Code.BAD_FORMAT,
        "an identifier with the prefix fs_, or a UUID",
    ),
    "currency": (_is_currency, Code.BAD_FORMAT, "three capital letters (ISO 4217)"),
    "description": (
        _is_description,
        Code.BAD_FORMAT,
        f"null or a string of at most {DESCRIPTION_MAX} characters",
    ),
    # Reserved (WD): taken and ignored.
    "wire_options": (_is_object, Code.BAD_FORMAT, "an object"),
}


def _read_method(name: str, text: str) -> Method | Refusal:
    if _is_method(text):
        return Method(text)
    return Refusal(Code.BAD_ENUM, f"{name} must be one of " + ", ".join(Method) + ".", name)


def _read_status(name: str, text: str) -> frozenset[Status] | Refusal:
    if text in _FILTER_STATUSES:
        return _FILTER_STATUSES[text]
    words = ", ".join(_FILTER_STATUSES)
    return Refusal(Code.BAD_ENUM, f"{name} must be one of {words}.", name)


def _read_currency(name: str, text: str) -> str | Refusal:
    if _is_currency(text):
        return text
    return Refusal(Code.BAD_FORMAT, f"{name} must be three capital letters.", name)


def _read_day(name: str, text: str) -> date | Refusal:
    # date.fromisoformat alone would take other ISO spellings too.
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    return Refusal(Code.BAD_FORMAT, f"{name} must be a day, YYYY-MM-DD.", name)


def _read_limit(name: str, text: str) -> int | Refusal:
    return _read_number(name, text, smallest=1, largest=PAGE_MAX)


def _read_offset(name: str, text: str) -> int | Refusal:
    return _read_number(name, text, smallest=0, largest=OFFSET_MAX)


def _read_number(name: str, text: str, *, smallest: int, largest: int) -> int | Refusal:
    if _NUMBER.fullmatch(text) and smallest <= int(text) <= largest:
        return int(text)
    return Refusal(Code.BAD_FORMAT, f"{name} must lie from {smallest} to {largest}.", name)


#: Every parameter of a list call and its reader.
_PARAMETERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "method": _read_method,
    "status": _read_status,
    "currency": _read_currency,
    "date_from": _read_day,
    "date_to": _read_day,
    "limit": _read_limit,
    "offset": _read_offset,
}
