"""How the parts of a worker are put together, each handed what it needs.

Nothing runs here, and no step of any story stands here."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from worker.app.parts import broker_of, patience_of
from worker.core.schedule import Schedule
from worker.flows.announce import Announce
from worker.flows.burial import Burials
from worker.flows.credentials import Credentials
from worker.flows.follow import Follow
from worker.flows.gate import Gate
from worker.flows.in_hand import InHand
from worker.flows.intake import Intake
from worker.flows.outage import Outage, State
from worker.flows.resolve import Resolution
from worker.flows.submit import WAIT_IN_HAND, Submission
from worker.flows.suspicion import Suspicion
from worker.providers.watched import Watched
from worker.rabbitmq.consumer import Consumer
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import OWN_QUEUES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings
    from worker.http.health import Health
    from worker.ledger.store import Ledger
    from worker.metrics import Metrics
    from worker.providers.contract import Provider

#: Longer than any look-up over many pages; shorter than the broker waits for an acknowledgement.
_STUCK_STEP_SECONDS: Final = 900.0
#: Between two probes of a provider that is out.
_PROBES: Final = Schedule(
    first_delay=timedelta(seconds=1), growth=2.0, cap=timedelta(seconds=30), jitter=0.5
)


@dataclass(slots=True)
class House:
    """The parts of a running worker."""

    settings: Settings
    metrics: Metrics
    health: Health
    gate: Gate
    ledger: Ledger
    publisher: Publisher
    consumer: Consumer
    follow: Follow
    announce: Announce
    credentials: Credentials
    outages: Mapping[str, Outage]


def build(
    settings: Settings,
    metrics: Metrics,
    health: Health,
    ledger: Ledger,
    providers: dict[str, Provider],
) -> House:
    """Put a worker together from its settings, its open ledger and its open providers."""
    gate, in_hand = Gate(told=metrics.paused_by), InHand()
    health.watch("work", lambda: in_hand.oldest_seconds, limit=_longest_step(settings))
    patience = patience_of(settings)
    now, chance = ledger.now, random.random
    broker = broker_of(settings)
    publisher = Publisher(
        broker, report=health.reporter("publisher"), alarmed=lambda stands: _alarm(gate, stands)
    )
    announce = Announce(
        ledger,
        Outbox(publisher),
        now=now,
        counted=metrics.published,
        beat=health.pulse("announce"),
    )
    credentials = Credentials(
        providers, gate, report=health.reporter("credentials"), beat=health.pulse("credentials")
    )
    outages = {
        name: _outage(provider, gate, metrics, health) for name, provider in providers.items()
    }
    providers = {name: Watched(provider, outages[name]) for name, provider in providers.items()}
    submission = Submission(
        providers=providers,
        ledger=ledger,
        announcer=announce,
        observer=metrics,
        now=now,
        patience=patience,
        tries=settings.retry.attempts,
        chance=chance,
        denied=credentials.denied,
        may_call=lambda provider: not outages[provider].is_out,
    )
    resolution = Resolution(
        providers=providers,
        ledger=ledger,
        announcer=announce,
        observer=metrics,
        now=now,
        patience=patience,
        chance=chance,
        denied=credentials.denied,
    )
    follow = Follow(
        providers=providers,
        ledger=ledger,
        submission=submission,
        resolution=resolution,
        announcer=announce,
        observer=metrics,
        in_hand=in_hand,
        now=now,
        patience=patience,
        concurrency=settings.polling.concurrency,
        chance=chance,
        may_call=lambda: credentials.accepted,
        denied=credentials.denied,
        beat=health.pulse("follow"),
        out=lambda: _in_state(outages, State.OUT),
        trial=lambda: _in_state(outages, State.TRIAL),
    )
    intake = Intake(
        providers=providers,
        ledger=ledger,
        submission=submission,
        announcer=announce,
        observer=metrics,
        in_hand=in_hand,
        suspicion=Suspicion(ledger),
        now=now,
        default_provider=settings.default_provider,
        own_queues=OWN_QUEUES,
    )
    report = health.reporter("consumer")

    def consuming(holds: bool, detail: str) -> None:  # noqa: FBT001 - a state and its words
        metrics.consuming(is_up=holds)
        report(holds or gate.waits_dutifully, detail)

    consumer = Consumer(
        broker,
        publisher,
        gate,
        queue=REQUESTS,
        prefetch=settings.rabbitmq.prefetch,
        declare=settings.rabbitmq.declare,
        handle=intake,
        report=consuming,
        note_burial=Burials(
            shapes={name: provider.shape for name, provider in providers.items()},
            default_provider=settings.default_provider,
            ledger=ledger,
        ),
        buried=metrics.buried,
    )
    return House(
        settings,
        metrics,
        health,
        gate,
        ledger,
        publisher,
        consumer,
        follow,
        announce,
        credentials,
        outages,
    )


def _outage(provider: Provider, gate: Gate, metrics: Metrics, health: Health) -> Outage:
    name = provider.name
    return Outage(
        name,
        gate,
        probe=provider.try_credentials,
        pauses=_PROBES,
        chance=random.random,
        told=lambda up: metrics.provider_is(name, up=up),
        beat=health.pulse(f"outage {name}"),
    )


def _in_state(outages: Mapping[str, Outage], state: State) -> frozenset[str]:
    return frozenset(name for name, outage in outages.items() if outage.state is state)


async def _alarm(gate: Gate, stands: bool) -> None:  # noqa: FBT001 - a state
    """Take nothing in while the broker would not take what we have to tell."""
    if stands:
        await gate.close("alarm", "the broker takes no messages (memory or disk alarm)", duty=True)
    else:
        await gate.open("alarm")


def _longest_step(settings: Settings) -> float:
    """Return the seconds after which one step of one withdrawal counts as stuck."""
    calls = settings.retry.attempts * (settings.bluum.timeout + WAIT_IN_HAND)
    return max(_STUCK_STEP_SECONDS, 2 * calls.total_seconds())
