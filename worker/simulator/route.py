"""What a call of a simulated API is, what an answer is, and what a line of the API says.

Values only, and the same for every company; the lines themselves stand with what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.simulator.faults import CallKind

Document: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authorised call. `identifiers` are the path's, `key` is the idempotency key."""

    identifiers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    key: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: an HTTP status and a JSON document; None for an answer without a body."""

    status: int
    document: Document | None


#: Lets a call take effect in a house, which each company builds for itself.
Respond: TypeAlias = "Callable[[Any, Call], Answer]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of an API: where a call goes, what it is called, and which function answers.

    `operation` is the word under which calls are counted, a `StrEnum` of the company's.
    """

    method: str
    path: str
    operation: str
    kind: CallKind
    respond: Respond
