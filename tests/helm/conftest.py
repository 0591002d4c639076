"""The chart and the Helm that renders it, for every test of this folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.helm.chart import Chart, install_helm

_HERE: Final = Path(__file__).parent
_INSTALLED: Final = pytest.StashKey[subprocess.CompletedProcess[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have Helm built before the first test: it takes minutes, and a single test may not."""
    asked = any(item.path.is_relative_to(_HERE) for item in session.items)
    if asked and not session.config.option.collectonly:
        session.config.stash[_INSTALLED] = install_helm()


@pytest.fixture(scope="session")
def chart(pytestconfig: pytest.Config) -> Chart:
    """The chart. Without Helm the tests that need it fail in CI, and are skipped elsewhere."""
    installed = pytestconfig.stash[_INSTALLED]
    if installed.returncode != 0:
        pytest.fail(installed.stderr)
    if not installed.stdout:
        pytest.skip(installed.stderr)
    return Chart(Path(installed.stdout.strip()))
