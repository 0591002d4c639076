"""Which objects a cluster takes: Kubernetes' own, and custom ones by their definitions.

Strict: a field that nobody knows is an error, where a cluster drops it in silence. Rules that only
a running cluster can judge (CEL, admission) are not asked here, but by api_server/lifecycle.py."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helm.manifests import Manifest

_DEFINITIONS: Final = "https://kubernetes.io/api/_definitions.json"
_OBJECT_META: Final = f"{_DEFINITIONS}#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def problems(manifest: Manifest, *, version: str, crds: Path) -> list[str]:
    """What a cluster of this version (`1.29`) would not take, a line each; none when all is well.

    `crds` is the folder with the definitions of custom resources. Raises LookupError for a kind
    that neither knows.
    """
    schema = _schemas(version).get(_kind_of(manifest)) or _custom(crds).get(_kind_of(manifest))
    if schema is None:
        raise LookupError(f"nobody knows {_kind_of(manifest)}")
    errors = _Validator(schema, registry=_registry(version)).iter_errors(manifest)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors] + list(
        _nulls(manifest)
    )


def _kind_of(manifest: Manifest) -> tuple[str, str, str]:
    group, _, version = manifest["apiVersion"].rpartition("/")
    return group, version, manifest["kind"]


def _nulls(value: object, path: str = "$") -> Iterator[str]:
    """Values that are null: Kubernetes takes them, and they are always a template's slip."""
    match value:
        case None:
            yield f"{path}: null"
        case dict():
            for key, item in value.items():
                yield from _nulls(item, f"{path}.{key}")
        case list():
            for number, item in enumerate(value):
                yield from _nulls(item, f"{path}[{number}]")
        case _:
            pass


# --- Kubernetes -----------------------------------------------------------------------------------


@cache
def _definitions(version: str) -> dict[str, Any]:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    definitions: dict[str, Any] = json.loads((folder / "_definitions.json").read_text())
    return definitions


@cache
def _registry(version: str) -> Registry[Any]:
    definitions = Resource.from_contents(_definitions(version))
    registry: Registry[Any] = Registry().with_resource(_DEFINITIONS, definitions)
    return registry


@cache
def _schemas(version: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The schema of every kind, by group, version and kind."""
    return {
        (named["group"], named["version"], named["kind"]): {"$ref": f"{_DEFINITIONS}#/$defs/{name}"}
        for name, definition in _definitions(version)["$defs"].items()
        for named in definition.get("x-kubernetes-group-version-kind", ())
    }


# --- custom resources -----------------------------------------------------------------------------


@cache
def _custom(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The schema of every kind in the folder, in the versions that are served."""
    schemas = {}
    for path in folder.glob("*.yaml"):
        spec = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            if version["served"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"$ref": _OBJECT_META}
                schemas[spec["group"], version["name"], spec["names"]["kind"]] = schema
    return schemas


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as JSON Schema has it, and refusing what a cluster would drop."""
    strict = dict(schema)
    if "properties" in schema:
        strict["properties"] = {key: _strict(value) for key, value in schema["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            strict[keyword] = _strict(schema[keyword])
    open_ended = "additionalProperties" in schema or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if schema.get("type") == "object" and not open_ended:
        strict["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        strict["type"] = ["integer", "string"]
    if schema.get("nullable"):
        strict["type"] = [schema["type"], "null"]
    return strict


def _unique(
    _validator: object, kind: str, instance: list[Any], _schema: object
) -> Iterator[ValidationError]:
    if kind == "set" and any(item in instance[:at] for at, item in enumerate(instance)):
        yield ValidationError("an entry stands twice")


def _unique_keys(
    _validator: object, keys: list[str], instance: list[Any], _schema: object
) -> Iterator[ValidationError]:
    found = [tuple(item.get(key) for key in keys) for item in instance]
    if len(found) != len(set(found)):
        yield ValidationError(f"two entries are alike in {', '.join(keys)}")


_Validator: Final = extend(  # type: ignore[no-untyped-call] # published without
    Draft202012Validator,
    {"x-kubernetes-list-type": _unique, "x-kubernetes-list-map-keys": _unique_keys},
)
