"""Chance that repeats itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.simulator.chance import fraction, token


@given(st.text(), st.lists(st.text()))
def test_a_fraction_is_at_least_nothing_and_never_all(seed: str, names: list[str]) -> None:
    """
    So a share of 0 never strikes and a share of 1 always does.
    """
    assert 0 <= fraction(seed, *names) < 1


def test_fractions_are_spread_evenly() -> None:
    """
    Of many names each tenth gets about a tenth.
    """
    tenths = [int(fraction("s", str(n)) * 10) for n in range(10_000)]

    assert all(850 < tenths.count(tenth) < 1150 for tenth in range(10))


def test_names_do_not_run_together() -> None:
    """
    Where one name ends and the next begins makes a difference.
    """
    assert token("s", "ab", "c") != token("s", "a", "bc")


def test_a_token_is_the_same_in_every_run() -> None:
    """
    It is derived, so a stored one can be compared with a later run's.
    """
    assert "4ff9b1bf7f0cb9f544a0a7d8" == token("0", "withdrawal", b"body")
