"""How long a lost connection is waited for."""

from __future__ import annotations

import pytest

from worker.rabbitmq.connection import RECONNECT_CAP_SECONDS, pause_at_most


def test_pauses_grow_up_to_a_cap() -> None:
    """
    The first is short, and each may be twice as long as the one before.
    """
    pauses = [pause_at_most(turn) for turn in range(8)]

    assert [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, RECONNECT_CAP_SECONDS, RECONNECT_CAP_SECONDS] == pauses


@pytest.mark.parametrize("turn", [1023, 1_000_000])
def test_a_long_outage_ends_nobody(turn: int) -> None:
    """
    However often it was tried, the next pause is no longer than the cap.
    """
    assert RECONNECT_CAP_SECONDS == pause_at_most(turn)
