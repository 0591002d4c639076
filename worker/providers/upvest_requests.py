"""What a request for a withdrawal through Upvest may ask for, orders that raise its cash included.

Source keys as in `upvest` and `upvest_orders`. Pure: a document in, a request or named problems out
(`core.requests`). What is sent of it is put together by the adapter; nothing here sends."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from worker.core.described import (
    NOT_ZERO,
    UUID,
    only_when,
    rule,
    text,
    text_or_null,
    together,
    up_to,
)
from worker.core.requests import ORDERS_LIMIT, Price, Quantity, Request, SellOrder, orders

#: The currencies of a withdrawal (S26).
Currency = Literal["EUR", "GBP"]

REMITTANCE_LIMIT: Final = 140
_AMOUNT_MAX: Final = Decimal("999999999.99")
# S19 lists the same characters but for the underscore.
_REMITTANCE = re.compile(r"[0-9A-Za-z+?/\-:().,';_ ]{0,140}")
_PURPOSE = re.compile(r"[A-Z0-9]{1,4}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
#: The form of an ISIN (S26).
ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_ONE_DECIMAL = re.compile(r"[0-9]+\.[0-9]")
_CASH = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,2})?")


def _refuse(expected: str) -> PydanticCustomError:
    # The expectation is a fixed text: the value itself may be a bank detail and is never repeated.
    return PydanticCustomError("expectation", "expected {expected}", {"expected": expected})


def _uuid(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        expected = 'a UUID, such as "0b8f6d0e-58f1-4b7b-8a53-6f2f0f7a2c22"'
        raise _refuse(expected)
    # As the API writes it, since what it lists is compared with it.
    return value.lower()


def _isin(value: object) -> str:
    if not isinstance(value, str) or not ISIN.fullmatch(value) or not _checks(value):
        expected = 'an ISIN with its check digit, such as "US0378331005"'
        raise _refuse(expected)
    return value


def _checks(isin: str) -> bool:
    """Tell whether the check digit of an ISIN is right (ISO 6166: Luhn, letters as 10 to 35)."""
    digits = [int(digit) for digit in "".join(str(int(letter, 36)) for letter in isin)]
    doubled = [2 * digit for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(sum(divmod(digit, 10)) for digit in doubled)) % 10 == 0


def _cash(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _CASH.fullmatch(value) or not Decimal(value):
        expected = (
            "an amount as a decimal string greater than zero, of at most 9 digits before and 2"
            ' after the point, such as "500.00"'
        )
        raise _refuse(expected)
    return f"{Decimal(value):.2f}"


def _remittance(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _REMITTANCE.fullmatch(value)):
        return value
    expected = (
        f"a text of at most {REMITTANCE_LIMIT} characters: ASCII letters, digits, spaces and"
        " + ? / - : ( ) . , ' ; _"
    )
    raise _refuse(expected)


def _purpose(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _PURPOSE.fullmatch(value)):
        return value
    expected = 'a purpose code of 1 to 4 capital letters and digits (ISO 20022), such as "OTHR"'
    raise _refuse(expected)


Uuid = Annotated[str, BeforeValidator(_uuid), text(UUID)]
Isin = Annotated[
    str, BeforeValidator(_isin), text(ISIN, description="An ISIN with its check digit.")
]
Cash = Annotated[str | None, BeforeValidator(_cash), text_or_null(NOT_ZERO + _CASH.pattern)]
Remittance = Annotated[str | None, BeforeValidator(_remittance), text_or_null(_REMITTANCE)]
Purpose = Annotated[str | None, BeforeValidator(_purpose), text_or_null(_PURPOSE)]

#: All orders but MARKET are for whole units alone.
_WHOLE_UNITS: Final = rule(
    {
        "if": {
            "properties": {"order_type": {"enum": ["LIMIT", "STOP"]}},
            "required": ["order_type"],
        },
        "then": {
            "properties": {"quantity": {"type": "string", "pattern": "^[0-9]+$"}},
            "required": ["quantity"],
        },
    }
)
#: Orders are a user's.
_OF_A_USER: Final = rule(
    {
        "if": {"properties": {"sell": {"type": "array"}}, "required": ["sell"]},
        "then": {"properties": {"user_id": {"type": "string"}}, "required": ["user_id"]},
    }
)
#: None or two decimals, and no more than Upvest takes.
_FITTING_AMOUNT: Final = rule(
    {"properties": {"amount": {"pattern": r"^[0-9]{1,9}(?:\.[0-9]{2})?$"}}}
)


class UpvestOrder(SellOrder):
    """One order of a request's `sell` (contract section 2; fields as in SO).

    It sells so many units (`quantity`) or as many as raise so much (`cash_amount`, in the currency
    of the request). All but MARKET is for whole units alone (OINT).
    """

    model_config = ConfigDict(
        json_schema_extra=together(
            only_when({"cash_amount": {"type": "null"}}, "quantity", unless_said=True),
            only_when({"order_type": {"const": "LIMIT"}}, "limit_price", unless_said=False),
            only_when({"order_type": {"const": "STOP"}}, "stop_price", unless_said=False),
            _WHOLE_UNITS,
        )
    )

    account_id: Uuid
    instrument_id: Isin
    quantity: Quantity | None = None
    cash_amount: Cash = Field(default=None, validate_default=True)
    order_type: Literal["MARKET", "LIMIT", "STOP"] = "MARKET"
    limit_price: Price | None = Field(default=None, validate_default=True)
    stop_price: Price | None = Field(default=None, validate_default=True)

    @field_validator("cash_amount", mode="after")
    @classmethod
    def _is_one_of_both(cls, cash: str | None, info: ValidationInfo) -> str | None:
        if "quantity" in info.data and (cash is None) is (info.data["quantity"] is None):
            expected = "exactly one of quantity and cash_amount"
            raise _refuse(expected)
        return cash

    @field_validator("order_type", mode="after")
    @classmethod
    def _fits_what_is_sold(cls, kind: str, info: ValidationInfo) -> str:
        quantity = info.data.get("quantity", "")
        if kind != "MARKET" and (quantity is None or "." in quantity):
            expected = "MARKET, unless quantity is a whole number"
            raise _refuse(expected)
        return kind

    @field_validator("limit_price", "stop_price", mode="after")
    @classmethod
    def _fits_the_type(cls, price: str | None, info: ValidationInfo) -> str | None:
        kind = str(info.field_name).removesuffix("_price").upper()
        if "order_type" in info.data and (price is None) is (info.data["order_type"] == kind):
            expected = f"to be present for a {kind} order, and absent for any other"
            raise _refuse(expected)
        return price


Orders = Annotated[tuple[UpvestOrder, ...], BeforeValidator(orders), up_to(ORDERS_LIMIT)]


class UpvestRequest(Request):
    """The request body for `"provider": "upvest"` (contract section 2; fields as in WREF)."""

    model_config = ConfigDict(json_schema_extra=together(_FITTING_AMOUNT, _OF_A_USER))

    provider: Literal["upvest"]
    currency: Currency
    account_group_id: Uuid
    reference_account_id: Uuid = Field(repr=False)
    user_id: Uuid | None = Field(default=None, validate_default=True)
    remittance_information: Remittance = Field(default=None, repr=False)
    purpose_code: Purpose = None
    sell: Orders = ()

    @field_validator("amount", mode="before")
    @classmethod
    def _has_all_decimals(cls, amount: object) -> object:
        # Where it is no decimal text at all, the field itself says so.
        if isinstance(amount, str) and _ONE_DECIMAL.fullmatch(amount):
            expected = 'none or exactly two decimals, such as "500" or "500.00"'
            raise _refuse(expected)
        return amount

    @field_validator("amount", mode="after")
    @classmethod
    def _is_not_too_much(cls, amount: Decimal) -> Decimal:
        if amount > _AMOUNT_MAX:
            expected = f"an amount of at most {_AMOUNT_MAX}"
            raise _refuse(expected)
        return amount

    @field_validator("user_id", mode="after")
    @classmethod
    def _sells_for_somebody(cls, user_id: str | None, info: ValidationInfo) -> str | None:
        # Upvest takes orders of a user or of a business, and a request names no business.
        if user_id is None and info.data.get("sell"):
            expected = "to be present where sell is: orders are a user's"
            raise _refuse(expected)
        return user_id

    @property
    def party_id(self) -> str:
        """The account group."""
        return self.account_group_id

    @property
    def target_id(self) -> str:
        """The reference account that the money goes to."""
        return self.reference_account_id

    @property
    def payout_method(self) -> None:
        """There is no choice."""
