"""What the kubelets of two nodes, and a cloud, would tell the API server; no container is started.

A pod whose Secrets and ConfigMaps are there runs and is ready, or ends well where it is made to
end; one that names what is missing waits and says so. An image of the tag `broken` never gets
ready, and fails where it is made to end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from tests.helm.manifests import Pod
from tests.helm.references import config_maps, secrets

if TYPE_CHECKING:
    from tests.helm.api_server.cluster import Cluster

NODES: Final = ("one", "two")
#: The tag of an image that does not work.
BROKEN: Final = "broken"
_STEP_SECONDS: Final = 0.3
_AS_MERGED: Final = {"Content-Type": "application/strategic-merge-patch+json"}


class Nodes:
    """Two nodes in two zones, and what happens to the pods on them until they are stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nodes")
        #: Why the thread ended before it was told to.
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        for name in NODES:
            self._add(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _add(self, name: str) -> None:
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": f"zone-{name}",
        }
        self._cluster.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        room = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"}
        status = {"capacity": room, "allocatable": room, "conditions": [_condition("Ready")]}
        self._patch(f"/api/v1/nodes/{name}/status", {"status": status})
        self._patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})

    def _work(self) -> None:
        try:
            while not self._stopping.wait(_STEP_SECONDS):
                for pod in self._cluster.objects("/api/v1/pods"):
                    if "nodeName" in pod["spec"]:
                        self._attend(pod)
                for service in self._cluster.objects("/api/v1/services"):
                    if service["spec"]["type"] == "LoadBalancer":
                        self._give_address(service)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for a pod
            self.error = error

    def _attend(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            self._cluster.http.request("DELETE", path, json={"gracePeriodSeconds": 0})
        elif pod["status"].get("phase") == "Pending":
            status = self._status(pod)
            if any(pod["status"].get(key) != value for key, value in status.items()):
                self._patch(f"{path}/status", {"status": status})

    def _give_address(self, service: dict[str, Any]) -> None:
        """Do what a cloud does for a Service that asks for an address of its own."""
        if not service["status"]["loadBalancer"]:
            metadata = service["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status"
            self._patch(path, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})

    def _status(self, pod: dict[str, Any]) -> dict[str, Any]:
        missing = self._missing(pod)
        broken = any(found["image"].endswith(f":{BROKEN}") for found in pod["spec"]["containers"])
        ends = pod["spec"]["restartPolicy"] == "Never"
        if missing or (broken and not ends):
            waiting = {"reason": "CreateContainerConfigError", "message": missing or "broken"}
            return _told(pod, "Pending", {"waiting": waiting})
        if ends:
            ended = {"exitCode": int(broken), "reason": "Error" if broken else "Completed"}
            return _told(pod, "Failed" if broken else "Succeeded", {"terminated": ended})
        started = {"startedAt": _now()}
        return _told(pod, "Running", {"running": started}) | {
            "startTime": _now(),
            "podIPs": [{"ip": "10.0.0.1"}],
            "podIP": "10.0.0.1",
            "conditions": [
                _condition(kind) for kind in ("Initialized", "ContainersReady", "Ready")
            ],
        }

    def _missing(self, pod: dict[str, Any]) -> str:
        """What the pod asks for and is not there, or nothing."""
        namespace = f"/api/v1/namespaces/{pod['metadata']['namespace']}"
        asked = Pod("", pod["metadata"], pod["spec"])
        # What shows the registry who asks may be missing.
        shown = {found["name"] for found in pod["spec"].get("imagePullSecrets", ())}
        for kind, names in (
            ("secrets", secrets(asked) - shown),
            ("configmaps", config_maps(asked)),
        ):
            there = {
                found["metadata"]["name"] for found in self._cluster.objects(f"{namespace}/{kind}")
            }
            if names - there:
                return f"{kind} not found: {', '.join(sorted(names - there))}"
        return ""

    def _patch(self, path: str, change: dict[str, Any]) -> None:
        answer = self._cluster.http.patch(path, json=change, headers=_AS_MERGED)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()


def _told(pod: dict[str, Any], phase: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "phase": phase,
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "restartCount": 0,
                "ready": phase == "Running",
                "started": phase == "Running",
                "state": state,
            }
            for container in pod["spec"]["containers"]
        ],
    }


def _condition(kind: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
