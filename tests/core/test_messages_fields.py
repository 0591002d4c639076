"""Which values a field of a request may not have; a refusal names the field, never the value."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pytest

from tests.core.wire import a_body, a_message, misread
from worker.core.messages import DeadReason

MONEY: Final = "a decimal string of at most 12 digits before and 2 after the point"
POSITIVE: Final = "an amount greater than zero"
IDENTIFIER: Final = "an id of 1 to 128 ASCII letters, digits, hyphens and underscores"
CURRENCY: Final = 'a currency of three capital letters, such as "USD"'
METHOD: Final = "one of 'ach', 'wire', 'international_wire'"
TEXT: Final = "a text of at most 500 characters without control characters"
MOMENT: Final = 'a time with its zone, such as "2026-06-02T09:00:00Z"'
METADATA: Final = "a flat map of strings, at most 2048 bytes as JSON"
PRINTABLE: Final = f"{METADATA}, without control characters"
ORDERS: Final = "a list of 1 to 10 orders"
PRESENT: Final = "to be present"
UNICODE: Final = "another value (string_unicode)"


class Row(NamedTuple):
    """Values of one field that are refused alike."""

    field: str
    theme: str
    expected: str
    values: list[Any]


# Digits and letters of other scripts are written as escapes: some look like ASCII, all count here.
ROWS: Final = [
    Row("amount", "absent", PRESENT, [...]),
    Row("amount", "number", MONEY, [500, 500.0, 5e2, 0, -1, 10**20]),
    Row("amount", "other type", MONEY, [True, None, [], {}, ["500.00"]]),
    Row("amount", "no number", MONEY, ["", " ", "abc", "NaN", "Infinity", "-Infinity", "$500"]),
    Row("amount", "decimals", MONEY, ["500.001", "500.", ".5", "500,00", "5.0.0"]),
    Row("amount", "exponent", MONEY, ["1e3", "1E3", "5e-1", "1e1000000"]),
    Row("amount", "sign", MONEY, ["+500", "-500", "-0.01", "-0"]),
    Row("amount", "leading zeros", MONEY, ["007", "00.50", "00"]),
    Row("amount", "separators", MONEY, ["1,000", "1_000", "1 000", "0x10"]),
    Row("amount", "white space", MONEY, [" 500", "500 ", "500\n", "\t500", "500.00\x00"]),
    Row("amount", "Arabic-Indic digits", MONEY, ["\u0665\u0660\u0660", "5\u0660\u0660.00"]),
    Row("amount", "fullwidth digits", MONEY, ["\uff15\uff10\uff10", "500.\uff10\uff10"]),
    Row("amount", "fractions and powers", MONEY, ["\u00bd", "5\u00b2"]),
    Row("amount", "too many digits", MONEY, ["1000000000000", "1000000000000.00", "9" * 400]),
    Row("amount", "nothing", POSITIVE, ["0", "0.0", "0.00"]),
    *(
        Row(name, theme, expected, values)
        for name in ("investor_id", "funding_source_id")
        for theme, expected, values in (
            ("absent", PRESENT, [...]),
            ("path", IDENTIFIER, ["../x", "a/b", "..", ".", "a.b", "a\\b", "/"]),
            ("encoded path", IDENTIFIER, ["a%2fb", "%2e%2e", "a?b", "a#b", "a;b"]),
            ("white space", IDENTIFIER, ["a b", " a", "a\n", "a\r\nX: y", "a\x00"]),
            ("beginning", IDENTIFIER, ["-a", "_a"]),
            ("other letters", IDENTIFIER, ["\u00e4", "inv_\uff11", "\ud800"]),
            ("length", IDENTIFIER, ["", "x" * 129]),
            ("other type", IDENTIFIER, [1, None, True, ["inv_01"], {}]),
        )
    ),
    Row("currency", "absent", PRESENT, [...]),
    Row("currency", "lower case", CURRENCY, ["usd", "Usd"]),
    Row("currency", "length", CURRENCY, ["", "US", "USDT", "USD\n", " USD"]),
    Row("currency", "other letters", CURRENCY, ["\uff35\uff33\uff24", "US\u00d0", "US1"]),
    Row("currency", "other type", CURRENCY, [840, None, ["USD"]]),
    Row("method", "absent", PRESENT, [...]),
    Row("method", "unknown", METHOD, ["ACH", "ach_plaid", "ach ", ""]),
    Row("method", "other type", METHOD, [None, 1, ["ach"], {}]),
    Row("method", "lone surrogate", UNICODE, ["\ud800"]),
    Row("description", "length", TEXT, ["x" * 501]),
    Row("description", "control characters", TEXT, ["a\x00b", "a\nb", "\x7f", "\x85", "\ud800"]),
    Row("description", "other type", TEXT, [5, True, [], {}]),
    Row("not_after", "no zone", MOMENT, ["2026-06-02T09:00:00", "2026-06-02", "09:00:00Z"]),
    Row("not_after", "no seconds", MOMENT, ["2026-06-02T09:00Z", "2026-06-02T09Z"]),
    Row("not_after", "basic form", MOMENT, ["20260602T090000Z", "2026-06-02T09:00:00+0200"]),
    Row("not_after", "week and day", MOMENT, ["2026-W23-2T09:00:00Z", "2026-153T09:00:00Z"]),
    Row("not_after", "separator", MOMENT, ["2026-06-02 09:00:00Z", "2026-06-02t09:00:00Z"]),
    Row("not_after", "zone", MOMENT, ["2026-06-02T09:00:00z", "2026-06-02T09:00:00+24:00"]),
    Row("not_after", "no such day", MOMENT, ["2026-13-02T09:00:00Z", "2026-06-31T09:00:00Z"]),
    Row("not_after", "no such time", MOMENT, ["2026-06-02T24:00:01Z", "2026-06-02T09:00:60Z"]),
    Row(
        "not_after", "other words", MOMENT, ["Tue, 02 Jun 2026 09:00:00 GMT", "tomorrow", "", "P1D"]
    ),
    Row("not_after", "white space", MOMENT, ["2026-06-02T09:00:00Z\n", "2026-06-02T09:00:00 Z"]),
    Row("not_after", "digits", MOMENT, ["\u0662\u0660\u0662\u0666-06-02T09:00:00Z", "1780390800"]),
    Row("not_after", "other type", MOMENT, [1780390800, 1.5, True, [], {}]),
    # The calendar ends within the day in some zones, and a ledger stores UTC.
    Row("not_after", "no such day in UTC", MOMENT, ["9999-12-31T23:59:59-00:01"]),
    Row("not_after", "no such year in UTC", MOMENT, ["0001-01-01T00:00:00+00:01"]),
    Row("metadata", "other type", METADATA, [None, [], "a", 1]),
    Row("metadata", "too big", METADATA, [{"a": "x" * 2048}, {str(n): "" for n in range(300)}]),
    Row("metadata", "too big in bytes", METADATA, [{"\u00e4" * 1024: ""}]),
    Row("metadata", "nested", PRINTABLE, [{"a": {"b": "c"}}, {"a": ["b"]}]),
    Row("metadata", "no strings", PRINTABLE, [{"a": 1}, {"a": None}, {"a": True}]),
    Row(
        "metadata", "control characters", PRINTABLE, [{"a": "\x00"}, {"\x00": "a"}, {"a": "\ud800"}]
    ),
    Row("sell", "no list of orders", ORDERS, [[], {}, "VTI", 1, True, [{"symbol": "VTI"}] * 11]),
    Row(
        "wait_for_funds_until", "no moment", MOMENT, ["2026-06-02", "2026-06-02T09:00:00", 1, True]
    ),
    Row("iban", "unknown", "to be absent: the known fields are provider, amount,", ["x", None]),
    Row("Amount", "unknown", "to be absent: the known fields are", ["500.00"]),
]
CASES: Final = [
    pytest.param(row.field, value, row.expected, id=f"{row.field}, {row.theme}, {number}")
    for row in ROWS
    for number, value in enumerate(row.values)
]


@pytest.mark.parametrize(("name", "value", "expected"), CASES)
def test_an_unfit_value_is_refused(name: str, value: object, expected: str) -> None:
    """
    The refusal begins with the field, and says what was expected of it.
    """
    message = misread(a_message(a_body(**{name: value})))

    assert DeadReason.INVALID is message.reason
    assert message.detail.startswith(f"{name}: expected {expected}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "body"),
        ("a.b", "a.b"),
        ("\u043a\u043b\u044e\u0447\n", "?????"),
        ("x" * 70, "x" * 64),
    ],
    ids=["empty", "dotted", "not ASCII", "long"],
)
def test_an_unknown_field_is_named_harmlessly(name: str, told: str) -> None:
    """
    Names come from the producer too: they are shortened and stripped of what a header cannot hold.
    """
    detail = misread(a_message(a_body(**{name: "x"}))).detail

    assert detail.startswith(f"{told}: expected to be absent: the known fields are provider, ")


def test_a_field_that_cannot_be_named_is_refused() -> None:
    """
    A name that is no text at all spoils the whole body.
    """
    detail = misread(a_message(a_body(**{"\ud800": "x"}))).detail

    assert f"body: expected {UNICODE}" == detail


def test_several_problems_are_told_at_once() -> None:
    """
    The producer learns of up to five wrong fields in one go, and how many more there are.
    """
    body = a_body(amount=1, currency=1, method=1, investor_id=1, x=1, y=1, z=1)

    detail = misread(a_message(body)).detail

    assert 5 == detail.count(": expected ")
    assert detail.endswith("; and 2 more")
