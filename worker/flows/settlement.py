"""How a delivery is settled: a closed set of words, each with one meaning to the broker.

Data only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.messages import DeadReason


@dataclass(frozen=True, slots=True)
class Accept:
    """What the message asked for is durable: acknowledge it."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Nobody can carry this message out: to the dead letters, and acknowledge once it is there."""

    reason: DeadReason
    detail: str


@dataclass(frozen=True, slots=True)
class Return:
    """Nothing is durable yet: give it back to the queue, after a moment so that nothing spins."""

    why: str
    after: timedelta = timedelta(seconds=1)


Settlement = Accept | Bury | Return

ACCEPT: Final = Accept()
