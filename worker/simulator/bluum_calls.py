"""What a client wrote about withdrawals, and how it becomes values; and identifiers in paths.

Pure, and it knows no bank: a call that is refused here would be refused whoever makes it. Rules are
those of WD (body), WDL (filters) and HOW (identifiers)."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_generation import ACCOUNT_SCOPED, INVESTOR_SCOPED
from worker.simulator.bluum_reading import (
    Rule,
    is_currency,
    is_object,
    is_text_or_null,
    read_fields,
    read_limit,
    read_offset,
    read_query,
)
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.simulator.bluum_generation import Generation

#: Characters of a description (WD).
DESCRIPTION_MAX: Final = 500
CURRENCY_DEFAULT: Final = "USD"

_AMOUNT: Final = re.compile(r"[0-9]+(\.[0-9]{1,2})?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: Plaid's ids (G2 shows no form).
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
#: A funding source is the one resource that may also be named by a UUID (WD).
_FUNDING_SOURCE: Final = re.compile(
    r"fs_[A-Za-z0-9_-]{1,120}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
_IDENTIFIERS: Final[Mapping[str, re.Pattern[str]]] = {
    "order_id": re.compile(r"ord_[A-Za-z0-9_-]{1,120}"),
    "webhook_id": re.compile(r"wh_[A-Za-z0-9_-]{1,120}"),
}

#: The filter takes the internal words, answers carry the external ones (WDL): `canceled` has one l
#: here. `submitted` is a word of the filter that withdrawals reach in the older generation alone.
_FILTER_STATUSES: Final[Mapping[str, frozenset[Status]]] = {
    "pending": frozenset({Status.PENDING}),
    "processing": frozenset({Status.PROCESSING}),
    "submitted": frozenset({Status.SUBMITTED}),
    "completed": frozenset({Status.COMPLETED}),
    "canceled": frozenset({Status.CANCELLED}),
    "failed": frozenset({Status.FAILED}),
}


def refusal_of_identifiers(
    identifiers: Mapping[str, str], generation: Generation = INVESTOR_SCOPED
) -> Refusal | None:
    """Refuse a path whose identifiers have another form: a UUID for a prefixed one (HOW)."""
    forms = {**_IDENTIFIERS, **generation.forms}
    for name, value in identifiers.items():
        if not forms[name].fullmatch(value):
            return Refusal(Code.BAD_FORMAT, f"{name} is not an identifier in its form.", name)
    return None


def read_instruction(
    body: bytes, generation: Generation = INVESTOR_SCOPED
) -> Instruction | Refusal:
    """Read the body of a create call (WD; G2 for the older generation)."""
    fields = read_fields(body, _RULES[generation.scope], required=generation.required)
    if isinstance(fields, Refusal):
        return fields
    method = Method(fields["method"])
    options = {name: fields[name] for name in generation.options.values() if name in fields}
    if refusal := _refusal_of_options(options, generation.options.get(method)):
        return refusal
    plaid = options.get("plaid_options", {})
    return Instruction(
        amount=Decimal(fields["amount"]),
        currency=fields.get("currency", CURRENCY_DEFAULT),
        method=method,
        funding_source_id=fields.get("funding_source_id") or plaid.get("item_id", ""),
        description=fields.get("description"),
        options=options,
    )


def _refusal_of_options(options: Mapping[str, Any], wanted: str | None) -> Refusal | None:
    """Refuse a method without its options (400-002), and options of another one (400-001)."""
    if wanted is not None and wanted not in options:
        return Refusal(Code.MISSING_FIELD, f"{wanted} is required for this method.", wanted)
    for name in options:
        if name != wanted:
            return Refusal(Code.INVALID, f"{name} is not for this method.", name)
    return None


def read_filters(
    query: Iterable[tuple[str, str]], generation: Generation = INVESTOR_SCOPED
) -> Filters | Refusal:
    """Read the query of a list call (WDL)."""
    readers = {**_PARAMETERS, "method": _method_reader(generation)}
    read = read_query(query, readers)
    if isinstance(read, Refusal):
        return read
    filters = Filters(statuses=read.pop("status", None), **read)
    if filters.date_from and filters.date_to and filters.date_from > filters.date_to:
        return Refusal(Code.BAD_DATE_RANGE, "date_from lies after date_to.", "date_from")
    if filters.limit > generation.page_max:
        message = f"limit must lie from 1 to {generation.page_max}."
        return Refusal(Code.BAD_FORMAT, message, "limit")
    return filters


def is_amount(value: object) -> bool:
    """Tell whether this is a positive amount of money: a string with at most two decimals (WD)."""
    # The documented pattern alone admits "0", which CODES excludes.
    return isinstance(value, str) and bool(_AMOUNT.fullmatch(value)) and Decimal(value) > 0


def _is_funding_source(value: object) -> bool:
    return isinstance(value, str) and bool(_FUNDING_SOURCE.fullmatch(value))


def _is_plaid(value: object) -> bool:
    names = {"item_id", "account_id"}
    return isinstance(value, dict) and set(value) == names and all(map(_is_name, value.values()))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def _method_of(generation: Generation) -> Rule:
    words = "one of " + ", ".join(generation.methods)
    known = set(generation.methods)
    return Rule(lambda value: isinstance(value, str) and value in known, Code.BAD_ENUM, words)


#: Every field of a create body but the method.
_FIELDS: Final[Mapping[str, Rule]] = {
    "amount": Rule(
        is_amount, Code.BAD_AMOUNT, "a positive decimal string with at most two decimals"
    ),
    "funding_source_id": Rule(
        _is_funding_source, Code.BAD_FORMAT, "an identifier with the prefix fs_, or a UUID"
    ),
    "currency": Rule(is_currency, Code.BAD_FORMAT, "three capital letters (ISO 4217)"),
    "description": Rule(
        is_text_or_null(DESCRIPTION_MAX),
        Code.BAD_FORMAT,
        f"null or a string of at most {DESCRIPTION_MAX} characters",
    ),
    "plaid_options": Rule(_is_plaid, Code.BAD_FORMAT, "an object of item_id and account_id"),
    "wire_options": Rule(is_object, Code.BAD_FORMAT, "an object"),
}
_RULES: Final[Mapping[str, Mapping[str, Rule]]] = {
    generation.scope: {name: _FIELDS[name] for name in generation.fields - {"method"}}
    | {"method": _method_of(generation)}
    for generation in (INVESTOR_SCOPED, ACCOUNT_SCOPED)
}


def _method_reader(generation: Generation) -> Callable[[str, str], Method | Refusal]:
    def read_method(name: str, text: str) -> Method | Refusal:
        if text in set(generation.methods):
            return Method(text)
        words = ", ".join(generation.methods)
        return Refusal(Code.BAD_ENUM, f"{name} must be one of {words}.", name)

    return read_method


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


#: Every parameter of a list call and its reader, but the method.
_PARAMETERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "status": _read_status,
    "currency": _read_currency,
    "date_from": _read_day,
    "date_to": _read_day,
    "limit": read_limit,
    "offset": read_offset,
}
