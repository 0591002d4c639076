"""docs/logs.md is the whole of what the worker says: each line with its levels, and its fields."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.change import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
#: These do not run beside payouts, and speak to people.
_APART: Final = ("simulator", "demo")


def test_every_line_is_documented_with_its_level() -> None:
    """
    Who reads one at night finds there what it means, and nothing is there that is never said.
    """
    documented: defaultdict[str, set[str]] = defaultdict(set)
    for levels, messages in re.findall(r"^\| ([a-z, ]+) \| (`.+?) \|", DOCUMENT, re.MULTILINE):
        for message in re.findall(r"`([^`]+)`", messages):
            documented[message] |= set(levels.split(", "))
    said = [(message, level) for call in _calls() for message, level in _said(call)]

    assert documented.keys() == {message for message, _ in said}
    assert [] == [one for one in said if one[1] and one[1] not in documented[one[0]]]


def test_every_field_is_documented() -> None:
    """
    Under one name each, wherever it is said.
    """
    (fields,) = re.findall(r"\n## Fields\n(.*?)\n## ", DOCUMENT, re.DOTALL)
    rows = [row.split("|")[1] for row in fields.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    said = {name for call in _calls() for name in _fields(call)}

    assert {"message_id", "why"} <= documented
    assert set() == said - documented


def test_the_causes_of_moves_are_all_there() -> None:
    """
    The closed set of the field `cause`.
    """
    (row,) = re.findall(r"\| `cause` \| (.*) \|", DOCUMENT)

    assert [cause.value for cause in Cause] == re.findall(r"`(\w+)`", row)


def _calls() -> Iterator[ast.Call]:
    """Yield every place of the worker at which a line of the log is written."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        if path.relative_to(ROOT / "worker").parts[0] in _APART:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"), attr=name)) if name in {
                    *LEVELS,
                    "exception",
                    "log",
                }:
                    yield node
                case _:
                    pass


def _said(call: ast.Call) -> Iterator[tuple[str, str | None]]:
    """Yield each message of a call with its level, None where that is found out at run time."""
    assert isinstance(call.func, ast.Attribute)
    name = call.func.attr
    level = {"exception": "error", "log": None}.get(name, name)
    message = call.args[1 if name == "log" else 0]
    constants = [node.value for node in ast.walk(message) if isinstance(node, ast.Constant)]
    texts = [constant for constant in constants if isinstance(constant, str)]
    assert texts, ast.unparse(call)
    yield from ((text, level) for text in texts)


def _fields(call: ast.Call) -> Iterator[str]:
    """Yield the names of the fields that a call itself gives."""
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key in keyword.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)
