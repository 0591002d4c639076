"""What a client may write: every field, every filter, and what is refused with which code."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.talk import FIELDS
from worker.simulator.bluum_calls import (
    DESCRIPTION_MAX,
    read_filters,
    read_instruction,
    refusal_of_identifiers,
)
from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_withdrawal import Filters, Instruction, Method, Status


def body(**changed: object) -> bytes:
    """Return a good body with some fields changed; ... leaves one out."""
    return json.dumps({n: v for n, v in (FIELDS | changed).items() if v is not ...}).encode()


def test_a_good_body_is_read_whole() -> None:
    """
    Every documented field arrives, with money as a Decimal.
    """
    assert Instruction(
        amount=Decimal("250.75"),
        currency="USD",
        method=Method.ACH,
        funding_source_id="fs_01",
        description="req 7f3a",
    ) == read_instruction(body())


def test_what_may_be_left_out_has_its_documented_default() -> None:
    """
    Without a currency it is USD, and without a description there is none.
    """
    read = read_instruction(body(currency=..., description=...))

    assert isinstance(read, Instruction)
    assert ("USD", None) == (read.currency, read.description)


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "1"},
        {"amount": "0.01"},
        {"amount": "1.5"},
        {"method": "wire"},
        {"method": "international_wire"},
        {"method": "manual_bank_transfer"},
        {"funding_source_id": "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"},
        {"currency": "NGN"},
        {"description": None},
        {"description": "x" * DESCRIPTION_MAX},
        {"wire_options": {}},
    ],
)
def test_what_the_pages_allow_is_taken(changed: dict[str, object]) -> None:
    """
    Each documented form of a field is accepted.
    """
    assert isinstance(read_instruction(body(**changed)), Instruction)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"amount": ...}, Code.MISSING_FIELD),
        ({"method": ...}, Code.MISSING_FIELD),
        ({"funding_source_id": ...}, Code.MISSING_FIELD),
        ({"amount": "0"}, Code.BAD_AMOUNT),
        ({"amount": "0.00"}, Code.BAD_AMOUNT),
        ({"amount": "-1.00"}, Code.BAD_AMOUNT),
        ({"amount": "1.000"}, Code.BAD_AMOUNT),
        ({"amount": "1."}, Code.BAD_AMOUNT),
        ({"amount": ".5"}, Code.BAD_AMOUNT),
        ({"amount": "1e3"}, Code.BAD_AMOUNT),
        ({"amount": " 1"}, Code.BAD_AMOUNT),
        ({"amount": "1\n"}, Code.BAD_AMOUNT),
        ({"amount": "\u0661"}, Code.BAD_AMOUNT),
        ({"amount": 1.5}, Code.BAD_AMOUNT),
        ({"amount": None}, Code.BAD_AMOUNT),
        ({"method": "ach_plaid"}, Code.BAD_ENUM),
        ({"method": ["ach"]}, Code.BAD_ENUM),
        ({"funding_source_id": "acc_1"}, Code.BAD_FORMAT),
        ({"funding_source_id": "fs_"}, Code.BAD_FORMAT),
        ({"funding_source_id": 7}, Code.BAD_FORMAT),
        ({"currency": "usd"}, Code.BAD_FORMAT),
        ({"currency": "US"}, Code.BAD_FORMAT),
        ({"currency": None}, Code.BAD_FORMAT),
        ({"description": "x" * (DESCRIPTION_MAX + 1)}, Code.BAD_FORMAT),
        ({"description": 7}, Code.BAD_FORMAT),
        ({"wire_options": "no"}, Code.BAD_FORMAT),
        ({"metadata": {}}, Code.INVALID),
        ({"plaid_options": {}}, Code.INVALID),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(changed: dict[str, object], code: Code) -> None:
    """
    Each broken rule gets its code from the catalogue, and the field at fault in `param`.
    """
    refusal = read_instruction(body(**changed))

    assert isinstance(refusal, Refusal)
    assert (code, next(iter(changed))) == (refusal.code, refusal.param)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 60_000])
def test_a_body_that_is_no_object_is_refused(text: bytes) -> None:
    """
    Whatever is not a JSON object is a generic 400.
    """
    refusal = read_instruction(text)

    assert isinstance(refusal, Refusal)
    assert Code.INVALID is refusal.code


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(text: bytes) -> None:
    """
    Any bytes give a value, never an exception.
    """
    assert isinstance(read_instruction(text), Instruction | Refusal)


def test_every_filter_is_read() -> None:
    """
    All documented filters arrive as values of their type.
    """
    query = [
        ("method", "wire"),
        ("status", "canceled"),
        ("currency", "EUR"),
        ("date_from", "2026-06-01"),
        ("date_to", "2026-06-02"),
        ("limit", "200"),
        ("offset", "400"),
    ]

    assert Filters(
        method=Method.WIRE,
        statuses=frozenset({Status.CANCELLED}),
        currency="EUR",
        date_from=date(2026, 6, 1),
        date_to=date(2026, 6, 2),
        limit=200,
        offset=400,
    ) == read_filters(query)


def test_without_filters_a_page_holds_fifty() -> None:
    """
    The default page is the documented one.
    """
    read = read_filters([])

    assert Filters() == read
    assert isinstance(read, Filters)
    assert (50, 0) == (read.limit, read.offset)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("method", "ach_plaid", Code.BAD_ENUM),
        ("status", "cancelled", Code.BAD_ENUM),
        ("status", "settled", Code.BAD_ENUM),
        ("currency", "dollars", Code.BAD_FORMAT),
        ("date_from", "2026-6-1", Code.BAD_FORMAT),
        ("date_to", "20260601", Code.BAD_FORMAT),
        ("date_to", "2026-02-30", Code.BAD_FORMAT),
        ("limit", "0", Code.BAD_FORMAT),
        ("limit", "201", Code.BAD_FORMAT),
        ("limit", "ten", Code.BAD_FORMAT),
        ("offset", "-1", Code.BAD_FORMAT),
        ("offset", "1000001", Code.BAD_FORMAT),
        ("idempotency_key", "wd-1", Code.INVALID),
    ],
)
def test_a_filter_that_breaks_a_rule_is_named(name: str, text: str, code: Code) -> None:
    """
    A filter that is unknown or has a bad value is refused, with its name in `param`.
    """
    refusal = read_filters([(name, text)])

    assert isinstance(refusal, Refusal)
    assert (code, name) == (refusal.code, refusal.param)


def test_a_filter_is_given_once() -> None:
    """
    A repeated parameter has no meaning, so it is refused.
    """
    assert isinstance(read_filters([("limit", "1"), ("limit", "2")]), Refusal)


def test_a_date_range_runs_forward() -> None:
    """
    A range that ends before it begins has a code of its own.
    """
    refusal = read_filters([("date_from", "2026-06-02"), ("date_to", "2026-06-01")])

    assert isinstance(refusal, Refusal)
    assert Code.BAD_DATE_RANGE is refusal.code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("investor_id", "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"),
        ("investor_id", "acc_1"),
        ("investor_id", "inv_"),
        ("investor_id", "inv_1/x"),
        ("investor_id", "inv_" + "x" * 121),
        ("withdrawal_id", "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"),
        ("withdrawal_id", "wdr_1"),
    ],
)
def test_an_identifier_needs_its_prefix(name: str, value: str) -> None:
    """
    A UUID or another prefix in a path is a bad format, and says which part of the path.
    """
    refusal = refusal_of_identifiers({name: value})

    assert isinstance(refusal, Refusal)
    assert (Code.BAD_FORMAT, name) == (refusal.code, refusal.param)
