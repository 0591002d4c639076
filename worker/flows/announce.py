"""Committed events, out to the exchange, each withdrawal's in the order of its sequence.

An event is committed with the state it tells of, published after that, and marked once the broker
has confirmed it: a crash repeats an event (with the same id) and never loses one.

Order across replicas needs no lock: whoever publishes for a withdrawal publishes everything of it
that is not marked yet, from the lowest sequence on, one after the other. Two that do so at once
repeat events; neither can be ahead of what the other has had confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from worker.flows.journey import trace_id_of
from worker.flows.ports import LedgerUnavailable, Outgoing, PublishUnconfirmed, PublishUnroutable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from worker.flows.ports import Now

_log = logging.getLogger(__name__)

#: So many withdrawals' events are read, published and marked together.
BATCH: Final = 200
#: How often events are looked for that nobody told of: from before a restart, or another replica's.
SWEEP: Final = timedelta(seconds=2)
#: An event is another replica's to publish until it is this old.
SWEEP_AGE: Final = timedelta(seconds=5)
_PAUSE_SECONDS: Final = 1.0
#: A copy for the asker that failed so often is given up; the exchange had the event each time.
_COPY_TRIES: Final = 5


class EventLedger(Protocol):
    """Keeps events until they are confirmed."""

    async def unannounced(self, of: Collection[int]) -> Sequence[Outgoing]:
        """Return unconfirmed events of rows, each row's in order."""
        ...

    async def rows_unannounced(self, *, before: datetime, limit: int) -> list[int]:
        """Return rows with events unconfirmed since `before`."""
        ...

    async def mark_announced(self, told: Collection[tuple[int, int]]) -> None:
        """Remember which were confirmed."""
        ...


class Outbox(Protocol):
    """Publishes."""

    async def announce(self, event: Outgoing) -> None:
        """Publish to the exchange; returns once confirmed."""
        ...

    async def answer(self, event: Outgoing) -> None:
        """Send a copy to the event's `reply_to`; returns once confirmed."""
        ...


