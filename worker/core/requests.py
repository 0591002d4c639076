"""What may stand in a request body: the fields that every provider shares, and their strict types.

Pure: values in, values or named problems out. A provider's own fields stand in its own module."""

from __future__ import annotations

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from worker.core.described import NOT_ZERO, PRINTABLE, text, text_or_null, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

METADATA_LIMIT: Final = 2048
#: What an AMQP property holds, in bytes.
NAME_LIMIT: Final = 255
DESCRIPTION_LIMIT: Final = 500
#: More digits than any payout has; keeps every amount, and the sum of millions, in 64 bits.
AMOUNT_DIGITS: Final = 12
#: The most orders that one request may sell first.
ORDERS_LIMIT: Final = 10
_PROBLEMS_TOLD: Final = 5
_NAME_TOLD: Final = 64

# [0-9] and not \d: \d would admit the digits of every script.
_AMOUNT = re.compile(rf"(?:0|[1-9][0-9]{{0,{AMOUNT_DIGITS - 1}}})(?:\.[0-9]{{1,2}})?")
#: Shares are sold in fractions too; more digits than any holding has.
_QUANTITY = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,31}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# RFC 3339 alone: what else Python reads (week dates, missing minutes) others read otherwise.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def _refuse(expected: str) -> PydanticCustomError:
    # The expectation is a fixed text: the value itself may be a secret and is never repeated.
    return PydanticCustomError("expectation", "expected {expected}", {"expected": expected})


def _amount(value: object) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        expected = (
            'a decimal string of at most 12 digits before and 2 after the point, such as "500.00"'
        )
        raise _refuse(expected)
    amount = Decimal(value).quantize(Decimal("0.01"))
    if amount <= 0:
        expected = "an amount greater than zero"
        raise _refuse(expected)
    return amount


def _currency(value: object) -> str:
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        expected = 'a currency of three capital letters, such as "USD"'
        raise _refuse(expected)
    return value


def _positive(what: str) -> Callable[[object], str]:
    """Make a validator of decimal texts, which are kept as they were written."""
    expected = (
        f"{what} as a decimal string greater than zero, of at most 12 digits before and 9 after"
        ' the point, such as "3"'
    )

    def positive(value: object) -> str:
        if not isinstance(value, str) or not _QUANTITY.fullmatch(value) or not Decimal(value):
            raise _refuse(expected)
        return value

    return positive


def _symbol(value: object) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        expected = 'a symbol in capital letters, such as "AAPL"'
        raise _refuse(expected)
    return value


def orders(value: object) -> tuple[object, ...]:
    """Read a list of 1 to 10 orders; what stands in each is its provider's matter."""
    if value is None:
        return ()
    if not isinstance(value, list) or not 1 <= len(value) <= ORDERS_LIMIT:
        expected = f"a list of 1 to {ORDERS_LIMIT} orders"
        raise _refuse(expected)
    return tuple(value)


def _no_orders(value: object) -> tuple[object, ...]:
    if value is not None:
        expected = "to be absent: this provider sells nothing"
        raise _refuse(expected)
    return ()


def _identifier(value: object) -> str:
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        expected = "an id of 1 to 128 ASCII letters, digits, hyphens and underscores"
        raise _refuse(expected)
    return value


def _moment(value: object) -> datetime:
    expected = 'a time with its zone, such as "2026-06-02T09:00:00Z"'
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise _refuse(expected)
    try:
        # In UTC, where the first and the last hours of the calendar may fall out of it.
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refuse(expected) from None


