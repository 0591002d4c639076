"""What the simulated Upvest knows of idempotency keys, and for how long (source IDEM).

Pure. A key whose earlier call succeeded gets that success again; after `key_lifetime` it is
forgotten and the same call EXECUTES AGAIN. Undocumented, and a matter of the terms: what another
body gets, and whether a failure is remembered."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_route import Answer, refused
from worker.simulator.upvest_terms import KeyReuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.simulator.route import Call
    from worker.simulator.upvest_terms import UpvestTerms


@dataclass(frozen=True, slots=True)
class _Remembered:
    operation: str
    body: bytes = field(repr=False)
    answer: Answer
    at: datetime


class Memory:
    """The memory of one client's keys. `replays` counts the calls that a known key answered."""

    def __init__(self, terms: UpvestTerms) -> None:
        self.replays = 0
        self._terms = terms
        # In the order of their execution, which is the order in which they expire.
        self._known: OrderedDict[str, _Remembered] = OrderedDict()

    def once(self, operation: str, call: Call, execute: Callable[[], Answer]) -> Answer:
        """Answer a call with a key: by what its key remembers, else by executing it."""
        self._forget(call.now)
        key = _canonical(call.key or "")
        known = self._known.get(key)
        if known is None:
            answer = execute()
            if answer.status < HTTPStatus.BAD_REQUEST or self._terms.failures_remembered:
                self._known[key] = _Remembered(operation, call.body, answer, call.now)
            return answer
        is_same = (known.operation, known.body) == (operation, call.body)
        if not is_same and self._terms.key_reuse is KeyReuse.CONFLICT:
            detail = "The idempotency key was used with another request."
            return refused(Problem(Kind.CONFLICT, detail, "idempotency-key"))
        self.replays += 1
        return known.answer

    def _forget(self, now: datetime) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            if now - oldest.at < self._terms.key_lifetime:
                return
            self._known.popitem(last=False)


def _canonical(key: str) -> str:
    """Return a UUID in one form: hyphens are optional, and so is the case."""
    return key.replace("-", "").lower()
