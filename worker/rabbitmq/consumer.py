"""Taking messages from one queue: each in a task of its own, settled by what the flow answers.

The connection may drop at any moment; the tasks go on (a payment call must not die midway), their
late acknowledgement fails, the broker delivers again, and the ledger recognises the message.
Nothing here knows what a message means."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from worker.core.messages import DeadReason
from worker.flows.journey import UNTRACED
from worker.flows.ports import LedgerUnavailable, PublishUnconfirmed, PublishUnroutable
from worker.flows.settlement import Accept, Bury, Return, Settlement
from worker.rabbitmq import failures, topology
from worker.rabbitmq.connection import keep_connected
from worker.rabbitmq.dead_letters import dead_letter
from worker.rabbitmq.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    from aio_pika.abc import AbstractChannel, AbstractConnection
    from aiormq.abc import DeliveredMessage

    from worker.core.messages import Envelope
    from worker.flows.gate import Gate
    from worker.flows.journey import Handling, Journeys
    from worker.rabbitmq.connection import Broker
    from worker.rabbitmq.publisher import Publisher

_log = logging.getLogger(__name__)

#: After this many unexpected failures with one message it is buried as poison.
POISON_AFTER: Final = 5
#: How often the topology is looked at again while all is well.
CHECK_EVERY: Final = timedelta(seconds=30)
#: So many messages are remembered for counting; more hostile ones than this start from one again.
_COUNTED_AT_MOST: Final = 10_000
_UNREADABLE: Final = Bury(DeadReason.MALFORMED, "properties: expected those of AMQP 0-9-1")
_UNSAFE_RETRY_SECONDS: Final = 5.0
#: How long the broker may take over one answer, and over the whole topology.
_ANSWER_SECONDS: Final = 10.0
_TOPOLOGY_SECONDS: Final = 30.0


class Consumer:
    """Takes messages from `queue` while `gate` is open; `run` it as a task.

    `handle` carries one message out and says how it is settled. `report` is told whether messages
    are being consumed. `note_burial` is told of each dead letter before it is published, and may
    raise LedgerUnavailable: then the message goes back; `buried` is told of its reason afterwards.
    `prefetch` bounds how many messages are in work at once, also across reconnections. `purpose`
    names the connection at the broker. `journeys` is told of each message in work. `beside` is run
    along with each connection, for as long as that is used, on channels of its own.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: Publisher,
        gate: Gate,
        *,
        queue: str,
        prefetch: int,
        declare: bool,
        handle: Callable[[Envelope], Awaitable[Settlement]],
        report: Callable[[bool, str], None],
        note_burial: Callable[[Envelope, DeadReason], Awaitable[None]],
        buried: Callable[[DeadReason], None],
        purpose: str = "consumer",
        journeys: Journeys = UNTRACED,
        beside: Callable[[AbstractConnection], Coroutine[None, None, None]] | None = None,
        check_every: timedelta = CHECK_EVERY,
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._gate = gate
        self._queue = queue
        self._prefetch = prefetch
        self._declare = declare
        self._handle = handle
        self._report = report
        self._note_burial = note_burial
        self._buried = buried
        self._purpose = purpose
        self._topology = f"topology of {queue}"
        self._journeys = journeys
        self._beside = beside
        self._check_every = check_every
        #: Delivered, and waiting for a place.
        self._waiting: deque[Delivery] = deque()
        self._taking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: Counter[bytes] = Counter()
        self._stopping = asyncio.Event()

    @property
    def in_work(self) -> int:
        """How many messages are being carried out at this moment."""
        return len(self._tasks)

    async def run(self) -> None:
        """Consume until `stop`; connect again whenever the connection is lost."""
        await keep_connected(
            self._broker,
            self._purpose,
            self._serve,
            told=self._tell_lost,
            stopping=self._stopping,
        )
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self) -> None:
        """Take no further message; `run` returns once the deliveries in work are settled.

        Messages that were delivered and not begun go back to the queue.
        """
        self._stopping.set()

    async def _serve(self, connection: AbstractConnection) -> None:
        beside = asyncio.create_task(self._beside(connection)) if self._beside else None
        try:
            await self._session(connection)
        finally:
            if beside is not None:
                beside.cancel()

    async def _session(self, connection: AbstractConnection) -> None:
        while not self._stopping.is_set():
            if not self._gate.is_open:
                self._report(False, "; ".join(self._gate.closed_by.values()))
                await self._first(self._gate.until(is_open=True), connection.closed())
            if connection.is_closed:
                message = "the consuming connection was lost"
                raise ConnectionResetError(message)
            if self._stopping.is_set():
                break
            if await self._is_safe(connection):
                await self._consume(connection)
            else:
                await self._first(asyncio.sleep(_UNSAFE_RETRY_SECONDS), connection.closed())

    async def _is_safe(self, connection: AbstractConnection) -> bool:
        try:
            async with asyncio.timeout(_TOPOLOGY_SECONDS):
                await topology.ensure(connection, declare=self._declare)
        except topology.TopologyUnsafe as unsafe:
            self._report(False, f"unsafe: {unsafe}")
            if self._broker.troubles.has(self._topology, str(unsafe)):
                _log.error("topology unsafe", extra={"problems": list(unsafe.problems)})
            return False
        if self._broker.troubles.ended(self._topology):
            _log.info("topology safe", extra={"queue": self._queue})
        return True

    async def _consume(self, connection: AbstractConnection) -> None:
        """Consume until the gate closes, a stop is asked for, or the channel is gone."""
        channel = await connection.channel(publisher_confirms=False)
        try:
            await self._take_from(channel, connection)
        finally:
            self._taking = False
            with suppress(*failures.AWAY):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await channel.close()

    async def _take_from(self, channel: AbstractChannel, connection: AbstractConnection) -> None:
        broker = await channel.get_underlay_channel()
        cancelled = asyncio.Event()
        broker.on_consumer_cancel_callbacks.add(lambda _frame: cancelled.set())
        await broker.basic_qos(prefetch_count=self._prefetch, timeout=_ANSWER_SECONDS)
        # Whatever still waits came by a channel that is gone; it will be delivered again.
        self._waiting.clear()
        self._taking = True
        begun = await broker.basic_consume(
            self._queue, self._arrived, no_ack=False, timeout=_ANSWER_SECONDS
        )
        self._report(True, "consuming")
        _log.info("consuming", extra={"queue": self._queue})
        await self._until_over(connection, channel.closed(), cancelled.wait())
        self._taking = False
        self._report(False, "not consuming")
        if channel.is_closed:
            return
        if not cancelled.is_set():
            await broker.basic_cancel(begun.consumer_tag or "", timeout=_ANSWER_SECONDS)
        while self._waiting:
            await self._waiting.popleft().give_back()
        if self._tasks:
            # They are settled on this channel, so it stays until they are, also after a stop.
            await _first_of(asyncio.wait(self._tasks), channel.closed())

    async def _until_over(self, connection: AbstractConnection, *ends: Awaitable[object]) -> None:
        """Wait for a reason to take nothing more; one is a topology that is safe no longer."""
        over = asyncio.ensure_future(_first_of(self._gate.until(is_open=False), *ends))
        pause = self._check_every.total_seconds()
        try:
            await self._first(asyncio.shield(over), asyncio.sleep(pause))
            while not over.done() and not self._stopping.is_set():
                if not await self._is_safe(connection):
                    return
                await self._first(asyncio.shield(over), asyncio.sleep(pause))
        finally:
            over.cancel()

    async def _arrived(self, message: DeliveredMessage) -> None:
        # In a task of the library, which dies with the connection: so nothing is awaited here.
        self._waiting.append(Delivery(message))
        self._begin()

    def _begin(self) -> None:
        """Begin what waits, as far as there are places and nobody says no."""
        while (
            self._waiting
            and self._taking
            and self._gate.is_open
            and not self._stopping.is_set()
            and len(self._tasks) < (1 if self._gate.is_narrow else self._prefetch)
        ):
            delivery = self._waiting.popleft()
            if not delivery.is_stale:
                task = asyncio.create_task(self._carry_out(delivery), name="delivery")
                self._tasks.add(task)
                task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()

    async def _carry_out(self, delivery: Delivery) -> None:
        with ExitStack() as stack:
            journey = _Journey(stack)
            settlement = await self._handled(delivery, journey)
            try:
                settled = await self._settle(delivery, settlement)
            except failures.AWAY:
                # The broker will deliver it again; what was done is in the ledger.
                _log.info("late settlement", extra={"settlement": _word(settlement)})
                settled = Return("late settlement")
            except Exception:  # noqa: BLE001
                # A bug of ours: better delivered again than left without an answer.
                _log.exception("settling failed", extra={"settlement": _word(settlement)})
                settled = Return("settling failed")
                with suppress(*failures.AWAY):
                    await self._settle(delivery, settled)
            journey.settled(settled)

    async def _handled(self, delivery: Delivery, journey: _Journey) -> Settlement:
        """Carry a message out; what follows of it goes on in the same journey."""
        try:
            with failures.cancellations_told_apart():
                envelope = delivery.read()
                if envelope is None:
                    settlement: Settlement = _UNREADABLE
                else:
                    handling = journey.begun(self._journeys.message(self._queue, envelope))
                    settlement = await self._handle(handling.envelope)
        except Exception:  # noqa: BLE001
            # A bug that one message sets off must harm no other: it is tried again a few times.
            return self._failed(delivery)
        if self._failures:
            self._failures.pop(delivery.identity, None)
        return settlement

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> Settlement:
        """Settle a message; return how that was really done: what cannot be buried goes back."""
        match settlement:
            case Accept():
                await delivery.accept()
            case Bury():
                return await self._bury(delivery, settlement)
            case Return(why=why, after=after):
                _log.warning("message given back", extra={"queue": self._queue, "why": why})
                await self._first(asyncio.sleep(after.total_seconds()))
                await delivery.give_back()
            case _:  # pragma: no cover
                assert_never(settlement)
        return settlement

    async def _bury(self, delivery: Delivery, burial: Bury) -> Settlement:
        reason, detail = burial.reason, burial.detail
        try:
            await self._note(delivery, reason)
            await dead_letter(self._publisher, delivery, self._queue, reason, detail)
        except LedgerUnavailable as error:
            _log.warning("dead letter not counted", extra={"error": str(error)})
            return await self._settle(delivery, Return("dead letter not counted"))
        except (PublishUnconfirmed, PublishUnroutable) as error:
            _log.warning("dead letter not confirmed", extra={"error": type(error).__name__})
            return await self._settle(delivery, Return("dead letter not confirmed"))
        self._buried(reason)
        _log.warning(
            "dead letter", extra={"queue": self._queue, "reason": reason.value, "detail": detail}
        )
        await delivery.accept()
        return burial

    async def _note(self, delivery: Delivery, reason: DeadReason) -> None:
        """Have a dead letter counted; what cannot be counted is buried all the same."""
        try:
            await self._note_burial(delivery.read() or delivery.without_properties(), reason)
        except LedgerUnavailable:
            raise
        except Exception:  # noqa: BLE001 - a bug, or content that the ledger refuses
            _log.exception(
                "dead letter cannot be counted",
                extra={"queue": self._queue, "reason": reason.value},
            )

    def _failed(self, delivery: Delivery) -> Settlement:
        identity = delivery.identity
        if len(self._failures) >= _COUNTED_AT_MOST:
            self._failures.clear()
        self._failures[identity] += 1
        _log.exception("delivery failed", extra={"failures": self._failures[identity]})
        if self._failures[identity] < POISON_AFTER:
            return Return("failed unexpectedly")
        del self._failures[identity]
        return Bury(DeadReason.POISON, f"failed unexpectedly {POISON_AFTER} times")

    def _tell_lost(self, why: str) -> None:
        self._report(False, why)

    async def _first(self, *waits: Awaitable[object]) -> None:
        """Wait for the first of these, or for a stop."""
        await _first_of(*waits, self._stopping.wait())


class _Journey:
    """The journey of one message, to the end of `stack`; there is none until it has begun."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._handling: Handling | None = None

    def begun(self, message: AbstractContextManager[Handling]) -> Handling:
        """Begin it."""
        self._handling = self._stack.enter_context(message)
        return self._handling

    def settled(self, settlement: Settlement) -> None:
        """Tell how its message was really settled."""
        if self._handling is not None:
            self._handling.settled(settlement)


def _word(settlement: Settlement) -> str:
    return type(settlement).__name__.lower()


async def _first_of(*waits: Awaitable[object]) -> None:
    pending = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in pending:
            future.cancel()
