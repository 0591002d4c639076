"""The hashes themselves: the same on every machine and in every release, and sensitive to all."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.builders import FINGERPRINT, an_order, taken_in
from worker.ledger import chain, rows

_ORDER: Final = an_order("req-1")
_DECISION: Final = taken_in(_ORDER)
_ASKED: Final = rows.order_row(_ORDER, FINGERPRINT)
_STATE: Final = rows.state_row(_DECISION.withdrawal)
_MOVE: Final = rows.transition_row(7, _DECISION.changes[0])
_EVENT: Final = rows.event_row(7, _DECISION.withdrawal, _DECISION.changes[0])


def test_the_form_is_one_that_any_program_can_write() -> None:
    """
    JSON with sorted names and without white space; bytes in hexadecimal; nothing for NULL.
    """
    expected = (
        b'{"amount_minor":50000,"body":"7b22616d6f756e74223a223530302e3030227d","currency":"USD",'
        b'"fingerprint":"' + b"66" * 32 + b'",'
        b'"idempotency_key":"' + _ORDER.idempotency_key.encode() + b'","message_id":"req-1",'
        b'"metadata":"{}","method":"ach","party_id":"inv_01","provider":"bluum","request":"{}",'
        b'"taken_at":1780308000123456,"target_id":"fs_01"}'
    )

    assert hashlib.sha256(expected).digest() == chain.origin(_ASKED)


@given(
    st.dictionaries(
        st.sampled_from(chain.ASKED),
        st.none() | st.text() | st.integers() | st.booleans() | st.binary(),
    )
)
def test_the_form_is_json_whatever_the_values(row: dict[str, Any]) -> None:
    """
    The library's encoder writes the same, to the letter.
    """
    plain = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in row.items()
        if value is not None
    }
    written = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()

    assert hashlib.sha256(written).digest() == chain.origin(row)


def test_a_hash_covers_the_one_before_it() -> None:
    """
    Equal transitions of different histories have different hashes.
    """
    assert chain.link(b"a" * 32, _MOVE, _EVENT) != chain.link(b"b" * 32, _MOVE, _EVENT)
    assert chain.seal(b"a" * 32, _STATE) != chain.seal(b"b" * 32, _STATE)


@pytest.mark.parametrize(
    ("columns", "row", "digest"),
    [
        (chain.ASKED, _ASKED, chain.origin),
        (chain.STATE, _STATE, lambda row: chain.seal(b"", row)),
        (chain.TRANSITION, _MOVE, lambda row: chain.link(b"", row, _EVENT)),
        (chain.EVENT, _EVENT, lambda row: chain.link(b"", _MOVE, row)),
    ],
    ids=["asked", "state", "transition", "event"],
)
def test_every_column_makes_a_difference(columns: tuple[str, ...], row: Any, digest: Any) -> None:  # noqa: ANN401
    """
    One that holds a value, and one that is NULL and gets one.
    """
    honest = digest(row)
    altered = {column: digest({**row, column: "altered"}) for column in columns}

    assert {} == {column: value for column, value in altered.items() if value == honest}
    assert len(columns) == len(set(altered.values()))


def test_a_column_that_a_later_release_adds_leaves_old_hashes_alone() -> None:
    """
    What is NULL is not written down, so a row from before it existed has the hash that it had.
    """
    later = {**_MOVE, "operator": None, "note": None, "added_later": None}

    assert chain.link(b"", _MOVE, _EVENT) == chain.link(b"", later, _EVENT)


def test_a_kind_of_value_without_a_form_is_a_bug() -> None:
    """
    Nobody guesses how it is written down.
    """
    with pytest.raises(TypeError, match="a column of type set has no canonical form"):
        chain.seal(b"", {**_STATE, "looks": {1}})
