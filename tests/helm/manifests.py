"""Manifests as values: what is in them, and which pods come of them.

Reads YAML as Kubernetes does: a key that stands twice is an error. Judges nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: An object of Kubernetes.
Manifest: TypeAlias = dict[str, Any]

_START: Final = re.compile(r"^---\n", re.MULTILINE)


class _Strict(yaml.CSafeLoader):
    """Refuses a key that stands twice, where YAML's own loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=node.start_mark)
        return mapping


@dataclass(frozen=True)
class Pod:
    """A pod, or what pods are made from: of whom, with which metadata and which spec."""

    owner: str
    metadata: dict[str, Any]
    spec: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, which selectors go by."""
        labels: dict[str, str] = self.metadata.get("labels", {})
        return labels

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of them, those of the start first."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def blocks(rendered: str) -> list[str]:
    """The text of each manifest, which begins with a comment that names the template."""
    return [block for block in _START.split(rendered) if block.strip()]


def parse(rendered: str) -> list[Manifest]:
    """All manifests. Raises yaml.YAMLError for what Kubernetes would not read."""
    loaded = (yaml.load(block, _Strict) for block in blocks(rendered))  # noqa: S506 - a safe one
    return [manifest for manifest in loaded if manifest]


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """Those of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: Iterable[Manifest]) -> Iterator[Pod]:
    """Every pod that the manifests lead to: workers, migration, test."""
    for manifest in manifests:
        owner = f"{manifest['kind']}/{manifest['metadata']['name']}"
        match manifest["kind"]:
            case "Pod":
                yield Pod(owner, manifest["metadata"], manifest["spec"])
            case "Deployment" | "StatefulSet" | "Job":
                template = manifest["spec"]["template"]
                yield Pod(owner, template["metadata"], template["spec"])
            case _:
                pass


def worker(manifests: Iterable[Manifest]) -> tuple[Manifest, Pod]:
    """The Deployment or StatefulSet of the workers, and their pod."""
    (workload,) = of_kind(manifests, "Deployment", "StatefulSet")
    (pod,) = pods([workload])
    return workload, pod


def selects(labels: dict[str, str], pod_labels: dict[str, str]) -> bool:
    """Whether a selector by these labels (`matchLabels`) takes the pod."""
    return bool(labels) and labels.items() <= pod_labels.items()
