"""What a delivery of Bluum's is about, in every spelling of its pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flows.hearing import Hint
from worker.providers.bluum_webhooks import read_delivery


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # PW, WS: the event, its time and the data.
        (
            {"event": "order.filled", "data": {"id": "ord_1", "investor_id": "inv_1"}},
            Hint("order.filled", ("ord_1",)),
        ),
        (
            {"event": "order.filled", "data": {"id": "ord_1", "account_id": "0b-1"}},
            Hint("order.filled", ("ord_1",)),
        ),
        # NB: event_type, and the first names of its events.
        (
            {"event_type": "withdrawal.completed", "data": {"withdrawal_id": "wdr_1"}},
            Hint("withdrawal.completed", ("wdr_1",)),
        ),
        # Flat, camelCase; both ids where there are two.
        (
            {"eventType": "x", "withdrawalId": "wd_1", "orderId": "ord_1"},
            Hint("x", ("wd_1", "ord_1")),
        ),
        # An id of the event beside that of the resource: the ledger knows which of them is ours.
        ({"id": "evt_1", "event": "x", "data": {"id": "wd_1"}}, Hint("x", ("wd_1", "evt_1"))),
        # An event that nobody documented is a hint like every other.
        ({"event": "new.thing", "data": {"id": "wd_1"}}, Hint("new.thing", ("wd_1",))),
        # What is no name and no id is passed over.
        ({"event": "a b", "data": {"id": 7, "order_id": "../x"}}, Hint(None, ())),
        ({"event": 1, "data": ["wd_1"], "id": "x" * 129}, Hint(None, ())),
        ({}, Hint(None, ())),
    ],
)
def test_every_spelling_is_read(document: dict[str, Any], expected: Hint) -> None:
    """
    Only the event's name and ids are taken out.
    """
    assert (expected,) == read_delivery(json.dumps(document).encode())


@given(st.binary() | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_no_body_breaks_it(body: bytes) -> None:
    """
    What is no JSON object is no delivery, and never an error.
    """
    hint = read_delivery(body)

    assert hint is None or isinstance(json.loads(body), dict)
