"""What a client wrote about withdrawals, and how it becomes values; and identifiers in paths.

Pure, and it knows no bank: a call that is refused here would be refused whoever makes it. Rules are
those of WD (body), WDL (filters) and HOW (identifiers)."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_reading import (
    Rule,
    is_currency,
    is_object,
    is_text_or_null,
    one_of,
    read_fields,
    read_limit,
    read_offset,
    read_query,
)
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Characters of a description (WD).
DESCRIPTION_MAX: Final = 500
CURRENCY_DEFAULT: Final = "USD"

_AMOUNT: Final = re.compile(r"[0-9]+(\.[0-9]{1,2})?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: A funding source is the one resource that may also be named by a UUID (WD).
_FUNDING_SOURCE: Final = re.compile(
    r"fs_[A-Za-z0-9_-]{1,120}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
_IDENTIFIERS: Final[Mapping[str, re.Pattern[str]]] = {
    "investor_id": re.compile(r"inv_[A-Za-z0-9_-]{1,120}"),
    "withdrawal_id": re.compile(r"wd_[A-Za-z0-9_-]{1,120}"),
    "order_id": re.compile(r"ord_[A-Za-z0-9_-]{1,120}"),
    "webhook_id": re.compile(r"wh_[A-Za-z0-9_-]{1,120}"),
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
    """Read the body of a create call (WD)."""
    required = ("amount", "method", "funding_source_id")
    fields = read_fields(body, _FIELDS, required=required)
    if isinstance(fields, Refusal):
        return fields
    return Instruction(
        amount=Decimal(fields["amount"]),
        currency=fields.get("currency", CURRENCY_DEFAULT),
        method=Method(fields["method"]),
        funding_source_id=fields["funding_source_id"],
        description=fields.get("description"),
    )


def read_filters(query: Iterable[tuple[str, str]]) -> Filters | Refusal:
    """Read the query of a list call (WDL)."""
    read = read_query(query, _PARAMETERS)
    if isinstance(read, Refusal):
        return read
    filters = Filters(statuses=read.pop("status", None), **read)
    if filters.date_from and filters.date_to and filters.date_from > filters.date_to:
        return Refusal(Code.BAD_DATE_RANGE, "date_from lies after date_to.", "date_from")
    return filters


def is_amount(value: object) -> bool:
    """Tell whether this is a positive amount of money: a string with at most two decimals (WD)."""
    # The documented pattern alone admits "0", which CODES excludes.
    return isinstance(value, str) and bool(_AMOUNT.fullmatch(value)) and Decimal(value) > 0


def _is_funding_source(value: object) -> bool:
    return isinstance(value, str) and bool(_FUNDING_SOURCE.fullmatch(value))


#: Every field of a create body.
_FIELDS: Final[Mapping[str, Rule]] = {
    "amount": Rule(
        is_amount, Code.BAD_AMOUNT, "a positive decimal string with at most two decimals"
    ),
    "method": one_of(Method),
    "funding_source_id": Rule(
        _is_funding_source, Code.BAD_FORMAT, "an identifier with the prefix fs_, or a UUID"
    ),
    "currency": Rule(is_currency, Code.BAD_FORMAT, "three capital letters (ISO 4217)"),
    "description": Rule(
        is_text_or_null(DESCRIPTION_MAX),
        Code.BAD_FORMAT,
        f"null or a string of at most {DESCRIPTION_MAX} characters",
    ),
    # Reserved (WD): taken and ignored.
    "wire_options": Rule(is_object, Code.BAD_FORMAT, "an object"),
}


def _read_method(name: str, text: str) -> Method | Refusal:
    if text in set(Method):
        return Method(text)
    return Refusal(Code.BAD_ENUM, f"{name} must be one of " + ", ".join(Method) + ".", name)


def _read_status(name: str, text: str) -> frozenset[Status] | Refusal:
    if text in _FILTER_STATUSES:
        return _FILTER_STATUSES[text]
    words = ", ".join(_FILTER_STATUSES)
    return Refusal(Code.BAD_ENUM, f"{name} must be one of {words}.", name)


def _read_currency(name: str, text: str) -> str | Refusal:
    if is_currency(text):
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


#: Every parameter of a list call and its reader.
_PARAMETERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "method": _read_method,
    "status": _read_status,
    "currency": _read_currency,
    "date_from": _read_day,
    "date_to": _read_day,
    "limit": read_limit,
    "offset": read_offset,
}
