"""What a client wrote about orders, and how it becomes values (ORD, CT, ORL).

Pure, and it knows no market. Of buy orders it says that the simulator takes none."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_order import (
    LEGACY_WORDS,
    UNFINISHED,
    OrderFilters,
    OrderStatus,
    OrderType,
    Ticket,
    TimeInForce,
)
from worker.simulator.bluum_reading import (
    Rule,
    is_currency,
    is_flag,
    is_text,
    one_of,
    read_fields,
    read_limit,
    read_offset,
    read_query,
)
from worker.simulator.bluum_refusals import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SELL: Final = "sell"
#: Characters of a client's own id; undocumented, but everything has a limit.
CLIENT_ORDER_ID_MAX: Final = 128
CURRENCY_DEFAULT: Final = "USD"

_QUANTITY: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_PRICE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?")
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,31}")

#: Both words for every status (CT, PT); `open` means every one that is not final (ORL).
_FILTER_STATUSES: Final[Mapping[str, frozenset[OrderStatus]]] = {
    **{status.value: frozenset({status}) for status in OrderStatus},
    **{
        word: frozenset(status for status in OrderStatus if LEGACY_WORDS[status] == word)
        for word in LEGACY_WORDS.values()
    },
    "open": UNFINISHED,
}


def read_ticket(body: bytes) -> Ticket | Refusal:
    """Read the body of a place call (ORD).

    Refusals: 400-001 to 400-004, and 400-006 for a quantity that is not a positive decimal string.
    """
    fields = read_fields(body, _FIELDS, required=("symbol", "side", "type", "time_in_force"))
    if isinstance(fields, Refusal):
        return fields
    if refusal := _refusal_of_sides(fields) or _refusal_of_prices(fields):
        return refusal
    return Ticket(
        symbol=fields["symbol"],
        side=fields["side"],
        type=OrderType(fields["type"]),
        time_in_force=TimeInForce(fields["time_in_force"]),
        quantity=Decimal(fields["quantity"]),
        currency=fields.get("wallet_currency", CURRENCY_DEFAULT),
        limit_price=_price(fields, "limit_price"),
        stop_price=_price(fields, "stop_price"),
        client_order_id=fields.get("client_order_id"),
    )


def read_order_filters(query: Iterable[tuple[str, str]]) -> OrderFilters | Refusal:
    """Read the query of a list call (ORL)."""
    read = read_query(query, _PARAMETERS)
    if isinstance(read, Refusal):
        return read
    return OrderFilters(statuses=read.pop("status", None), **read)


def _refusal_of_sides(fields: Mapping[str, Any]) -> Refusal | None:
    if fields["side"] != SELL:
        return Refusal(Code.INVALID, "This simulator takes sell orders only.", "side")
    if "notional" in fields:
        return Refusal(Code.INVALID, "notional is for market orders that buy.", "notional")
    if "quantity" not in fields:
        return Refusal(Code.MISSING_FIELD, "quantity is required for a sale.", "quantity")
    return None


def _refusal_of_prices(fields: Mapping[str, Any]) -> Refusal | None:
    """Refuse an order without the prices that its type needs."""
    for name in _NEEDED[OrderType(fields["type"])]:
        if not any(option in fields for option in name.split("|")):
            return Refusal(Code.MISSING_FIELD, f"{name} is required for this type.", name)
    return None


def _price(fields: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(fields[name]) if name in fields else None


#: The prices of each type (ORD); one of two where a bar stands between them.
_NEEDED: Final[Mapping[OrderType, tuple[str, ...]]] = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("limit_price",),
    OrderType.STOP: ("stop_price",),
    OrderType.STOP_LIMIT: ("stop_price", "limit_price"),
    OrderType.TRAILING_STOP: ("trail_price|trail_percent",),
}


def _is_quantity(value: object) -> bool:
    return isinstance(value, str) and bool(_QUANTITY.fullmatch(value)) and Decimal(value) > 0


def _is_price(value: object) -> bool:
    return isinstance(value, str) and bool(_PRICE.fullmatch(value)) and Decimal(value) > 0


def _is_symbol(value: object) -> bool:
    return isinstance(value, str) and bool(_SYMBOL.fullmatch(value))


def _is_side(value: object) -> bool:
    return value in {"buy", SELL} if isinstance(value, str) else False


_A_PRICE: Final = Rule(_is_price, Code.BAD_FORMAT, "a positive decimal string")
_A_WORD: Final = Rule(is_text(64), Code.BAD_FORMAT, "a string of at most 64 characters")

#: Every field of a place body. Those without a meaning for a sale of shares are taken and ignored.
_FIELDS: Final[Mapping[str, Rule]] = {
    "symbol": Rule(_is_symbol, Code.BAD_FORMAT, "a symbol in capital letters"),
    "side": Rule(_is_side, Code.BAD_ENUM, "buy or sell"),
    "type": one_of(OrderType),
    "time_in_force": one_of(TimeInForce),
    "quantity": Rule(_is_quantity, Code.BAD_QUANTITY, "a positive decimal string"),
    "notional": Rule(_is_price, Code.BAD_AMOUNT, "a positive decimal string"),
    "limit_price": _A_PRICE,
    "stop_price": _A_PRICE,
    "trail_price": _A_PRICE,
    "trail_percent": _A_PRICE,
    "client_order_id": Rule(
        is_text(CLIENT_ORDER_ID_MAX, least=1),
        Code.BAD_FORMAT,
        f"a string of 1 to {CLIENT_ORDER_ID_MAX} characters",
    ),
    "wallet_currency": Rule(is_currency, Code.BAD_FORMAT, "three capital letters (ISO 4217)"),
    "extended_hours": Rule(is_flag, Code.BAD_FORMAT, "true or false"),
    "market": _A_WORD,
    "isin": _A_WORD,
    "figi": _A_WORD,
    "class": _A_WORD,
    "country": _A_WORD,
}


def _read_status(name: str, text: str) -> frozenset[OrderStatus] | Refusal:
    if text in _FILTER_STATUSES:
        return _FILTER_STATUSES[text]
    words = ", ".join(_FILTER_STATUSES)
    return Refusal(Code.BAD_ENUM, f"{name} must be one of {words}.", name)


def _read_symbol(name: str, text: str) -> str | Refusal:
    if _is_symbol(text):
        return text
    return Refusal(Code.BAD_FORMAT, f"{name} must be a symbol in capital letters.", name)


def _read_side(name: str, text: str) -> str | Refusal:
    if _is_side(text):
        return text
    return Refusal(Code.BAD_ENUM, f"{name} must be buy or sell.", name)


#: Every parameter of a list call and its reader.
_PARAMETERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "status": _read_status,
    "symbol": _read_symbol,
    "side": _read_side,
    "limit": read_limit,
    "offset": read_offset,
}
