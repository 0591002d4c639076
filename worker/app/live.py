"""Runs a worker, and drains it.

No step of any story stands here."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Final

from worker.app.house import build
from worker.app.opening import LedgerNews, make_ready
from worker.app.parts import open_providers
from worker.app.traces import open_journeys
from worker.flows.ports import LedgerUnavailable, StepRefused
from worker.http.health import Health
from worker.http.probes import serve_probes
from worker.http.webhooks import open_webhooks
from worker.ledger.store import HEARTBEAT, open_ledger
from worker.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping

    from config.settings import Settings
    from worker.app.house import House

_log = logging.getLogger(__name__)

_STOCK_SECONDS: Final = 10.0
_LAG_CHECK_SECONDS: Final = 1.0
#: The part of the shutdown that is kept for publishing what the last steps committed.
_FLUSH_SHARE: Final = 0.2


class PortUnfit(Exception):  # noqa: N818 - named by what is wrong
    """A port cannot be listened on: somebody else has it, or it may not be taken."""


async def run(settings: Settings) -> int:
    """Run the worker until SIGTERM or SIGINT; return the exit code.

    0 after an orderly stop, 1 when a part failed. Raises LedgerLocked, LedgerFileUnfit,
    LedgerUnavailable (of a file; a server is waited for), TracingMissing, TracingUnfit or PortUnfit
    when it cannot start.
    """
    url = settings.ledger.url.get_secret_value()
    release = version("withdrawals-worker")
    metrics = Metrics(version=release)
    health = Health()
    async with AsyncExitStack() as stack:
        stop = _stop_on_signals()
        # Opened first, so that the last spans of all the others are sent.
        journeys = await open_journeys(stack, enabled=settings.tracing.enabled, version=release)
        with _naming_the_port("HTTP"):
            port = await stack.enter_async_context(
                serve_probes(
                    health, metrics.registry, host=settings.http.host, port=settings.http.port
                )
            )
        _log.info("serving probes", extra={"port": port})
        held = stack.enter_context(ExitStack())
        ledger = await stack.enter_async_context(
            open_ledger(url, observe_commit=metrics.committed, journeys=journeys)
        )
        news = LedgerNews(url, health.reporter("ledger"))
        if not await make_ready(url, ledger, held, news=news, stop=stop):
            _log.info("stopped", extra={"before": "the ledger was there"})
            return 0
        providers = await open_providers(
            settings,
            metrics,
            stack,
            now=ledger.now,
            tenure=lambda: ledger.tenure,
            ledger=ledger,
            journeys=journeys,
        )
        house = build(settings, metrics, health, ledger, providers, journeys=journeys)
        return await _live(house, stop, await _listen(house, stack), news)


async def _listen(house: House, stack: AsyncExitStack) -> dict[str, Coroutine[None, None, None]]:
    """Open the webhooks' port, if anybody is to hear them; return the parts that serve it."""
    hearings = house.hearings
    if not hearings:
        return {}
    listening = house.settings.webhooks
    with _naming_the_port("WEBHOOKS"):
        webhooks = await stack.enter_async_context(
            open_webhooks(
                hearings,
                host=listening.host,
                port=listening.port,
                proxies=listening.proxies,
                counted=house.metrics.webhook,
            )
        )
    _log.info("serving webhooks", extra={"port": webhooks.port, "paths": sorted(hearings)})
    for hearing in hearings.values():
        if hearing.allows_unsigned:
            _log.error(
                "unsigned webhooks are accepted: whoever reaches the port is believed",
                extra={"provider": hearing.provider, "port": webhooks.port},
            )
    return {
        "webhooks": webhooks.run(),
        **{f"webhooks of {one.provider}": one.run() for one in hearings.values()},
    }


@contextmanager
def _naming_the_port(group: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PortUnfit(
            f"WORKER_{group}__PORT: cannot listen ({error.strerror or error})"
        ) from None


async def _live(
    house: House,
    stop: asyncio.Event,
    listening: Mapping[str, Coroutine[None, None, None]],
    news: LedgerNews,
) -> int:
    """Run every part until a stop is asked for or one of them fails; then drain."""
    # Closed until the credentials were tried: no message is taken that could not be carried out.
    for gate in house.gates:
        await gate.close("start", "starting")
    parts = {
        "publisher": house.publisher.run(),
        "announce": house.announce.run(),
        "consumer": house.consumer.run(),
        "consumer of cancellations": house.cancellations.consumer.run(),
        "unanswered cancellations": house.cancellations.unanswered.run(),
        **{f"follow {lane.name.lower()}": one.run() for lane, one in house.follows.items()},
        "credentials": house.credentials.run(),
        **{f"outage {name}": outage.run() for name, outage in house.outages.items()},
        "ledger": _watch_ledger(house, news),
        "stock": _show_stock(house),
        "lag": _watch_lag(house),
        "start": _start(house),
        "courses": house.courses.run(),
        **({"reconciler": house.reconciler.run()} if house.reconciler else {}),
        **listening,
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


async def _drain(house: House, tasks: dict[str, asyncio.Task[None]]) -> None:
    """Take nothing new, finish what is in work, publish what it committed, give the rest back."""
    total = house.settings.shutdown_timeout.total_seconds()
    deadline = monotonic() + total * (1 - _FLUSH_SHARE)
    _log.info("draining", extra={"in_work": _in_work(house), "steps": _steps(house)})
    for consumer in house.consumers:
        consumer.stop()
    for follow in house.follows.values():
        follow.stop()
    working = [name for name in tasks if name.startswith(("consumer", "follow"))]
    await _finish(tasks, working, deadline - monotonic())
    left = _in_work(house) + _steps(house)
    house.announce.stop()
    await _finish(tasks, ("announce",), total * _FLUSH_SHARE)
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    with suppress(LedgerUnavailable, StepRefused, TimeoutError):
        async with asyncio.timeout(2):
            await house.ledger.leave()
    _log.info("stopped", extra={"given_back": left, "unannounced": house.announce.waiting})


def _in_work(house: House) -> int:
    return sum(consumer.in_work for consumer in house.consumers)


def _steps(house: House) -> int:
    return sum(follow.in_work for follow in house.follows.values())


async def _finish(
    tasks: dict[str, asyncio.Task[None]], names: Iterable[str], seconds: float
) -> None:
    waiting = [tasks[name] for name in names if not tasks[name].done()]
    if waiting:
        await asyncio.wait(waiting, timeout=max(0.0, seconds))


async def _start(house: House) -> None:
    """Open the intake once the credentials were tried; then the start is over."""
    await house.credentials.tried.wait()
    house.health.started()
    for gate in house.gates:
        await gate.open("start")


async def _watch_ledger(house: House, news: LedgerNews) -> None:
    """Give signs of life; while the ledger is away, take nothing in."""
    beat = house.health.pulse("ledger")
    while True:
        beat()
        try:
            await house.ledger.heartbeat()
        except (LedgerUnavailable, StepRefused) as error:
            news.away(error)
            for gate in house.gates:
                await gate.close("ledger", "the ledger is unavailable")
        else:
            news.there()
            for gate in house.gates:
                await gate.open("ledger")
        await asyncio.sleep(HEARTBEAT.total_seconds())


async def _show_stock(house: House) -> None:
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


async def _watch_lag(house: House) -> None:
    while True:
        expected = monotonic() + _LAG_CHECK_SECONDS
        await asyncio.sleep(_LAG_CHECK_SECONDS)
        lag = max(0.0, monotonic() - expected)
        house.metrics.lagged(lag)
        house.health.lagged(lag)


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