class Post:
    """Sends an event to the exchange, and a copy to everybody who asked for one."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._copies_failed: Counter[tuple[str, str | None, str | None]] = Counter()

    async def send(self, event: Outgoing) -> None:
        """Send one event; returns once all of it is confirmed.

        Raises PublishUnconfirmed: then it has to be sent again, and the exchange gets a repeat.
        """
        await self._outbox.announce(event)
        for copy in _copies(event):
            await self._answer(copy)

    async def _answer(self, copy: Outgoing) -> None:
        one = copy.event_id, copy.reply_to, copy.correlation_id
        try:
            await self._outbox.answer(copy)
        except PublishUnroutable:
            # The asker has gone and its queue with it; the exchange has the event all the same.
            _log.info("reply queue is gone", extra=_ids(copy))
        except PublishUnconfirmed:
            self._copies_failed[one] += 1
            if self._copies_failed[one] < _COPY_TRIES:
                raise
            # A full queue, say. The exchange must not be flooded with repeats because of it.
            _log.warning("reply queue refuses", extra=_ids(copy))
        self._copies_failed.pop(one, None)


class Announce:
    """Publishes committed events; `run` it as a task, and `told` it of rows that have some.

    `counted` is told the type of each event that was confirmed, `beat` is called while it lives.
    What failed is tried again after `pause_seconds`.
    """

    def __init__(
        self,
        ledger: EventLedger,
        outbox: Outbox,
        *,
        now: Now,
        counted: Callable[[str], None],
        beat: Callable[[], None],
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._post = Post(outbox)
        self._now = now
        self._counted = counted
        self._beat = beat
        self._pause_seconds = pause_seconds
        self._rows: dict[int, None] = {}
        # Those of which nobody told us: the last sweep found them.
        self._found: frozenset[int] = frozenset()
        # Rows that failed, and when they are to be tried again by the event loop's clock.
        self._aside: dict[int, float] = {}
        self._woken = asyncio.Event()
        self._stopping = False

    def told(self, row: int) -> None:
        """Publish what is unpublished of this row, soon."""
        self._rows[row] = None
        self._woken.set()

    async def run(self) -> None:
        """Publish until `stop`, and then until nothing is left that was told of."""
        more = await self._sweep(self._now())
        swept_at = self._now()
        while not self._stopping or self.waiting:
            self._beat()
            if not self._rows and not more:
                await self._wait()
            self._take_back()
            # A full sweep is a backlog: the next one follows as soon as this one is published.
            if not _is_recent(swept_at, self._now()) or (more and not self._rows):
                more = await self._sweep(self._now() - SWEEP_AGE)
                swept_at = self._now()
            if self._rows:
                await self._publish_batch()

    def stop(self) -> None:
        """End once everything told of is published."""
        self._stopping = True
        self._woken.set()

    @property
    def waiting(self) -> int:
        """How many withdrawals have events that were told of and are not confirmed."""
        return len(self._rows.keys() | self._aside.keys())

    async def _wait(self) -> None:
        """Wait until somebody tells of a row, or it is time to look again."""
        self._woken.clear()
        seconds = SWEEP.total_seconds()
        if self._aside:
            seconds = min(seconds, self._pause_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _take_back(self) -> None:
        """Try rows again that have been set aside for long enough."""
        now = asyncio.get_running_loop().time()
        for row in [row for row, at in self._aside.items() if at <= now]:
            del self._aside[row]
            self._rows[row] = None

    async def _sweep(self, before: datetime) -> bool:
        """Take up rows with events unconfirmed since `before`; tell whether there may be more."""
        # Those set aside are found again and again: they must neither hide others nor count as new.
        limit = BATCH + len(self._aside)
        try:
            found = await self._ledger.rows_unannounced(before=before, limit=limit)
        except LedgerUnavailable:
            return False
        new = [row for row in found if row not in self._aside]
        self._found = frozenset(new).difference(self._rows)
        self._rows |= dict.fromkeys(new)
        return bool(new) and len(found) == limit

    async def _publish_batch(self) -> None:
        """Publish for some rows; those that fail are set aside, and hold nobody else up."""
        rows = list(self._rows)[:BATCH]
        for row in rows:
            # Forgotten before the reading: what is told of from now on is read again.
            del self._rows[row]
        try:
            events = await self._ledger.unannounced(rows)
            by_row = [list(of_row) for _, of_row in groupby(events, key=attrgetter("row"))]
            confirmed = await asyncio.gather(*(self._publish(of_row) for of_row in by_row))
            marks = [mark for of_row in confirmed for mark in of_row]
            if marks:
                await self._ledger.mark_announced(marks)
        except LedgerUnavailable as error:
            _log.warning("events not marked", extra={"error": str(error)})
            self._set_aside(rows)
            return
        unfinished = [
            of_row[0].row
            for of_row, told in zip(by_row, confirmed, strict=True)
            if len(told) < len(of_row)
        ]
        if unfinished:
            _log.warning("events not confirmed", extra={"withdrawals": len(unfinished)})
            self._set_aside(unfinished)

    def _set_aside(self, rows: Iterable[int]) -> None:
        again_at = asyncio.get_running_loop().time() + self._pause_seconds
        self._aside |= dict.fromkeys(rows, again_at)

    async def _publish(self, of_row: Iterable[Outgoing]) -> list[tuple[int, int]]:
        """Publish one withdrawal's events in order; return those that were confirmed."""
        confirmed = []
        for event in of_row:
            # Each may take its time, and there may be many.
            self._beat()
            try:
                await self._post.send(event)
            except PublishUnconfirmed:
                # The ones behind it must wait: order is part of what we promise.
                break
            except Exception:  # noqa: BLE001
                # A bug that one event sets off must not keep the others in.
                _log.exception("event not published", extra=_ids(event))
                break
            if event.row in self._found:
                # Whoever decided it may have died before it could say so.
                _log.info("event was found unpublished", extra=_ids(event))
            confirmed.append((event.row, event.sequence))
            self._counted(event.type)
        return confirmed


def _ids(event: Outgoing) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "message_id": event.message_id,
        "sequence": event.sequence,
        "event": event.type,
    }
    trace_id = trace_id_of(event.traceparent)
    return found if trace_id is None else {**found, "trace_id": trace_id}


def _copies(event: Outgoing) -> Iterator[Outgoing]:
    """Yield the event once for each queue that gets it besides the exchange."""
    if event.reply_to is not None:
        yield event
    for copy in event.copies:
        yield replace(
            event,
            reply_to=copy.reply_to,
            correlation_id=copy.correlation_id,
            traceparent=copy.traceparent,
        )


def _is_recent(swept_at: datetime, now: datetime) -> bool:
    # A clock that went back must not end the search for hours.
    return timedelta(0) <= now - swept_at < SWEEP
