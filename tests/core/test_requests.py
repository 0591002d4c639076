"""Fields of a request that may be left empty."""

from __future__ import annotations

from worker.core.requests import Request, read_request
from worker.providers.bluum import BluumRequest


def test_a_description_may_be_null() -> None:
    """
    Null says what an absent field says.
    """
    document = {
        "provider": "bluum",
        "investor_id": "inv_1",
        "amount": "5.00",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": "fs_1",
    }

    absent = read_request(BluumRequest, document)
    null = read_request(BluumRequest, {**document, "description": None})

    assert isinstance(absent, Request)
    assert absent == null
