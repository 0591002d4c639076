"""What outlives a worker: the ledger's file, the provider, the broker, and the time.

Also who starts workers, and what a blow does. Nothing here judges; that stands in `verdict`."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.crashes.bank import Bank
from tests.crashes.broker import Broker
from tests.crashes.points import Blow, Killed, Points
from tests.crashes.replica import Replica
from tests.flows.fakes import NOW
from tests.flows.flaky import Line
from tests.flows.house import an_envelope
from tests.ledger import second
from worker.core.messages import Envelope
from worker.core.sale import SaleStatus
from worker.flows.ports import StepRefused
from worker.ledger import sales
from worker.ledger.engine import is_sqlite
from worker.ledger.rows import at, micros

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from tests.crashes.loop import SimulatedLoop
    from worker.core.permit import Permit
    from worker.core.sale_permit import SalePermit
    from worker.flows.ports import BooksDifference

#: How long what a blow brings about lasts.
_PAUSE_SECONDS: Final = 60.0
_SLEEP_SECONDS: Final = timedelta(hours=24.5).total_seconds()
#: A key whose first call is older is never used.
_REMEMBERED: Final = timedelta(hours=24)
_AWAY_SECONDS: Final = 6.0
#: When the broker gives up a consumer that stands still.
_SILENT_SECONDS: Final = 4.0
#: When a webhook that nobody has heard comes again.
_REPEATED_SECONDS: Final = 5.0
#: How long it takes until those whose owner has died are somebody else's.
_UNTIL_FREE: Final = timedelta(seconds=6)
_A_LITTLE: Final = timedelta(seconds=3)
#: Where answers to cancellations are sent besides.
CANCELLER: Final = "cancels"
#: Longer than any step takes that a jump of the clock finds at work.
_TICK_SECONDS: Final = 0.55
_ROUNDS_AT_MOST: Final = 150
#: When something is due next (at once what was woken), until when cancellations wait for their
#: requests, and how much has not been told yet.
_WHAT_IS_LEFT: Final = """
SELECT
  (SELECT min(CASE WHEN woken_at IS NULL THEN due_at ELSE 0 END) FROM withdrawals
   WHERE due_at > 0 OR woken_at IS NOT NULL),
  (SELECT min(waits_until) FROM cancellations WHERE withdrawal IS NULL AND settled_at IS NULL),
  (SELECT count(*) FROM events WHERE published_at IS NULL)
  + (SELECT count(*) FROM cancellations
     WHERE withdrawal IS NULL AND settled_at IS NOT NULL AND published_at IS NULL)
