"""What judges the manifests finds fault where there is some: a judge that cannot is no test.

One fault at a time, in an object that is otherwise sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.helm.chart import NEWEST, OLDEST, Chart
from tests.helm.manifests import of_kind, parse, worker
from tests.helm.restricted import breaches
from tests.helm.schemas import problems

if TYPE_CHECKING:
    from tests.helm.manifests import Manifest

_UNSAFE: Final[dict[str, tuple[dict[str, Any], dict[str, Any], str]]] = {
    "host network": ({"hostNetwork": True}, {}, "hostNetwork is set"),
    "host path": ({"volumes": [{"name": "a", "hostPath": {}}]}, {}, "volume a is a hostPath"),
    "root": ({"securityContext": {"runAsUser": 0}}, {}, "pod runs as root"),
    "sysctls": ({"securityContext": {"sysctls": [{}]}}, {}, "pod sets sysctls"),
    "maybe root": ({"securityContext": {}}, {}, "container worker may run as root"),
    "no seccomp": (
        {"securityContext": {"runAsNonRoot": True}},
        {},
        "container worker has no seccomp profile",
    ),
    "privileged": ({}, {"privileged": True}, "container worker is privileged"),
    "escalation": ({}, {}, "container worker may escalate its privileges"),
    "capabilities": ({}, {}, "container worker keeps capabilities"),
    "more of them": (
        {},
        {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
        "container worker adds capabilities",
    ),
    "unconfined": (
        {},
        {"appArmorProfile": {"type": "Unconfined"}},
        "container worker has no AppArmor",
    ),
    "proc": ({}, {"procMount": "Unmasked"}, "container worker has procMount"),
    "selinux": (
        {},
        {"seLinuxOptions": {"type": "spc_t"}},
        "container worker changes SELinux",
    ),
}


@pytest.mark.parametrize(("of_pod", "own", "breach"), _UNSAFE.values(), ids=_UNSAFE.keys())
def test_a_pod_that_is_not_restricted_is_found(
    of_pod: dict[str, Any], own: dict[str, Any], breach: str, chart: Chart
) -> None:
    """
    Whatever of the workers' pod is exchanged for something unsafe, it is named.
    """
    _, pod = worker(parse(chart.rendered("default")))
    (container,) = pod.spec["containers"]
    unsafe = {**pod.spec, **of_pod, "containers": [{**container, "securityContext": own}]}

    assert [] == breaches(pod.spec)
    assert breach in breaches(unsafe)


def test_another_host_in_a_probe_and_its_port_are_found(chart: Chart) -> None:
    """
    Neither the host's ports nor probes of other hosts are restricted's.
    """
    _, pod = worker(parse(chart.rendered("default")))
    (container,) = pod.spec["containers"]
    container["livenessProbe"]["httpGet"]["host"] = "10.0.0.1"
    container["ports"][0]["hostPort"] = 80

    assert [
        "container worker takes a port of the host",
        "container worker has a probe or hook of another host",
    ] == breaches(pod.spec)


@pytest.mark.parametrize(
    ("name", "path", "value", "problem"),
    [
        ("default", "Deployment.spec.replica", 2, "'replica' was unexpected"),
        ("default", "Deployment.spec.replicas", "2", "'2' is not of type 'integer'"),
        ("default", "Deployment.spec.paused", None, "$.spec.paused: null"),
        ("monitoring", "PodMonitor.spec.podMetricsEndpoints.0.pot", "http", "'pot' was unexp"),
        ("monitoring", "PrometheusRule.spec.groups.1.name", "withdrawals-worker.records", "alike"),
        ("keda", "ScaledObject.metadata.label", {}, "'label' was unexpected"),
        ("topology", "Queue.spec.deletionPolicy", "keep", "'keep' is not one of"),
        ("external-secrets", "ExternalSecret.spec.refresh", "1h", "'refresh' was unexpected"),
    ],
)
def test_what_a_cluster_would_not_take_is_found(
    name: str, path: str, value: object, problem: str, chart: Chart
) -> None:
    """
    Unknown fields, wrong types, nulls and doubles: in Kubernetes' own kinds and in custom ones.
    """
    kind, *parents, leaf = path.split(".")
    manifest = of_kind(parse(chart.rendered(name)), kind)[0]
    place: Any = manifest
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place[parent]
    place[leaf] = value

    for version in (OLDEST, NEWEST):
        assert any(
            problem in found for found in problems(manifest, version=version, crds=chart.crds)
        )


def test_an_object_that_nobody_knows_is_not_passed(chart: Chart) -> None:
    """
    Without a schema nothing is said to be right.
    """
    unknown: Manifest = {"apiVersion": "acme.example.com/v1", "kind": "Anvil", "metadata": {}}

    with pytest.raises(LookupError, match="Anvil"):
        problems(unknown, version=NEWEST, crds=chart.crds)


def test_a_key_that_stands_twice_is_not_read() -> None:
    """
    YAML's own reader would take the last one in silence.
    """
    with pytest.raises(yaml.YAMLError, match="a key stands twice"):
        parse("---\nkind: Secret\nkind: ConfigMap\n")
