"""The chart as a package: what is in it, what it says of itself, and what Helm's linter says."""

from __future__ import annotations

import re
import shutil
import tarfile
import tomllib
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from tests.helm.chart import CHART, VALUES, Chart

if TYPE_CHECKING:
    from pathlib import Path

_ROOT: Final = CHART.parent
_NOTES: Final = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
data:
  notes: {{ tpl (.Files.Get "files/NOTES.txt") . | quote }}
"""
_OF_A_CHART: Final = re.compile(
    r"Chart\.yaml|values\.yaml|values\.schema\.json|README\.md|\.helmignore"
    r"|templates/(tests/)?[\w-]+\.(yaml|tpl)|templates/NOTES\.txt"
    r"|files/(alerts\.yaml|dashboard\.json|check_ready\.py)"
)


@pytest.mark.parametrize("name", ["default", "sqlite", "upvest", "extras", "external-secrets"])
def test_the_linter_finds_nothing(name: str, chart: Chart) -> None:
    """
    Not even a warning: `helm lint --strict`.
    """
    done = chart.run("lint", str(CHART), "--strict", "--values", str(VALUES / f"{name}.yaml"))

    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_package_holds_the_chart_and_nothing_else(chart: Chart, tmp_path: Path) -> None:
    """
    Everything that is needed, no stray file; and it renders like the folder it was made from.
    """
    done = chart.run("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    options = ("--values", str(VALUES / "monitoring.yaml"))
    rendered = chart.run("template", "payouts", str(package), *options)

    assert 0 == done.returncode, done.stderr
    assert set() == {name for name in names if not _OF_A_CHART.fullmatch(name)}
    assert chart.rendered("monitoring") == rendered.stdout


def test_another_chart_may_have_it_as_a_dependency(chart: Chart, tmp_path: Path) -> None:
    """
    The key that a condition of that chart goes by is no unknown one.
    """
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "withdrawals-worker").symlink_to(CHART)
    dependency = {"name": "withdrawals-worker", "version": "*"}
    condition = {"condition": "withdrawals-worker.enabled"}
    about = {"apiVersion": "v2", "name": "payouts", "version": "1.0.0"}
    (tmp_path / "Chart.yaml").write_text(
        yaml.safe_dump(about | {"dependencies": [dependency | condition]})
    )
    found = []
    for enabled in (True, False):
        values = {"withdrawals-worker": {"enabled": enabled, "existingSecret": "withdrawals"}}
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
        done = chart.run("template", "payouts", str(tmp_path))
        found.append((done.returncode, "kind: Deployment" in done.stdout))

    assert [(0, True), (0, False)] == found


def test_the_chart_is_of_the_workers_version() -> None:
    """
    The image that it takes by default is the one that was built with it.
    """
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (image,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])

    assert project["version"] == chart["appVersion"]
    assert f"withdrawals-worker:{project['version']}" == image["image"]
    assert project["description"] == chart["description"]


def test_the_notes_say_what_to_do_next(chart: Chart, tmp_path: Path) -> None:
    """
    After an install one reads which Secret is needed and how to see that it works.
    """
    # Helm shows them only when it has a cluster: here they are made the content of a manifest.
    copy = shutil.copytree(CHART, tmp_path / "chart")
    (copy / "templates" / "NOTES.txt").rename(copy / "files" / "NOTES.txt")
    (copy / "templates" / "notes.yaml").write_text(_NOTES)
    shown = {}
    for name in ("default", "sqlite", "webhooks", "topology", "servicemonitor"):
        values = str(VALUES / f"{name}.yaml")
        done = chart.run(
            "template", "payouts", str(copy), "-f", values, "-s", "templates/notes.yaml"
        )
        shown[name] = yaml.safe_load(done.stdout)["data"]["notes"]

    for name, notes in shown.items():
        assert yaml.safe_load((VALUES / f"{name}.yaml").read_text())["existingSecret"] in notes
        assert "helm -n money test payouts" in notes
        assert "<no value>" not in notes
    assert "payouts.example.com" in shown["webhooks"]
    assert ["servicemonitor"] == [
        name for name, notes in shown.items() if "runbookBaseUrl is empty" in notes
    ]
