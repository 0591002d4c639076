"""What happens before a message becomes a dead letter: the books learn of it.

Where the order is the meaning: counted first, published then, acknowledged last. A crash in between
finds it counted, and it counts once. Nothing here publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.core.burials import burial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.burials import Burial
    from worker.core.messages import DeadReason, Envelope
    from worker.core.requests import Request


class BurialLedger(Protocol):
    """Keeps the books."""

    async def note_burial(self, burial: Burial) -> None:
        """Commit that this message becomes a dead letter, unless that is known already."""
        ...


class Burials:
    """Tells the books of dead letters; an instance is called with each before it is published.

    Raises LedgerUnavailable when it is not certain that the books know it: then it goes back.
    """

    def __init__(
        self,
        *,
        shapes: Mapping[str, type[Request]],
        default_provider: str,
        ledger: BurialLedger,
    ) -> None:
        self._shapes = shapes
        self._default_provider = default_provider
        self._ledger = ledger

    async def __call__(self, envelope: Envelope, reason: DeadReason) -> None:
        """Take one message into the books."""
        await self._ledger.note_burial(
            burial(envelope, reason, shapes=self._shapes, default_provider=self._default_provider)
        )
