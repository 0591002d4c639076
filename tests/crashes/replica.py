"""One worker process: the real flows over the real ledger, and a point at each way out of it.

It can be killed, and then nothing of it acts any more; or stand still, and go on later as if
nothing had been. What it has in memory dies with it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tests.crashes.broker import Queue
from tests.crashes.points import Blow, Killed
from tests.flows.fakes import FakeOutbox, FakeProvider, VirtualClock
from tests.flows.flaky import FlakyLedger, Line
from tests.flows.house import House
from worker.core.answers import Throttled
from worker.flows.cancellation import Unanswered
from worker.flows.hearing import Head, Hearing, Hint, Outcome
from worker.flows.ports import LedgerUnavailable, PublishUnconfirmed
from worker.flows.settlement import Accept, Bury, Return
from worker.ledger import cancellations, claiming, replicas, writing
from worker.ledger.clock import DatabaseClock
from worker.ledger.group import GroupCommitter
from worker.ledger.store import HEARTBEAT, Ledger
from worker.providers.bluum_webhooks import SharedSecret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from sqlalchemy import Connection

    from tests.crashes.broker import Delivery
    from tests.crashes.world import World
    from worker.core.answers import Answer, ListAnswer
    from worker.core.permit import Permit
    from worker.core.requests import Request
    from worker.core.sale import OrderAnswer, OrdersAnswer, Sale
    from worker.core.sale_permit import SalePermit
    from worker.flows.announce import Announce
    from worker.flows.ports import Outgoing
    from worker.flows.settlement import Settlement

_T = TypeVar("_T")

_PREFETCH: Final = 4
#: Signs of life change nothing that a crash could leave half done.
_UNCOUNTED: Final = (replicas.Seen,)
#: Nothing is known of their effect beforehand; most of them have none.
_RARELY: Final = (claiming.Claim, cancellations.GiveUp)
#: The provider repeats a webhook that was answered otherwise.
_HEAD: Final = Head(method="POST", target="/", headers={})
_GOOD: Final = frozenset({Outcome.HEARD, Outcome.DUPLICATE, Outcome.UNKNOWN})


class Replica:
    """A worker. `start` it; `kill` it, or `pause` and `resume` it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_alive = True
        self._going = asyncio.Event()
        self._going.set()
        self._is_open = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._deliveries = 0
        self.ledger = self.a_ledger()
        self.house = _House(
            url=world.url,
            ledger=self.ledger,
            line=FlakyLedger(self.ledger),
            clock=VirtualClock(),
            bank=world.bank,
            providers={"bank": self.a_provider()},
        )
        outbox = self.an_outbox()
        self.announce: Announce = self.house.announcer(outbox)
        self.unanswered = Unanswered(
            ledger=self.house.line,
            outbox=outbox,
            requests_waiting=self._requests_waiting,
            now=self.ledger.now,
            counted=lambda result: self.house.cancels.update([result]),
            published=self.house.published.append,
            beat=lambda: None,
        )
        self.hearing = Hearing(
            "bank",
            verifier=SharedSecret(None, allows_unsigned=True, now=self.ledger.now),
            read=lambda body: [Hint(None, (json.loads(body),))],
            ledger=self.ledger,
            now=self.ledger.now,
            counted=lambda _provider, _outcome: None,
        )

    def a_ledger(self) -> PointedLedger:
        """Return the ledger as this process reaches it."""
        return PointedLedger(self)

    def a_provider(self) -> PointedProvider:
        """Return the provider as this process reaches it."""
        return PointedProvider(self)

    def an_outbox(self) -> PointedOutbox:
        """Return the broker's exchange as this process reaches it."""
        return PointedOutbox(self)

    async def start(self) -> None:
        """Begin to work, as the application does."""
        self._begin(self.ledger.commit_groups(), "ledger writer")
        self._begin(self._live(), "life")

    async def _live(self) -> None:
        if self.world.is_alone:
            await self._until_it_works(self.ledger.forget_replicas)
        await self._until_it_works(self.ledger.heartbeat)
        self._begin(self.announce.run(), "announce")
        self._begin(self.house.follow.run(), "follow")
        self._begin(self.unanswered.run(), "unanswered")
        self.world.broker.takers.append(self)
        self._open(is_open=True)
        while True:
            await asyncio.sleep(HEARTBEAT.total_seconds())
            try:
                await self.ledger.heartbeat()
            except LedgerUnavailable:
                self._open(is_open=False)
            else:
                self._open(is_open=True)

    async def _until_it_works(self, step: Callable[[], Awaitable[None]]) -> None:
        """A process that cannot start ends, and is started again."""
        while True:
            try:
                await step()
            except LedgerUnavailable:
                await asyncio.sleep(1)
            else:
                return

    @property
    def is_going(self) -> bool:
        """Whether it is alive and does not stand still."""
        return self.is_alive and self._going.is_set()

    @property
    def is_busy(self) -> bool:
        """Whether it has something in work."""
        return self.is_going and bool(
            self._deliveries or self.house.follow.in_work or self.announce.waiting
        )

    @property
    def busy_with(self) -> str:
        """What that is, for a person."""
        return (
            f"{self._deliveries} deliveries, {self.house.follow.in_work} steps, "
            f"events of {self.announce.waiting}"
        )

    @property
    def has_room(self) -> bool:
        """Whether it takes another message."""
        return self.is_going and self._is_open and self._deliveries < _PREFETCH

    def kill(self) -> None:
        """End it as SIGKILL does."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._going.set()
        here = asyncio.current_task()
        for task in self._tasks - {here}:
            task.cancel()
        self.world.lost(self)

    def pause(self) -> None:
        """Let it stand still as SIGSTOP does: at the next way out."""
        self._going.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._going.set()
        self.world.broker.dispatch()

    async def close(self) -> None:
        """Kill it, and give back what the operating system would."""
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ledger.close()

    def hand_over(self, delivery: Delivery) -> None:
        """Take a message, and carry it out in a task of its own."""
        self._deliveries += 1
        self._begin(self.carry_out(delivery), "delivery", done=self._delivered)

    def hear(self, body: bytes, *, heard: Callable[[], None]) -> None:
        """Take a webhook; `heard` is called once it is answered well."""
        self._deliveries += 1
        self._begin(self._hear(body, heard), "webhook", done=self._delivered)

    async def _hear(self, body: bytes, heard: Callable[[], None]) -> None:
        outcome = await self.hearing.hear(_HEAD, body)
        await self.quietly()
        if outcome in _GOOD:
            heard()

    async def quietly(self) -> None:
        """Cross a point that does not count."""
        await self._going.wait()
        if not self.is_alive:
            raise Killed

    async def cross(self, name: str) -> None:
        """Cross a point: perhaps to be struck there."""
        await self.quietly()
        blow = self.world.points.cross(name)
        if blow is not None:
            self.world.strike(self, blow)
            await self.quietly()

    async def seeing(self, name: str, look: Callable[[], Awaitable[_T]]) -> _T:
        """Look at something outside, which is old by the time that it is acted upon."""
        await self.quietly()
        seen = await look()
        await self.cross(f"having seen {name}")
        return seen

    async def around(self, name: str, effect: Callable[[], Awaitable[_T]]) -> _T:
        """Cross a point, have an effect, cross another."""
        await self.cross(f"before {name}")
        result = await effect()
        self.world.points.happened()
        await self.cross(f"after {name}")
        return result

    async def carry_out(self, delivery: Delivery) -> None:
        """Do as the consumer does: settle once the flow has answered, and not before."""
        try:
            settlement = await self.handle(delivery)
        except Exception as error:  # noqa: BLE001 - as the consumer does
            self.world.breaches.append(f"a flow raised {error!r}")
            settlement = Return("failed unexpectedly")
        await self.settle(delivery, settlement)

    async def handle(self, delivery: Delivery) -> Settlement:
        """Let the flow carry a message out."""
        is_cancel = delivery.queue is Queue.CANCELLATIONS
        flow = self.house.cancellation if is_cancel else self.house.intake
        return await flow(delivery.envelope)

    async def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Tell the broker what becomes of a message."""
        broker = self.world.broker
        match settlement:
            case Accept():
                await self.around("accept", lambda: _at_once(lambda: broker.accept(delivery)))
            case Bury():
                try:
                    await self.bury(delivery, settlement)
                except PublishUnconfirmed:
                    await self.settle(delivery, Return("dead letter not confirmed"))
                    return
                await self.settle(delivery, Accept())
            case Return(after=after):
                await asyncio.sleep(after.total_seconds())
                await self.around("return", lambda: _at_once(lambda: broker.give_back(delivery)))

    async def bury(self, delivery: Delivery, how: Bury) -> None:
        """Publish a dead letter, and wait for its confirmation."""
        await self.around(
            "bury", lambda: self.publish(lambda: self.world.broker.bury(delivery, how))
        )

    async def publish(self, arrive: Callable[[], None]) -> None:
        """Let something reach the broker, as well as the broker does at the moment."""
        await asyncio.sleep(0)
        away = self.world.broker_is
        if away is not Blow.LOSE:
            arrive()
            # Before the confirmation comes, others may cross points of their own.
            self.world.points.happened()
        await asyncio.sleep(0)
        if away is not None:
            raise PublishUnconfirmed(away.value)

    async def _requests_waiting(self) -> int:
        await self.quietly()
        return self.world.broker.waiting(Queue.REQUESTS)

    def _delivered(self) -> None:
        self._deliveries -= 1
        self.world.broker.dispatch()

    def _open(self, *, is_open: bool) -> None:
        self._is_open = is_open
        self.world.broker.dispatch()

    def _begin(
        self,
        work: Coroutine[Any, Any, None],
        name: str,
        *,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, Killed):
                self.world.breaches.append(f"the part {name} raised {error!r}")
            done()

        task.add_done_callback(end)