"""


class World:
    """A world with no worker in it yet. Needs a `SimulatedLoop` that runs."""

    def __init__(
        self,
        url: str,
        loop: SimulatedLoop,
        *,
        worker: type[Replica],
        plan: Mapping[int, Blow],
        is_alone: bool,
    ) -> None:
        self.url = url
        self.loop = loop
        self.worker = worker
        self.points = Points(plan)
        self.broker = Broker()
        self.bank = Bank(self.now, self._witness, self._order_witness, self.points.happened)
        #: Webhooks on their way: what they name.
        self.unheard: set[str] = set()
        self.line = Line.WHOLE
        #: None while it is well.
        self.broker_is: Blow | None = None
        #: How far the database's clock is off.
        self.off = timedelta(0)
        #: Whether a lock proves to each worker that it is the only one.
        self.is_alone = is_alone
        self._is_over = False
        #: When who stands still goes on, by the loop's clock.
        self._resumes: dict[Replica, float] = {}
        self.replicas: list[Replica] = []
        self.breaches: list[str] = []
        self._started: set[asyncio.Task[None]] = set()
        loop.set_exception_handler(self._noticed)

    def now(self) -> datetime:
        """Return the true time, by which the provider lives."""
        return NOW + timedelta(seconds=self.loop.time())

    def database_now(self) -> datetime:
        """Return the time by the database's clock."""
        return self.now() + self.off

    @property
    def alive(self) -> list[Replica]:
        """The workers that have not been killed."""
        return [replica for replica in self.replicas if replica.is_alive]

    def start(self) -> None:
        """Start a worker."""
        replica = self.worker(self)
        self.replicas.append(replica)
        self._spawn(replica.start())

    def lost(self, replica: Replica) -> None:
        """Notice that a worker was killed: its messages go to others, or to one that is started."""
        if replica in self.broker.takers:
            self.broker.takers.remove(replica)
        self.broker.lose(replica)
        if not self.alive and not self._is_over:
            self.start()

    def ask(self, message_id: str | None = "req-1", **changes: Any) -> None:  # noqa: ANN401
        """Send a request; the changes are to its body."""
        self.broker.send(an_envelope(message_id, **changes))

    def cancel(self, message_id: str = "cancel-1", of: str = "req-1") -> None:
        """Send a cancellation of a request, whose answer is to come back."""
        body = json.dumps({"request_message_id": of}).encode()
        self.broker.cancel(Envelope(body=body, message_id=message_id, reply_to=CANCELLER))

    def notify(self, withdrawal_id: str) -> None:
        """Send a webhook about a payout, until somebody has heard it."""
        self.unheard.add(withdrawal_id)
        self._deliver(withdrawal_id)

    def strike(self, replica: Replica, blow: Blow) -> None:
        """Bring about what a blow does, to one worker or to what all share."""
        match blow:
            case Blow.KILL:
                replica.kill()
            case Blow.PAUSE:
                self.pause(replica, _PAUSE_SECONDS)
            case Blow.SLEEP:
                self.pause(replica, _SLEEP_SECONDS)
            case Blow.CUT_BEFORE:
                self._away(Line.CUT_BEFORE)
            case Blow.CUT_AFTER:
                self._away(Line.CUT_AFTER)
            case Blow.LOSE | Blow.SWALLOW:
                self.broker_is = blow
                for taker in list(self.broker.takers):
                    self.broker.lose(taker)
                self.loop.call_later(_AWAY_SECONDS, self.mend)

    def pause(self, replica: Replica, seconds: float) -> None:
        """Let a worker stand still for a while; the broker gives it up."""
        replica.pause()
        self.loop.call_later(_SILENT_SECONDS, self._give_up, replica)
        self.loop.call_later(seconds, self.resume, replica)
        self._resumes[replica] = self.loop.time() + seconds

    def resume(self, replica: Replica) -> None:
        """Let a worker go on."""
        self._resumes.pop(replica, None)
        replica.resume()

    def mend(self) -> None:
        """Let ledger and broker be well again."""
        self.line = Line.WHOLE
        self.broker_is = None
        self.broker.dispatch()

    async def settle(self) -> None:
        """Let everybody finish what can be done at this moment."""
        for _ in range(_ROUNDS_AT_MOST):
            await asyncio.sleep(_TICK_SECONDS)
            if not any(replica.is_busy for replica in self.alive):
                return
        busy = ", ".join(replica.busy_with for replica in self.alive if replica.is_busy)
        self.breaches.append(f"it never comes to rest: {busy}")

    async def pass_time(self, by: timedelta) -> None:
        """Let time pass in which nobody gets to act, and then let everybody."""
        self.loop.jump(by.total_seconds())
        await self.settle()

    async def to_the_end(self) -> None:
        """Let everything come to its end: each step as soon as it is due."""
        for _ in range(_ROUNDS_AT_MOST):
            if not await self.next_round():
                return
        self.breaches.append("it never comes to its end")

    async def next_round(self) -> bool:
        """Let what can be done be done, and time pass until the next is due; False when none is."""
        await self.settle()
        if self.breaches:
            return False
        wait = await self._wait()
        if wait is not None:
            self.loop.jump(wait.total_seconds())
        return wait is not None

    async def _wait(self) -> timedelta | None:
        """Return how long nothing will happen; None when nothing will any more."""
        [(due_at, waits_until, untold)] = await self.read(_WHAT_IS_LEFT)
        if not any(replica.is_going for replica in self.alive):
            return self._until_somebody_goes_on()
        if due_at is not None:
            return self._until(due_at)
        self.bank.catch_up()
        if untold or self.unheard or not self.broker.is_empty or not self.bank.is_quiet:
            return _A_LITTLE
        if waits_until is not None:
            return self._until(waits_until)
        return self._until_somebody_goes_on()

    def _until(self, moment: int) -> timedelta:
        until = at(moment) - self.database_now()
        # What is due and not taken up is a dead one's.
        return until if until > timedelta(0) else _UNTIL_FREE

    def _until_somebody_goes_on(self) -> timedelta | None:
        if not self._resumes:
            return None
        return timedelta(seconds=max(0.0, min(self._resumes.values()) - self.loop.time()))

    async def read(self, query: str) -> list[tuple[Any, ...]]:
        """Return what the ledger's database holds, as committed."""
        with self.loop.waiting_abroad():
            return await second.read(self.url, query)

    async def differences(self) -> list[BooksDifference]:
        """Return by how much the books do not balance, now that nothing strikes any more."""
        self.points.plan.clear()
        self.mend()
        found = await self.alive[0].ledger.books_differences()
        return [each for each in found if each.count or each.amount]

    async def close(self) -> None:
        """End the world."""
        self._is_over = True
        for replica in self.replicas:
            await replica.close()
        await asyncio.gather(*self._started, return_exceptions=True)

    def _deliver(self, withdrawal_id: str) -> None:
        if withdrawal_id not in self.unheard or self._is_over:
            return
        body = json.dumps(withdrawal_id).encode()
        for replica in self.alive:
            if replica.is_going:
                replica.hear(body, heard=lambda: self.unheard.discard(withdrawal_id))
                break
        self.loop.call_later(_REPEATED_SECONDS, self._deliver, withdrawal_id)

    def _away(self, line: Line) -> None:
        self.line = line
        self.loop.call_later(_AWAY_SECONDS, self.mend)

    def _give_up(self, replica: Replica) -> None:
        if not replica.is_going:
            self.broker.lose(replica)

    async def _witness(self, permit: Permit) -> None:
        """See whether a call's intent is committed (contract P4)."""
        key = permit.idempotency_key
        rows = await self.read(
            "SELECT body, first_attempt_at FROM withdrawals "  # noqa: S608 - a key of ours
            f"WHERE idempotency_key = '{key}'"
        )
        if not rows:
            self.breaches.append(f"{key} was sent before it was written down")
            return
        [(body, first_at)] = rows
        if bytes(body) != permit.body:
            self.breaches.append(f"{key} was sent with other bytes than were written down")
        now = self.database_now()
        # One from before the key was last forgotten is not that of this call.
        since, until = micros(now - _REMEMBERED), micros(now + timedelta(hours=1))
        if first_at is None or not since <= first_at <= until:
            self.breaches.append(f"{key} was sent before its first attempt was written down")

    async def _order_witness(self, permit: SalePermit) -> None:
        """See whether the call for an order is written down as one that may have left."""
        found = await self.read(
            f"SELECT sales FROM withdrawals WHERE sales LIKE '%{permit.key}%'"  # noqa: S608 - ours
        )
        orders = [sale for (text,) in found for sale in sales.read(text) if sale.key == permit.key]
        if [permit.body] != [sale.body for sale in orders]:
            self.breaches.append(f"{permit.key} was sent with other bytes than were written down")
        if [SaleStatus.UNKNOWN] != [sale.status for sale in orders]:
            self.breaches.append(f"{permit.key} was sent before its attempt was written down")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    def _noticed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed):
            self.breaches.append(f"{context['message']}: {error!r}")


@asynccontextmanager
async def a_world(
    url: str,
    loop: SimulatedLoop,
    *,
    worker: type[Replica] = Replica,
    plan: Mapping[int, Blow] | None = None,
    replicas: int = 1,
) -> AsyncIterator[World]:
    """Make a world with so many workers over an empty ledger; the last is started again."""
    is_alone = replicas == 1 and is_sqlite(url)
    world = World(url, loop, worker=worker, plan=plan or {}, is_alone=is_alone)
    for _ in range(replicas):
        world.start()
    listener = _Listener(world.breaches)
    logging.getLogger("worker").addHandler(listener)
    try:
        yield world
    finally:
        logging.getLogger("worker").removeHandler(listener)
        await world.close()


class _Listener(logging.Handler):
    """Hears of bugs that a flow caught, so that they harm no other withdrawal."""

    def __init__(self, breaches: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._breaches = breaches

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        if error and not isinstance(error, StepRefused):
            self._breaches.append(f"{record.getMessage()}: {error!r}")
