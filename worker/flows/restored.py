"""A ledger that was put back to an earlier moment: what is unfinished in it is put in doubt.

Before any worker runs on it. Nobody is asked here and nothing is sent; what follows for each is
decided in the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from worker.core.restored import distrust

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.change import Decision, Held
    from worker.core.schedule import Patience

#: So many are held in memory at once.
_AT_ONCE: Final = 200


class RestoredLedger(Protocol):
    """What is unfinished, and how it is changed."""

    async def unfinished(self, *, after: int, limit: int) -> list[Held]:
        """Return what is unfinished beyond the row `after`, in the order of the rows."""
        ...

    async def record(self, held: Held, decision: Decision) -> Held | None:
        """Commit a decision; None when it was changed by somebody else."""
        ...


@dataclass(frozen=True, slots=True)
class Doubted:
    """How many were put in doubt, left as they are, and changed by somebody else meanwhile."""

    doubted: int
    left: int
    overtaken: int


async def distrust_all(
    ledger: RestoredLedger, *, since: datetime, now: datetime, patience: Patience
) -> Doubted:
    """Put in doubt whatever may have been called for after `since`. Done twice, it does no harm."""
    doubted = left = overtaken = after = 0
    while page := await ledger.unfinished(after=after, limit=_AT_ONCE):
        for held in page:
            decision = distrust(held.withdrawal, since=since, now=now, patience=patience)
            if decision is None:
                left += 1
            elif await ledger.record(held, decision) is None:
                overtaken += 1
            else:
                doubted += 1
        after = page[-1].row
    return Doubted(doubted, left, overtaken)
