"""Requests for Bluum's older generation, and those that it could not carry out.

Such a one is refused before anything is sent: told are the field's name and what was expected of
it, never its value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.stages import BLUUM_ACCOUNT
from worker.core.requests import read_request
from worker.providers.bluum import BluumAccountsRequest, BluumRequest

PLAID = {"item_id": "item_secret", "account_id": "acc_secret"}


def a_request(**changes: object) -> dict[str, Any]:
    """The contract's example; a field that is changed to ... is left out."""
    sample = {
        "provider": "bluum_accounts",
        "account_id": BLUUM_ACCOUNT,
        "amount": "500.00",
        "currency": "USD",
        "method": "ach_plaid",
        "plaid_options": PLAID,
    }
    return {name: value for name, value in (sample | changes).items() if value is not ...}


WIRE = a_request(method="wire", plaid_options=..., wire_options={"bank_code": "021000021"})


@pytest.mark.parametrize(
    "document",
    [
        a_request(),
        a_request(method="ach"),
        a_request(amount="5", currency="EUR"),
        a_request(plaid_options=PLAID, wire_options=None),
        WIRE,
        WIRE | {"plaid_options": None},
    ],
    ids=repr,
)
def test_what_it_can_carry_out_is_taken(document: dict[str, Any]) -> None:
    """
    Each method with its own options; another's may be null.
    """
    assert isinstance(read_request(BluumAccountsRequest, document), BluumAccountsRequest)


def test_an_account_has_one_spelling() -> None:
    """
    Its UUID may come in capitals.
    """
    read = read_request(BluumAccountsRequest, a_request(account_id=BLUUM_ACCOUNT.upper()))

    assert isinstance(read, BluumAccountsRequest)
    assert BLUUM_ACCOUNT == read.party_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", "bluum"),
        ("account_id", ...),
        ("account_id", "inv_01"),
        ("account_id", "3d0b0e6535d34dcd8df710286ebb4b4b"),
        ("account_id", f"{{{BLUUM_ACCOUNT}}}"),
        ("account_id", BLUUM_ACCOUNT + "\n"),
        ("account_id", f"{BLUUM_ACCOUNT}/../x"),
        ("account_id", 7),
        ("amount", ...),
        ("amount", "0"),
        ("amount", "0.00"),
        ("amount", "-1.00"),
        ("amount", "1.001"),
        ("amount", "1,00"),
        ("amount", "1e2"),
        ("amount", "1000000000000.00"),
        ("amount", 500),
        ("amount", 500.0),
        ("currency", ...),
        ("currency", "usd"),
        ("currency", "US"),
        ("currency", "USDC"),
        ("currency", 840),
        ("method", ...),
        ("method", "international_wire"),
        ("method", "manual_bank_transfer"),
        ("method", "ACH"),
        ("method", ["ach"]),
        ("plaid_options", ...),
        ("plaid_options", None),
        ("plaid_options", {}),
        ("plaid_options", {"item_id": "item_secret"}),
        ("plaid_options", PLAID | {"mask": "1234"}),
        ("plaid_options", PLAID | {"item_id": ""}),
        ("plaid_options", PLAID | {"account_id": "../acc_secret"}),
        ("plaid_options", PLAID | {"account_id": 7}),
        ("plaid_options", [PLAID]),
        ("plaid_options", "item_secret"),
        ("wire_options", {"bank_code": "021000021"}),
        # Other providers' fields.
        ("investor_id", "inv_01"),
        ("funding_source_id", "fs_secret"),
        ("account_group_id", BLUUM_ACCOUNT),
        ("reference_account_id", BLUUM_ACCOUNT),
        ("user_id", BLUUM_ACCOUNT),
        ("remittance_information", "rent"),
        ("purpose_code", "OTHR"),
        # This one sells nothing.
        ("sell", [{"symbol": "AAPL", "quantity": "3"}]),
        ("sell", []),
        ("unknown", 1),
    ],
    ids=repr,
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    """
    The field that is wrong, with what was expected of it, and nothing of what it held.
    """
    told = read_request(BluumAccountsRequest, a_request(**{field: value}))

    assert isinstance(told, str)
    assert told.startswith(field)
    assert "expected" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "options",
    [
        ...,
        None,
        {},
        {"bank_code": 21000021},
        {"bank_code": None},
        {"bank_code": ""},
        {"bank_code": "secret\x00"},
        {"bank_code": "x" * 201},
        {"bank": {"code": "secret"}},
        {"bank code": "secret"},
        {"": "secret"},
        {f"name{number}": "secret" for number in range(21)},
        [["bank_code", "secret"]],
        "secret",
    ],
    ids=repr,
)
def test_a_wire_needs_options_that_can_be_passed_on(options: object) -> None:
    """
    A flat map of texts: more is documented nowhere.
    """
    told = read_request(BluumAccountsRequest, a_request(method="wire", wire_options=options))
    alone = a_request(method="wire", plaid_options=..., wire_options=options)

    assert isinstance(told, str)
    assert "plaid_options" in told
    only = read_request(BluumAccountsRequest, alone)
    assert isinstance(only, str)
    assert only.startswith("wire_options: expected")
    assert "secret" not in only


def test_a_wires_target_follows_from_its_options() -> None:
    """
    The same options in another order are the same bank account; another value is another one.
    """
    given = {"bank_code": "1", "name": "2"}
    targets = []
    for options in (given, dict(reversed(given.items())), given | {"name": "3"}):
        read = read_request(BluumAccountsRequest, WIRE | {"wire_options": options})
        assert isinstance(read, BluumAccountsRequest)
        targets.append(read.target_id)

    assert targets[0] == targets[1] != targets[2]


def test_neither_generation_takes_the_others_request() -> None:
    """
    The names of the party and the target differ, so a message to the wrong one is refused.
    """
    other = {
        "provider": "bluum",
        "investor_id": "inv_01",
        "amount": "500.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_01",
    }

    assert isinstance(read_request(BluumRequest, a_request()), str)
    assert isinstance(read_request(BluumAccountsRequest, other), str)
    assert isinstance(
        read_request(BluumAccountsRequest, other | {"provider": "bluum_accounts"}), str
    )
