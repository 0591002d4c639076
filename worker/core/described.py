"""How the shapes of messages are told to others: as JSON Schema, beside what reads them.

Nothing is read or refused by it; what only code can tell (bytes, check digits) is told in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, WithJsonSchema

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

    Extra = Callable[[dict[str, Any]], None]

#: A character of a text without control characters.
PRINTABLE: Final = r"[^\u0000-\u001F\u007F-\u009F]"
UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
#: Before the pattern of a decimal text that has to be more than nothing.
NOT_ZERO: Final = r"(?!0+(?:\.0+)?$)"


def text(pattern: str | re.Pattern[str], **more: object) -> WithJsonSchema:
    """Describe a text by its pattern, which has to fit the whole of it."""
    written = pattern if isinstance(pattern, str) else pattern.pattern
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{written})$", **more})


def text_or_null(pattern: str | re.Pattern[str], **more: object) -> WithJsonSchema:
    """Describe such a text where null says the same as its absence."""
    return WithJsonSchema({**(text(pattern, **more).json_schema or {}), "type": ["string", "null"]})


def texts(name: str, content: Mapping[str, object], **more: object) -> WithJsonSchema:
    """Describe a flat map by the pattern of its names and by what its texts are beside texts."""
    described = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{name})$"},
        "additionalProperties": {"type": "string", **content},
    }
    return WithJsonSchema(described | more)


def up_to(limit: int) -> Any:  # noqa: ANN401 - what pydantic's own `Field` returns
    """Describe a list of at least one, or null for none."""

    def describe(schema: dict[str, Any]) -> None:
        schema |= {"type": ["array", "null"], "minItems": 1, "maxItems": limit}
        schema.pop("default", None)

    return Field(json_schema_extra=describe)


def only_when(condition: Mapping[str, object], name: str, *, unless_said: bool) -> Extra:
    """Describe a field that is there when others are so, and absent or null when they are not.

    `unless_said` tells which of both holds where those others are absent.
    """
    when: dict[str, object] = {"properties": dict(condition)}
    if not unless_said:
        when["required"] = list(condition)
    present = {"properties": {name: {"not": {"type": "null"}}}, "required": [name]}
    absent = {"properties": {name: {"type": "null"}}}
    return rule({"if": when, "then": present, "else": absent})


def rule(of: Mapping[str, object]) -> Extra:
    """Describe a rule of several fields."""

    def describe(schema: dict[str, Any]) -> None:
        schema.setdefault("allOf", []).append(dict(of))

    return describe


def together(*extras: Extra) -> Extra:
    """Describe several such things of one shape."""

    def describe(schema: dict[str, Any]) -> None:
        for extra in extras:
            extra(schema)

    return describe
