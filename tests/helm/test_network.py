"""Who may reach the worker, whom it may reach, and what it serves there.

The policies are read, not enforced: no cluster runs here."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry

from config.loading import load_settings
from config.providers import Provider
from tests.helm.chart import SETS, Chart
from tests.helm.existing import CONFIG_MAPS, SECRETS
from tests.helm.kubelet import Namespace, environment
from tests.helm.manifests import Manifest, of_kind, parse, pods, selects, worker
from tests.no_tls import NO_TLS
from worker.http.health import Health
from worker.http.probes import serve_probes

if TYPE_CHECKING:
    from pathlib import Path

_PORTS: Final = {"amqp": 5672, "amqps": 5671, "postgresql": 5432, "https": 443, "http": 80}
#: Sets whose values name no policy, or a broker and ledger at other ports than the Secret's.
_WITHOUT: Final = {"digest"}
_ELSEWHERE: Final = {"network"}


async def test_every_path_that_is_asked_for_is_served(chart: Chart) -> None:
    """
    Probes, metrics and the test of the release ask for nothing that the worker does not have.
    """
    manifests = parse(chart.rendered("monitoring"))
    paths = {"/metrics"}
    for pod in pods(manifests):
        for container in pod.containers:
            paths |= {
                container[probe]["httpGet"]["path"]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
                if probe in container
            }
    (monitor,) = of_kind(manifests, "PodMonitor")
    asked = {endpoint["path"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}

    async with (
        serve_probes(Health(), CollectorRegistry(), host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS) as client,
    ):
        found = {path: (await client.get(path)).status_code for path in paths | asked}

    assert {"/livez", "/readyz", "/metrics"} == found.keys()
    assert 404 not in found.values()


async def test_the_release_is_checked_once_a_worker_is_ready(chart: Chart) -> None:
    """
    `helm test` waits for a worker, then becomes the check; without one it says why there is none.
    """
    (pod,) = (pod for pod in pods(parse(chart.rendered("default"))) if pod.owner.startswith("Pod/"))
    (check,) = pod.containers
    script, _, _, *command = check["args"]
    health = Health()
    said = []
    async with serve_probes(health, CollectorRegistry(), host="127.0.0.1", port=0) as port:
        for seconds in ("0", "60"):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-Ic", script, f"http://127.0.0.1:{port}/readyz", seconds),
                *("/bin/echo", "became", *command),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, errors = await process.communicate()
            said.append((process.returncode, out.decode(), errors.decode()))
            health.started()

    assert [
        (1, "", "no worker is ready (startup: still starting)\n"),
        (0, "ok   worker: ready\nbecame withdrawals-worker check\n", ""),
    ] == said


def test_an_ingress_leads_to_every_provider(chart: Chart) -> None:
    """
    Unless the values say otherwise, what each provider calls passes, and nothing else does.
    """
    values: dict[str, Any] = {
        "existingSecret": "withdrawals",
        "webhooks": {"enabled": True, "ingress": {"enabled": True, "hosts": ["a.example.com"]}},
    }
    done = chart.render(values, "--show-only", "templates/webhooks-ingress.yaml")
    (ingress,) = parse(done.stdout)
    (rule,) = ingress["spec"]["rules"]

    assert {(f"/webhooks/{provider}", "Exact") for provider in get_args(Provider)} == {
        (path["path"], path["pathType"]) for path in rule["http"]["paths"]
    }


@pytest.mark.parametrize("name", sorted(set(SETS) - _WITHOUT))
def test_the_policy_lets_through_what_is_needed(name: str, chart: Chart, tmp_path: Path) -> None:
    """
    In: every port of the worker. Out: names, broker, ledger, the providers and the collector.
    """
    manifests = parse(chart.rendered(name))
    (policy,) = of_kind(manifests, "NetworkPolicy")
    _, pod = worker(manifests)
    (container,) = (found for found in pod.containers if found["name"] == "worker")
    listens = {port["name"]: port["containerPort"] for port in container["ports"]}
    out = _ports(policy["spec"]["egress"])

    for each in pods(manifests):
        assert selects(policy["spec"]["podSelector"]["matchLabels"], each.labels), each.owner
    # A rule names a port by its number or by its name.
    opened = {listens.get(port, port) for port in _ports(policy["spec"]["ingress"])}
    assert set(listens.values()) == opened
    assert set() == _needed(name, manifests, tmp_path) - out
    assert {"Ingress", "Egress"} == set(policy["spec"]["policyTypes"])


def test_without_webhooks_their_port_is_shut(chart: Chart) -> None:
    """
    Nothing leads to it: no port of the pod, no Service, no rule.
    """
    manifests = parse(chart.rendered("default"))

    assert "8081" not in {
        str(port) for found in of_kind(manifests, "NetworkPolicy") for port in _all_ports(found)
    }
    assert 1 == len(of_kind(manifests, "Service"))


def _needed(name: str, manifests: list[Manifest], root: Path) -> set[object]:
    """The ports of all that the worker calls by its settings."""
    namespace = Namespace(
        manifests,
        secrets=SECRETS | {"payouts-withdrawals-worker": SECRETS["withdrawals"]},
        config_maps=CONFIG_MAPS,
    )
    _, pod = worker(manifests)
    (container,) = (found for found in pod.containers if found["name"] == "worker")
    variables = environment(pod, container, namespace, root)
    settings = load_settings(environ=variables, dotenv=root / "none")
    urls = [group.base_url for group in (settings.bluum, settings.bluum_accounts, settings.upvest)]
    if name not in _ELSEWHERE:
        urls += [settings.rabbitmq.url.get_secret_value(), settings.ledger.url.get_secret_value()]
    if settings.tracing.enabled:
        urls.append(variables["OTEL_EXPORTER_OTLP_ENDPOINT"])
    names = 5353 if name == "openshift" else 53
    return {names} | {_port(url) for url in urls if not url.startswith("sqlite")}


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]


def _ports(rules: list[dict[str, Any]]) -> set[object]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def _all_ports(policy: Manifest) -> set[object]:
    return _ports(policy["spec"]["ingress"]) | _ports(policy["spec"]["egress"])
