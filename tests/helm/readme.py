"""The chart's README, from the comments of its values: `# -- text` before a key is about that key.

A line `## text` begins a section; what stands in no such comment is not read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEADING: Final = re.compile(r"## (?P<text>.+)")
_COMMENT: Final = re.compile(r" *# ?(?P<start>-- )?(?P<text>.*)")
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9_-]+):(?: .*)?")


def readme(head: str, values: str) -> str:
    """The chart's README: the head, and a table of all values for each heading in them.

    Raises ValueError for a value that no comment is about.
    """
    comments = dict(_comments(values))
    tree = yaml.safe_load(values)
    missing = [path for path in _leaves(tree) if not _is_covered(path, comments)]
    if missing:
        raise ValueError(f"values.yaml: no comment about {', '.join(missing)}")
    lines: list[str] = []
    heading = ""
    for path, (under, text) in comments.items():
        if under != heading:
            lines += ["", f"### {under}", "", "| Key | Default | Meaning |", "|---|---|---|"]
            heading = under
        lines.append(f"| `{path}` | {_shown(_at(tree, path))} | {_cell(text)} |")
    return head.rstrip() + "\n\n## Values\n" + "\n".join(lines) + "\n"


def _comments(values: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """The path of each value that has a comment (`# -- …`), with its heading and the text."""
    heading, text = "", list[str]()
    parents: list[tuple[int, str]] = []
    for line in values.splitlines():
        if found := _HEADING.fullmatch(line):
            heading = found["text"]
        elif found := _KEY.fullmatch(line):
            indent = len(found["indent"])
            parents = [parent for parent in parents if parent[0] < indent] + [
                (indent, found["key"])
            ]
            if text:
                yield ".".join(key for _, key in parents), (heading, " ".join(text))
            text = []
        elif (found := _COMMENT.fullmatch(line)) and (found["start"] or text):
            text = [found["text"]] if found["start"] else [*text, found["text"]]
        else:
            text = []


def _leaves(tree: object, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path


def _is_covered(path: str, comments: Mapping[str, object]) -> bool:
    """Whether a comment is about the value, or about what it is a part of."""
    parts = path.split(".")
    return any(".".join(parts[:end]) in comments for end in range(1, len(parts) + 1))


def _at(tree: Any, path: str) -> object:  # noqa: ANN401 - YAML may hold anything
    for key in path.split("."):
        tree = tree[key]
    return tree


def _shown(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
