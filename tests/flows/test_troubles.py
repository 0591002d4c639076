"""What is told of a trouble: once, by whoever meets it first, and again when there is reason to."""

from __future__ import annotations

import pytest

from worker.flows.troubles import TOLD_AGAIN, Troubles


class Watch:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time in seconds."""
        return self.now


def test_the_same_trouble_of_several_is_told_once() -> None:
    """
    Whoever meets it next, or meets it again, adds nothing.
    """
    troubles = Troubles(clock=Watch())
    met = ["publisher", "consumer", "publisher", "consumer"]

    assert [True, False, False, False] == [troubles.has(who, "refused") for who in met]


def test_another_trouble_is_told_and_the_first_not_again() -> None:
    """
    Two that alternate, as with a broker behind two addresses, are two lines.
    """
    troubles = Troubles(clock=Watch())
    met = ["refused", "unknown", "refused", "unknown"]

    assert [True, True, False, False] == [troubles.has("consumer", what) for what in met]


def test_what_lasts_is_told_again_after_a_while() -> None:
    """
    So that the end of a long log says what is wrong.
    """
    watch = Watch()
    troubles = Troubles(clock=watch)
    told = [troubles.has("consumer", "refused")]
    for seconds in (TOLD_AGAIN.total_seconds() - 1, TOLD_AGAIN.total_seconds()):
        watch.now = seconds
        told.append(troubles.has("consumer", "refused"))

    assert [True, False, True] == told


def test_the_end_is_told_once_for_all_and_the_next_trouble_is_news() -> None:
    """
    The last one out says so; who never had any says nothing.
    """
    troubles = Troubles(clock=Watch())
    troubles.has("publisher", "refused")
    troubles.has("consumer", "refused")
    ends = [troubles.ended(who) for who in ("nobody", "publisher", "consumer", "consumer")]

    assert [False, False, True, False] == ends
    assert troubles.has("consumer", "refused")


@pytest.mark.parametrize("number", [1_000])
def test_endlessly_many_words_are_not_remembered(number: int) -> None:
    """
    A broker that says something else each time fills no memory: the first words are news again.
    """
    troubles = Troubles(clock=Watch())
    for each in range(number):
        troubles.has("consumer", str(each))

    assert troubles.has("consumer", "0")
