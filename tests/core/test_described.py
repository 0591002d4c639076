"""What others are told of our messages is what we read and write: neither more nor less."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from jsonschema import Draft7Validator

from tests.core.builders import NOW
from tests.core.test_messages_fields import ROWS
from tests.core.wire import GOOD, a_message
from worker.core.cancellations import Cancel, CancelBody, read_cancel, unknown_request
from worker.core.change import CANCEL_REFUSED
from worker.core.event_schema import EVENT, WHEN, of_kind
from worker.core.messages import Understood, read
from worker.core.withdrawal import Status
from worker.providers.bluum_requests import BluumAccountsRequest, BluumRequest
from worker.providers.upvest_requests import UpvestRequest

if TYPE_CHECKING:
    from worker.core.requests import Request

GOLDEN: Final = Path(__file__).parent / "golden"
SHAPES: Final[dict[str, type[Request]]] = {
    "bluum": BluumRequest,
    "bluum_accounts": BluumAccountsRequest,
    "upvest": UpvestRequest,
}
UUID: Final = "3d0b0e65-35d3-4dcd-8df7-10286ebb4b4b"
ISIN: Final = "US0378331005"
ACCOUNTS: Final = {
    "provider": "bluum_accounts",
    "account_id": UUID,
    "amount": "5.00",
    "currency": "USD",
}
PLAID: Final = {"item_id": "item_1", "account_id": "acc_1"}
UPVEST: Final = {
    "provider": "upvest",
    "account_group_id": UUID,
    "reference_account_id": UUID,
    "user_id": UUID,
    "amount": "5.00",
    "currency": "EUR",
}
UNITS: Final = {"account_id": UUID, "instrument_id": ISIN}
#: Good requests; in each of them every field is exchanged for everything in the pool.
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "bluum": GOOD,
    "sold at the market": {**GOOD, "sell": [{"symbol": "AAPL", "quantity": "3"}]},
    "sold with a limit": {
        **GOOD,
        "sell": [{"symbol": "AAPL", "quantity": "3", "type": "limit", "limit_price": "9"}],
    },
    "by ACH": {**ACCOUNTS, "method": "ach_plaid", "plaid_options": PLAID},
    "by wire": {**ACCOUNTS, "method": "wire", "wire_options": {"bank": "x"}},
    "upvest": UPVEST,
    "units": {**UPVEST, "sell": [{**UNITS, "quantity": "3"}]},
    "cash": {**UPVEST, "sell": [{**UNITS, "cash_amount": "3.00"}]},
    "limit": {
        **UPVEST,
        "sell": [{**UNITS, "quantity": "3", "order_type": "LIMIT", "limit_price": "9"}],
    },
    "stop": {
        **UPVEST,
        "sell": [{**UNITS, "quantity": "3", "order_type": "STOP", "stop_price": "9"}],
    },
}
#: The absence of a field is `...`.
POOL: Final[list[Any]] = [
    *(..., None, True, 0, 5, 5.0, "", " ", "x", "ä\u20ac", "a\x00", "x" * 141, "x" * 501),
    *("0", "0.00", "5", "05", "5.0", "5.00", "5.000", "9999999999", "9" * 13, "-5", "0.000000001"),
    *("USD", "EUR", "usd", "AAPL", ISIN, UUID, UUID.upper(), "inv_01", "a b", "OTHR", "othr"),
    *("ach", "ach_plaid", "wire", "market", "limit", "LIMIT", "STOP", "MARKET", "day", "gtc"),
    *("2026-06-02T09:00:00Z", "2026-06-02T09:00:00+02:00", "2026-06-02T09:00Z", "2026-06-02"),
    *([], [None], {}, {"a": "b"}, {"a": 1}, {"a b": "c"}, {"a\x00": "b"}, {"a": ""}, PLAID),
    {f"name_{number}": "text" for number in range(21)},
]
#: How many bytes a text has, what the calendar holds, and what no UTF-8 can carry.
UNTOLD: Final = {
    ("metadata", "too big"),
    ("metadata", "too big in bytes"),
    ("metadata", "control characters"),
    ("description", "control characters"),
    ("not_after", "zone"),
    ("not_after", "no such day"),
    ("not_after", "no such time"),
    ("not_after", "no such day in UTC"),
    ("not_after", "no such year in UTC"),
}
CANCELLATIONS: Final[dict[str, dict[str, Any]]] = {
    "by request": {"request_message_id": "req-7", "reason": "asked for twice"},
    "by withdrawal": {"provider": "bluum", "withdrawal_id": "wd_01"},
    "neither": {"reason": "none"},
    "both": {"request_message_id": "req-7", "withdrawal_id": "wd_01"},
}


@pytest.mark.parametrize("name", list(REQUESTS))
def test_a_request_that_is_described_is_read_and_no_other(name: str) -> None:
    """
    Every field of it is exchanged, one at a time, for everything that could stand there.
    """
    request = REQUESTS[name]
    provider = request["provider"]
    shape = SHAPES[provider]
    assert _is_read(request)
    for place, fields in _places(request, shape):
        for field in (*fields, "surplus"):
            for value in POOL:
                # Another provider's shape is another description.
                if field != "provider" or value is ... or not isinstance(value, str):
                    changed = _exchanged(request, (*place, field), value)
                    said = (*place, field, value)

                    assert (said, _is_read(changed)) == (said, _fits(shape, changed))


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_the_number_of_orders_is_described(count: int) -> None:
    """
    At least one, at most ten.
    """
    request = {**GOOD, "sell": [{"symbol": "AAPL", "quantity": "3"}] * count}

    assert _is_read(request) is _fits(BluumRequest, request)


def test_what_is_refused_is_not_described() -> None:
    """
    The rows of another test: what stands in a field there is refused by the description too.

    But for what only code can tell.
    """
    told = {
        (row.field, row.theme)
        for row in ROWS
        for value in row.values
        if not _ends_a_line(value) and _fits(BluumRequest, _exchanged(GOOD, (row.field,), value))
    }

    assert UNTOLD == told


@pytest.mark.parametrize("name", list(CANCELLATIONS))
def test_a_cancellation_that_is_described_is_read_and_no_other(name: str) -> None:
    """
    The same for what a cancel message holds.
    """
    body = CANCELLATIONS[name]
    assert _is_read_as_cancel(body) is _fits(CancelBody, body)
    for field in (*CancelBody.model_fields, "surplus"):
        for value in POOL:
            # Which providers there are is told where they are known.
            if field != "provider" or value in (..., None):
                changed = _exchanged(body, (field,), value)

                assert (field, value, _is_read_as_cancel(changed)) == (
                    field,
                    value,
                    _fits(CancelBody, changed),
                )


def test_every_kind_of_event_is_described() -> None:
    """
    One for each status, and the answer to a cancellation that is not possible.
    """
    assert {*Status, CANCEL_REFUSED} == WHEN.keys()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_event_is_as_described(path: Path) -> None:
    """
    The golden files are what consumers have built against: no field of theirs is left out.
    """
    document = json.loads(path.read_text())

    Draft7Validator({"allOf": [EVENT, of_kind(document["type"].partition(".")[2])]}).validate(
        document
    )
    assert document.keys() <= EVENT["properties"].keys()
    for order in document.get("orders", []):
        described = EVENT["properties"]["orders"]["items"]["properties"]
        assert order.keys() == described.keys()


def test_the_answer_to_a_cancellation_of_nothing_is_as_described() -> None:
    """
    It stands outside of any sequence, and says nothing of a withdrawal that nobody knows.
    """
    cancel = read_cancel(
        a_message(b'{"request_message_id": "req-7"}'), providers=["bluum"], default_provider="bluum"
    )
    assert isinstance(cancel, Cancel)
    document = json.loads(unknown_request(cancel, at=NOW).body)

    Draft7Validator({"allOf": [EVENT, of_kind(CANCEL_REFUSED)]}).validate(document)
    assert [*EVENT["required"]] == list(document)


def _places(
    request: dict[str, Any], shape: type[Request]
) -> list[tuple[tuple[str | int, ...], list[str]]]:
    """Return where fields of a request stand, with their names: in itself, and in what it holds."""
    places: list[tuple[tuple[str | int, ...], list[str]]] = [((), list(shape.model_fields))]
    definitions = shape.model_json_schema().get("$defs", {}).values()
    parts = [list(definition["properties"]) for definition in definitions]
    if "sell" in request:
        places += [(("sell", 0), part) for part in parts]
    if "plaid_options" in request:
        places += [(("plaid_options",), part) for part in parts]
    return places


def _exchanged(document: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    """Return a copy in which something else stands at a place; `...` is nothing."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    inner: Any = copy
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    return copy


def _is_read(document: dict[str, Any]) -> bool:
    message = a_message(json.dumps(document).encode())
    read_as = read(message, shapes=SHAPES, default_provider=document.get("provider", "none"))
    return isinstance(read_as, Understood)


def _is_read_as_cancel(document: dict[str, Any]) -> bool:
    message = a_message(json.dumps(document).encode())
    known = read_cancel(message, providers=["bluum"], default_provider="bluum")
    return isinstance(known, Cancel)


def _fits(shape: type[Request | CancelBody], document: dict[str, Any]) -> bool:
    return _validator(shape).is_valid(document)


@cache
def _validator(shape: type[Request | CancelBody]) -> Draft7Validator:
    return Draft7Validator(shape.model_json_schema())


def _ends_a_line(value: object) -> bool:
    # Python's `$` lets one line end pass; that of JSON Schema does not.
    return isinstance(value, str) and value.endswith("\n")
