"""What a container finds when it starts: its variables, and its files below a folder of ours.

Does what the kubelet does with the volumes and variables that the chart uses, and no more; no
container is started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.helm.manifests import of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.helm.manifests import Manifest, Pod

_REFERENCE: Final = re.compile(r"\$\$|\$\((\w+)\)")


class Namespace:
    """The Secrets and ConfigMaps that a pod can be given, by name."""

    def __init__(
        self,
        manifests: Iterable[Manifest],
        *,
        secrets: Mapping[str, Mapping[str, str]],
        config_maps: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Those that exist already, and the ConfigMaps that the manifests make."""
        made = {
            found["metadata"]["name"]: found["data"] for found in of_kind(manifests, "ConfigMap")
        }
        self.secrets: Mapping[str, Mapping[str, str]] = secrets
        self.config_maps: Mapping[str, Mapping[str, str]] = {**config_maps, **made}


def environment(
    pod: Pod, container: dict[str, Any], namespace: Namespace, root: Path
) -> dict[str, str]:
    """The container's variables, once its files lie below `root`; paths in them point there.

    Raises KeyError for a Secret, ConfigMap or key that is missing: such a pod would not start.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= _source(source, namespace)
    for variable in container.get("env", ()):
        found[variable["name"]] = _REFERENCE.sub(
            lambda reference: found[reference[1]] if reference[1] else "$", _value(variable)
        )
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", ())}
    mounts = [mount for mount in container["volumeMounts"] if mount["name"] in volumes]
    for mount in mounts:
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _files(volumes[mount["name"]], namespace):
            (folder / name).write_text(content)
    paths = tuple(mount["mountPath"] for mount in mounts)
    return {
        name: f"{root}{value}" if value.startswith(paths) else value
        for name, value in found.items()
    }


def _source(source: dict[str, Any], namespace: Namespace) -> Mapping[str, str]:
    match source:
        case {"configMapRef": {"name": str(name)}}:
            return namespace.config_maps[name]
        case {"secretRef": {"name": str(name)}}:
            return namespace.secrets[name]
        case _:
            raise LookupError(f"the chart uses no such source: {source}")


def _value(variable: dict[str, Any]) -> str:
    match variable:
        case {"value": str(value)}:
            return value
        case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
            return str(path)
        case _:
            raise LookupError(f"the chart uses no such variable: {variable}")


def _files(volume: dict[str, Any], namespace: Namespace) -> Iterator[tuple[str, str]]:
    match volume:
        case {"projected": {"sources": sources}}:
            for source in sources:
                yield from _content(source["secret"], namespace.secrets)
        case {"configMap": source}:
            yield from _content(source, namespace.config_maps)
        case {"emptyDir": _} | {"persistentVolumeClaim": _}:
            pass
        case _:
            raise LookupError(f"the chart uses no such volume: {volume}")


def _content(
    source: dict[str, Any], stored: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str]]:
    content = stored[source["name"]]
    if "items" not in source:
        yield from content.items()
    for item in source.get("items", ()):
        yield item["path"], content[item["key"]]
