"""Ledgers for runs by the hundred, and a summary of how many there were."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes.runs import Walk, silent, sqlite_ledgers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_RUNS: Final = "crash runs"
_POINTS: Final = "crash points"


@pytest.fixture
def walk_over(
    request: pytest.FixtureRequest,
) -> Callable[[Callable[[], str]], AbstractContextManager[Walk]]:
    """Make a walk over the ledgers that a function gives out; what it runs is counted."""

    @contextmanager
    def walking(empty_ledger: Callable[[], str]) -> Iterator[Walk]:
        with silent():
            walk = Walk(empty_ledger)
            yield walk
        # Travels with the test's report, also between the processes of a parallel run.
        request.node.user_properties += [(_RUNS, walk.runs), (_POINTS, walk.points)]

    return walking


@pytest.fixture
def walk(walk_over: Callable[[Callable[[], str]], AbstractContextManager[Walk]]) -> Iterator[Walk]:
    """Runs over SQLite."""
    with sqlite_ledgers() as empty_ledger, walk_over(empty_ledger) as walk:
        yield walk


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many runs there were, and how many blows fell at how many points in all."""
    told = [
        (name, number)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, number in report.user_properties
    ]
    runs = sum(number for name, number in told if name == _RUNS)
    points = sum(number for name, number in told if name == _POINTS)
    if runs:
        terminalreporter.write_sep("-", f"{runs:,} crash runs, {points:,} crash points")
