"""How the parts of a worker are put together, each handed what it needs.

Nothing runs here, and no step of any story stands here."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.app.cancel_way import Consuming, cancel_way
from worker.app.parts import access_of, broker_of, hearings_of, patience_of, reconciliation_of
from worker.core.schedule import Schedule
from worker.flows.announce import Announce
from worker.flows.burial import Burials
from worker.flows.cancel import Cancelling
from worker.flows.courses import Courses
from worker.flows.credentials import Credentials
from worker.flows.follow import Follow
from worker.flows.gate import Gate
from worker.flows.in_hand import InHand
from worker.flows.intake import Intake
from worker.flows.journey import UNTRACED
from worker.flows.look import Looking
from worker.flows.outage import Outage, State
from worker.flows.ports import Lane
from worker.flows.reconciler import Reconciler
from worker.flows.resolve import Resolution
from worker.flows.sell import Selling
from worker.flows.submit import WAIT_IN_HAND, Submission
from worker.flows.suspicion import Suspicion
from worker.providers.watched import Watched
from worker.rabbitmq.backlog import Backlog
from worker.rabbitmq.consumer import Consumer
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import OWN_QUEUES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings
    from worker.app.cancel_way import CancelWay
    from worker.flows.hearing import Hearing
    from worker.flows.journey import Journeys
    from worker.http.health import Health
    from worker.ledger.store import Ledger
    from worker.metrics import Metrics
    from worker.providers.contract import Provider

#: Longer than any look-up over many pages; shorter than the broker waits for an acknowledgement.
_STUCK_STEP_SECONDS: Final = 900.0
#: One try is at most so many: a create call, a read of the balance that explains its refusal, and
#: both once more; each of the four perhaps with a call for a token, and both again after a 401.
_CALLS_MAX: Final = 16
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
    follows: Mapping[Lane, Follow]
    announce: Announce
    credentials: Credentials
    outages: Mapping[str, Outage]
    #: Who hears webhooks, by path.
    hearings: Mapping[str, Hearing]
    courses: Courses
    #: None where it is turned off.
    reconciler: Reconciler | None
    cancellations: CancelWay

    @property
    def gates(self) -> tuple[Gate, Gate]:
        """The gates of all that is taken in."""
        return self.gate, self.cancellations.gate

    @property
    def consumers(self) -> tuple[Consumer, Consumer]:
        """All that takes messages."""
        return self.consumer, self.cancellations.consumer


def build(
    settings: Settings,
    metrics: Metrics,
    health: Health,
    ledger: Ledger,
    providers: dict[str, Provider],
    *,
    journeys: Journeys = UNTRACED,
) -> House:
    """Put a worker together from its settings, its open ledger and its open providers."""
    gate, cancel_gate, in_hand = Gate(told=metrics.paused_by), Gate(), InHand()
    health.watch("work", lambda: in_hand.oldest_seconds, limit=_longest_step(settings))
    patience = patience_of(settings)
    now, chance = ledger.now, random.random
    broker = broker_of(settings)
    publisher = Publisher(
        broker,
        report=health.reporter("publisher"),
        alarmed=lambda stands: _alarm((gate, cancel_gate), stands),
    )
    announce = Announce(
        ledger,
        Outbox(publisher, journeys=journeys),
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
    access = access_of(providers)
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
    asking: dict[str, Any] = {
        "providers": providers,
        "ledger": ledger,
        "announcer": announce,
        "observer": metrics,
        "now": now,
        "patience": patience,
        "chance": chance,
        "denied": credentials.denied,
    }
    resolution, cancelling = Resolution(**asking), Cancelling(**asking)
    courses = Courses(ledger, beat=health.pulse("courses"))
    looking = Looking(**asking, outlook=courses.outlook, journeys=journeys)
    selling = Selling(**asking, may_call=lambda provider: not outages[provider].is_out)

    def following(lane: Lane) -> Follow:
        return Follow(
            providers=providers,
            ledger=ledger,
            submission=submission,
            resolution=resolution,
            looking=looking,
            cancelling=cancelling,
            selling=selling,
            announcer=announce,
            observer=metrics,
            in_hand=in_hand,
            now=now,
            patience=patience,
            concurrency=settings.polling.concurrency,
            chance=chance,
            may_call=lambda: credentials.accepted,
            beat=health.pulse(f"follow {lane.name.lower()}"),
            out=lambda: _in_state(outages, State.OUT),
            trial=lambda: _in_state(outages, State.TRIAL),
            lanes=frozenset({lane}),
            journeys=journeys,
        )

    follows = {lane: following(lane) for lane in Lane}
    suspicion, consuming = Suspicion(ledger), Consuming(metrics, health)
    intake = Intake(
        providers=providers,
        ledger=ledger,
        submission=submission,
        announcer=announce,
        observer=metrics,
        in_hand=in_hand,
        suspicion=suspicion,
        now=now,
        default_provider=settings.default_provider,
        own_queues=OWN_QUEUES,
    )
    consumer = Consumer(
        broker,
        publisher,
        gate,
        queue=REQUESTS,
        prefetch=settings.rabbitmq.prefetch,
        declare=settings.rabbitmq.declare,
        handle=intake,
        report=consuming.reporter("consumer", gate),
        note_burial=Burials(
            shapes={name: provider.shape for name, provider in providers.items()},
            default_provider=settings.default_provider,
            ledger=ledger,
        ),
        buried=metrics.buried,
        journeys=journeys,
        # Of all queues over this one connection: brokers may limit how many a user has.
        beside=Backlog(sorted(OWN_QUEUES), told=metrics.queued).watch,
    )
    reconciler = None
    if settings.reconciliation.every:
        reconciler = Reconciler(
            reconciliation_of(settings, providers, ledger),
            ledger,
            every=settings.reconciliation.every,
            period=settings.reconciliation.period,
            now=now,
            may_call=lambda name: credentials.accepted and outages[name].state is State.UP,
            denied=credentials.denied,
            told=lambda completed: metrics.reconciled(completed, providers=providers),
            beat=health.pulse("reconciler"),
        )
    return House(
        settings,
        metrics,
        health,
        gate,
        ledger,
        publisher,
        consumer,
        follows,
        announce,
        credentials,
        outages,
        hearings_of(settings, metrics, ledger, access=access, beat=health.pulse, journeys=journeys),
        courses,
        reconciler,
        cancel_way(
            settings,
            metrics,
            health,
            ledger,
            gate=cancel_gate,
            broker=broker,
            publisher=publisher,
            announcer=announce,
            suspicion=suspicion,
            consuming=consuming,
            providers=providers,
            journeys=journeys,
        ),
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


async def _alarm(gates: tuple[Gate, ...], stands: bool) -> None:  # noqa: FBT001 - a state
    """Take nothing in while the broker would not take what we have to tell."""
    why = "the broker takes no messages (memory or disk alarm)"
    for gate in gates:
        if stands:
            await gate.close("alarm", why, duty=True)
        else:
            await gate.open("alarm")


def _longest_step(settings: Settings) -> float:
    """Return the seconds after which one step of one withdrawal counts as stuck."""
    timeout = max(
        group.timeout for group in (settings.bluum, settings.bluum_accounts, settings.upvest)
    )
    calls = settings.retry.attempts * (timeout + WAIT_IN_HAND)
    return max(_STUCK_STEP_SECONDS, _CALLS_MAX * calls.total_seconds())
