"""What the workers of a run wrote into their logs: read as a machine reads it, and searched.

Pure: texts in, breaches out. Where anything private was planted is said by who planted it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_OID, uuid5

from worker.demo.audit import ENDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from worker.demo.audit import Heard

#: What a customer wrote, in each field that takes a text of theirs.
PRIVATE: Final = "Rent of Erika Mustermann"
#: What may be in no line of any run, whatever was asked for: each with what it would mean.
_FORBIDDEN: Final[Mapping[str, re.Pattern[str]]] = {
    "a customer's text": re.compile(rf"{PRIVATE}|Payout of the month|Auszahlung"),
    "a bank detail": re.compile(
        r"(fs|acc|item)_(secret|inactive)_|7c1e0d52-|0123456789|First Bank|2f0e7c1a-7f5e-4c57"
    ),
    "a body": re.compile(r"[\"'](amount|funding_source_id|remittance_information|metadata)[\"']"),
    "a credential": re.compile(
        r"\b(Basic|Bearer) [A-Za-z0-9+/_-]{8}|guest:guest|simulated_|-----BEGIN|sig1=|PRIVATE KEY--"
    ),
    "a provider's text": re.compile(
        r"The (wallet|investor|account|funding|order|key|token|position|client)\b[^\"]* "
        r"(is|holds|lacks)\b|No such \w+\.|Internal error\.|There is nothing at"
    ),
}
#: Lines that tell where something stands.
_TELLS: Final = ("status", "event")


def trace_of(message_id: str) -> str:
    """Return the id of the trace that a message comes with."""
    return uuid5(NAMESPACE_OID, f"trace of {message_id}").hex


def log_breaches(
    logs: Mapping[str, str], *, secrets: Collection[str], heard: Iterable[Heard]
) -> list[str]:
    """Return what is wrong with the logs of the workers, given by name.

    Each line is one JSON object; none holds a secret, a bank detail, a text of anybody's or a body;
    and every end that was told of stands in some line by the ids of its request.
    """
    found: list[str] = []
    lines: list[dict[str, Any]] = []
    for name, text in logs.items():
        for number, line in enumerate(text.splitlines(), 1):
            place = f"log of {name}, line {number}"
            try:
                document = json.loads(line)
            except ValueError:
                document = line
            found += [f"{place}: holds {what}" for what in _held(document, secrets)]
            if not isinstance(document, dict):
                found.append(f"{place}: no JSON object: {line[:80]!r}")
                continue
            found += [f"{place}: lacks {missing}" for missing in _HEAD - document.keys()]
            lines.append(document)
    return found + _untold(lines, heard)


_HEAD: Final = frozenset({"time", "level", "logger", "message"})


def _held(document: object, secrets: Collection[str]) -> Iterator[str]:
    shown = "\n".join(_texts(document))
    yield from (what for what, pattern in _FORBIDDEN.items() if pattern.search(shown))
    if any(secret in shown for secret in secrets):
        yield "a secret"


def _texts(document: object) -> Iterator[str]:
    """Yield every text in a document, as it was before it was written as JSON."""
    match document:
        case dict():
            for value in document.values():
                yield from _texts(value)
        case list():
            for value in document:
                yield from _texts(value)
        case _:
            yield str(document)


def _untold(lines: Iterable[Mapping[str, Any]], heard: Iterable[Heard]) -> list[str]:
    told = {
        (line.get("message_id"), line.get("trace_id"), str(line[field]).rpartition(".")[2])
        for line in lines
        for field in _TELLS
        if field in line
    }
    ends = {
        (event.message_id, trace_of(event.message_id), event.status)
        for event in heard
        if event.status in ENDS
    }
    return [f"no line tells that {one[0]} is {one[2]}" for one in sorted(ends - told)]
