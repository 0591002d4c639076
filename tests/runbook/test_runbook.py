"""The runbook: its sections are the alerts, and its commands do what it says."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
import typer
import yaml

from tests.runbook.page import PAGE, ROOT, RULES, examples, queries, sections
from tests.runbook.stage import open_stage
from worker.cli.main import app
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.demo.rabbitmq_node import RabbitmqNode

_HEAD: Final = "How to run the commands"
#: What nobody is alerted to, since somebody did it.
_RESTORED: Final = "The ledger was restored from a backup"
_ALERTS: Final = [
    rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def test_every_alert_has_its_section_and_leads_there() -> None:
    """
    In the order of the rules, so that what belongs together stands together.

    One section is no alert's, and stands last.
    """
    alerts = dict.fromkeys(rule["alert"] for rule in _ALERTS)
    leads = {rule["alert"]: rule["annotations"]["runbook"] for rule in _ALERTS}

    assert [_HEAD, *alerts, _RESTORED] == list(sections())
    assert {alert: f"docs/runbook.md#{alert.lower()}" for alert in alerts} == leads


@pytest.mark.parametrize("alert", sorted(set(sections()) - {_HEAD}))
def test_every_section_says_what_one_needs_to_know(alert: str) -> None:
    """
    What it means, where to look, what to do, what not to do, and whom to wake.
    """
    parts = ("**Means.**", "Dashboard: **", "**Do.**", "**Do not**", "**Wake**")

    assert [] == [part for part in parts[:4] if part not in sections()[alert]]
    assert "**Wake**" in sections()[alert] or "**Do not** wake" in sections()[alert]


def test_every_panel_that_it_names_is_on_the_dashboard() -> None:
    """
    Nobody looks for what is called otherwise.
    """
    dashboard = json.loads((ROOT / "config/grafana/dashboard.json").read_text(encoding="utf-8"))
    titles = set(re.findall(r'"title": "([^"]+)"', json.dumps(dashboard)))
    lines = re.findall(r"^Dashboard: (.*)$", PAGE, re.MULTILINE)
    named = {name for line in lines for name in re.findall(r"\*\*([^*]+)\*\*", line)}

    assert set() == named - titles


def test_every_section_and_command_that_is_mentioned_exists() -> None:
    """
    In the text of the page and of the alerts alike.
    """
    described = " ".join(rule["annotations"]["description"] for rule in _ALERTS)
    known = _commands(typer.main.get_command(app))
    mentioned = set(re.findall(r"withdrawals-worker ([a-z][a-z-]+)", PAGE + described))

    assert set() == set(re.findall(r"\bWithdrawal[A-Z]\w+", PAGE)) - set(sections())
    assert set() == mentioned - known


def test_what_it_says_to_kubernetes_are_names_of_the_chart() -> None:
    """
    Kinds, the label and the container that the chart writes.
    """
    lines = [one.command for one in examples() if one.is_for_kubernetes]
    helm = ROOT / "helm"
    chart = yaml.safe_load((helm / "Chart.yaml").read_text(encoding="utf-8"))
    kinds = {kind for line in lines for kind in re.findall(r"(\w+)/NAME", line)}

    assert lines
    assert {"deploy"} == kinds
    assert (helm / "templates" / "deployment.yaml").exists()
    assert {f"app.kubernetes.io/name={chart['name']}"} == {
        label for line in lines for label in re.findall(r"-l (\S+)", line)
    }
    pod = (helm / "templates" / "_pod.tpl").read_text(encoding="utf-8")
    assert {"worker", "migrate"} == {
        name for line in lines for name in re.findall(r" -c (\w+)", line)
    } & set(re.findall(r"- name: (\w+)\n", pod))


def test_prometheus_understands_every_query(tmp_path: Path, promtool: str) -> None:
    """
    And the worker, or a recording rule, has what it asks for.
    """
    records = set(re.findall(r"record: (\S+)", RULES.read_text(encoding="utf-8")))
    there = {sample.name for f in Metrics(version="0").registry.collect() for sample in f.samples}
    families = {family.name for family in Metrics(version="0").registry.collect()}
    asked = {name for query in queries() for name in re.findall(r"withdrawals[\w:]+", query)}
    named = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked}
    rules = [{"record": f"query{n}", "expr": query} for n, query in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", file], check=False, capture_output=True, timeout=60
    )

    assert set() == named - records - families - there
    assert 0 == done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process, which here is that of the other tests too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("_logging_as_before")
async def test_every_command_of_the_page_does_what_the_page_shows(
    rabbitmq: RabbitmqNode, rabbitmq_vhost: str, sqlite_url: str, tmp_path: Path
) -> None:
    """
    All in one go and in the page's order, with a worker in trouble: exit code, and printed lines.

    Kubernetes is not there: of its commands those are run that go through what a pod has written.
    """
    differing = []
    vhost = rabbitmq_vhost.removeprefix(rabbitmq.url)
    async with open_stage(rabbitmq, vhost, sqlite_url, tmp_path / "worker.log") as stage:
        for example in examples():
            if example.is_for_kubernetes and " | " not in example.command:
                continue
            came = await stage.run(example)
            if example.code != came.code or example.unlike(came.output) is not None:
                differing.append(f"{example}\n{came.code}\n{came.output}")

    assert [] == differing, "\n\n".join(differing)


def _commands(group: object) -> set[str]:
    found: Mapping[str, object] = getattr(group, "commands", {})
    return set(found)
