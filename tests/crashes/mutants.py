"""Workers with one rule taken out, each by a few lines: what the crashes have to find.

Only what is changed stands here; the rest is the real worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.crashes.replica import PointedLedger, PointedOutbox, PointedProvider, Replica
from tests.flows.house import PATIENCE
from tests.ledger import second
from worker.core.answers import Refused, Unclear
from worker.core.sale import OrdersListed
from worker.core.withdrawal import Reason, ReasonCode
from worker.flows.ports import PublishUnconfirmed
from worker.flows.settlement import ACCEPT, Bury
from worker.ledger.claiming import Claim
from worker.ledger.recording import Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from tests.crashes.broker import Delivery
    from tests.crashes.world import World
    from worker.core.answers import Answer, Attempt
    from worker.core.change import Decision, Held
    from worker.core.permit import Permit
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit
    from worker.core.schedule import Patience
    from worker.flows.ports import Outgoing
    from worker.flows.settlement import Settlement
    from worker.ledger.intake import Taken


class CallsBeforeItWrites(Replica):
    """Calls the provider when the ledger does not hold the intent yet."""

    def a_ledger(self) -> PointedLedger:
        """Write the request down without the intent, and go on as if it were there."""

        class Forgetful(PointedLedger):
            async def take(
                self, decision: Decision, fingerprint: bytes, made: tuple[Attempt, ...] = ()
            ) -> Taken:
                bare = replace(decision.withdrawal, in_doubt=False, first_attempt_at=None)
                taken = await super().take(replace(decision, withdrawal=bare), fingerprint, made)
                if not taken.is_new:
                    return taken
                return replace(taken, held=replace(taken.held, withdrawal=decision.withdrawal))

        return Forgetful(self)


class CallsAgainBeforeItWrites(Replica):
    """Makes a later attempt when the ledger does not hold its intent yet."""

    def a_ledger(self) -> PointedLedger:
        """Leave out what is committed before a call."""

        class Forgetful(PointedLedger):
            async def record(
                self,
                held: Held,
                decision: Decision,
                made: tuple[Attempt, ...] = (),
                *,
                keep: bool = False,
            ) -> Held | None:
                if keep:
                    return replace(held, withdrawal=decision.withdrawal)
                return await super().record(held, decision, made)

        return Forgetful(self)


class AcceptsFirst(Replica):
    """Acknowledges a message before the ledger has it."""

    async def carry_out(self, delivery: Delivery) -> None:
        """Settle, and then begin."""
        await self.settle(delivery, ACCEPT)
        settlement = await self.handle(delivery)
        if isinstance(settlement, Bury):
            await self.settle(delivery, settlement)


class AcceptsBeforeItBuries(Replica):
    """Acknowledges a message before its dead letter is confirmed."""

    async def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Settle a dead letter the wrong way round."""
        if isinstance(settlement, Bury):
            await super().settle(delivery, ACCEPT)
        await super().settle(delivery, settlement)


class KnowsNoHorizon(Replica):
    """Trusts the provider to remember a key for ever."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        _be_patient(self, replace(PATIENCE, window=timedelta(days=3650)))


class WaitsForNoList(Replica):
    """Believes that a list shows at once whatever has happened."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        _be_patient(self, replace(PATIENCE, settling=timedelta(seconds=1)))


class CallsWithAnOldPermit(Replica):
    """Lets a call leave however long ago it was permitted."""

    def a_provider(self) -> PointedProvider:
        """Look at no clock before a call leaves."""

        class Careless(PointedProvider):
            async def leave(self, permit: Permit) -> Answer:
                return await self.bank.create(permit)

        return Careless(self)


class TakesSilenceForNo(Replica):
    """Reads silence as a refusal."""

    def a_provider(self) -> PointedProvider:
        """Answer for the provider when it does not."""

        class Impatient(PointedProvider):
            async def create(self, permit: Permit) -> Answer:
                answer = await super().create(permit)
                if isinstance(answer, Unclear):
                    return Refused(Reason(ReasonCode.REFUSED))
                return answer

        return Impatient(self)


class AnnouncesBackwards(Replica):
    """Publishes the newest event of a withdrawal first."""

    def a_ledger(self) -> PointedLedger:
        """Give events out in the wrong order."""

        class Reversed(PointedLedger):
            async def unannounced(self, of: Collection[int]) -> list[Outgoing]:
                events = await super().unannounced(of)
                return sorted(events, key=lambda event: (event.row, -event.sequence))

        return Reversed(self)


