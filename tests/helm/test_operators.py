"""What other controllers are asked to do: Prometheus, Grafana, KEDA, External Secrets, RabbitMQ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.chart import CHART, SETS, Chart
from tests.helm.existing import SECRETS
from tests.helm.manifests import of_kind, parse
from worker.rabbitmq import topology

CONFIG: Final = Path(__file__).parents[2] / "config"


def test_prometheus_gets_the_rules_of_config(chart: Chart) -> None:
    """
    Expressions and texts arrive as they are, braces and all: Helm renders nothing in them.
    """
    (rule,) = of_kind(parse(chart.rendered("servicemonitor")), "PrometheusRule")

    assert yaml.safe_load((CONFIG / "prometheus" / "alerts.yaml").read_text()) == rule["spec"]


def test_alerts_lead_to_the_runbook_and_to_the_team(chart: Chart) -> None:
    """
    With an address each alert gets its section of the runbook, and it gets the values' labels.

    Records get neither.
    """
    (rule,) = of_kind(parse(chart.rendered("monitoring")), "PrometheusRule")
    rules = [found for group in rule["spec"]["groups"] for found in group["rules"]]
    alerts = [found for found in rules if "alert" in found]
    page = "https://wiki.example.com/withdrawals-worker/runbook"

    assert alerts
    assert [f"{page}#{alert['alert'].lower()}" for alert in alerts] == [
        alert["annotations"]["runbook_url"] for alert in alerts
    ]
    assert {"payouts"} == {alert["labels"]["team"] for alert in alerts}
    assert all("severity" in alert["labels"] for alert in alerts)
    records = [found for found in rules if "record" in found]
    assert {"record", "expr"} == {key for found in records for key in found}


def test_grafana_gets_the_dashboard_of_config(chart: Chart) -> None:
    """
    The same document, where the sidecar looks for it, its links leading to the runbook's address.
    """
    manifests = parse(chart.rendered("monitoring"))
    (found,) = (
        found
        for found in of_kind(manifests, "ConfigMap")
        if "grafana_dashboard" in found["metadata"]["labels"]
    )

    assert "1" == found["metadata"]["labels"]["grafana_dashboard"]
    document = (CONFIG / "grafana" / "dashboard.json").read_text()
    address = "https://wiki.example.com/withdrawals-worker/runbook"
    expected = document.replace("https://example.com/docs/runbook.md", address)
    assert document != expected
    assert json.loads(expected) == json.loads(found["data"]["withdrawals-worker.json"])


def test_the_broker_gets_what_the_worker_would_declare(chart: Chart) -> None:
    """
    Exchanges, queues with every argument, and bindings are those of worker.rabbitmq.topology.
    """
    manifests = parse(chart.rendered("topology"))
    exchanges = {
        found["spec"]["name"]: _exchange(found["spec"]) for found in of_kind(manifests, "Exchange")
    }
    queues = {found["spec"]["name"]: found["spec"] for found in of_kind(manifests, "Queue")}
    bindings = {
        (found["spec"]["source"], found["spec"]["routingKey"], found["spec"]["destination"])
        for found in of_kind(manifests, "Binding")
    }

    durable_topic = ("topic", True, False)
    assert dict.fromkeys(topology.TOPOLOGY.exchanges, durable_topic) == exchanges
    assert {
        (queue.exchange, queue.routing_key, queue.name) for queue in topology.TOPOLOGY.queues
    } == bindings
    assert {queue.name: dict(queue.arguments) for queue in topology.TOPOLOGY.queues} == {
        name: {"x-queue-type": spec["type"], **spec["arguments"]} for name, spec in queues.items()
    }
    assert all(spec["durable"] and not spec["autoDelete"] for spec in queues.values())


def test_no_message_goes_with_the_release(chart: Chart) -> None:
    """
    Uninstalling leaves everything at the broker, and the worker no longer declares anything.
    """
    manifests = parse(chart.rendered("topology"))
    made = of_kind(manifests, "Exchange", "Queue", "Binding")
    (settings,) = of_kind(manifests, "ConfigMap")

    assert {"keep"} == {
        found["metadata"]["annotations"]["helm.sh/resource-policy"] for found in made
    }
    assert {"retain"} == {found["spec"]["deletionPolicy"] for found in of_kind(manifests, "Queue")}
    assert {"payouts"} == {found["spec"]["vhost"] for found in made}
    assert "false" == settings["data"]["WORKER_RABBITMQ__DECLARE"]


def test_keda_watches_the_requests_queue(chart: Chart) -> None:
    """
    It counts the worker's own queue by HTTP and never goes below one worker.
    """
    manifests = parse(chart.rendered("keda"))
    (scaled,) = of_kind(manifests, "ScaledObject")
    (deployment,) = of_kind(manifests, "Deployment")
    (authentication,) = of_kind(manifests, "TriggerAuthentication")
    (trigger,) = scaled["spec"]["triggers"]
    (target,) = authentication["spec"]["secretTargetRef"]

    assert ("http", "QueueLength", topology.REQUESTS) == tuple(
        trigger["metadata"][key] for key in ("protocol", "mode", "queueName")
    )
    assert 1 <= scaled["spec"]["minReplicaCount"] <= scaled["spec"]["maxReplicaCount"]
    assert "replicas" not in deployment["spec"]
    assert "host" == target["parameter"]
    assert target["key"] in SECRETS[target["name"]]
    assert authentication["metadata"]["name"] == trigger["authenticationRef"]["name"]


@pytest.mark.parametrize(
    ("keda", "settings", "most"),
    [
        # 25 requests a second, two seconds each, 20 at a time: 2.5 workers.
        ({}, {}, 3),
        ({"answerSeconds": 0.3}, {}, 2),
        ({"answerSeconds": 30}, {}, 38),
        ({}, {"upvest": {"rateLimit": 300}}, 30),
        ({"requestsPerSecond": 25}, {"upvest": {"rateLimit": 300}}, 3),
        ({}, {"rabbitmq": {"prefetch": 5}}, 10),
        ({"maxReplicas": 2}, {}, 2),
    ],
)
def test_there_are_no_more_workers_than_find_work(
    keda: dict[str, Any], settings: dict[str, Any], most: int, chart: Chart
) -> None:
    """
    The rate limit bounds them, since all of them share it; two are allowed in any case.
    """
    values = {
        "existingSecret": "withdrawals",
        "keda": {"enabled": True, **keda},
        "settings": settings,
    }
    done = chart.render(values, "--show-only", "templates/scaledobject.yaml")
    (scaled,) = of_kind(parse(done.stdout), "ScaledObject")

    assert most == scaled["spec"]["maxReplicaCount"]


def test_only_what_is_asked_for_is_made(chart: Chart) -> None:
    """
    No set of values but those that ask for it leads to an object that a cluster may not know.
    """
    custom = {
        name: sorted({found["kind"] for found in parse(chart.rendered(name)) if _is_custom(found)})
        for name in SETS
    }

    assert {
        "external-secrets": ["ExternalSecret"],
        "keda": ["ScaledObject", "TriggerAuthentication"],
        "monitoring": ["PodMonitor", "PrometheusRule"],
        "servicemonitor": ["PrometheusRule", "ServiceMonitor"],
        "topology": ["Binding", "Exchange", "Queue"],
    } == {name: kinds for name, kinds in custom.items() if kinds}


def test_the_files_of_the_chart_are_those_of_config() -> None:
    """
    Byte for byte: `make chart` was run after the last change.
    """
    assert (CONFIG / "prometheus" / "alerts.yaml").read_bytes() == (
        CHART / "files" / "alerts.yaml"
    ).read_bytes()
    assert (CONFIG / "grafana" / "dashboard.json").read_bytes() == (
        CHART / "files" / "dashboard.json"
    ).read_bytes()


def _exchange(spec: dict[str, Any]) -> tuple[str, bool, bool]:
    return spec["type"], spec["durable"], spec["autoDelete"]


def _is_custom(manifest: dict[str, Any]) -> bool:
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")
