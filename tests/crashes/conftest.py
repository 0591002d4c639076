"""Ledgers for runs by the hundred, and a summary of how many there were."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.crashes.runs import Walk, sqlite_ledgers

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNS: Final = "crash runs"
_POINTS: Final = "crash points"


@pytest.fixture
def walk(request: pytest.FixtureRequest) -> Iterator[Walk]:
    """Runs over SQLite; what was run is counted for the summary."""
    with sqlite_ledgers() as empty_ledger, _silent():
        walk = Walk(empty_ledger)
        yield walk
        count(request, runs=walk.runs, points=walk.points)


def count(request: pytest.FixtureRequest, *, runs: int, points: int) -> None:
    """Keep how much a test ran; also across the processes of a parallel run."""
    request.node.user_properties += [(_RUNS, runs), (_POINTS, points)]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep thousands of runs from logging what is no news here; errors are heard by the world."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many runs there were, and at how many points fate struck."""
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
        terminalreporter.write_sep("-", f"{runs:,} runs, {points:,} crash points")
