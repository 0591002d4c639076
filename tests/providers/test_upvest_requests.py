"""What a request for Upvest may hold, field by field; orders included."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from tests.providers.stages import (
    ACCOUNT,
    ACCOUNT_GROUP,
    REFERENCE_ACCOUNT,
    USER,
    upvest_request,
)
from worker.core.requests import read_request
from worker.providers.upvest_requests import UpvestRequest

PLAIN: Final[dict[str, Any]] = {
    "provider": "upvest",
    "account_group_id": ACCOUNT_GROUP,
    "reference_account_id": REFERENCE_ACCOUNT,
    "user_id": USER,
    "amount": "200.00",
    "currency": "EUR",
    "remittance_information": "Withdrawal",
    "purpose_code": "OTHR",
}
UNITS: Final[dict[str, Any]] = {
    "account_id": ACCOUNT,
    "instrument_id": "US0378331005",
    "quantity": "3",
}
CASH: Final[dict[str, Any]] = {
    "account_id": ACCOUNT,
    "instrument_id": "DE000A1EWWW0",
    "cash_amount": "500",
}


def read(document: dict[str, Any], **fields: object) -> UpvestRequest | str:
    """Read a document with some fields changed; `...` leaves one out."""
    changed = {name: value for name, value in (document | fields).items() if value is not ...}
    return read_request(UpvestRequest, changed)


def test_the_documented_request_is_read() -> None:
    """
    The third body of the contract, and who is who in it.
    """
    request = read(PLAIN)

    assert isinstance(request, UpvestRequest)
    assert (ACCOUNT_GROUP, REFERENCE_ACCOUNT, None) == (
        request.party_id,
        request.target_id,
        request.payout_method,
    )


def test_only_what_is_needed_is_needed() -> None:
    """
    Without user, text and purpose it is a request too; ids are written as Upvest writes them.
    """
    request = read(
        PLAIN,
        user_id=...,
        remittance_information=...,
        purpose_code=...,
        account_group_id=ACCOUNT_GROUP.upper(),
    )

    assert isinstance(request, UpvestRequest)
    assert ACCOUNT_GROUP == request.party_id


@pytest.mark.parametrize("amount", ["0.01", "5", "5.50", "999999999.99"])
def test_amounts_within_the_limits_are_read(amount: str) -> None:
    """
    From a cent to the documented maximum.
    """
    request = read(PLAIN, amount=amount)

    assert isinstance(request, UpvestRequest)
    assert Decimal(amount) == request.amount


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("amount", "1000000000.00", "at most 999999999.99"),
        ("amount", "999999999999.99", "at most 999999999.99"),
        ("amount", "5.555", "decimal string"),
        ("amount", "5.5", "none or exactly two decimals"),
        ("amount", "0.00", "greater than zero"),
        ("amount", 5, "decimal string"),
        ("currency", "USD", "one of 'EUR' or 'GBP'"),
        ("currency", "eur", "one of 'EUR' or 'GBP'"),
        ("currency", ..., "present"),
        ("account_group_id", "inv_01", "a UUID"),
        ("account_group_id", ACCOUNT_GROUP.replace("-", ""), "a UUID"),
        ("account_group_id", f"{ACCOUNT_GROUP} ", "a UUID"),
        ("account_group_id", None, "a UUID"),
        ("reference_account_id", "DE89370400440532013000", "a UUID"),
        ("reference_account_id", ..., "present"),
        ("user_id", 7, "a UUID"),
        ("remittance_information", "x" * 141, "at most 140 characters"),
        ("remittance_information", "Miete für März", "at most 140 characters"),
        ("remittance_information", "rent [wd:60b93432eb52]", "at most 140 characters"),
        ("remittance_information", "a\nb", "at most 140 characters"),
        ("remittance_information", "tilde ~", "at most 140 characters"),
        ("remittance_information", 7, "at most 140 characters"),
        ("purpose_code", "OTHER", "1 to 4 capital letters"),
        ("purpose_code", "othr", "1 to 4 capital letters"),
        ("purpose_code", "", "1 to 4 capital letters"),
        ("sell", [], "1 to 10 orders"),
        ("sell", [UNITS] * 11, "1 to 10 orders"),
    ],
)
def test_what_is_outside_the_rules_is_refused(field: str, value: object, expected: str) -> None:
    """
    The field is named with what was expected, and the value never.
    """
    problem = read(PLAIN, **{field: value})

    assert isinstance(problem, str)
    assert problem.startswith(f"{field}: expected ")
    assert expected in problem
    assert not isinstance(value, str) or len(value) < 5 or value not in problem


@pytest.mark.parametrize(
    "field",
    [
        "investor_id",
        "account_id",
        "method",
        "funding_source_id",
        "description",
        "plaid_options",
        "business_id",
        "idempotency_key",
    ],
)
def test_other_providers_fields_are_refused(field: str) -> None:
    """
    A request that was meant for another provider goes nowhere.
    """
    problem = read(PLAIN, **{field: "x"})

    assert isinstance(problem, str)
    assert problem.startswith(f"{field}: expected to be absent")


def test_every_documented_character_may_be_in_the_remittance_information() -> None:
    """
    Letters, digits, the space and fifteen signs, up to 140 of them.
    """
    text = "+?/-:().,';_ azAZ09".ljust(140, "x")
    request = read(PLAIN, remittance_information=text)

    assert isinstance(request, UpvestRequest)
    assert text == request.remittance_information


def test_bank_details_are_not_shown() -> None:
    """
    Neither the reference account nor what is written to it.
    """
    shown = repr(upvest_request(remittance_information="private"))

    assert REFERENCE_ACCOUNT not in shown
    assert "private" not in shown


@pytest.mark.parametrize(
    "order",
    [
        UNITS,
        UNITS | {"quantity": "0.000000001"},
        UNITS | {"order_type": "LIMIT", "limit_price": "99.5"},
        UNITS | {"order_type": "STOP", "stop_price": "80"},
        CASH,
        CASH | {"cash_amount": "999999999.99", "order_type": "MARKET"},
        *(
            UNITS | {"instrument_id": isin}
            for isin in ("GB0002634946", "AU0000XVGZA3", "IE00B4L5Y983", "US5949181045")
        ),
    ],
    ids=repr,
)
def test_orders_within_the_rules_are_read(order: dict[str, Any]) -> None:
    """
    Units or cash, at the market or, for whole units, at a price; any ISIN that checks.
    """
    assert isinstance(read(PLAIN, sell=[order]), UpvestRequest)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (UNITS | {"instrument_id": "US0378331006"}, "instrument_id: expected an ISIN"),
        (UNITS | {"instrument_id": "US0373831005"}, "instrument_id: expected an ISIN"),
        (UNITS | {"instrument_id": "AAPL"}, "instrument_id: expected an ISIN"),
        (UNITS | {"instrument_id": "us0378331005"}, "instrument_id: expected an ISIN"),
        (UNITS | {"account_id": "acc_1"}, "account_id: expected a UUID"),
        (UNITS | {"cash_amount": "5.00"}, "cash_amount: expected exactly one of"),
        (UNITS | {"quantity": None}, "cash_amount: expected exactly one of"),
        (UNITS | {"quantity": "0"}, "quantity: expected a quantity"),
        (CASH | {"cash_amount": "0.00"}, "cash_amount: expected an amount"),
        (CASH | {"cash_amount": "1000000000"}, "cash_amount: expected an amount"),
        (CASH | {"cash_amount": 5}, "cash_amount: expected an amount"),
        (CASH | {"order_type": "LIMIT", "limit_price": "9"}, "order_type: expected MARKET"),
        (
            UNITS | {"quantity": "1.5", "order_type": "STOP", "stop_price": "9"},
            "order_type: expected MARKET",
        ),
        (UNITS | {"order_type": "market"}, "order_type: expected one of"),
        (UNITS | {"order_type": "LIMIT"}, "limit_price: expected to be present for a LIMIT"),
        (UNITS | {"limit_price": "9"}, "limit_price: expected to be present for a LIMIT"),
        (UNITS | {"order_type": "STOP"}, "stop_price: expected to be present for a STOP"),
        (UNITS | {"symbol": "AAPL"}, "symbol: expected to be absent"),
        (UNITS | {"client_reference": "mine"}, "client_reference: expected to be absent"),
    ],
    ids=repr,
)
def test_orders_outside_the_rules_are_refused(order: dict[str, Any], expected: str) -> None:
    """
    The order is named by its place, and the field with what was expected.
    """
    problem = read(PLAIN, sell=[UNITS, order])

    assert isinstance(problem, str)
    assert f"sell.1.{expected}" in problem


def test_orders_need_a_user() -> None:
    """
    Upvest takes orders of a user or a business alone, and a request names no business.
    """
    problem = read(PLAIN, sell=[UNITS], user_id=...)

    assert "user_id: expected to be present where sell is: orders are a user's" == problem
