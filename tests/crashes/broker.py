"""A broker in memory: queues with acknowledgements, dead letters, and the exchange of events.

Whatever was not acknowledged is delivered again once its consumer is gone. No client library."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Protocol

from worker.demo.audit import Buried, Sent
from worker.demo.evidence import content_of

if TYPE_CHECKING:
    from worker.core.messages import Envelope
    from worker.flows.ports import Outgoing
    from worker.flows.settlement import Bury


class Queue(StrEnum):
    """Where a message waits."""

    REQUESTS = "requests"
    CANCELLATIONS = "cancellations"


class Taker(Protocol):
    """Consumes."""

    @property
    def has_room(self) -> bool:
        """Whether another message may be handed over."""
        ...

    def hand_over(self, delivery: Delivery) -> None:
        """Take a message."""
        ...


@dataclass(frozen=True)
class Delivery:
    """A message on its way to a consumer; `number` is another one each time, 0 in the queue."""

    number: int
    envelope: Envelope
    queue: Queue


@dataclass
class Broker:
    """Holds all that was ever sent, heard and buried; `cancels` are the ids of cancellations."""

    sent: list[Sent] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    heard: list[Outgoing] = field(default_factory=list)
    answered: list[Outgoing] = field(default_factory=list)
    buried: list[Buried] = field(default_factory=list)
    ready: deque[Delivery] = field(default_factory=deque)
    unsettled: dict[int, tuple[Taker, Delivery]] = field(default_factory=dict)
    takers: deque[Taker] = field(default_factory=deque)
    numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def is_empty(self) -> bool:
        """Whether every message was settled."""
        return not self.ready and not self.unsettled

    def waiting(self, queue: Queue) -> int:
        """Return how many messages lie in a queue and in nobody's hands."""
        return sum(delivery.queue is queue for delivery in self.ready)

    def send(self, envelope: Envelope) -> None:
        """Take a request in."""
        self.sent.append(Sent(envelope.message_id, content_of(envelope.body)))
        self._take(envelope, Queue.REQUESTS)

    def cancel(self, envelope: Envelope) -> None:
        """Take a cancellation in."""
        self.cancels.append(envelope.message_id or "")
        self._take(envelope, Queue.CANCELLATIONS)

    def dispatch(self) -> None:
        """Hand messages over to consumers in turn, as far as there is room."""
        for _ in range(len(self.takers)):
            while self.ready and self.takers[0].has_room:
                taker = self.takers[0]
                delivery = replace(self.ready.popleft(), number=next(self.numbers))
                self.unsettled[delivery.number] = taker, delivery
                self.takers.rotate(-1)
                taker.hand_over(delivery)
            self.takers.rotate(-1)

    def accept(self, delivery: Delivery) -> None:
        """Forget a message; one that was delivered again meanwhile stays."""
        self.unsettled.pop(delivery.number, None)

    def give_back(self, delivery: Delivery) -> None:
        """Put a message back."""
        if self.unsettled.pop(delivery.number, None) is not None:
            self._deliver_again(delivery)

    def bury(self, delivery: Delivery, how: Bury) -> None:
        """Take a dead letter in."""
        envelope = delivery.envelope
        content = content_of(envelope.body)
        self.buried.append(Buried(envelope.message_id, content, how.reason.value))

    def lose(self, taker: Taker) -> None:
        """Notice that a consumer's connection is gone: what it has not settled goes to others."""
        for number, (holder, delivery) in list(self.unsettled.items()):
            if holder is taker:
                del self.unsettled[number]
                self._deliver_again(delivery)

    def _take(self, envelope: Envelope, queue: Queue) -> None:
        self.ready.append(Delivery(0, envelope, queue))
        self.dispatch()

    def _deliver_again(self, delivery: Delivery) -> None:
        again = replace(delivery.envelope, redelivered=True)
        self.ready.appendleft(replace(delivery, number=0, envelope=again))
        self.dispatch()
