"""The alerts: they fire when they should, stay silent when they should, and ask for what exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from worker.metrics import Metrics

RULES = Path(__file__).parents[2] / "config" / "prometheus"


@pytest.fixture(scope="module")
def promtool() -> str:
    """The program that comes with Prometheus."""
    found = shutil.which("promtool")
    if found is None:
        why = "promtool is missing: tests/services/install.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")]
)
def test_prometheus_takes_the_rules_and_they_do_what_they_say(
    promtool: str, arguments: tuple[str, ...]
) -> None:
    """
    Each alert fires on its symptom and on nothing else (alerts_test.yaml).
    """
    done = subprocess.run(
        [promtool, *arguments], cwd=RULES, check=False, capture_output=True, text=True, timeout=60
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_metric_of_an_alert_exists() -> None:
    """
    A renamed metric would silence its alert for ever.
    """
    expressions = re.findall(r"expr: ((?:.|\n {10})*)", (RULES / "alerts.yaml").read_text())
    asked = set(re.findall(r"withdrawals_\w+", " ".join(expressions)))
    there = {metric.name for metric in Metrics(version="0").registry.collect()}

    assert len(expressions) == len(re.findall("alert:", (RULES / "alerts.yaml").read_text()))
    assert asked
    assert set() == asked - there
