"""What counts for the coverage of `worker.core`: examples that are written down, none by chance.

So each branch has a test that names it, and thousands of drawn examples run at full speed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure nothing while Hypothesis draws; it has marked its tests before."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.no_cover)
