"""Taking messages from one queue: each in a task of its own, settled by what the flow answers.

The connection may drop at any moment; the tasks go on (a payment call must not die midway), their
late acknowledgement fails, the broker delivers again, and the ledger recognises the message.
Nothing here knows what a message means."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, assert_never

from worker.core.messages import DeadReason, Envelope
from worker.flows.ports import PublishUnconfirmed, PublishUnroutable
from worker.flows.settlement import Accept, Bury, Return, Settlement
from worker.rabbitmq import failures, topology
from worker.rabbitmq.connection import keep_connected
from worker.rabbitmq.dead_letters import dead_letter
from worker.rabbitmq.tolerance import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueueIterator

    from worker.flows.gate import Gate
    from worker.rabbitmq.connection import Broker
    from worker.rabbitmq.publisher import Publisher

_log = logging.getLogger(__name__)

#: After this many unexpected failures with one message it is buried as poison.
POISON_AFTER: Final = 5
#: So many message ids are remembered for counting; more hostile ids than this start from one again.
_COUNTED_AT_MOST: Final = 10_000
_UNREADABLE: Final = Bury(
    DeadReason.MALFORMED, "properties: expected AMQP properties whose texts are UTF-8"
)
_UNSAFE_RETRY_SECONDS: Final = 5.0


class Consumer:
    """Takes messages from `queue` while `gate` is open; `run` it as a task.

    `handle` carries one message out and says how it is settled. `report` is told whether messages
    are being consumed, `buried` of each dead letter's reason. `prefetch` bounds how many messages
    are in work at once, also across reconnections.
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
        buried: Callable[[DeadReason], None],
    ) -> None:
        self._broker = broker
        self._publisher = publisher
        self._gate = gate
        self._queue = queue
        self._prefetch = prefetch
        self._declare = declare
        self._handle = handle
        self._report = report
        self._buried = buried
        self._places = asyncio.Semaphore(prefetch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    @property
    def in_work(self) -> int:
        """How many messages are being carried out at this moment."""
        return len(self._tasks)

    async def run(self) -> None:
        """Consume until `stop`; connect again whenever the connection is lost."""
        await keep_connected(
            self._broker,
            "consumer",
            self._session,
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
            try:
                await topology.ensure(connection, declare=self._declare)
            except topology.TopologyUnsafe as unsafe:
                self._report(False, f"unsafe: {unsafe}")
                _log.error("topology unsafe", extra={"problems": list(unsafe.problems)})
                await self._first(asyncio.sleep(_UNSAFE_RETRY_SECONDS), connection.closed())
                continue
            await self._consume(connection)

    async def _consume(self, connection: AbstractConnection) -> None:
        """Consume until the gate closes, a stop is asked for, or the channel is gone."""
        async with connection.channel(publisher_confirms=False) as channel:
            await channel.set_qos(prefetch_count=self._prefetch)
            queue = await channel.get_queue(self._queue, ensure=False)
            async with queue.iterator(no_ack=False) as deliveries:
                self._report(True, "consuming")
                _log.info("consuming", extra={"queue": self._queue})
                closer = asyncio.create_task(self._close_in_time(deliveries))
                try:
                    async for message in deliveries:
                        await self._places.acquire()
                        self._begin(message)
                finally:
                    closer.cancel()
                    with suppress(asyncio.CancelledError, *failures.AWAY):
                        await closer
            # What is in work is settled on this channel before it is closed.
            if self._tasks and not channel.is_closed:
                await self._first(asyncio.wait(self._tasks), connection.closed())
        self._report(False, "not consuming")

    async def _close_in_time(self, deliveries: AbstractQueueIterator) -> None:
        await self._first(self._gate.until(is_open=False))
        await deliveries.close()

    async def _first(self, *waits: Awaitable[object]) -> None:
        """Wait for the first of these, or for a stop."""
        pending = [asyncio.ensure_future(wait) for wait in (*waits, self._stopping.wait())]
        try:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in pending:
                future.cancel()

    def _begin(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._carry_out(message), name="delivery")
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    async def _carry_out(self, message: AbstractIncomingMessage) -> None:
        try:
            settlement = await self._carried_out(message)
        except Exception:  # noqa: BLE001
            # A bug that one message sets off must harm no other: it is tried again a few times.
            settlement = self._failed(message)
        else:
            if message.message_id:
                self._failures.pop(message.message_id, None)
        try:
            await self._settle(message, settlement)
        except failures.AWAY:
            # The broker will deliver it again; what was done is in the ledger.
            _log.info("late settlement", extra={"settlement": type(settlement).__name__})

    async def _carried_out(self, message: AbstractIncomingMessage) -> Settlement:
        if UNREADABLE in message.headers:
            return _UNREADABLE
        return await self._handle(envelope(message))

    async def _settle(self, message: AbstractIncomingMessage, settlement: Settlement) -> None:
        match settlement:
            case Accept():
                await message.ack()
            case Bury(reason, detail):
                await self._bury(message, reason, detail)
            case Return(after=after):
                await self._first(asyncio.sleep(after.total_seconds()))
                await message.nack(requeue=True)
            case _:  # pragma: no cover
                assert_never(settlement)

    async def _bury(
        self, message: AbstractIncomingMessage, reason: DeadReason, detail: str
    ) -> None:
        try:
            await dead_letter(self._publisher, message, self._queue, reason, detail)
        except (PublishUnconfirmed, PublishUnroutable) as error:
            _log.warning("dead letter not confirmed", extra={"error": type(error).__name__})
            await self._settle(message, Return("dead letter not confirmed"))
            return
        self._buried(reason)
        _log.warning("dead letter", extra={"reason": reason.value, "detail": detail})
        await message.ack()

    def _failed(self, message: AbstractIncomingMessage) -> Settlement:
        identity = message.message_id or ""
        if len(self._failures) >= _COUNTED_AT_MOST:
            self._failures.clear()
        self._failures[identity] += 1
        _log.exception("delivery failed", extra={"failures": self._failures[identity]})
        if self._failures[identity] < POISON_AFTER:
            return Return("failed unexpectedly")
        del self._failures[identity]
        return Bury(DeadReason.POISON, f"failed unexpectedly {POISON_AFTER} times")

    def _tell_lost(self, error: BaseException) -> None:
        self._report(False, f"not connected: {type(error).__name__}")
        _log.warning("consumer disconnected", extra={"error": type(error).__name__})


def envelope(message: AbstractIncomingMessage) -> Envelope:
    """Free a delivery of the broker's types; headers that are not texts are left out."""
    return Envelope(
        body=message.body,
        message_id=message.message_id,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        headers={name: text for name, text in map(_text, message.headers.items()) if text},
        redelivered=bool(message.redelivered),
    )


def _text(header: tuple[str, object]) -> tuple[str, str | None]:
    name, value = header
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", errors="replace")
    return name, value if isinstance(value, str) else None
