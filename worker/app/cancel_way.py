"""How cancellations come in: a consumer and a gate of their own, beside those of the requests.

A provider's outage does not close this way: it needs the ledger and the broker alone. Nothing runs
here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.flows.cancellation import Cancellation, Unanswered
from worker.rabbitmq.backlog import messages_waiting
from worker.rabbitmq.consumer import Consumer
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.topology import CANCELLATIONS, OWN_QUEUES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from config.settings import Settings
    from worker.core.messages import DeadReason, Envelope
    from worker.flows.gate import Gate
    from worker.flows.journey import Journeys
    from worker.flows.ports import Announcer
    from worker.flows.suspicion import Suspicion
    from worker.http.health import Health
    from worker.ledger.store import Ledger
    from worker.metrics import Metrics
    from worker.rabbitmq.connection import Broker
    from worker.rabbitmq.publisher import Publisher


@dataclass(slots=True)
class CancelWay:
    """The way of the cancellations, and who answers those whose request never came."""

    gate: Gate
    consumer: Consumer
    unanswered: Unanswered


class Consuming:
    """Whether messages are being consumed: each queue for the readiness, all for the metric."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self._metrics = metrics
        self._health = health
        self._is_up: dict[str, bool] = {}

    def reporter(self, name: str, gate: Gate) -> Callable[[bool, str], None]:
        """Return the function with which the consumer behind `gate` reports."""
        self._is_up[name] = False
        report = self._health.reporter(name)

        def told(holds: bool, detail: str) -> None:  # noqa: FBT001 - a state and its words
            self._is_up[name] = holds
            self._metrics.consuming(is_up=all(self._is_up.values()))
            report(holds or gate.waits_dutifully, detail)

        return told


def cancel_way(
    settings: Settings,
    metrics: Metrics,
    health: Health,
    ledger: Ledger,
    *,
    gate: Gate,
    broker: Broker,
    publisher: Publisher,
    announcer: Announcer,
    suspicion: Suspicion,
    consuming: Consuming,
    providers: Collection[str],
    journeys: Journeys,
) -> CancelWay:
    """Put the way of the cancellations together; `suspicion` is that of the requests too."""
    cancellation = Cancellation(
        ledger=ledger,
        announcer=announcer,
        suspicion=suspicion,
        counted=metrics.cancellation,
        now=ledger.now,
        grace=settings.cancellations.grace,
        providers=frozenset(providers),
        default_provider=settings.default_provider,
        own_queues=OWN_QUEUES,
    )
    unanswered = Unanswered(
        ledger=ledger,
        outbox=Outbox(publisher, journeys=journeys),
        requests_waiting=lambda: messages_waiting(broker, REQUESTS),
        now=ledger.now,
        counted=metrics.cancellation,
        published=metrics.published,
        beat=health.pulse("cancellations"),
    )
    consumer = Consumer(
        broker,
        publisher,
        gate,
        queue=CANCELLATIONS,
        prefetch=settings.rabbitmq.prefetch,
        declare=settings.rabbitmq.declare,
        handle=cancellation,
        report=consuming.reporter("cancellations", gate),
        note_burial=_not_counted,
        buried=metrics.buried,
        purpose="cancellations",
        journeys=journeys,
    )
    return CancelWay(gate, consumer, unanswered)


async def _not_counted(_envelope: Envelope, _reason: DeadReason) -> None:
    # Of a cancellation the books know nothing: it is no request.
    return
