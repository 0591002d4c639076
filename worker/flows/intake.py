"""One request message, from delivery to settlement.

Where the order is the meaning: first the ledger commits the request together with the intent to
call (contract P4), then the call goes out, then the message is acknowledged. Once the first commit
is done the message has served its purpose: whatever happens later, the ledger takes it up again."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, assert_never

from worker.core.answers import Attempt
from worker.core.burials import identity
from worker.core.messages import DeadReason, Envelope, Misread, Understood, read
from worker.core.permit import take_in
from worker.core.steps import abandon, refuse_at_the_door
from worker.core.withdrawal import Order, Reason, ReasonCode, Withdrawal, idempotency_key
from worker.flows.commit import commit, tell
from worker.flows.journey import ids_of, within
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.flows.settlement import ACCEPT, Bury, Return, Settlement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.change import Decision, Held
    from worker.core.requests import Request
    from worker.core.sale import Sale
    from worker.flows.in_hand import InHand
    from worker.flows.ports import Announcer, Now, Observer, Shelf
    from worker.flows.submit import Submission
    from worker.flows.suspicion import Mark, Suspicion

_log = logging.getLogger(__name__)

_POISON = Bury(DeadReason.POISON, "the worker died again and again while reading it")
_REUSED = Bury(
    DeadReason.MESSAGE_ID_REUSED,
    "message_id: expected one that no request with other content has used before",
)


class Composer(Protocol):
    """Knows a provider's request shape and how its create body is written."""

    shape: type[Request]

    def compose(self, request: Request, idempotency_key: str) -> bytes:
        """Write the exact create body."""
        ...

    def compose_sales(self, request: Request, message_id: str) -> tuple[Sale, ...]:
        """Write the exact body of each order that raises the cash first."""
        ...