class MarksBeforeItPublishes(Replica):
    """Marks events as told before the broker has them."""

    def a_ledger(self) -> PointedLedger:
        """Mark events when they are read."""

        class Hasty(PointedLedger):
            async def unannounced(self, of: Collection[int]) -> list[Outgoing]:
                events = await super().unannounced(of)
                await self.mark_announced([(event.row, event.sequence) for event in events])
                return events

        return Hasty(self)


class NeedsNoConfirmation(Replica):
    """Takes what was published for what arrived."""

    def an_outbox(self) -> PointedOutbox:
        """Hear no failure."""

        class Trusting(PointedOutbox):
            async def announce(self, event: Outgoing) -> None:
                try:
                    await super().announce(event)
                except PublishUnconfirmed:
                    return

        return Trusting(self)


class OverwritesOthers(Replica):
    """Records over whatever somebody else has recorded meanwhile."""

    def a_ledger(self) -> PointedLedger:
        """Take the newest version for the one that was held."""

        class Stubborn(PointedLedger):
            async def record(
                self,
                held: Held,
                decision: Decision,
                made: tuple[Attempt, ...] = (),
                *,
                keep: bool = False,
            ) -> Held | None:
                known = await self.history(held.withdrawal.order.message_id)
                assert known is not None
                newest = replace(held, version=known.held.version)
                return await super().record(newest, decision, made, keep=keep)

        return Stubborn(self)


class SellsAgainUnlooked(Replica):
    """Places an order again whose call was not answered, without a look at the list."""

    def a_provider(self) -> PointedProvider:
        """Find nothing in a list that is not read."""

        class Blind(PointedProvider):
            async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:  # noqa: ARG002
                return OrdersListed(())

        return Blind(self)


class SellsWithAnOldPermit(Replica):
    """Lets a call to sell leave however long ago it was permitted."""

    def a_provider(self) -> PointedProvider:
        """Look at no clock before a call leaves."""

        class Careless(PointedProvider):
            async def leave_to_sell(self, permit: SalePermit) -> OrderAnswer:
                return await self.bank.sell(permit)

        return Careless(self)


class ForgetsWhatCameMeanwhile(Replica):
    """Writes over a cancellation that came while a withdrawal was in hand."""

    def a_ledger(self) -> PointedLedger:
        """Write what was held for what is there."""

        class Hasty(PointedLedger):
            async def written(self, step: object, write: Callable[[object], Awaitable[Any]]) -> Any:  # noqa: ANN401
                result = await write(step)
                if isinstance(step, Record) and not step.held.withdrawal.cancel_wanted:
                    await _set(self, step.held.row, "cancel_wanted = FALSE")
                return result

        return Hasty(self)


class SleepsWhenItClaims(Replica):
    """Takes who was woken for awake once it has claimed it, and not once that was of any use."""

    def a_ledger(self) -> PointedLedger:
        """Clear what wakes with the claim."""

        class Hasty(PointedLedger):
            async def written(self, step: object, write: Callable[[object], Awaitable[Any]]) -> Any:  # noqa: ANN401
                result = await write(step)
                if isinstance(step, Claim):
                    for held in result:
                        await _set(self, held.row, "woken_at = NULL")
                return result

        return Hasty(self)


class AbandonsInDoubt(Replica):
    """Takes what it has heard nothing of for something that never arrived, to be rid of it."""

    def a_ledger(self) -> PointedLedger:
        """Give out without its doubt what is to be cancelled."""

        class Doubtless(PointedLedger):
            async def claim_due(self, limit: int, **which: Any) -> list[Held]:  # noqa: ANN401
                return [
                    _held_as(held, in_doubt=not held.withdrawal.cancel_wanted)
                    if held.withdrawal.in_doubt
                    else held
                    for held in await super().claim_due(limit, **which)
                ]

        return Doubtless(self)


class CountsEveryLook(Replica):
    """Counts a look-up that found nothing though the one before was only just made."""

    def a_ledger(self) -> PointedLedger:
        """Give out what was woken as if it were due."""

        class Early(PointedLedger):
            async def claim_due(self, limit: int, **which: Any) -> list[Held]:  # noqa: ANN401
                return [
                    held if held.woken_at is None else _held_as(held, due_at=self.now())
                    for held in await super().claim_due(limit, **which)
                ]

        return Early(self)


def _held_as(held: Held, **changes: Any) -> Held:  # noqa: ANN401
    return replace(held, withdrawal=replace(held.withdrawal, **changes))


async def _set(ledger: PointedLedger, row: int, what: str) -> None:
    statement = f"UPDATE withdrawals SET {what} WHERE id = {row}"  # noqa: S608 - ours
    await second.write(ledger.worker.world.url, statement)


def _be_patient(worker: Replica, patience: Patience) -> None:
    house = worker.house
    for flow in (house.submission, house.resolution, house.follow):
        vars(flow)["_patience"] = patience
