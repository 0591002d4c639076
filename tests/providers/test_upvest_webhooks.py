"""Which events a delivery of Upvest's holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flows.hearing import Hint
from worker.providers.upvest_webhooks import read_delivery


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # PRX: a list of them; PWH, S19: their fields.
        (
            {"payload": [_ := {"id": "e1", "type": "WITHDRAWAL.NEW", "object": {"id": "w1"}}, _]},
            (Hint("WITHDRAWAL.NEW", ("w1",), "e1"),) * 2,
        ),
        # An execution names its order (S26).
        (
            {"payload": [{"id": "e1", "type": "X", "object": {"id": "x1", "order_id": "o1"}}]},
            (Hint("X", ("x1", "o1"), "e1"),),
        ),
        # WREF writes an event without the list around it.
        (
            {"id": "e1", "type": "WITHDRAWAL.NEW", "object": {"id": "w1"}},
            (Hint("WITHDRAWAL.NEW", ("w1",), "e1"),),
        ),
        # What is no name and no id is passed over; what has no id of its own is no event.
        (
            {"payload": [{"id": "e1", "type": 7, "object": {"id": "../x", "order_id": 3}}]},
            (Hint(None, (), "e1"),),
        ),
        ({"payload": [{"id": "e1", "object": ["w1"]}]}, (Hint(None, (), "e1"),)),
        (
            {"payload": [{"type": "X", "object": {"id": "w1"}}, "e1", None, {"id": "x" * 129}]},
            (None,) * 4,
        ),
        ({"payload": []}, ()),
        ({"payload": {"id": "e1"}}, None),
        ({"id": "e1", "type": "X"}, None),
        ([{"id": "e1"}], None),
    ],
)
def test_events_are_read_by_their_ids(document: Any, expected: object) -> None:  # noqa: ANN401
    """
    Only the type and ids are taken out.
    """
    assert expected == read_delivery(json.dumps(document).encode())


@given(st.binary() | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_no_body_breaks_it(body: bytes) -> None:
    """
    What is no JSON object is no delivery, and never an error.
    """
    assert read_delivery(body) is None or isinstance(json.loads(body), dict)
