"""Every set of values, whole: what it renders to, and whether a cluster would take and run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.helm.chart import NAMESPACE, NEWEST, OLDEST, SETS, VALUES, Chart
from tests.helm.existing import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from tests.helm.golden import GOLDEN, golden
from tests.helm.manifests import Manifest, of_kind, parse, pods, selects, worker
from tests.helm.references import claims, config_maps, secrets, undeclared
from tests.helm.restricted import breaches
from tests.helm.schemas import problems

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=SETS)
def name(request: pytest.FixtureRequest) -> str:
    """Each set of values in turn."""
    found: str = request.param
    return found


@pytest.fixture
def manifests(name: str, chart: Chart) -> list[Manifest]:
    """What Helm makes of them."""
    return parse(chart.rendered(name))


def test_it_renders_to_its_golden_file(name: str, chart: Chart) -> None:
    """
    No line of a manifest changes unseen; `make chart-golden` takes a change over.
    """
    assert (GOLDEN / f"{name}.yaml").read_text() == golden(name, chart)


def test_every_golden_file_has_its_values() -> None:
    """
    None is left of a set that is gone.
    """
    assert SETS == tuple(sorted(path.stem for path in GOLDEN.iterdir()))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_cluster_takes_every_manifest(
    manifests: list[Manifest], version: str, chart: Chart
) -> None:
    """
    Each field is known, of the right type and where it belongs; in the oldest version and newest.
    """
    found = {
        f"{manifest['kind']}/{manifest['metadata']['name']}": wrong
        for manifest in manifests
        if (wrong := problems(manifest, version=version, crds=chart.crds))
    }

    assert {} == found


def test_nothing_stands_twice_or_elsewhere(manifests: list[Manifest]) -> None:
    """
    Every object has a name of its own, in the namespace of the release.
    """
    ids = [(found["apiVersion"], found["kind"], found["metadata"]["name"]) for found in manifests]
    extra = {"payouts-withdrawals-worker-extra"}

    assert sorted(set(ids)) == sorted(ids)
    assert {NAMESPACE} == {
        found["metadata"].get("namespace")
        for found in manifests
        if found["metadata"]["name"] not in extra
    }


def test_every_pod_is_restricted(manifests: list[Manifest]) -> None:
    """
    A namespace that enforces "restricted" takes them all, and none can write to its image.
    """
    found = [f"{pod.owner}: {breach}" for pod in pods(manifests) for breach in breaches(pod.spec)]
    writable = [
        (pod.owner, container["name"])
        for pod in pods(manifests)
        for container in pod.containers
        if container["securityContext"].get("readOnlyRootFilesystem") is not True
    ]

    assert [] == found
    assert [] == writable


def test_every_container_of_ours_says_why_it_ended(manifests: list[Manifest]) -> None:
    """
    The last lines of its log become the reason in the pod's status.
    """
    ours = {
        (pod.owner, container["name"]): container.get("terminationMessagePolicy")
        for pod in pods(manifests)
        for container in pod.containers
        if "withdrawals-worker" in container["image"]
    }

    assert ours
    assert dict.fromkeys(ours, "FallbackToLogsOnError") == ours


def test_what_is_referred_to_is_there(name: str, manifests: list[Manifest]) -> None:
    """
    Every Secret, ConfigMap, account and volume is made by the chart, or named by the values.
    """
    made = {(found["kind"], found["metadata"]["name"]) for found in manifests}
    given = _existing_secrets(name)
    targets = {
        found["spec"]["target"]["name"] for found in of_kind(manifests, "ExternalSecret")
    }  # made by its operator
    accounts = {found for kind, found in made if kind == "ServiceAccount"} | SERVICE_ACCOUNTS
    maps = {found for kind, found in made if kind == "ConfigMap"} | CONFIG_MAPS.keys()
    volumes = {found for kind, found in made if kind == "PersistentVolumeClaim"}

    for pod in pods(manifests):
        assert set() == secrets(pod) - given - targets, pod.owner
        assert set() == config_maps(pod) - maps, pod.owner
        assert pod.spec.get("serviceAccountName", "default") in accounts, pod.owner
        assert set() == undeclared(pod), pod.owner
        expected = volumes if pod.owner.startswith("StatefulSet") else set()
        assert expected == claims(pod), pod.owner
    for found in of_kind(manifests, "TriggerAuthentication"):
        assert {target["name"] for target in found["spec"]["secretTargetRef"]} <= given
    for found in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = found["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in made


def test_what_is_selected_are_the_workers(manifests: list[Manifest]) -> None:
    """
    Services, budget and monitors take the workers' pods and no other, by ports that these have.
    """
    workload, pod = worker(manifests)
    ports = {port["name"] for port in pod.spec["containers"][0]["ports"]}
    others = [other for other in pods(manifests) if other.owner != pod.owner]

    for labels, wanted in _selectors(manifests, workload):
        assert selects(labels, pod.labels)
        assert not any(selects(labels, other.labels) for other in others)
        assert wanted <= ports


def test_the_service_monitor_finds_the_service(chart: Chart) -> None:
    """
    It takes the Service of the metrics alone, and a port by its name there.
    """
    manifests = parse(chart.rendered("servicemonitor"))
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = (
        found
        for found in of_kind(manifests, "Service")
        if selects(wanted, found["metadata"]["labels"])
    )

    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]


def test_every_ingress_leads_to_a_service(manifests: list[Manifest]) -> None:
    """
    Each path ends at a Service of the chart, and at a port of it.
    """
    services = {
        (found["metadata"]["name"], port["name"])
        for found in of_kind(manifests, "Service")
        for port in found["spec"]["ports"]
    }
    led = {
        (path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"])
        for found in of_kind(manifests, "Ingress")
        for rule in found["spec"]["rules"]
        for path in rule["http"]["paths"]
    }

    assert set() == led - services


def test_another_cluster_gets_the_same(chart: Chart) -> None:
    """
    What is rendered depends on the values alone: `helm template` shows what an upgrade will do.
    """
    values = yaml.safe_load((VALUES / "monitoring.yaml").read_text())
    done = chart.render(
        values, "--kube-version", NEWEST, "--api-versions", "monitoring.coreos.com/v1"
    )

    assert chart.rendered("monitoring") == done.stdout


def _existing_secrets(name: str) -> set[str]:
    """The Secrets that the values name, all of which are known to exist."""
    text = (VALUES / f"{name}.yaml").read_text()
    return {secret for secret in SECRETS if f": {secret}\n" in text}


def _selectors(
    manifests: list[Manifest], workload: Manifest
) -> Iterator[tuple[dict[str, str], set[str]]]:
    """Every selector that is for the workers, with the ports that are asked for by name."""
    yield workload["spec"]["selector"]["matchLabels"], set()
    for spread in _spreads(workload):
        yield spread["labelSelector"]["matchLabels"], set()
    for found in of_kind(manifests, "Service"):
        yield found["spec"]["selector"], {port["targetPort"] for port in found["spec"]["ports"]}
    for found in of_kind(manifests, "PodDisruptionBudget"):
        yield found["spec"]["selector"]["matchLabels"], set()
    for found in of_kind(manifests, "PodMonitor"):
        spec = found["spec"]
        yield (
            spec["selector"]["matchLabels"],
            {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]},
        )


def _spreads(workload: Manifest) -> list[Manifest]:
    found: list[Manifest] = workload["spec"]["template"]["spec"].get(
        "topologySpreadConstraints", []
    )
    return found
