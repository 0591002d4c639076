"""The runbook, taken apart: its sections, and the examples in them.

Reads only; nothing is run here.

An example is a fenced block of `console`: lines that begin with `$ ` are commands, the lines below
each are what it prints. `exit=1` beside the fence is the exit code of the block's commands, else it
is 0. Of the output only the shape counts: `_shape` says how a line is compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
RULES: Final = ROOT / "config" / "prometheus" / "alerts.yaml"

_FENCE: Final = re.compile(r"^```(\w+)(?: exit=(\d))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_AGE: Final = re.compile(r"(?<![\w.])\d+ (?:s|min|h|d)\b")
_BOLD: Final = re.compile(r"\x1b\[\d*m")


@dataclass(frozen=True, slots=True)
class Example:
    """A command of the page, the lines it is said to print, and its exit code."""

    section: str
    command: str
    output: tuple[str, ...]
    code: int

    @property
    def is_for_kubernetes(self) -> bool:
        """Whether it asks Kubernetes, by itself or by Helm, and no worker."""
        return "kubectl" in self.command or self.command.startswith("helm ")

    def unlike(self, printed: str) -> str | None:
        """Return the first line that what was printed lacks, in the page's order."""
        lines = iter(_BOLD.sub("", printed).splitlines())
        for wanted in self.output:
            if not any(_shape(wanted).fullmatch(line) for line in lines):
                return wanted
        return None


def sections() -> dict[str, str]:
    """Return the text of each section by its heading."""
    _, *parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def examples() -> list[Example]:
    """Return all examples, in the order of the page."""
    return [
        Example(section, command, tuple(output), int(code or 0))
        for section, text in sections().items()
        for language, code, block in _FENCE.findall(text)
        if language == "console"
        for command, output in _commands(block)
    ]


def queries() -> list[str]:
    """Return all queries for Prometheus."""
    blocks = [block for language, _, block in _FENCE.findall(PAGE) if language == "promql"]
    return [line for block in blocks for line in block.splitlines()]


def _commands(block: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def _shape(line: str) -> re.Pattern[str]:
    """Return what a printed line looks like.

    Spaces count as one, an age may be any, a word with a digit may be another word, and `…` is
    whatever stands there.
    """
    words = (_word(word) for word in _AGE.sub("0age", line).split())
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*")


def _word(word: str) -> str:
    if word == "0age":
        return _AGE.pattern
    if "…" in word:
        return ".*".join(map(re.escape, word.split("…")))
    return r"\S+" if re.search(r"\d", word) else re.escape(word)
