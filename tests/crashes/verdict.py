"""What broke in a world: the demonstration's audit, and what only a simulation can see.

Pure, but for a look into the ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.crashes.world import CANCELLER
from worker.core.sale import OPEN
from worker.core.withdrawal import Status, idempotency_key
from worker.demo.audit import Breach, Effect, Executed, Finding, Seen, audit, once
from worker.demo.evidence import read_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.crashes.world import World
    from worker.core.sale import OrderReport
    from worker.demo.audit import Heard

#: What the audit must not hold against a request that was left to a person.
_LEFT_OPEN: Final = frozenset({Breach.LOST, Breach.UNTOLD})
#: What may answer a cancellation.
_ANSWERS: Final = frozenset({"withdrawal.cancelled", "withdrawal.cancel_refused"})
#: Tells of a cancellation alone, as often as there is one.
_ASIDE: Final = "cancel_refused"
#: The sequence of an answer to a cancellation of what has not come.
_OF_NOBODY: Final = 0


def seen(world: World) -> Seen:
    """Return what is seen of a world from outside."""
    return Seen(
        sent=tuple(world.broker.sent),
        executed=tuple(Executed(paid.key, paid.withdrawal_id) for paid in world.bank.paid),
        heard=tuple(
            read_event(event.body, event_id=event.event_id) for event in world.broker.heard
        ),
        buried=tuple(world.broker.buried),
        effects=tuple(
            Effect("order", order.client_order_id, order.order_id) for order in _orders(world)
        ),
    )


def broken_now(world: World) -> list[str]:
    """Return what must never be, not even for a moment (safety)."""
    found = seen(world)
    return [
        *world.breaches,
        *map(str, _never(found)),
        *_paid_though_rejected(found),
        *_alive_though_cancelled(world, found),
    ]


async def broken(world: World, *, may_end: frozenset[Status]) -> list[str]:
    """Return every promise that a world broke, now that its story is over.

    `may_end` is how its requests may end; with `unresolved`, they may be left to a person.
    """
    found = seen(world)
    left = _left_to_a_person(found) if Status.UNRESOLVED in may_end else frozenset()
    findings = [
        finding
        for finding in audit(found, key_of=idempotency_key)
        if not (finding.breach in _LEFT_OPEN and finding.subject in left)
    ]
    return [
        *world.breaches,
        *map(str, findings),
        *_paid_though_rejected(found),
        *_alive_though_cancelled(world, found),
        *_ended_otherwise(found, may_end),
        *_told_again(found),
        *_answered_otherwise(world, left),
        *_sold_otherwise(world, found, left),
        *[str(finding) async for finding in _ledger_and_events(world, found)],
        *[f"the books do not balance: {each}" for each in await world.differences()],
    ]


def _never(found: Seen) -> Iterator[Finding]:
    """Judge what is true at every moment: nothing doubled, nothing out of order."""
    for key, count in Counter(executed.key for executed in found.executed).items():
        if count > 1:
            yield Finding(Breach.DOUBLED, f"key {key}")
    for key, count in Counter(effect.key for effect in found.effects).items():
        if count > 1:
            yield Finding(Breach.SOLD_TWICE, f"key {key}")
    for message_id, events in _by_request(found).items():
        sequences = [event.sequence for event in once(events)]
        if sequences != list(range(1, len(sequences) + 1)):
            yield Finding(Breach.SWAPPED, message_id, str(sequences))


def _paid_though_rejected(found: Seen) -> Iterator[str]:
    """Whoever is told `rejected` may ask again: nothing was paid, and nothing will be."""
    paid = {executed.key for executed in found.executed}
    for event in found.heard:
        if event.status == Status.REJECTED and idempotency_key(event.message_id) in paid:
            yield f"{event.message_id} was rejected and paid"


def _alive_though_cancelled(world: World, found: Seen) -> Iterator[str]:
    """Whoever is told `cancelled` is paid nothing, and nothing of it is on its way."""
    alive = {paid.key for paid in world.bank.paid if paid.status is not Status.CANCELLED}
    for message_id, events in _by_request(found).items():
        told = {event.status for event in events}
        if Status.CANCELLED in told and idempotency_key(message_id) in alive:
            yield f"{message_id} was cancelled and lives"


def _ended_otherwise(found: Seen, may_end: frozenset[Status]) -> Iterator[str]:
    for message_id, events in _by_request(found).items():
        last = [event for event in once(events) if event.status != _ASIDE][-1]
        if last.status not in may_end:
            yield f"{message_id} ended as {last.status}"


def _left_to_a_person(found: Seen) -> frozenset[str]:
    requests = _by_request(found).items()
    return frozenset(
        name for name, events in requests if once(events)[-1].status == Status.UNRESOLVED
    )


def _told_again(found: Seen) -> Iterator[str]:
    for message_id, events in _by_request(found).items():
        told = Counter(event.status for event in once(events) if event.status != _ASIDE)
        for status in (status for status, count in told.items() if count > 1):
            yield f"{message_id} was told more than once that it is {status}"


def _answered_otherwise(world: World, left: frozenset[str]) -> Iterator[str]:
    """Find cancellations that were not answered by exactly one event."""
    broker = world.broker
    heard = {event.event_id for event in broker.heard}
    for name in dict.fromkeys(broker.cancels):
        answers = {
            event.event_id: event
            for event in broker.answered
            if (event.reply_to, event.correlation_id) == (CANCELLER, name)
        }
        if not answers and left:
            # It waits for the person, too.
            continue
        if len(answers) != 1:
            yield f"{name} has {len(answers)} answers"
        for event_id, event in answers.items():
            if event.type not in _ANSWERS or event_id not in heard:
                yield f"{name} was answered by {event.type}"


def _sold_otherwise(world: World, found: Seen, left: frozenset[str]) -> Iterator[str]:
    """Find orders that rest though their request is over, and fills that no event tells of."""
    told = {order.key: order.filled for event in once(found.heard) for order in event.orders}
    for order in _orders(world):
        if order.status in OPEN and not left:
            yield f"{order.order_id} rests for ever"
        if order.filled_quantity != told.get(order.client_order_id or "") and not left:
            yield f"{order.order_id} was filled by {order.filled_quantity}, which is not told"


def _orders(world: World) -> list[OrderReport]:
    return list(world.bank.market.book.values())


async def _ledger_and_events(world: World, found: Seen) -> AsyncIterator[Finding]:
    """Compare what was told with what is written down: each event once, none withheld."""
    rows = await world.read("SELECT event_id, sequence, published_at FROM events ORDER BY 1")
    heard = {event.event_id for event in found.heard if event.sequence != _OF_NOBODY}
    for event_id, _sequence, published_at in rows:
        if published_at is None or event_id not in heard:
            yield Finding(Breach.LOST, f"event {event_id}")
    for event_id in sorted(heard - {event_id for event_id, *_ in rows}):
        yield Finding(Breach.STRANGE, f"event {event_id}")


def _by_request(found: Seen) -> dict[str, list[Heard]]:
    requests: dict[str, list[Heard]] = {}
    for event in found.heard:
        if event.sequence != _OF_NOBODY:
            requests.setdefault(event.message_id, []).append(event)
    return requests
