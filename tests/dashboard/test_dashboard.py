"""The dashboard's file by itself: whole, in order, and about metrics that there are."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from PIL import Image

from tests.dashboard.grafana import FINGERPRINT, PATH, Dashboard, queries
from tests.dashboard.units import written
from tests.test_metrics import METRICS
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOT: Final = Path(__file__).parents[2]
RULES: Final[list[Mapping[str, Any]]] = [
    rule
    for group in yaml.safe_load(
        (_ROOT / "config" / "prometheus" / "alerts.yaml").read_text("utf-8")
    )["groups"]
    for rule in group["rules"]
]
DASHBOARD: Final = Dashboard.load()
GRAPHS: Final = DASHBOARD.graphs

#: How a file that Grafana exported gets its shape.
_TIDY: Final = "python3 -m json.tool --indent 2 --sort-keys --no-ensure-ascii EXPORTED THIS"
_SERIES: Final = re.compile(r"\b(?:withdrawals(?=[_:])|process_|python_)[\w:]+")
_LABEL: Final = re.compile(r'[{,]\s*(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPING: Final = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")
_IN_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")
#: What the names of a metric's series end in.
_ENDS: Final = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
#: Labels that come from the scrape, from histograms, and from alerts.
_GIVEN: Final = {"namespace", "pod", "job", "instance", "le", "alertname", "alertstate", "severity"}
_COLUMNS: Final = 24
_PICTURE: Final = _ROOT / "docs" / "dashboard.png"
_PICTURE_MAX: Final = 400_000


def _expressions() -> Iterator[str]:
    for panel in GRAPHS:
        yield from (query.expression for query in queries(panel))
    yield from (mark["expr"] for mark in DASHBOARD.annotations)
    for variable in DASHBOARD.variables.values():
        if variable["type"] == "query":
            yield variable["query"]["query"]


def _title(panel: Mapping[str, Any]) -> str:
    return str(panel["title"])


def test_it_has_the_shape_that_keeps_changes_small() -> None:
    """
    Whatever Grafana exported: two spaces, keys in order.
    """
    text = PATH.read_text("utf-8")
    tidy = json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    assert tidy == text, f"to put it into shape: {_TIDY}"


def test_it_is_found_again_by_grafana() -> None:
    """
    One uid for ever, no number of one Grafana's database, a schema that 10.4 writes.
    """
    document = DASHBOARD.document

    assert ("withdrawals-worker", 39) == (document["uid"], document["schemaVersion"])
    assert "id" not in document


def test_panels_have_numbers_and_titles_of_their_own() -> None:
    """
    Grafana goes by the number; people, the picture and the tests by the title.
    """
    assert [] == [n for n, times in Counter(p["id"] for p in DASHBOARD.panels).items() if times > 1]
    assert [] == [t for t, times in Counter(map(_title, GRAPHS)).items() if times > 1]


def test_no_panel_lies_on_another_or_leaves_a_gap() -> None:
    """
    Every field of the grid, 24 wide, belongs to exactly one.
    """
    taken = Counter(
        (x, y)
        for panel in DASHBOARD.panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    )
    height = 1 + max(y for _, y in taken)

    assert {(x, y): 1 for x in range(_COLUMNS) for y in range(height)} == taken


@pytest.mark.parametrize("panel", GRAPHS, ids=_title)
def test_a_panel_says_what_it_shows(panel: Mapping[str, Any]) -> None:
    """
    A sentence or more, a unit, thresholds from the lowest on, and where its data comes from.
    """
    defaults = panel["fieldConfig"]["defaults"]
    first, *steps = (step["value"] for step in defaults["thresholds"]["steps"])

    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert first is None
    assert sorted(steps) == steps
    assert {"${datasource}"} == {
        source["datasource"]["uid"] for source in [panel, *panel["targets"]]
    }


def test_links_lead_to_sections_of_the_runbook() -> None:
    """
    One for each alert that a panel helps with; the dashboard's own leads to its beginning.
    """
    alerts = {rule["alert"] for rule in RULES if "alert" in rule}
    links = [link for panel in GRAPHS for link in panel.get("links", [])]

    assert {f"${{runbook}}#{alert.lower()}" for alert in alerts} == {link["url"] for link in links}
    assert ["${runbook}"] == [link["url"] for link in DASHBOARD.document["links"]]
    assert "runbook" in DASHBOARD.variables


def test_every_metric_asked_for_exists_with_its_labels() -> None:
    """
    Also those by which is grouped and which stand in legends; recorded ones have their rule.
    """
    process = {
        sample.name
        for family in Metrics(version="0").registry.collect()
        for sample in family.samples
    }
    labels = {
        f"withdrawals_{name}{end}": own
        for name, (kind, own) in METRICS.items()
        for end in _ENDS[kind]
    }
    labels |= {name: {"generation"} for name in process if not name.startswith("withdrawals")}
    labels |= {rule["record"]: {"provider"} for rule in RULES if "record" in rule}
    wrong = []
    for expression in _expressions():
        asked = set(_SERIES.findall(expression))
        known = _GIVEN.union(*(labels.get(name, set()) for name in asked))
        told = {label.strip() for by in _GROUPING.findall(expression) for label in by.split(",")}
        told |= set(_LABEL.findall(expression))
        wrong += [(expression, asked - set(labels), told - known - {""})]

    assert [] == [each for each in wrong if each[1] or each[2]]


def test_no_query_mixes_installations() -> None:
    """
    Two releases in one namespace are two jobs: what is not summed is the largest of each.
    """
    asked = [
        query.expression
        for panel in GRAPHS
        for query in queries(panel)
        if "namespace" in query.expression
    ]
    selectors = [one for each in asked for one in re.findall(r"\{(namespace=[^}]*)\}", each)]
    groupings = [one for each in asked for one in re.findall(r"\((namespace,?[^)]*)\)", each)]

    assert selectors
    assert groupings
    assert [] == [
        one for one in selectors if not one.startswith('namespace=~"$namespace", job=~"$job"')
    ]
    assert [] == [one for one in groupings if not one.startswith("namespace, job")]


@pytest.mark.parametrize("panel", GRAPHS, ids=_title)
def test_a_legend_names_labels_that_are_left(panel: Mapping[str, Any]) -> None:
    """
    One that was summed away would be an empty word.
    """
    for query in queries(panel):
        left = {
            label.strip() for by in _GROUPING.findall(query.expression) for label in by.split(",")
        }

        assert set() == set(_IN_LEGEND.findall(query.legend)) - left - {"pod", "instance", "le"}


def test_every_metric_is_on_a_panel() -> None:
    """
    What nobody can see need not be counted.
    """
    seen = set(_SERIES.findall(" ".join(_expressions())))

    assert [] == [
        name
        for name, (kind, _) in METRICS.items()
        if not seen & {f"withdrawals_{name}{end}" for end in _ENDS[kind]}
    ]


def test_the_picture_shows_these_panels() -> None:
    """
    Drawn after the last change of a title, a place or a query.
    """
    with Image.open(_PICTURE) as picture:
        told = picture.info.get(FINGERPRINT)

    assert DASHBOARD.fingerprint == told, "to draw it anew: make dashboard-picture"
    assert _PICTURE.stat().st_size < _PICTURE_MAX


def test_the_picture_can_write_every_unit() -> None:
    """
    Of nothing and of much, but for yes and no, which are states.
    """
    units = {panel["fieldConfig"]["defaults"]["unit"] for panel in GRAPHS} - {"bool"}

    assert {} == {unit: "" for unit in units if not written(0, unit) or not written(1e6, unit)}


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "s", "0 s"),
        (0.0125, "s", "12.5 ms"),
        (95.0, "s", "1.6 min"),
        (7200.0, "s", "2 hours"),
        (0.9912, "percentunit", "99.1%"),
        (2_000_000.0, "short", "2 Mil"),
        (96 * 1024 * 1024, "bytes", "96 MiB"),
        (12.34, "reqpm", "12.3 req/min"),
    ],
)
def test_numbers_are_written_short(value: float, unit: str, expected: str) -> None:
    """
    With their unit.
    """
    assert expected == written(value, unit)


def test_burn_and_objective_are_those_of_the_alerts() -> None:
    """
    The share that may be late, the seconds, and the marks above which somebody is called.
    """
    (rule, *_) = [rule for rule in RULES if rule.get("alert") == "WithdrawalSubmissionsSlow"]
    factors = {float(factor) for factor in re.findall(r"> ([\d.]+) \* 0\.01", rule["expr"])}
    panels = {_title(panel): panel for panel in GRAPHS}
    burn = panels["Late submissions: burn rate"]
    in_time = queries(panels["Submitted in time"])[0].expression
    steps = burn["fieldConfig"]["defaults"]["thresholds"]["steps"]

    assert factors == {step["value"] for step in steps} - {None}
    assert {"0.01"} == {query.expression.rpartition("/ ")[2] for query in queries(burn)}
    assert 'le="60.0"' in in_time
    assert any('submission_seconds_bucket{le="60.0"}' in rule["expr"] for rule in RULES)
