"""Which objects a pod cannot start without, by name.

What makes them, and whether they are there, is not asked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.helm.manifests import Pod


def secrets(pod: Pod) -> set[str]:
    """Secrets that are mounted, become variables, or are shown to a registry."""
    spec = pod.spec
    return (
        {secret["name"] for secret in spec.get("imagePullSecrets", ())}
        | {source["secret"]["name"] for source in _projected(pod) if "secret" in source}
        | {found["secret"]["secretName"] for found in spec.get("volumes", ()) if "secret" in found}
        | _variables(pod, "secretRef", "secretKeyRef")
    )


def config_maps(pod: Pod) -> set[str]:
    """ConfigMaps that are mounted or become variables."""
    volumes = pod.spec.get("volumes", ())
    return (
        {source["configMap"]["name"] for source in _projected(pod) if "configMap" in source}
        | {found["configMap"]["name"] for found in volumes if "configMap" in found}
        | _variables(pod, "configMapRef", "configMapKeyRef")
    )


def claims(pod: Pod) -> set[str]:
    """Claims of volumes that are mounted."""
    volumes = pod.spec.get("volumes", ())
    return {
        found["persistentVolumeClaim"]["claimName"]
        for found in volumes
        if "persistentVolumeClaim" in found
    }


def undeclared(pod: Pod) -> set[str]:
    """Volumes that are mounted and that the pod does not declare."""
    declared = {found["name"] for found in pod.spec.get("volumes", ())}
    mounted = {
        mount["name"] for container in pod.containers for mount in container.get("volumeMounts", ())
    }
    return mounted - declared


def _projected(pod: Pod) -> list[dict[str, dict[str, str]]]:
    volumes = pod.spec.get("volumes", ())
    return [source for found in volumes for source in found.get("projected", {}).get("sources", ())]


def _variables(pod: Pod, whole: str, single: str) -> set[str]:
    found: set[str] = set()
    for container in pod.containers:
        found |= {
            source[whole]["name"] for source in container.get("envFrom", ()) if whole in source
        }
        found |= {
            variable["valueFrom"][single]["name"]
            for variable in container.get("env", ())
            if single in variable.get("valueFrom", {})
        }
    return found
