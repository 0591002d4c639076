"""The agenda alone: what happens, when, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from worker.simulator.agenda import Agenda

NOW: Final = datetime(2026, 6, 1, 10, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)


def test_things_happen_in_the_order_of_their_moments() -> None:
    """
    Each once and at its own moment, those of one moment as planned, and nothing before its time.
    """
    agenda, seen = Agenda(), list[tuple[str, datetime]]()
    for name, after in (("late", 3), ("first", 1), ("second", 1), ("never", 9)):
        agenda.plan(NOW + after * SECOND, lambda at, name=name: seen.append((name, at)))  # type: ignore[misc]

    agenda.run(NOW + 5 * SECOND)
    agenda.run(NOW + 5 * SECOND)

    assert [
        ("first", NOW + SECOND),
        ("second", NOW + SECOND),
        ("late", NOW + 3 * SECOND),
    ] == seen
    assert NOW + 9 * SECOND == agenda.next_at


def test_what_is_planned_on_the_way_happens_in_its_place() -> None:
    """
    A happening may plan others; those that are due by now come before later ones.
    """
    agenda, seen = Agenda(), list[datetime]()

    def begin(at: datetime) -> None:
        agenda.plan(at + SECOND, seen.append)
        agenda.plan(at + 9 * SECOND, seen.append)

    agenda.plan(NOW, begin)
    agenda.plan(NOW + 2 * SECOND, seen.append)
    agenda.run(NOW + 5 * SECOND)

    assert [NOW + SECOND, NOW + 2 * SECOND] == seen
    assert 1 == len(agenda)


def test_only_a_sooner_thing_wakes() -> None:
    """
    Whoever waits for the next happening is called when another one comes before it.
    """
    agenda, calls = Agenda(), list[None]()
    agenda.on_sooner = lambda: calls.append(None)

    for after, expected in ((5, 1), (9, 1), (5, 1), (2, 2)):
        agenda.plan(NOW + after * SECOND, lambda _at: None)
        assert expected == len(calls)
