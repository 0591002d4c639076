"""What the simulated Bluum knows of idempotency keys, and for how long.

Pure. After `lifetime` (24 hours, IDEM) a key is forgotten and the same call EXECUTES AGAIN: the
danger that clients have to guard against. Undocumented, and decided here: only a successful call is
remembered, the scope is the tenant (one memory for withdrawals and orders), a body is compared byte
by byte, and a cancellation takes no notice of a key."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.bluum_terms import ReplayAnswer

if TYPE_CHECKING:
    from datetime import datetime, timedelta

Thing = TypeVar("Thing")

_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Remembered(Generic[Thing]):
    """What came of a call: a thing, as it was when it was made at `at`.

    `caller` names the kind of call and the investor; `body` is the request, byte by byte.
    """

    thing: Thing
    caller: tuple[str, str]
    body: bytes = field(repr=False)
    at: datetime


class Keys(Generic[Thing]):
    """The memory of one tenant's keys. `replays` counts the calls that a known key answered."""

    def __init__(self, *, lifetime: timedelta, replay_answer: ReplayAnswer) -> None:
        self.replays = 0
        self._lifetime = lifetime
        self._replay_answer = replay_answer
        # In the order of their execution, which is the order in which they expire.
        self._known: OrderedDict[str, Remembered[Thing]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def recall(
        self, key: str, *, caller: tuple[str, str], body: bytes, now: datetime
    ) -> Thing | Refusal | None:
        """Return what a call under this key has made, or None when it has to be executed.

        Refusals: 409-002 for a key of another call, 409-001 where repeats are conflicts.
        """
        self._forget(now)
        known = self._known.get(key)
        if known is None:
            return None
        if known.caller != caller or known.body != body:
            message = "The idempotency key was used with another request."
            return Refusal(Code.KEY_REUSED, message, _HEADER)
        self.replays += 1
        if self._replay_answer is ReplayAnswer.CONFLICT:
            message = "The idempotency key was already processed."
            return Refusal(Code.DUPLICATE, message, _HEADER)
        return known.thing

    def remember(self, key: str, remembered: Remembered[Thing]) -> None:
        """Keep what a call under a key has made, from now on for one lifetime."""
        self._known[key] = remembered

    def _forget(self, now: datetime) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            if now - oldest.at < self._lifetime:
                return
            self._known.popitem(last=False)
