"""The alerts: they fire when they should, stay silent when they should, and ask for what exists."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.test_metrics import METRICS, moved
from worker.core.budget import Rank
from worker.core.messages import DeadReason
from worker.core.reconciliation import Kind
from worker.core.withdrawal import Status
from worker.flows.hearing import Outcome
from worker.metrics import PAUSES, UNKNOWN, Metrics
from worker.providers.pace import RANKS
from worker.rabbitmq.topology import OWN_QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "config" / "prometheus"
_RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((RULES / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
_ALERTS: Final = [rule for rule in _RULES if "alert" in rule]

#: What a series of a histogram or a counter is called beside its metric.
_SUFFIX: Final = re.compile(r"_(?:total|bucket|count|sum)$")
#: What a scrape adds to every series.
_SCRAPED: Final = {"namespace", "job", "pod"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yaml"),
        ("test", "rules", "alerts_test.yaml", "alerts_days_test.yaml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_the_rules_and_they_do_what_they_say(
    promtool: str, arguments: tuple[str, ...]
) -> None:
    """
    Each alert fires on its symptom and on nothing else (alerts_test.yaml, alerts_days_test.yaml).
    """
    done = subprocess.run(
        [promtool, *arguments], cwd=RULES, check=False, capture_output=True, text=True, timeout=300
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("rule", _ALERTS, ids=lambda r: f"{r['alert']}-{r['labels']['severity']}")
def test_every_alert_says_how_urgent_it_is_what_it_is_and_where_to_read_on(
    rule: dict[str, Any],
) -> None:
    """
    And its test expects it to fire, in those words.
    """
    tests = [
        yaml.safe_load((RULES / name).read_text(encoding="utf-8"))["tests"]
        for name in ("alerts_test.yaml", "alerts_days_test.yaml")
    ]
    fired = {
        (case["alertname"], alert["exp_labels"]["severity"])
        for test in (one for file in tests for one in file)
        for case in test.get("alert_rule_test", ())
        for alert in case["exp_alerts"]
    }

    assert {"description", "runbook", "summary"} == set(rule["annotations"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert "for" in rule
    assert (rule["alert"], rule["labels"]["severity"]) in fired


def test_every_metric_and_every_label_that_is_asked_for_exists() -> None:
    """
    What was renamed would silence its alert for ever.
    """
    records = {rule["record"] for rule in _RULES if "record" in rule}
    asked = {name for rule in _RULES for name in re.findall(r"withdrawals:[\w:]+", rule["expr"])}
    unknown = [
        (metric, label)
        for metric, label, _ in _selected()
        if label not in METRICS[metric][1] | _SCRAPED | {"le"}
    ]
    grouped = {
        label.strip()
        for rule in _RULES
        for labels in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"])
        for label in labels.split(",")
    }

    assert asked == records
    assert set() == {metric for metric, _ in _metrics()} - set(METRICS)
    assert [] == unknown
    assert set() == grouped - {n for _, labels in METRICS.values() for n in labels} - {
        "le",
        *_SCRAPED,
    }


def test_no_rule_mixes_installations() -> None:
    """
    Each is a job of its own, also beside another in the same namespace.
    """
    groupings = [by for rule in _RULES for by in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"])]

    assert {("namespace", "job")} == {tuple(by.split(", ")[:2]) for by in groupings}


def test_every_value_of_a_label_that_is_asked_for_exists() -> None:
    """
    By the enumerations of the code; where there is none, by the words in it.
    """
    words: dict[tuple[str, str], Iterable[str]] = {
        ("oldest_in_flight_seconds", "status"): Status,
        ("intake_paused", "reason"): PAUSES,
        ("dead_letters", "reason"): DeadReason,
        ("queue_messages", "queue"): OWN_QUEUES,
        ("requests", "result"): _said("worker/flows/intake.py", r'request\(None, "(\w+)"\)'),
        ("webhooks", "result"): Outcome,
        ("webhooks", "provider"): [UNKNOWN],
        ("reconciliation_differences", "kind"): Kind,
        ("rate_limit_grants", "class"): [rank.name.lower() for rank in Rank],
        ("rate_limit_wait_seconds", "operation"): RANKS,
        ("provider_retries", "reason"): _said(
            "worker/flows/submit.py", r'retried\(provider, "(\w+)"\)'
        ),
        ("provider_request_duration_seconds", "outcome"): [
            "5xx",
            *_said("worker/providers/http.py", r'Silence\(\s*"(\w+)"'),
            *_said("worker/providers/http.py", r'"(\w+)" if is_timeout'),
            *_said("worker/providers/http.py", r'is_timeout else "(\w+)"'),
        ],
        ("submission_seconds", "le"): _buckets(),
    }

    assert [] == [
        (metric, label, value)
        for metric, label, values in _selected()
        for value in values
        if value not in set(words[metric, label])
    ]


def _metrics() -> Iterator[tuple[str, str]]:
    """Yield each metric that a rule asks for, as METRICS calls it, with what stands in braces."""
    for rule in _RULES:
        for name, braces in re.findall(r"\bwithdrawals_(\w+)(?:\{([^}]*)\})?", rule["expr"]):
            yield (name if name in METRICS else _SUFFIX.sub("", name)), braces


def _selected() -> Iterator[tuple[str, str, list[str]]]:
    """Yield each label by which a metric is selected, with the values that are named."""
    for metric, braces in _metrics():
        for label, values in re.findall(r'(\w+)\s*(?:=~|!=|=)\s*"([^"]*)"', braces):
            yield metric, label, values.split("|")


def _said(path: str, pattern: str) -> list[str]:
    found = re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"))
    assert found, f"{path} says none of these words any more: {pattern}"
    return found


def _buckets() -> set[str]:
    """The bounds by which Prometheus sees the submissions counted, in its own spelling."""
    metrics = Metrics(version="0")
    metrics.submitted(moved(Status.PENDING)[0], timedelta(seconds=1))
    return {
        sample.labels["le"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "withdrawals_submission_seconds_bucket"
    }