def _description(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > DESCRIPTION_LIMIT or not is_printable(value):
        expected = f"a text of at most {DESCRIPTION_LIMIT} characters without control characters"
        raise _refuse(expected)
    return value


def _short_name(value: object) -> str | None:
    if value is None or (isinstance(value, str) and is_name(value)):
        return value
    expected = f"1 to {NAME_LIMIT} bytes of text without control characters"
    raise _refuse(expected)


def _metadata(value: object) -> dict[str, str]:
    expected = f"a flat map of strings, at most {METADATA_LIMIT} bytes as JSON"
    if not isinstance(value, dict):
        raise _refuse(expected)
    for key, said in value.items():
        if not isinstance(said, str) or not is_printable(key) or not is_printable(said):
            raise _refuse(expected + ", without control characters")
    if len(json.dumps(value, ensure_ascii=False).encode()) > METADATA_LIMIT:
        raise _refuse(expected)
    return value


def is_printable(text: str) -> bool:
    """Tell whether a text is free of control characters and lone surrogates.

    A NUL cannot be stored in PostgreSQL, a lone surrogate cannot be encoded at all.
    """
    return text.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


def is_name(text: str) -> bool:
    """Tell whether a text may be an id that travels as an AMQP property, which counts bytes."""
    return bool(text.strip()) and is_printable(text) and len(text.encode()) <= NAME_LIMIT


_POSITIVE: Final = text(NOT_ZERO + _QUANTITY.pattern)
_PRINTABLE: Final = f"(?:{PRINTABLE})*"

# What each takes is told twice: by its function, to the message, and as JSON Schema, to whoever
# writes one (`asyncapi`). A test compares both.
Amount = Annotated[Decimal, BeforeValidator(_amount), text(NOT_ZERO + _AMOUNT.pattern)]
Currency = Annotated[str, BeforeValidator(_currency), text(_CURRENCY)]
Identifier = Annotated[str, BeforeValidator(_identifier), text(_IDENTIFIER)]
Moment = Annotated[datetime, BeforeValidator(_moment), text(_MOMENT, format="date-time")]
Description = Annotated[
    str | None,
    BeforeValidator(_description),
    text_or_null(_PRINTABLE, maxLength=DESCRIPTION_LIMIT),
]
Quantity = Annotated[str, BeforeValidator(_positive("a quantity")), _POSITIVE]
Price = Annotated[str, BeforeValidator(_positive("a price")), _POSITIVE]
Symbol = Annotated[str, BeforeValidator(_symbol), text(_SYMBOL)]
Metadata = Annotated[
    dict[str, str],
    BeforeValidator(_metadata),
    texts(
        _PRINTABLE,
        {"pattern": f"^{_PRINTABLE}$"},
        description=f"At most {METADATA_LIMIT} bytes as JSON; echoed in every event.",
    ),
]
Name = Annotated[
    str | None,
    BeforeValidator(_short_name),
    text_or_null(
        rf"(?=.*\S)(?:{PRINTABLE})+",
        maxLength=NAME_LIMIT,
        description=f"At most {NAME_LIMIT} bytes.",
    ),
]


_Shape = TypeVar("_Shape", bound=BaseModel)


class SellOrder(BaseModel):
    """One order that raises the cash first; each provider adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Request(BaseModel, ABC):
    """A valid request for a withdrawal; each provider adds its own fields and tells who is who."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    provider: str | None = None
    amount: Amount = Field(repr=False)
    currency: Currency
    not_after: Moment | None = None
    metadata: Metadata = Field(default_factory=dict, repr=False)
    sell: Annotated[
        tuple[SellOrder, ...], BeforeValidator(_no_orders), WithJsonSchema({"type": "null"})
    ] = ()
    wait_for_funds_until: Moment | None = None

    @property
    @abstractmethod
    def party_id(self) -> str:
        """The id of the investor, account or account group whose money it is."""

    @property
    @abstractmethod
    def target_id(self) -> str:
        """The id of the bank account the money goes to: a bank detail, never shown."""

    @property
    @abstractmethod
    def payout_method(self) -> str | None:
        """How the money travels, in the provider's word, or None where there is no choice."""


def read_request(shape: type[_Shape], document: Mapping[str, Any]) -> _Shape | str:
    """Validate a document against a shape, such as a provider's.

    Returns the request, or one line that names each wrong field and what was expected of it. The
    line never repeats a value.
    """
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        return _told(error, tuple(shape.model_fields))


def _told(error: ValidationError, known: tuple[str, ...]) -> str:
    problems = error.errors(include_url=False, include_context=True, include_input=False)
    lines = [f"{_name(p['loc'])}: {_expectation(p, known)}" for p in problems[:_PROBLEMS_TOLD]]
    if len(problems) > _PROBLEMS_TOLD:
        lines.append(f"and {len(problems) - _PROBLEMS_TOLD} more")
    return "; ".join(lines)


def _name(loc: tuple[int | str, ...]) -> str:
    # A field's name comes from the producer too: shortened, and only its harmless characters.
    name = ".".join(str(part) for part in loc) or "body"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name[:_NAME_TOLD])


def _expectation(problem: Mapping[str, Any], known: tuple[str, ...]) -> str:
    match problem["type"]:
        case "expectation":
            return str(problem["msg"])
        case "missing":
            return "expected to be present"
        case "extra_forbidden" if len(problem["loc"]) > 1:
            return "expected to be absent"
        case "extra_forbidden":
            return f"expected to be absent: the known fields are {', '.join(known)}"
        case "literal_error":
            return f"expected one of {problem['ctx']['expected']}"
        case kind:
            # The library's own words may repeat a part of the value.
            return f"expected another value ({kind})"
