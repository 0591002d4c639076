"""What a wallet may give, as far as Bluum's undefined figures tell; advisory, so nothing raises."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from tests.providers.canned import Said, canned
from tests.providers.stages import Options, open_bluum

#: The sample of the reference, section 7.
WALLET: Final = {
    "id": "wlt_01demo",
    "object": "wallet",
    "currency": "USD",
    "balance": "900.00",
    "available_balance": "700.00",
    "reserved_balance": "200.00",
    "cash_withdrawable": "650.00",
}


@pytest.mark.parametrize(
    ("said", "available"),
    [
        (Said(200, {"data": [WALLET]}), Decimal("700.00")),
        (Said(200, {"data": [WALLET | {"cash_withdrawable": "800.00"}]}), Decimal("800.00")),
        (Said(200, {"data": [WALLET | {"cash_withdrawable": None}]}), Decimal("700.00")),
        (Said(200, {"data": [WALLET | {"currency": "EUR"}]}), None),
        (Said(200, {"data": [WALLET | {"currency": "EUR"}, WALLET]}), Decimal("700.00")),
        (Said(200, {"data": [{"currency": "USD", "available_balance": 700}, 7, None]}), None),
        (Said(200, {"data": []}), None),
        (Said(200, {"data": {"currency": "USD"}}), None),
        (Said(200, [WALLET]), None),
        (Said(200, b"<html>"), None),
        (Said(404, {"error": {"code": "BLUM-404-001"}}), None),
        (Said(401, {"error": {"code": "BLUM-401-003"}}), None),
        (Said(503), None),
    ],
)
async def test_a_wallet_is_read_for_the_most_that_it_may_give(
    said: Said,
    available: Any,  # noqa: ANN401 - a Decimal or None
) -> None:
    """
    The larger of both figures, of the currency asked for; None for everything that tells neither.
    """
    async with canned(said) as server, open_bluum(server.base_url, Options()) as bluum:
        assert available == await bluum.available("inv_01", "USD")

    assert ["/v1/investors/inv_01/wallets"] == [heard.path for heard in server.heard]
