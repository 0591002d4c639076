"""compose.yaml as its readers see it: services, settings, and the commands of its head."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
#: The image that is ours.
OWN: Final = "withdrawals-worker"
_PATH: Final = ROOT / "compose.yaml"
#: What the head tells its readers to type: lines set in by three spaces, and one that goes on.
_TYPED: Final = re.compile(r"^#   (\S.*?(?:\|\n#     .*)?)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Typed:
    """A command of the head: its words, and what is piped into it."""

    words: tuple[str, ...]
    stdin: str = ""


def read() -> dict[str, Any]:
    """Return the file, its references resolved."""
    document: dict[str, Any] = yaml.safe_load(_PATH.read_text("utf-8"))
    return document


def own_services(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services that run our own image, by name."""
    services: dict[str, dict[str, Any]] = document["services"]
    return {name: service for name, service in services.items() if service["image"] == OWN}


def typed() -> list[Typed]:
    """Return the commands that the file's head tells to type, in its order."""
    found = _TYPED.findall(_PATH.read_text("utf-8").partition("\nname:")[0])
    return [_split(text.replace("\n#", "")) for text in found]


def typed_into_worker() -> list[Typed]:
    """Return those that run the worker's program in its container, from its name on."""
    return [
        Typed(command.words[command.words.index(OWN) :], command.stdin)
        for command in typed()
        if OWN in command.words
    ]


def _split(text: str) -> Typed:
    before, pipe, after = text.partition("|")
    if not pipe:
        return Typed(tuple(shlex.split(text)))
    echo, said = shlex.split(before)
    assert "echo" == echo
    return Typed(tuple(shlex.split(after)), said + "\n")
