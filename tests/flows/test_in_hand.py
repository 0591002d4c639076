"""Who is working on what in this process."""

from __future__ import annotations

import pytest

from worker.flows.in_hand import InHand


def test_one_is_in_hand_as_long_as_it_is_held() -> None:
    """
    Before and after, nobody works on it.
    """
    in_hand = InHand()
    before = in_hand.ids
    with in_hand.holding("req-1"), in_hand.holding("req-2"):
        during = in_hand.ids

    assert frozenset() == before
    assert {"req-1", "req-2"} == during
    assert (frozenset(), 0) == (in_hand.ids, len(in_hand))


def test_it_is_let_go_of_when_the_work_fails() -> None:
    """
    A bug leaves nothing in hand for ever.
    """
    in_hand = InHand()
    with pytest.raises(RuntimeError), in_hand.holding("req-1"):
        raise RuntimeError

    assert frozenset() == in_hand.ids


def test_of_two_holders_the_first_to_let_go_leaves_it_in_hand() -> None:
    """
    Two deliveries of one message: the one that fails does not free what the other works on.
    """
    in_hand = InHand()
    first, second = in_hand.holding("req-1"), in_hand.holding("req-1")
    first.__enter__()
    with second:
        first.__exit__(None, None, None)
        held = in_hand.ids

    assert {"req-1"} == held
    assert frozenset() == in_hand.ids


def test_the_oldest_in_work_is_known() -> None:
    """
    Its time runs from when it was first held, whoever else holds it meanwhile.
    """
    now = [0.0]
    in_hand = InHand(clock=lambda: now[0])
    ages = [in_hand.oldest_seconds]
    with in_hand.holding("req-1"):
        now[0] = 5.0
        with in_hand.holding("req-2"), in_hand.holding("req-1"):
            now[0] = 7.0
            ages.append(in_hand.oldest_seconds)
    ages.append(in_hand.oldest_seconds)

    assert [0.0, 7.0, 0.0] == ages