class Intake:
    """Carries out request messages; an instance is called with each of them."""

    def __init__(
        self,
        *,
        providers: Mapping[str, Composer],
        ledger: Shelf,
        submission: Submission,
        announcer: Announcer,
        observer: Observer,
        in_hand: InHand,
        suspicion: Suspicion,
        now: Now,
        default_provider: str,
        own_queues: frozenset[str],
    ) -> None:
        self._providers = providers
        self._ledger = ledger
        self._submission = submission
        self._announcer = announcer
        self._observer = observer
        self._in_hand = in_hand
        self._suspicion = suspicion
        self._now = now
        self._default_provider = default_provider
        self._own_queues = own_queues
        self._shapes = {name: provider.shape for name, provider in providers.items()}

    async def __call__(self, envelope: Envelope) -> Settlement:
        """Carry one message out, and say how it is to be settled."""
        reading = self._suspicion.reading(
            identity(envelope.message_id, envelope.body), redelivered=envelope.redelivered
        )
        try:
            async with reading as mark:
                if mark is None:
                    return self._buried(None, _POISON.reason, _POISON.detail)
                return await self._handle(envelope, mark)
        except LedgerUnavailable as error:
            self._observer.request(None, "ledger_unavailable")
            return Return(f"ledger unavailable: {error}")

    async def _handle(self, envelope: Envelope, mark: Mark) -> Settlement:
        message = read(
            envelope,
            shapes=self._shapes,
            default_provider=self._default_provider,
            own_queues=self._own_queues,
        )
        match message:
            case Understood():
                return await self._accept(message, mark)
            case Misread():
                return await self._refuse(message)
            case _:  # pragma: no cover
                assert_never(message)

    async def _accept(self, message: Understood, mark: Mark) -> Settlement:
        now = self._now()
        sales = self._providers[message.provider].compose_sales(message.request, message.message_id)
        withdrawal = Withdrawal(order=self._order(message), changed_at=now, sales=sales)
        with self._in_hand.holding(message.message_id), within(ids_of(withdrawal)):
            not_after = message.request.not_after
            made: tuple[Attempt, ...] = ()
            if not_after is not None and now > not_after:
                decision = refuse_at_the_door(withdrawal, Reason(ReasonCode.EXPIRED), now=now)
            else:
                decision = take_in(withdrawal, now=now)
                # Cash that is to be raised first is raised when it is due: at once.
                made = () if sales else (Attempt(number=1, started_at=now),)
            try:
                taken = await self._ledger.take(decision, message.fingerprint, made)
            except StepRefused:
                return self._buried(message.provider, DeadReason.INVALID, _NOT_STORABLE)
            # Written down, it can be taken up without being read again.
            await mark.lift()
            if taken.is_new:
                self._observer.request(message.provider, "taken")
                self._tell(taken.held, decision)
                if taken.held.withdrawal.cancel_wanted:
                    await self._abandon(taken.held)
                elif taken.held.withdrawal.in_doubt:
                    await self._submit(taken.held)
                return ACCEPT
        return self._known(taken.held, same=taken.same)

    async def _abandon(self, held: Held) -> None:
        """End a request whose cancellation was here before it; its intended call never left."""
        if held.withdrawal.is_finished:
            # Invalid or too late: the due step answers the cancellation.
            return
        clear = replace(held.withdrawal, in_doubt=False, first_attempt_at=None)
        await commit(
            held,
            abandon(clear, now=self._now()),
            ledger=self._ledger,
            observer=self._observer,
            announcer=self._announcer,
        )

    async def _submit(self, held: Held) -> None:
        try:
            await self._submission.run(held, doubt_before=False)
        except Exception as error:  # noqa: BLE001
            # The intent is committed: the message has served, and the due time takes it from here.
            _log.error(
                "submission broke off",
                extra=ids_of(held.withdrawal),
                exc_info=None if isinstance(error, LedgerUnavailable) else error,
            )

    async def _refuse(self, message: Misread) -> Settlement:
        message_id = message.context.message_id
        if message_id is None:
            return self._buried(None, message.reason, message.detail)
        now = self._now()
        withdrawal = Withdrawal(order=self._stub(message, message_id), changed_at=now)
        reason = Reason(ReasonCode.INVALID_REQUEST, detail=message.detail)
        decision = refuse_at_the_door(withdrawal, reason, now=now)
        try:
            taken = await self._ledger.take(decision, message.fingerprint, ())
        except StepRefused:
            return self._buried(None, message.reason, message.detail)
        if taken.is_new:
            self._tell(taken.held, decision)
        elif not (taken.same and _was_invalid(taken.held)):
            # Known, and valid when it came first: a setting has changed since, not the request.
            return self._known(taken.held, same=taken.same)
        return self._buried(None, message.reason, message.detail)

    def _tell(self, held: Held, decision: Decision) -> None:
        tell(held, decision, observer=self._observer, announcer=self._announcer)

    def _known(self, held: Held, *, same: bool) -> Settlement:
        provider = held.withdrawal.order.provider
        if not same:
            self._observer.request(provider, DeadReason.MESSAGE_ID_REUSED.value)
            return _REUSED
        # Changes nothing; but events of it that were never confirmed are published now.
        withdrawal = held.withdrawal
        _log.info(
            "request known already",
            extra={
                **ids_of(withdrawal),
                "sequence": withdrawal.sequence,
                "status": withdrawal.status.value,
            },
        )
        self._observer.request(provider, "duplicate")
        self._announcer.told(held.row)
        return ACCEPT

    def _buried(self, provider: str | None, reason: DeadReason, detail: str) -> Bury:
        self._observer.request(provider, reason.value)
        return Bury(reason, detail)

    def _order(self, message: Understood) -> Order:
        request = message.request
        key = idempotency_key(message.message_id)
        return Order(
            message_id=message.message_id,
            idempotency_key=key,
            provider=message.provider,
            party_id=request.party_id,
            amount=request.amount,
            currency=request.currency,
            method=request.payout_method,
            target_id=request.target_id,
            body=self._providers[message.provider].compose(request, key),
            request=message.document,
            metadata=request.metadata,
            correlation_id=message.context.correlation_id,
            reply_to=message.context.reply_to,
            traceparent=message.context.traceparent,
            not_after=request.not_after,
            wait_for_funds_until=request.wait_for_funds_until,
            taken_at=self._now(),
        )

    def _stub(self, message: Misread, message_id: str) -> Order:
        """Write down an invalid request: who asked, and nothing of what could not be read."""
        return Order(
            message_id=message_id,
            idempotency_key=idempotency_key(message_id),
            provider=None,
            party_id=None,
            amount=None,
            currency=None,
            method=None,
            correlation_id=message.context.correlation_id,
            reply_to=message.context.reply_to,
            traceparent=message.context.traceparent,
            taken_at=self._now(),
        )


_NOT_STORABLE = "body: expected content that the ledger can store"


def _was_invalid(held: Held) -> bool:
    reason = held.withdrawal.reason
    return reason is not None and reason.code is ReasonCode.INVALID_REQUEST
