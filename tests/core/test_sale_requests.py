"""What a request may ask to be sold first: checked by name, before anything is placed."""

from __future__ import annotations

from typing import Any, Final

import pytest

from worker.core.requests import Identifier, Request, read_request
from worker.providers.bluum import BluumRequest

SELL: Final[list[dict[str, Any]]] = [
    {"symbol": "AAPL", "quantity": "3"},
    {
        "symbol": "BRK.B",
        "quantity": "0.25",
        "type": "limit",
        "time_in_force": "gtc",
        "limit_price": "400.5",
    },
]
ASKED: Final = {
    "provider": "bluum",
    "investor_id": "inv_1",
    "amount": "5.00",
    "currency": "USD",
    "method": "ach",
    "funding_source_id": "fs_1",
}


class Saver(Request):
    """A request to a provider that sells nothing."""

    party: Identifier

    @property
    def party_id(self) -> str:
        """Whose money it is."""
        return self.party

    @property
    def target_id(self) -> str:
        """Where it goes."""
        return self.party

    @property
    def payout_method(self) -> None:
        """There is no choice."""


@pytest.mark.parametrize(
    ("sell", "problem"),
    [
        ([], "sell: expected a list of 1 to 10 orders"),
        ({}, "sell: expected a list of 1 to 10 orders"),
        (SELL * 6, "sell: expected a list of 1 to 10 orders"),
        (["AAPL"], "sell.0: expected another value (model_type)"),
        ([SELL[0], {"symbol": "AAPL"}], "sell.1.quantity: expected to be present"),
        ([SELL[0] | {"side": "buy"}], "sell.0.side: expected to be absent"),
        ([SELL[0] | {"notional": "5"}], "sell.0.notional: expected to be absent"),
        ([SELL[0] | {"type": "stop"}], "sell.0.type: expected one of 'market' or 'limit'"),
        ([SELL[0] | {"time_in_force": "1d"}], "sell.0.time_in_force: expected one of "),
        ([SELL[0] | {"limit_price": "1"}], "sell.0.limit_price: expected to be present for a"),
        ([SELL[0] | {"type": "limit"}], "sell.0.limit_price: expected to be present for a limit"),
        ([SELL[1] | {"limit_price": "0"}], "sell.0.limit_price: expected a price as a decimal"),
        *(
            ([SELL[0] | {"quantity": quantity}], "sell.0.quantity: expected a quantity as a")
            for quantity in ("0", "0.000", "-1", "+1", "1e3", "", "1.", ".5", "01", 3, 3.0, None)
        ),
        *(
            ([SELL[0] | {"quantity": quantity}], "sell.0.quantity: expected a quantity as a")
            for quantity in ("NaN", "Infinity", "1" * 13, "1." + "1" * 10, "٣", "1,5")
        ),
        *(
            ([SELL[0] | {"symbol": symbol}], "sell.0.symbol: expected a symbol in capital letters")
            for symbol in ("aapl", "", "A" * 33, "A B", "../A", None, 5)
        ),
    ],
    ids=repr,
)
def test_what_cannot_be_sold_is_refused_by_name(sell: object, problem: str) -> None:
    """
    And without repeating the value.
    """
    told = read_request(BluumRequest, ASKED | {"sell": sell})

    assert isinstance(told, str)
    assert told.startswith(problem)


def test_up_to_ten_orders_are_taken() -> None:
    """
    Of both types; and null is none.
    """
    ten = read_request(BluumRequest, ASKED | {"sell": SELL * 5})
    null = read_request(BluumRequest, ASKED | {"sell": None})

    assert isinstance(ten, BluumRequest)
    assert 10 == len(ten.sell)
    assert read_request(BluumRequest, ASKED) == null


def test_a_provider_that_sells_nothing_is_asked_for_nothing() -> None:
    """
    Ignoring it would be worse than a no.
    """
    asked = {"party": "inv_1", "amount": "5.00", "currency": "USD"}
    refused = read_request(Saver, asked | {"sell": SELL})
    taken = read_request(Saver, asked | {"sell": None})

    assert "sell: expected to be absent: this provider sells nothing" == refused
    assert isinstance(taken, Saver)
    assert () == taken.sell
