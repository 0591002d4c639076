"""Wires the house, runs it, and drains it; the only room that knows all the others.

No step of any story stands here."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Final

import httpx

from worker.core.schedule import Patience, Schedule
from worker.flows.announce import Announce
from worker.flows.burial import Burials
from worker.flows.credentials import Credentials
from worker.flows.follow import Follow
from worker.flows.gate import Gate
from worker.flows.in_hand import InHand
from worker.flows.intake import Intake
from worker.flows.outage import Outage, State
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.flows.resolve import Resolution
from worker.flows.submit import WAIT_IN_HAND, Submission
from worker.flows.suspicion import Suspicion
from worker.http.health import Health
from worker.http.probes import serve_probes
from worker.ledger.engine import is_sqlite, sole_worker
from worker.ledger.migrate import migrate, require_schema
from worker.ledger.store import HEARTBEAT, Ledger, open_ledger
from worker.metrics import Metrics
from worker.providers.bluum import Bluum, BluumRequest
from worker.providers.http import Line
from worker.providers.pace import Pace
from worker.providers.watched import Watched
from worker.rabbitmq.connection import Broker
from worker.rabbitmq.consumer import Consumer
from worker.rabbitmq.outbox import Outbox
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import OWN_QUEUES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from config.settings import Settings
    from worker.core.requests import Request
    from worker.providers.contract import Provider

_log = logging.getLogger(__name__)

#: The request shape of every provider this release knows, enabled here or not.
SHAPES: Final[Mapping[str, type[Request]]] = {"bluum": BluumRequest}

_STOCK_SECONDS: Final = 10.0
#: Longer than any look-up over many pages; shorter than the broker waits for an acknowledgement.
_STUCK_STEP_SECONDS: Final = 900.0
_LAG_CHECK_SECONDS: Final = 1.0
_RETRY_JITTER: Final = 0.5
#: Between two probes of a provider that is out.
_PROBES: Final = Schedule(
    first_delay=timedelta(seconds=1), growth=2.0, cap=timedelta(seconds=30), jitter=0.5
)
#: The part of the shutdown that is kept for publishing what the last steps committed.
_FLUSH_SHARE: Final = 0.2


@dataclass(slots=True)
class _House:
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


async def run(settings: Settings) -> int:
    """Run the worker until SIGTERM or SIGINT; return the exit code.

    0 after an orderly stop, 1 when a part failed. Raises LedgerLocked, SchemaOutdated,
    LedgerUnavailable or OSError (port taken) when it cannot start.
    """
    url = settings.ledger.url.get_secret_value()
    metrics = Metrics(version=version("withdrawals-worker"))
    health = Health()
    async with AsyncExitStack() as stack:
        stop = _stop_on_signals()
        port = await stack.enter_async_context(
            serve_probes(health, metrics.registry, host=settings.http.host, port=settings.http.port)
        )
        _log.info("serving probes", extra={"port": port})
        stack.enter_context(sole_worker(url))
        await _prepare_schema(url)
        ledger = await stack.enter_async_context(open_ledger(url, observe_commit=metrics.committed))
        if is_sqlite(url):
            await ledger.forget_replicas()
        await ledger.heartbeat()
        providers = await open_providers(
            settings, metrics, stack, now=ledger.now, tenure=lambda: ledger.tenure
        )
        house = _build(settings, metrics, health, ledger, providers)
        return await _live(house, stop)


async def open_providers(
    settings: Settings,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    tenure: Callable[[], int | None],
) -> dict[str, Provider]:
    """Open every provider that has credentials; `stack` closes them.

    `tenure` is the worker's, as `Ledger.tenure` tells it.
    A new provider is one more paragraph here.
    """
    providers: dict[str, Provider] = {}
    bluum = settings.bluum
    if bluum.api_key is not None and bluum.api_secret is not None:
        line = Line(
            bluum.base_url,
            auth=httpx.BasicAuth(
                bluum.api_key.get_secret_value(), bluum.api_secret.get_secret_value()
            ),
            pace=Pace(bluum.rate_limit, waited=metrics.waited),
            timeout=bluum.timeout,
            observe=lambda *told: metrics.called("bluum", *told),
        )
        providers["bluum"] = Bluum(
            await stack.enter_async_context(line),
            reference_in_description=bluum.reference_in_description,
            now=now,
            tenure=tenure,
        )
    return providers


def broker_of(settings: Settings) -> Broker:
    """Return where the broker is, from the settings."""
    rabbitmq = settings.rabbitmq
    return Broker(
        url=rabbitmq.url.get_secret_value(),
        heartbeat=rabbitmq.heartbeat,
        connect_timeout=rabbitmq.connect_timeout,
        publish_timeout=rabbitmq.publish_timeout,
    )


def patience_of(settings: Settings) -> Patience:
    """Return every waiting time, from the settings."""
    polling, retry = settings.polling, settings.retry
    return Patience(
        looks=Schedule(
            first_delay=polling.first_delay,
            growth=polling.growth,
            cap=polling.cap,
            jitter=polling.jitter,
        ),
        retries=Schedule(
            first_delay=retry.first_delay,
            growth=retry.growth,
            cap=retry.cap,
            jitter=_RETRY_JITTER,
        ),
        window=settings.bluum.idempotency_window,
        settling=retry.settling,
    )


def _build(
    settings: Settings,
    metrics: Metrics,
    health: Health,
    ledger: Ledger,
    providers: dict[str, Provider],
) -> _House:
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
    return _House(
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


async def _live(house: _House, stop: asyncio.Event) -> int:
    """Run every part until a stop is asked for or one of them fails; then drain."""
    # Closed until the credentials were tried: no message is taken that could not be carried out.
    await house.gate.close("start", "starting")
    parts = {
        "publisher": house.publisher.run(),
        "announce": house.announce.run(),
        "consumer": house.consumer.run(),
        "follow": house.follow.run(),
        "credentials": house.credentials.run(),
        **{f"outage {name}": outage.run() for name, outage in house.outages.items()},
        "ledger": _watch_ledger(house),
        "stock": _show_stock(house),
        "lag": _watch_lag(house),
        "start": _start(house),
    }
    tasks = {name: asyncio.create_task(part, name=name) for name, part in parts.items()}
    stopped = asyncio.create_task(stop.wait(), name="stop")
    code = await until_stopped(tasks, stopped)
    await _drain(house, tasks)
    return code


async def until_stopped(
    tasks: Mapping[str, asyncio.Task[None]], stopped: asyncio.Task[bool]
) -> int:
    """Wait for the stop, and return 0; or 1, when a part failed.

    A part that ends by itself, however it does, has failed: half alive is worse than dead. Only
    `start` may end.
    """
    running = dict(tasks)
    while not stopped.done():
        await asyncio.wait([*running.values(), stopped], return_when=asyncio.FIRST_COMPLETED)
        for name, task in tasks.items():
            if task.done() and running.pop(name, None) is not None and not _is_over(name, task):
                _log.critical("part failed", extra={"part": name}, exc_info=_error(task))
                stopped.cancel()
                return 1
    return 0


def _is_over(name: str, task: asyncio.Task[None]) -> bool:
    return name == "start" and _error(task) is None


def _error(task: asyncio.Task[None]) -> BaseException | None:
    # Nobody of ours cancels a part before the drain: it comes from inside, out of a library.
    return asyncio.CancelledError("cancelled from inside") if task.cancelled() else task.exception()


async def _drain(house: _House, tasks: dict[str, asyncio.Task[None]]) -> None:
    """Take nothing new, finish what is in work, publish what it committed, give the rest back."""
    total = house.settings.shutdown_timeout.total_seconds()
    deadline = monotonic() + total * (1 - _FLUSH_SHARE)
    _log.info("draining", extra={"in_work": house.consumer.in_work, "steps": house.follow.in_work})
    house.consumer.stop()
    house.follow.stop()
    await _finish(tasks, ("consumer", "follow"), deadline - monotonic())
    left = house.consumer.in_work + house.follow.in_work
    house.announce.stop()
    await _finish(tasks, ("announce",), total * _FLUSH_SHARE)
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    with suppress(LedgerUnavailable, StepRefused, TimeoutError):
        async with asyncio.timeout(2):
            await house.ledger.leave()
    _log.info("stopped", extra={"given_back": left, "unannounced": house.announce.waiting})


async def _finish(
    tasks: dict[str, asyncio.Task[None]], names: tuple[str, ...], seconds: float
) -> None:
    waiting = [tasks[name] for name in names if not tasks[name].done()]
    if waiting:
        await asyncio.wait(waiting, timeout=max(0.0, seconds))


async def _start(house: _House) -> None:
    """Open the intake once the credentials were tried; then the start is over."""
    await house.credentials.tried.wait()
    house.health.started()
    await house.gate.open("start")


async def _watch_ledger(house: _House) -> None:
    """Give signs of life; while the ledger is away, take nothing in."""
    report, beat = house.health.reporter("ledger"), house.health.pulse("ledger")
    while True:
        beat()
        try:
            await house.ledger.heartbeat()
        except (LedgerUnavailable, StepRefused) as error:
            report(False, f"unavailable: {error}")
            await house.gate.close("ledger", "the ledger is unavailable")
        else:
            report(True, "answering")
            await house.gate.open("ledger")
        await asyncio.sleep(HEARTBEAT.total_seconds())


async def _show_stock(house: _House) -> None:
    beat = house.health.pulse("stock")
    while True:
        beat()
        with suppress(LedgerUnavailable):
            house.metrics.stock(
                await house.ledger.count_open(),
                await house.ledger.count_unannounced(),
                now=house.ledger.now(),
            )
            house.metrics.books(await house.ledger.books_differences())
        await asyncio.sleep(_STOCK_SECONDS)


async def _watch_lag(house: _House) -> None:
    while True:
        expected = monotonic() + _LAG_CHECK_SECONDS
        await asyncio.sleep(_LAG_CHECK_SECONDS)
        lag = max(0.0, monotonic() - expected)
        house.metrics.lagged(lag)
        house.health.lagged(lag)


async def _prepare_schema(url: str) -> None:
    # An embedded ledger is this worker's alone, so it is brought up to date right here. A shared
    # one is migrated on purpose, by `withdrawals-worker migrate`.
    if is_sqlite(url):
        await migrate(url)
    else:
        await require_schema(url)


def _stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    stop = asyncio.Event()

    def heard() -> None:
        if stop.is_set():
            _log.critical("stopped at once by a second signal")
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard)
    return stop
