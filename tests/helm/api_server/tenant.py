"""A namespace of the cluster, with what the chart counts on, and the release in it.

What it finds it tells; nothing is judged here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.helm.chart import CHART, RELEASE, VALUES
from tests.helm.existing import CONFIG_MAPS, SECRETS

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.helm.api_server.cluster import Cluster

#: Of what the chart makes.
NAME: Final = "payouts-withdrawals-worker"

#: All kinds that the chart makes.
_KINDS: Final = (
    "configmaps,secrets,services,serviceaccounts,persistentvolumeclaims,deployments,statefulsets,"
    "jobs,pods,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,ingresses,podmonitors,"
    "servicemonitors,prometheusrules,scaledobjects,triggerauthentications,externalsecrets,"
    "exchanges,queues,bindings.rabbitmq.com"
)


class Tenant:
    """A namespace that takes restricted pods alone, with what the chart counts on, and a Helm."""

    def __init__(self, cluster: Cluster, helm: Path, name: str) -> None:
        self.cluster = cluster
        self._helm = helm
        self.name = name
        _prepare(cluster, name)

    def helm(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Helm's on the release."""
        return self.cluster.run(self._helm, command, "--namespace", self.name, RELEASE, *arguments)

    def install(self, values: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Install a set of values, or bring the release to it."""
        file = str(VALUES / f"{values}.yaml")
        return self.helm("upgrade", "--install", str(CHART), "--values", file, *options)

    def kubectl(
        self, *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, given=given)

    def get(self, kinds: str, *options: str) -> list[dict[str, Any]]:
        """The objects of these kinds (`pods,jobs`)."""
        done = self.kubectl("get", kinds, "--output", "json", *options)
        assert 0 == done.returncode, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return found

    def pods(self) -> dict[str, str]:
        """The workers' pods by their ids, and the phase of each; those that end are not counted."""
        found = self.get("pods", "--selector", "app.kubernetes.io/component=worker")
        return {
            pod["metadata"]["uid"]: pod["status"]["phase"]
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    def settings(self) -> dict[str, str]:
        """The settings that all of the workers' pods have."""
        found = {
            source["configMapRef"]["name"]
            for pod in self.get("pods", "--selector", "app.kubernetes.io/component=worker")
            if "deletionTimestamp" not in pod["metadata"]
            for source in pod["spec"]["containers"][0]["envFrom"]
        }
        (config_map,) = self.get("configmaps", "--field-selector", f"metadata.name={found.pop()}")
        assert set() == found
        data: dict[str, str] = config_map["data"]
        return data

    def objects(self) -> set[str]:
        """What there is of the release, by kind and name; not what others made of it."""
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return {
            f"{found['kind']}/{found['metadata']['name']}"
            for found in self.get(_KINDS, "--selector", selector)
            if "ownerReferences" not in found["metadata"]
        }


def _prepare(cluster: Cluster, name: str) -> None:
    labels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    cluster.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    namespace = f"/api/v1/namespaces/{name}"
    for secret, content in SECRETS.items():
        cluster.create(
            f"{namespace}/secrets", {"metadata": {"name": secret}, "stringData": content}
        )
    for config_map, data in CONFIG_MAPS.items():
        cluster.create(f"{namespace}/configmaps", {"metadata": {"name": config_map}, "data": data})
    cluster.create(f"{namespace}/serviceaccounts", {"metadata": {"name": "payouts"}})
    # What External Secrets would make.
    cluster.create(
        f"{namespace}/secrets",
        {"metadata": {"name": NAME}, "stringData": SECRETS["withdrawals"]},
    )


def prepare_cluster(cluster: Cluster, crds: Path) -> None:
    """Make what belongs to no namespace: the operators' kinds, from this folder, disks, a class."""
    done = cluster.kubectl("apply", "--server-side", "--filename", str(crds))
    assert 0 == done.returncode, done.stderr
    done = cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    assert 0 == done.returncode, done.stderr
    cluster.create(
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        {"metadata": {"name": "payouts"}, "value": 1000},
    )
    cluster.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {"metadata": {"name": "fast"}, "provisioner": "kubernetes.io/no-provisioner"},
    )
    for number in range(8):
        cluster.create(
            "/api/v1/persistentvolumes",
            {
                "metadata": {"name": f"disk-{number}"},
                "spec": {
                    "capacity": {"storage": "5Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "fast",
                    "hostPath": {"path": f"/disks/{number}"},
                },
            },
        )
