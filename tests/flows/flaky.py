"""A ledger that is away when a test wants it: the real one, behind a line that can be cut.

It is cut before a step is written, or after, when only the confirmation is lost: who asked cannot
tell which."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from worker.flows.ports import Lane, LedgerUnavailable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from worker.core.answers import Attempt
    from worker.core.cancellations import Cancel
    from worker.core.change import Decision, Held
    from worker.flows.cancellation import AskedOrKnown, Vain
    from worker.flows.ports import Outgoing, TakenOrKnown
    from worker.ledger.store import Ledger

T = TypeVar("T")


class Line(StrEnum):
    """The line to the ledger."""

    WHOLE = "whole"
    CUT_BEFORE = "cut before it is written"
    CUT_AFTER = "cut after it is written"


class FlakyLedger:
    """What the flows ask of a ledger; `line` holds for the writing steps until it is changed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.line = Line.WHOLE
        #: Called after each step that was written.
        self.then: Callable[[], None] = _nothing
        #: Whoever has read who owns what waits here for the others.
        self.meeting: asyncio.Barrier | None = None

    def now(self) -> datetime:
        """Tell the time."""
        return self._ledger.now()

    @property
    def tenure(self) -> int | None:
        """In which tenure this worker may act."""
        return self._ledger.tenure

    async def take(
        self, decision: Decision, fingerprint: bytes, made: tuple[Attempt, ...] = ()
    ) -> TakenOrKnown:
        """Commit a new request, or find it known."""
        return await self._over(lambda: self._ledger.take(decision, fingerprint, made))

    async def record(
        self, held: Held, decision: Decision, made: tuple[Attempt, ...] = (), *, keep: bool = False
    ) -> Held | None:
        """Commit a decision."""
        return await self._over(lambda: self._ledger.record(held, decision, made, keep=keep))

    async def claim_due(
        self,
        limit: int,
        *,
        busy: Collection[str],
        shunned: Collection[str] = (),
        lanes: Collection[Lane] = frozenset(Lane),
    ) -> list[Held]:
        """Take over what is due."""
        return await self._over(
            lambda: self._ledger.claim_due(limit, busy=busy, shunned=shunned, lanes=lanes)
        )

    async def claim_beside(
        self,
        limit: int,
        parties: Collection[tuple[str, str]],
        *,
        ahead: timedelta,
        busy: Collection[str],
    ) -> list[Held]:
        """Take over what is due soon of some parties."""
        return await self._over(
            lambda: self._ledger.claim_beside(limit, parties, ahead=ahead, busy=busy)
        )

    async def ask(self, cancel: Cancel, *, waits_until: datetime) -> AskedOrKnown:
        """Commit a cancellation, or find it known."""
        return await self._over(lambda: self._ledger.ask(cancel, waits_until=waits_until))

    async def any_overdue(self) -> bool:
        """Tell whether a cancellation has waited in vain."""
        return await self._over(self._ledger.any_overdue)

    async def give_up(self) -> Sequence[Vain]:
        """Settle those that have."""
        return await self._over(self._ledger.give_up)

    async def unanswered(self, *, before: datetime) -> Sequence[Vain]:
        """Return those that were settled and not answered."""
        return await self._ledger.unanswered(before=before)

    async def mark_answered(self, message_ids: Collection[str]) -> None:
        """Remember whose answers were confirmed."""
        await self._over(lambda: self._ledger.mark_answered(message_ids))

    async def deaths_with(self, identity: bytes) -> int:
        """Return how many marks were left behind."""
        return await self._over(lambda: self._ledger.deaths_with(identity))

    async def mark(self, identity: bytes, *, unmark: Collection[bytes]) -> None:
        """Commit that a message is about to be read."""
        return await self._over(lambda: self._ledger.mark(identity, unmark=unmark))

    async def unmark(self, identities: Collection[bytes]) -> None:
        """Commit that messages did no harm."""
        return await self._over(lambda: self._ledger.unmark(identities))

    async def owned_by_others(
        self, provider: str, withdrawal_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the ids that belong to another row."""
        owned = await self._ledger.owned_by_others(provider, withdrawal_ids, row=row)
        if self.meeting is not None:
            await self.meeting.wait()
        return owned

    async def crowd(self, provider: str, party_id: str, *, since: datetime, limit: int) -> int:
        """Count the requests of a party."""
        return await self._ledger.crowd(provider, party_id, since=since, limit=limit)

    async def orders_of_others(
        self, provider: str, order_ids: Collection[str], *, row: int
    ) -> frozenset[str]:
        """Return the orders that belong to another row."""
        return await self._ledger.orders_of_others(provider, order_ids, row=row)

    async def unannounced(self, of: Collection[int]) -> Sequence[Outgoing]:
        """Return unconfirmed events."""
        return await self._ledger.unannounced(of)

    async def rows_unannounced(self, *, before: datetime, limit: int) -> list[int]:
        """Return rows that have some."""
        return await self._ledger.rows_unannounced(before=before, limit=limit)

    async def mark_announced(self, told: Collection[tuple[int, int]]) -> None:
        """Remember which were confirmed."""
        await self._over(lambda: self._ledger.mark_announced(told))

    async def _over(self, step: Callable[[], Awaitable[T]]) -> T:
        if self.line is Line.CUT_BEFORE:
            raise LedgerUnavailable("ConnectionResetError")
        done = await step()
        self.then()
        if self.line is Line.CUT_AFTER:
            raise LedgerUnavailable("ConnectionResetError")
        return done


def _nothing() -> None: ...
