"""One cancel message, from delivery to settlement; and the answer where its request never came.

Where the order is the meaning: the ledger commits the cancellation and wakes its withdrawal, then
the message is acknowledged. An answer is settled first, published then, marked last: a crash
repeats it, byte by byte, and never loses it. What becomes of a withdrawal is not decided here:
whoever takes it up finds that a cancellation waits for it, and its own events are the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from worker.core.burials import identity
from worker.core.cancellations import Cancel, read_cancel, unknown_request
from worker.core.messages import DeadReason, Envelope, Misread
from worker.flows.announce import SWEEP_AGE, Post
from worker.flows.journey import known, trace_id_of
from worker.flows.ports import LedgerUnavailable, Outgoing, PublishUnconfirmed, StepRefused
from worker.flows.settlement import ACCEPT, Bury, Return, Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from worker.flows.announce import Outbox
    from worker.flows.ports import Announcer, Now
    from worker.flows.suspicion import Suspicion

_log = logging.getLogger(__name__)

#: How often cancellations are looked for that have waited in vain, or that nobody has answered.
TURN_SECONDS: Final = 5.0

_POISON: Final = Bury(DeadReason.POISON, "the worker died again and again while reading it")
_REUSED: Final = Bury(
    DeadReason.MESSAGE_ID_REUSED,
    "message_id: expected one that no cancellation with other content has used before",
)
_NOT_STORABLE: Final = Bury(DeadReason.INVALID, "body: expected content that the ledger can store")


class AskedOrKnown(Protocol):
    """What the ledger says about a cancellation that was to be written down."""

    @property
    def is_new(self) -> bool:
        """Whether it was written down just now."""
        ...

    @property
    def same(self) -> bool:
        """Whether the content is that of the first time."""
        ...

    @property
    def row(self) -> int | None:
        """The withdrawal that it is for, None while that is not known."""
        ...


class CancelLedger(Protocol):
    """Keeps cancellations."""

    async def ask(self, cancel: Cancel, *, waits_until: datetime) -> AskedOrKnown:
        """Commit a cancellation and wake its withdrawal, or find it known."""
        ...


class Cancellation:
    """Carries out cancel messages; an instance is called with each of them.

    A cancellation whose withdrawal is not known waits for it, at least for `grace`. `providers` are
    those that are enabled. `counted` is told what became of each message.
    """

    def __init__(
        self,
        *,
        ledger: CancelLedger,
        announcer: Announcer,
        suspicion: Suspicion,
        counted: Callable[[str], None],
        now: Now,
        grace: timedelta,
        providers: Collection[str],
        default_provider: str,
        own_queues: frozenset[str],
    ) -> None:
        self._ledger = ledger
        self._announcer = announcer
        self._suspicion = suspicion
        self._counted = counted
        self._now = now
        self._grace = grace
        self._providers = providers
        self._default_provider = default_provider
        self._own_queues = own_queues

    async def __call__(self, envelope: Envelope) -> Settlement:
        """Carry one message out, and say how it is to be settled."""
        reading = self._suspicion.reading(
            identity(envelope.message_id, envelope.body), redelivered=envelope.redelivered
        )
        try:
            async with reading as mark:
                return self._buried(_POISON) if mark is None else await self._handle(envelope)
        except LedgerUnavailable as error:
            self._counted("ledger_unavailable")
            return Return(f"ledger unavailable: {error}")

    async def _handle(self, envelope: Envelope) -> Settlement:
        message = read_cancel(
            envelope,
            providers=self._providers,
            default_provider=self._default_provider,
            own_queues=self._own_queues,
        )
        match message:
            case Cancel():
                return await self._ask(message)
            case Misread(reason=reason, detail=detail):
                return self._buried(Bury(reason, detail))
            case _:  # pragma: no cover
                assert_never(message)

    async def _ask(self, cancel: Cancel) -> Settlement:
        try:
            asked = await self._ledger.ask(cancel, waits_until=self._now() + self._grace)
        except StepRefused:
            return self._buried(_NOT_STORABLE)
        if not asked.same:
            return self._buried(_REUSED)
        if asked.is_new:
            self._counted("early" if asked.row is None else "taken")
            _log.info("cancellation taken", extra={**_ids(cancel), "early": asked.row is None})
            return ACCEPT
        # Changes nothing; but events of its withdrawal that were never confirmed are published now.
        _log.info("cancellation known already", extra=_ids(cancel))
        self._counted("duplicate")
        if asked.row is not None:
            self._announcer.told(asked.row)
        return ACCEPT

    def _buried(self, bury: Bury) -> Bury:
        self._counted(bury.reason.value)
        return bury


class Vain(Protocol):
    """A cancellation of something that has not come, and since when it is settled as such."""

    @property
    def cancel(self) -> Cancel:
        """What was asked for."""
        ...

    @property
    def at(self) -> datetime:
        """Since when nothing is waited for."""
        ...


class VainLedger(Protocol):
    """Keeps cancellations that wait."""

    async def any_overdue(self) -> bool:
        """Tell whether one has waited for longer than it has to."""
        ...

    async def give_up(self) -> Sequence[Vain]:
        """Settle those that have, unless what they wait for has come; return them."""
        ...

    async def unanswered(self, *, before: datetime) -> Sequence[Vain]:
        """Return those settled before a time whose answer was not confirmed."""
        ...

    async def mark_answered(self, message_ids: Collection[str]) -> None:
        """Remember whose answers were confirmed."""
        ...


class Unanswered:
    """Answers cancellations of what has not come; `run` it as a task.

    A request may lie in its queue for hours behind others, or while nothing is taken in: so nothing
    is given up unless `requests_waiting` returns 0. It returns None when nobody can tell. `counted`
    is told what became of cancellations, `published` the type of each confirmed event, `beat` is
    called while it lives.
    """

    def __init__(
        self,
        *,
        ledger: VainLedger,
        outbox: Outbox,
        requests_waiting: Callable[[], Awaitable[int | None]],
        now: Now,
        counted: Callable[[str], None],
        published: Callable[[str], None],
        beat: Callable[[], None],
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._post = Post(outbox)
        self._requests_waiting = requests_waiting
        self._now = now
        self._counted = counted
        self._published = published
        self._beat = beat
        self._turn_seconds = turn_seconds

    async def run(self) -> None:
        """Answer what has waited in vain; ends only by cancellation."""
        while True:
            self._beat()
            try:
                await self.turn()
            except (LedgerUnavailable, StepRefused) as error:
                _log.warning("cancellations not answered", extra={"error": str(error)})
            await asyncio.sleep(self._turn_seconds)

    async def turn(self) -> None:
        """Give up what is to be given up, and answer all that has no confirmed answer."""
        vain: list[Vain] = []
        if await self._ledger.any_overdue() and await self._requests_waiting() == 0:
            vain += await self._ledger.give_up()
            for one in vain:
                _log.info("cancellation given up", extra=_ids(one.cancel))
                self._counted("unknown_request")
        # Younger ones are the business of whoever gave them up.
        vain += await self._ledger.unanswered(before=self._now() - SWEEP_AGE)
        confirmed = [one.cancel.message_id for one in vain if await self._sent(one)]
        if confirmed:
            await self._ledger.mark_answered(confirmed)

    async def _sent(self, vain: Vain) -> bool:
        self._beat()
        event = _answer(vain)
        try:
            await self._post.send(event)
        except PublishUnconfirmed as error:
            _log.warning("answer not confirmed", extra={**_ids(vain.cancel), "error": str(error)})
            return False
        except Exception:  # noqa: BLE001
            # A bug that one answer sets off must not keep the others in.
            _log.exception("answer not published", extra=_ids(vain.cancel))
            return False
        self._published(event.type)
        return True


def _ids(cancel: Cancel) -> dict[str, str]:
    """Return a cancellation's own id, and what it names."""
    found = {
        "message_id": cancel.message_id,
        "request_message_id": cancel.request_message_id,
        "provider": cancel.provider,
        "withdrawal_id": cancel.withdrawal_id,
        "trace_id": trace_id_of(cancel.context.traceparent),
    }
    return known(found)


def _answer(vain: Vain) -> Outgoing:
    cancel = vain.cancel
    told = unknown_request(cancel, at=vain.at)
    return Outgoing(
        row=0,
        sequence=told.sequence,
        event_id=told.event_id,
        type=told.type,
        body=told.body,
        created_at=vain.at,
        message_id=cancel.request_message_id or cancel.message_id,
        correlation_id=cancel.context.correlation_id or cancel.message_id,
        reply_to=cancel.context.reply_to,
        traceparent=cancel.context.traceparent,
    )
