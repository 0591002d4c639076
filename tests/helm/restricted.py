"""Kubernetes' Pod Security Standard "restricted", as far as a manifest can break it.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Linux); nothing here is
about this chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SECCOMP: Final = {"RuntimeDefault", "Localhost"}
_SELINUX: Final = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")


def breaches(spec: dict[str, Any]) -> list[str]:
    """What of this pod the standard forbids, a line each."""
    return [*_of_pod(spec), *(breach for found in _containers(spec) for breach in found)]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    context = spec.get("securityContext", {})
    yield from (f"{field} is set" for field in _HOST if spec.get(field))
    for volume in spec.get("volumes", ()):
        if kinds := volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(kinds)}"
    yield from _of_any_context("pod", context)
    if context.get("sysctls"):
        yield "pod sets sysctls"


def _containers(spec: dict[str, Any]) -> Iterator[Iterator[str]]:
    of_pod = spec.get("securityContext", {})
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        yield _of_container(container, of_pod)


def _of_container(container: dict[str, Any], of_pod: dict[str, Any]) -> Iterator[str]:
    name = f"container {container['name']}"
    own = container.get("securityContext", {})
    merged = {**of_pod, **own}
    yield from _of_any_context(name, own)
    yield from _capabilities(name, own.get("capabilities", {}))
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate its privileges"
    if merged.get("runAsNonRoot") is not True:
        yield f"{name} may run as root"
    if merged.get("seccompProfile", {}).get("type") not in _SECCOMP:
        yield f"{name} has no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name} takes a port of the host"
    for handler in _handlers(container):
        if any("host" in action for action in handler.values() if isinstance(action, dict)):
            yield f"{name} has a probe or hook of another host"


def _capabilities(name: str, capabilities: dict[str, list[str]]) -> Iterator[str]:
    if capabilities.get("drop") != ["ALL"]:
        yield f"{name} keeps capabilities"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"


def _of_any_context(name: str, context: dict[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield f"{name} runs as root"
    if context.get("privileged"):
        yield f"{name} is privileged"
    if context.get("procMount", "Default") != "Default":
        yield f"{name} has procMount"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{name} is a process of the host"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
        yield f"{name} has no AppArmor"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{name} changes SELinux"


def _handlers(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (container[probe] for probe in _PROBES if probe in container)
    yield from container.get("lifecycle", {}).values()