class _House(House):
    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds)


class PointedLedger(Ledger):
    """The real one, with a point on each side of each step, by the time of the world."""

    def __init__(self, replica: Replica) -> None:
        world = replica.world
        super().__init__(world.url, clock=DatabaseClock(steady=world.loop.time))
        self.worker = replica
        committer = GroupCommitter(self._writer, self._apply, observe=lambda _seconds: None)
        self._group = _Group(committer, self)

    async def written(self, step: object, write: Callable[[object], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Have a step written; return its result."""
        return await write(step)

    def _apply(self, connection: Connection, steps: Sequence[writing.Step]) -> list[Any]:
        results = writing.apply(connection, steps, replica=self.replica)
        # Here, since the confirmation comes later: others cross points of their own in between.
        if any(map(_is_effect, steps, results)):
            self.worker.world.points.happened()
        return results

    def _ask_time(self, connection: Connection) -> tuple[float, datetime]:  # noqa: ARG002
        return self._clock.steady(), self.worker.world.database_now()

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        await self.worker.quietly()
        if self.worker.world.line is not Line.WHOLE:
            raise LedgerUnavailable("ConnectionResetError")
        with self.worker.world.loop.waiting_abroad():
            read = await super()._read(work)
        # What was read is old by the time that it is acted upon.
        if read and work != self._ask_time:
            await self.worker.cross("having read")
        return read


class _Group(GroupCommitter):
    """The ledger's committer, with a point on each side of each step."""

    def __init__(self, inner: GroupCommitter, ledger: PointedLedger) -> None:
        self._inner = inner
        self.ledger = ledger
        self.worker = ledger.worker

    async def run(self) -> None:
        await self._inner.run()

    async def do(self, step: object) -> Any:  # noqa: ANN401
        name = type(step).__name__.lower()
        if _is_effect(step, None):
            await self.worker.cross(f"before {name}")
        else:
            await self.worker.quietly()
        result = await self._over_the_line(step)
        if _is_effect(step, result):
            await self.worker.cross(f"after {name}")
        return result

    async def _over_the_line(self, step: object) -> Any:  # noqa: ANN401
        line = self.worker.world.line
        if line is not Line.CUT_BEFORE:
            with self.worker.world.loop.waiting_abroad():
                result = await self.ledger.written(step, self._inner.do)
            if line is Line.WHOLE:
                return result
        raise LedgerUnavailable("ConnectionResetError")


class PointedProvider(FakeProvider):
    """This process's line to the provider."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica.ledger.now)
        self.worker = replica
        self.bank = replica.world.bank

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the create body as the provider wants it."""
        return self.bank.compose(request, idempotency_key)

    async def create(self, permit: Permit) -> Answer:
        """Send a create call."""
        return await self.worker.around("create", lambda: self.leave(permit))

    async def leave(self, permit: Permit) -> Answer:
        """Look at the clock right before the call leaves, as the real providers do."""
        if self.now() >= permit.valid_until:
            return Throttled()
        return await self.bank.create(permit)

    async def look(self, party_id: str, withdrawal_id: str) -> Answer:
        """Read one withdrawal."""
        return await self.worker.seeing("look", lambda: self.bank.look(party_id, withdrawal_id))

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the list."""
        return await self.worker.seeing("list", lambda: self.bank.listed(party_id, since, until))

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the list to see how its withdrawals fare."""
        return await self.listed(party_id, since, until)

    async def cancel(self, party_id: str, withdrawal_id: str) -> Answer:
        """Send a call to cancel a payout."""
        return await self.worker.around("cancel", lambda: self.bank.cancel(party_id, withdrawal_id))

    async def available(self, party_id: str, currency: str) -> Decimal | None:
        """Read a wallet."""
        await self.worker.quietly()
        return await self.bank.available(party_id, currency)

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the orders' bodies as the provider wants them."""
        return self.bank.compose_sales(request, message_id)

    async def sell(self, permit: SalePermit) -> OrderAnswer:
        """Send a call to place an order."""
        return await self.worker.around("sell", lambda: self.leave_to_sell(permit))

    async def leave_to_sell(self, permit: SalePermit) -> OrderAnswer:
        """Look at clock and tenure right before the call leaves, as the real providers do."""
        if self.now() >= permit.valid_until or self.worker.ledger.tenure != permit.tenure:
            return Throttled()
        return await self.bank.sell(permit)

    async def order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Read one order."""
        return await self.worker.seeing("order", lambda: self.bank.order(party_id, order_id))

    async def orders(self, party_id: str, sale: Sale) -> OrdersAnswer:
        """Read the list of orders."""
        return await self.worker.seeing("orders", lambda: self.bank.orders(party_id, sale))

    async def cancel_order(self, party_id: str, order_id: str) -> OrderAnswer:
        """Send a call to cancel an order."""
        return await self.worker.around(
            "cancel order", lambda: self.bank.cancel_order(party_id, order_id)
        )


class PointedOutbox(FakeOutbox):
    """This process's line to the broker."""

    def __init__(self, replica: Replica) -> None:
        super().__init__()
        self.worker = replica

    async def announce(self, event: Outgoing) -> None:
        """Publish an event."""
        broker = self.worker.world.broker
        await self.worker.around(
            "publish", lambda: self.worker.publish(lambda: broker.heard.append(event))
        )

    async def answer(self, event: Outgoing) -> None:
        """Publish a copy for the asker."""
        broker = self.worker.world.broker
        await self.worker.around(
            "answer", lambda: self.worker.publish(lambda: broker.answered.append(event))
        )


def _is_effect(step: object, result: object) -> bool:
    return not isinstance(step, _UNCOUNTED) and (bool(result) or not isinstance(step, _RARELY))


async def _at_once(act: Callable[[], None]) -> None:
    await asyncio.sleep(0)
    act()
