"""The settings seen as a flat list of environment variables.

Derived from the tree of models; no variable's name is written down a second time."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.durations import write_duration

PREFIX = "WORKER_"
DELIMITER = "__"

#: Names the folder of secret files; the one variable that is no field of the tree.
SECRETS_DIR = "WORKER_SECRETS_DIR"

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    timedelta: "a duration in seconds or ISO 8601",
    str: "a text",
    SecretStr: "a text",
    Path: "the path of a file",
}
_BOUNDS = (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "to"))


@dataclass(frozen=True)
class Expected:
    """Said of a field whose type and bounds do not say what is expected."""

    text: str


def variables(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    """Every variable the model is read from, with its field, in the model's order."""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        if group := _group(field):
            yield from variables(group, variable + DELIMITER)
        else:
            yield variable, field


def variable_of(location: tuple[int | str, ...]) -> str:
    """The variable a place in the tree is read from."""
    return PREFIX + DELIMITER.join(str(part).upper() for part in location)


def expected_of(field: FieldInfo) -> str:
    """What a value of the field looks like, in words."""
    for item in field.metadata:
        if isinstance(item, Expected):
            return item.text
    (kind,) = _kinds(field)
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return " ".join([_KINDS[kind], *_bounds(field)])


def is_secret(field: FieldInfo) -> bool:
    """Whether a value of the field must never be shown."""
    return SecretStr in _kinds(field)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _kinds(field: FieldInfo) -> list[Any]:
    """The type of the field, or what it may be beside None."""
    if get_origin(field.annotation) in {Union, types.UnionType}:
        return [kind for kind in get_args(field.annotation) if kind is not types.NoneType]
    return [field.annotation]


def _bounds(field: FieldInfo) -> Iterator[str]:
    for attribute, word in _BOUNDS:
        for item in field.metadata:
            bound = getattr(item, attribute, None)
            if bound is not None:
                yield f"{word} {write_value(bound)}"


def write_value(value: object) -> str:
    """A value as an operator would write it into a variable."""
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return write_duration(value)
        case float():
            return f"{value:g}"
        case SecretStr():
            return value.get_secret_value()
        case _:
            return f"{value}"
