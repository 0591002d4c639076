"""A broker in memory: a queue with acknowledgements, dead letters, and the exchange of events.

Whatever was not acknowledged is delivered again once its consumer is gone. No client library."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Protocol

from worker.demo.audit import Buried, Sent
from worker.demo.evidence import content_of

if TYPE_CHECKING:
    from worker.core.messages import Envelope
    from worker.flows.ports import Outgoing
    from worker.flows.settlement import Bury


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
    """A message on its way to a consumer; `number` is another one each time."""

    number: int
    envelope: Envelope


@dataclass
class Broker:
    """Holds all that was ever sent, heard and buried."""

    sent: list[Sent] = field(default_factory=list)
    heard: list[Outgoing] = field(default_factory=list)
    answered: list[Outgoing] = field(default_factory=list)
    buried: list[Buried] = field(default_factory=list)
    ready: deque[Envelope] = field(default_factory=deque)
    unsettled: dict[int, tuple[Taker, Envelope]] = field(default_factory=dict)
    takers: deque[Taker] = field(default_factory=deque)
    numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def is_empty(self) -> bool:
        """Whether every message was settled."""
        return not self.ready and not self.unsettled

    def send(self, envelope: Envelope) -> None:
        """Take a message in."""
        self.sent.append(Sent(envelope.message_id, content_of(envelope.body)))
        self.ready.append(envelope)
        self.dispatch()

    def dispatch(self) -> None:
        """Hand messages over to consumers in turn, as far as there is room."""
        for _ in range(len(self.takers)):
            while self.ready and self.takers[0].has_room:
                taker, delivery = self.takers[0], Delivery(next(self.numbers), self.ready.popleft())
                self.unsettled[delivery.number] = taker, delivery.envelope
                self.takers.rotate(-1)
                taker.hand_over(delivery)
            self.takers.rotate(-1)

    def accept(self, delivery: Delivery) -> None:
        """Forget a message; one that was delivered again meanwhile stays."""
        self.unsettled.pop(delivery.number, None)

    def give_back(self, delivery: Delivery) -> None:
        """Put a message back."""
        if self.unsettled.pop(delivery.number, None) is not None:
            self._deliver_again(delivery.envelope)

    def bury(self, delivery: Delivery, how: Bury) -> None:
        """Take a dead letter in."""
        envelope = delivery.envelope
        content = content_of(envelope.body)
        self.buried.append(Buried(envelope.message_id, content, how.reason.value))

    def lose(self, taker: Taker) -> None:
        """Notice that a consumer's connection is gone: what it has not settled goes to others."""
        for number, (holder, envelope) in list(self.unsettled.items()):
            if holder is taker:
                del self.unsettled[number]
                self._deliver_again(envelope)

    def _deliver_again(self, envelope: Envelope) -> None:
        self.ready.appendleft(replace(envelope, redelivered=True))
        self.dispatch()
