"""What of the chart is written from other files: `python -m tests.helm.generated` (`make chart`).

The settings in values and schema come from the settings class, and with them the worker's defaults;
the README from the comments of the values, the version from pyproject.toml, rules and dashboard
from config/. No template is read."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from config.settings import Settings
from config.variables import expected_of, is_secret, variables, write_value
from tests.helm.readme import readme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm"

#: Files of config/ that the chart carries along, since a chart reads only what lies in it.
COPIES: Final = {
    "prometheus/alerts.yaml": "alerts.yaml",
    "grafana/dashboard.json": "dashboard.json",
}


def generated() -> dict[Path, str]:
    """Every file that is written from others, with the text that it has to have.

    Raises ValueError for a value that no comment is about.
    """
    values = with_settings((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["properties"]["settings"] = settings = settings_schema(Settings)
    settings["properties"]["http"]["properties"]["host"] |= _REACHABLE
    copies = {
        CHART / "files" / copy: (ROOT / "config" / path).read_text()
        for path, copy in COPIES.items()
    }
    return copies | {
        CHART / "Chart.yaml": with_version((CHART / "Chart.yaml").read_text()),
        CHART / "values.yaml": values,
        CHART / "templates" / "_defaults.tpl": defaults(),
        CHART / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": readme((CHART / "README.head.md").read_text(), values),
    }


def with_version(chart: str) -> str:
    """The text of Chart.yaml, with the version of the worker where its image is named."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = re.sub(r"(?<=\nappVersion: ).*", f'"{version}"', chart)
    return re.sub(r"(?<=image: withdrawals-worker:).*", version, chart)


# --- the settings in values.yaml ------------------------------------------------------------------

_BEGIN: Final = "# settings: begin\n"
_END: Final = "# settings: end\n"
_WIDTH: Final = 100
#: Where the chart knows what the worker has to find out: nobody reads its log on a terminal there.
_DEFAULTS: Final[dict[str, object]] = {"logFormat": "json"}
#: What the chart says itself: the value `ledger.type` decides.
_ITS_OWN: Final = {"ledger"}


def with_settings(values: str) -> str:
    """The text of the values, with the settings between their marks as the class has them."""
    before, rest = values.split(_BEGIN)
    _, after = rest.split(_END)
    block = "\n".join(["settings:", *_settings(Settings, "  ")])
    return f"{before}{_BEGIN}{block}\n{_END}{after}"


def _settings(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in _visible(model):
        if group := _group(field):
            yield f"{indent}{name}:"
            yield from _settings(group, indent + "  ")
        else:
            yield from _comment(f"{field.description} Expected: {expected_of(field)}.", indent)
            yield f"{indent}{name}: {json.dumps(_default(name, field))}"


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{start}-- ", subsequent_indent=start, break_on_hyphens=False
    )


def _visible(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """What is no secret and not the chart's own, by its name in the chart."""
    for name, field in model.model_fields.items():
        group = _group(field)
        if name in _ITS_OWN:
            continue
        if any(_visible(group)) if group else not is_secret(field):
            yield re.sub(r"_(\w)", lambda found: found[1].upper(), name), field


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _default(name: str, field: FieldInfo) -> object:
    """As YAML has it; empty where the worker has none."""
    if field.default is PydanticUndefined:
        return _DEFAULTS[name]
    match field.default:
        case None:
            return ""
        case timedelta() | float():
            text = write_value(field.default)
            return text if text.startswith("P") else json.loads(text)
        case _:
            return field.default


# --- the defaults in templates/_defaults.tpl -----------------------------------------------------

_HEAD: Final = """\
{{/* Written from config/settings.py by `make chart`: what the worker takes where nothing is said.
Not here is what the chart goes by and so says in any case: ports, the probes' address, the time to
stop. */}}
"""
#: The variables that the chart says in any case.
_SAID: Final = (
    "WORKER_HTTP__",
    "WORKER_LEDGER__",
    "WORKER_SHUTDOWN_TIMEOUT",
    "WORKER_WEBHOOKS__PORT",
)


def defaults() -> str:
    """The template of the worker's own defaults, `NAME: "text"` a line, as the chart has them."""
    lines = (
        f"{name}: {json.dumps(text if isinstance(text, str) else json.dumps(text))}"
        for name, text in _defaults()
    )
    body = "\n".join(lines)
    return f'{_HEAD}{{{{- define "withdrawals-worker.defaults" -}}}}\n{body}\n{{{{- end }}}}\n'


def _defaults() -> Iterator[tuple[str, object]]:
    for name, field in variables(Settings):
        known = not (is_secret(field) or field.default is PydanticUndefined)
        if known and not name.startswith(_SAID) and (text := _default(name, field)) != "":
            yield name, text


# --- the settings in values.schema.json -----------------------------------------------------------

#: What a pattern can say of a text, and in which words; None stands for those of the settings.
_TEXTS: Final[dict[str, tuple[str, str | None]]] = {
    "baseUrl": (
        r"^(https://[^/@?#]|http://(localhost|127\.[0-9.]+|\[::1\])([:/]|$))[^@?#]*$",
        None,
    ),
    "header": (r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", None),
    "timestampHeader": (r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{0,64}$", None),
    "path": (r"^/[^ ?#]*$", None),
    "clientId": (
        r"^$|^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        "the UUID of the client",
    ),
    "keyId": (r"^[!#-\[\]-~]{0,200}$", "the id of the key, without spaces and quotes"),
}
#: Of the address that the kubelet asks.
_REACHABLE: Final = {
    "if": {"pattern": r"^(127\.|localhost|\[?::1\]?$)"},
    "then": {"const": "an address that others reach: the probes come from outside the pod"},
}
#: A port that a worker without rights may take, and that others can be told beforehand.
_PORT: Final = {"minimum": 1024}
_DURATION: Final = {
    "type": ["number", "string"],
    "allOf": [{"$ref": "#/definitions/duration"}],
}
_KEYWORDS: Final = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "max_length": "maxLength",
}


def settings_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a group of settings; strict about names."""
    properties = {
        name: settings_schema(group) if (group := _group(field)) else _schema(name, field)
        for name, field in _visible(model)
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _schema(name: str, field: FieldInfo) -> dict[str, Any]:
    schema = {"description": field.description, **_kind(field.annotation), **_bounds(field)}
    if name == "port":
        schema |= _PORT
    if name in _TEXTS:
        pattern, words = _TEXTS[name]
        # The one form of Helm's message that can carry a sentence.
        schema |= {"if": {"pattern": pattern}, "else": {"const": words or expected_of(field)}}
    return schema


def _kind(annotation: object) -> dict[str, Any]:
    if get_origin(annotation) is Literal:
        return {"enum": list(get_args(annotation))}
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        return {"type": "integer"}
    if annotation is float:
        return {"type": "number"}
    if annotation is timedelta:
        return _DURATION
    return {"type": "string"}


def _bounds(field: FieldInfo) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for attribute, keyword in _KEYWORDS.items():
        for item in field.metadata:
            if (bound := getattr(item, attribute, None)) is not None:
                number = bound.total_seconds() if isinstance(bound, timedelta) else bound
                bounds[keyword] = int(number) if number == int(number) else number
    return bounds


def main() -> None:
    """Write all of it."""
    for path, text in generated().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
