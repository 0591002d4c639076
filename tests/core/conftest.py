"""What counts for the coverage of `worker.core`: examples that are written down, none by chance.

So each branch has a test that names it, and thousands of drawn examples run at full speed: those
tests are `covered`, in a run of their own (`make covered`), and these are part of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import is_hypothesis_test

_HERE: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is measured, before `-m` chooses; nothing is while Hypothesis draws."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(_HERE):
            is_drawn = is_hypothesis_test(item.obj)
            item.add_marker(pytest.mark.no_cover if is_drawn else pytest.mark.covered)
