"""What the commands on dead letters do: read them, forecast a replay, send them back, drop them.

What a replay leads to is forecast in the core, its steps stand in the flow. Nobody is asked here;
and what broker, ledger or file refuse is raised as it is: `letters_failing` puts it into words."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.app import SHAPES, broker_of
from worker.cli import letters_shown as shown
from worker.cli.letters_failing import say
from worker.core.cancellations import read_cancel
from worker.core.events import moment
from worker.core.messages import read
from worker.core.replay import Asks, Forecaster
from worker.flows import replay as flow
from worker.flows.ports import LedgerUnavailable
from worker.ledger.migrate import SchemaOutdated, require_schema
from worker.ledger.store import Ledger, open_ledger
from worker.rabbitmq.graveyard import open_graveyard
from worker.rabbitmq.publisher import Publisher
from worker.rabbitmq.topology import OWN_QUEUES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from config.settings import Settings
    from worker.cli.kept_letters import KeptLetters
    from worker.core.messages import Envelope
    from worker.core.replay import Known, Letter, Plan, Reading, Selection
    from worker.rabbitmq.graveyard import Grave


async def list_letters(
    settings: Settings, selection: Selection, limit: int | None, *, as_json: bool
) -> None:
    """Print each letter as soon as it is read: however many there are, none is kept.

    Raises Unheard when standard output is closed.
    """
    by_reason: Counter[str] = Counter()
    now = _now()
    say('{"dead_letters": [' if as_json else shown.HEADING)
    async with open_graveyard(broker_of(settings)) as graveyard:
        while limit is None or by_reason.total() < limit:
            grave = await graveyard.next()
            if grave is None:
                break
            letter = grave.letter
            if not selection.takes(letter, now=now):
                continue
            if as_json:
                comma = "," if by_reason else ""
                say(f"{comma}{json.dumps(shown.document_of(letter, now=now))}")
            else:
                say(shown.line_of(letter, now=now))
            by_reason[letter.reason] += 1
    if as_json:
        counts = json.dumps(dict(sorted(by_reason.items())))
        say(f'], "total": {by_reason.total()}, "by_reason": {counts}}}')
    else:
        say(f"\n{shown.summary_of(by_reason)}")


async def select(settings: Settings, selection: Selection) -> list[Letter]:
    """Return the letters that are selected."""
    found, now = [], _now()
    async with open_graveyard(broker_of(settings)) as graveyard:
        while (grave := await graveyard.next()) is not None:
            if selection.takes(grave.letter, now=now):
                found.append(grave.letter)
    return found


async def find(
    settings: Settings, selection: Selection, *, with_body: bool
) -> list[dict[str, Any]]:
    """Return the letters that are selected as documents, with what the ledger knows of each."""
    found, now = [], _now()
    async with open_graveyard(broker_of(settings)) as graveyard:
        while (grave := await graveyard.next()) is not None:
            if selection.takes(grave.letter, now=now):
                found.append(await _document(settings, grave, now, with_body=with_body))
    return found


async def plan(settings: Settings, selection: Selection, *, force: bool) -> Plan:
    """Return what a replay of those that are selected would lead to. Moves nothing."""
    async with _reading(settings) as ledger, open_graveyard(broker_of(settings)) as graveyard:
        return await flow.plan(
            graveyard,
            ledger,
            selection=selection,
            force=force,
            understand=_understand(settings),
            now=_now,
        )


async def replay(
    settings: Settings,
    plan: Plan,
    rate: float,
    outcome: flow.Outcome,
    told: Callable[[flow.Outcome], None],
) -> None:
    """Carry a plan out, `rate` letters a second; `outcome` counts on, and each step is told."""
    publisher = Publisher(broker_of(settings), report=lambda _holds, _detail: None)
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(_writing(settings))
        await stack.enter_async_context(_running(publisher))
        graveyard = await stack.enter_async_context(
            open_graveyard(broker_of(settings), publisher=publisher)
        )
        await flow.replay(
            graveyard, plan.going, outcome=outcome, turn=_Turns(rate), told=told, books=ledger
        )


async def drop(
    settings: Settings, ids: list[str], signed: dict[str, str], kept: KeptLetters | None
) -> int:
    """Take letters away for good, each told of on standard output before; return how many."""

    def keep(grave: flow.Grave) -> None:
        if kept is not None:
            kept.add(grave)
        told = shown.document_of(grave.letter, now=_now()) | {"dropped_at": moment(_now())} | signed
        say(json.dumps(told))

    async with _writing(settings) as ledger, open_graveyard(broker_of(settings)) as graveyard:
        return await flow.drop(graveyard, ids, keep=keep, books=ledger)


def limits(settings: Settings) -> dict[str, float]:
    """Return how many requests a second each provider is sent at most."""
    return {name: float(getattr(settings, name).rate_limit) for name in SHAPES}


async def _document(
    settings: Settings, grave: Grave, now: datetime, *, with_body: bool
) -> dict[str, Any]:
    envelope = grave.envelope()
    message = None if envelope is None else _understand(settings)(grave.letter, envelope)
    message_id = None if message is None else message.context.message_id
    is_request = grave.letter.asks is not Asks.CANCELLATION
    document = shown.document_of(grave.letter, now=now)
    document["properties"] = shown.properties_of(grave.properties)
    try:
        known = await _known(settings, message_id) if is_request else None
        cancelled = None if is_request else await _cancellation(settings, message_id)
    except (LedgerUnavailable, SchemaOutdated) as error:
        document["ledger"] = {"error": str(error)}
    else:
        forecast = Forecaster()(grave.letter, message, known, now=now)
        document["ledger"] = shown.known_of(known) if is_request else shown.taken_of(cancelled)
        document["replay"] = {"prospect": forecast.prospect.value, "why": forecast.why}
    if with_body:
        document["body"] = shown.harmless(grave.body.decode(errors="surrogateescape"))
    return document


async def _known(settings: Settings, message_id: str | None) -> Known | None:
    if message_id is None:
        return None
    async with _reading(settings) as ledger:
        return (await ledger.known([message_id])).get(message_id)


async def _cancellation(settings: Settings, message_id: str | None) -> Mapping[str, Any] | None:
    if message_id is None:
        return None
    async with _reading(settings) as ledger:
        return await ledger.cancellation(message_id)


def _understand(settings: Settings) -> Callable[[Letter, Envelope], Reading]:
    """Read as a worker with these settings would; without credentials, as one with all of them."""
    enabled = {name: shape for name, shape in SHAPES.items() if getattr(settings, name).enabled}
    shapes, default = enabled or SHAPES, settings.default_provider

    def understand(letter: Letter, envelope: Envelope) -> Reading:
        if letter.asks is Asks.CANCELLATION:
            return read_cancel(
                envelope, providers=shapes, default_provider=default, own_queues=OWN_QUEUES
            )
        return read(envelope, shapes=shapes, default_provider=default, own_queues=OWN_QUEUES)

    return understand


class _Turns:
    """Lets one through at a time, `rate` a second and never faster after a pause."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next_at = 0.0

    async def __call__(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_at - loop.time()))
        self._next_at = max(self._next_at, loop.time() - self._gap) + self._gap


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[Ledger]:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    ledger = Ledger(url)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def _writing(settings: Settings) -> AsyncIterator[Ledger]:
    url = settings.ledger.url.get_secret_value()
    await require_schema(url)
    async with open_ledger(url) as ledger:
        try:
            yield ledger
        finally:
            # What was counted under this command's name goes to the common account.
            await ledger.leave()


@asynccontextmanager
async def _running(publisher: Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _now() -> datetime:
    return datetime.now(UTC)
