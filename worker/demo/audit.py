"""Whether the promises held (contract section 1, P1 to P3), judged by what was seen from outside.

Pure: what was sent, what the provider executed, which events and dead letters came; findings out.
The worker's ledger is not asked: it would be wrong in the same way as the worker. The run has to be
over: what is still on its way counts as lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
    from datetime import datetime

Item = TypeVar("Item")
Key = TypeVar("Key", bound="Hashable")

#: The events that end a request (contract section 3). Written down here once more on purpose: an
#: audit that borrowed the worker's own table could not find a mistake in it.
ENDS: Final = frozenset({"completed", "cancelled", "failed", "rejected"})
#: The events that say that the provider holds a withdrawal.
HELD: Final = frozenset({"pending", "processing", "submitted", "completed", "cancelled", "failed"})
_REJECTED: Final = "rejected"
#: Tells of a cancellation, not of the withdrawal's state; may come at any time.
_ASIDE: Final = "cancel_refused"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was published; what was published twice stands here twice.

    `message_id` is the id the worker goes by (None: it had none), `content` any text that is the
    same for the same content and another for another.
    """

    message_id: str | None
    content: str


@dataclass(frozen=True, slots=True)
class Executed:
    """A withdrawal in the provider's record, with the idempotency key it came under."""

    key: str | None
    withdrawal_id: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What else the provider's record holds, by the record's own word for it.

    `key` is that of the withdrawal or the order that it happened to.
    """

    kind: str
    key: str | None
    subject_id: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt of the provider to deliver a webhook, and what became of it in its own words."""

    event: str
    subject_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Forged:
    """A webhook without a valid signature that names a request's withdrawal, and its answer."""

    message_id: str
    http_status: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """A sell order as an event tells of it; `filled` is the sold quantity, as text."""

    key: str
    filled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event, each time it arrived. `status` is the last word of its type."""

    event_id: str
    message_id: str
    sequence: int
    status: str
    withdrawal_id: str | None
    reversal: bool
    content: str
    reason: str | None = None
    orders: tuple[Ordered, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter; `message_id` and `content` as in `Sent`."""

    message_id: str | None
    content: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of a run; `heard` in the order of arrival, `effects` as they happened.

    `cancels` are the cancellations that were published, which have no end of their own.
    """

    sent: tuple[Sent, ...] = ()
    executed: tuple[Executed, ...] = ()
    heard: tuple[Heard, ...] = ()
    buried: tuple[Buried, ...] = ()
    cancels: tuple[Sent, ...] = ()
    effects: tuple[Effect, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    forged: tuple[Forged, ...] = ()


class Promise(StrEnum):
    """What is audited."""

    NEVER_TWICE = "P1"
    NOTHING_VANISHES = "P2"
    IN_ORDER = "P3"


class Breach(StrEnum):
    """How a promise can be broken."""

    DOUBLED = "executed more than once"
    UNASKED = "executed, though nobody asked for it"
    SOLD_TWICE = "placed more than once, though it is one order"
    SOLD_UNTOLD = "placed as an order, and no event tells of it"
    UNPAID = "told as held by the provider, which never executed it"
    UNTOLD = "executed, and no event says so"
    MISNAMED = "its events name another withdrawal than the one executed"
    LOST = "has neither an end nor a dead letter"
    ENDED_TWICE = "has several ends"
    ENDED_AND_BURIED = "went through, and lies among the dead letters"
    RESUMED = "went on after its end"
    STRANGE = "was never sent"
    GAP = "its sequence has a gap"
    SWAPPED = "its events came out of order"
    RENAMED = "one event came under several ids"
    ALTERED = "one event id came with several contents"


#: The promise that each breach breaks.
BROKEN: Final[Mapping[Breach, Promise]] = {
    Breach.DOUBLED: Promise.NEVER_TWICE,
    Breach.UNASKED: Promise.NEVER_TWICE,
    Breach.SOLD_TWICE: Promise.NEVER_TWICE,
    Breach.SOLD_UNTOLD: Promise.NEVER_TWICE,
    Breach.UNPAID: Promise.NEVER_TWICE,
    Breach.UNTOLD: Promise.NEVER_TWICE,
    Breach.MISNAMED: Promise.NEVER_TWICE,
    Breach.LOST: Promise.NOTHING_VANISHES,
    Breach.ENDED_TWICE: Promise.NOTHING_VANISHES,
    Breach.ENDED_AND_BURIED: Promise.NOTHING_VANISHES,
    Breach.RESUMED: Promise.NOTHING_VANISHES,
    Breach.STRANGE: Promise.NOTHING_VANISHES,
    Breach.GAP: Promise.IN_ORDER,
    Breach.SWAPPED: Promise.IN_ORDER,
    Breach.RENAMED: Promise.IN_ORDER,
    Breach.ALTERED: Promise.IN_ORDER,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach. `subject` is the message id (or key, or event id) it concerns."""

    breach: Breach
    subject: str
    detail: str = ""

    @property
    def promise(self) -> Promise:
        """The promise that is broken."""
        return BROKEN[self.breach]

    def __str__(self) -> str:
        return f"{self.subject} {self.breach}" + (f" ({self.detail})" if self.detail else "")


def audit(seen: Seen, *, key_of: Callable[[str], str]) -> tuple[Finding, ...]:
    """Return every breach of P1 to P3, none when all hold; `key_of` derives a message id's key."""
    altered = _same_under_one_id(seen)
    seen = replace(seen, heard=tuple(event for event in seen.heard if not _is_of_nobody(event)))
    return (
        *_paid_once(seen, key_of),
        *_sold_once(seen),
        *_accounted_for(seen),
        *_strangers(seen),
        *altered,
        *_in_sequence(seen),
    )


def once(events: Iterable[Heard]) -> list[Heard]:
    """Drop repeated event ids, as a consumer does; the first of each stays in its place."""
    first: dict[str, Heard] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    return list(first.values())


def _is_of_nobody(event: Heard) -> bool:
    """Tell whether an event answers a cancellation of what has not come: of no withdrawal then."""
    return event.status == _ASIDE and event.sequence == 0


def _says_held(event: Heard) -> bool:
    # Cancelled before anything left, the provider has never heard of it.
    return event.status in HELD and not (event.status == "cancelled" and not event.withdrawal_id)


def _paid_once(seen: Seen, key_of: Callable[[str], str]) -> Iterator[Finding]:
    executed = _grouped(seen.executed, by=lambda withdrawal: withdrawal.key)
    heard = _grouped(seen.heard, by=lambda event: event.message_id)
    asker = {key_of(message_id): message_id for message_id in _ids(seen)}
    for key, withdrawals in executed.items():
        if key is None or key not in asker:
            names = _listed(withdrawal.withdrawal_id for withdrawal in withdrawals)
            yield Finding(Breach.UNASKED, f"key {key}", names)
    for key, message_id in asker.items():
        yield from _paid_as_told(message_id, executed.get(key, []), heard.get(message_id, []))


def _paid_as_told(
    message_id: str, executed: list[Executed], heard: list[Heard]
) -> Iterator[Finding]:
    real = {withdrawal.withdrawal_id for withdrawal in executed}
    told = {event.withdrawal_id for event in heard if _says_held(event)}
    if len(executed) > 1:
        yield Finding(Breach.DOUBLED, message_id, _listed(sorted(real)))
    if told and not real:
        yield Finding(Breach.UNPAID, message_id)
    elif real and not told:
        yield Finding(Breach.UNTOLD, message_id)
    elif told - real:
        names = f"{_listed(told - real)} instead of {_listed(real)}"
        yield Finding(Breach.MISNAMED, message_id, names)


def _sold_once(seen: Seen) -> Iterator[Finding]:
    placed = (effect for effect in seen.effects if effect.kind == "order")
    told = {order.key for event in seen.heard for order in event.orders}
    for key, orders in _grouped(placed, by=lambda order: order.key).items():
        names = _listed(order.subject_id for order in orders)
        if len(orders) > 1:
            yield Finding(Breach.SOLD_TWICE, f"key {key}", names)
        if key not in told:
            yield Finding(Breach.SOLD_UNTOLD, f"key {key}", names)


def _accounted_for(seen: Seen) -> Iterator[Finding]:
    heard = _grouped(seen.heard, by=lambda event: event.message_id)
    sent = _grouped(seen.sent, by=lambda message: message.message_id)
    buried = _grouped(seen.buried, by=lambda letter: letter.message_id)
    for message_id, messages in sent.items():
        letters = buried.get(message_id, [])
        if message_id is None:
            yield from _nameless(messages, letters)
            continue
        events = sorted(once(heard.get(message_id, [])), key=lambda event: event.sequence)
        unburied = {m.content for m in messages} - {letter.content for letter in letters}
        yield from _ended_once(message_id, len(unburied), events)


def _ended_once(message_id: str, unburied: int, events: list[Heard]) -> Iterator[Finding]:
    """Judge one id; `unburied` is how many contents of it do not lie among the dead letters."""
    ends = [event.status for event in events if event.status in ENDS and not event.reversal]
    # The end belongs to one content. Others that came under the same id have to be dead letters.
    if unburied > bool(ends):
        last = events[-1].status if events else "no event"
        yield Finding(Breach.LOST, message_id, f"stands at: {last}")
    if len(ends) > 1:
        yield Finding(Breach.ENDED_TWICE, message_id, _listed(ends))
    # An invalid request is rejected and a dead letter as well; anything else is one of the two.
    if not unburied and set(ends) - {_REJECTED}:
        yield Finding(Breach.ENDED_AND_BURIED, message_id, _listed(ends))
    if later := _after_the_end(events):
        yield Finding(Breach.RESUMED, message_id, _listed(later))


def _nameless(messages: list[Sent], letters: list[Buried]) -> Iterator[Finding]:
    sent = Counter(message.content for message in messages)
    lost = sent - Counter(letter.content for letter in letters)
    for content, count in lost.items():
        yield Finding(Breach.LOST, f"a message without id, {content[:12]},", f"{count} of it")


def _after_the_end(events: list[Heard]) -> list[str]:
    """Return what follows the first end and is neither another end nor a reversal."""
    statuses = [event.status for event in events]
    first = next((place for place, status in enumerate(statuses) if status in ENDS), len(events))
    return [
        event.status
        for event in events[first:]
        if event.status not in ENDS | {_ASIDE} and not event.reversal
    ]


def _strangers(seen: Seen) -> Iterator[Finding]:
    ids = set(_ids(seen))
    messages = {(message.message_id, message.content) for message in seen.sent}
    for name in sorted({event.message_id for event in seen.heard} - ids):
        yield Finding(Breach.STRANGE, f"{name}, of which an event tells,")
    for letter in seen.buried:
        if (letter.message_id, letter.content) not in messages:
            yield Finding(Breach.STRANGE, f"the dead letter {letter.message_id}", letter.reason)


def _same_under_one_id(seen: Seen) -> Iterator[Finding]:
    for event_id, events in _grouped(seen.heard, by=lambda event: event.event_id).items():
        if len(set(events)) > 1:
            names = sorted({f"{event.message_id}/{event.sequence}" for event in events})
            yield Finding(Breach.ALTERED, event_id, _listed(names))


def _in_sequence(seen: Seen) -> Iterator[Finding]:
    for message_id, events in _grouped(seen.heard, by=lambda event: event.message_id).items():
        numbers = [event.sequence for event in once(events)]
        repeated = sorted(number for number, count in Counter(numbers).items() if count > 1)
        if repeated:
            yield Finding(Breach.RENAMED, message_id, _listed(repeated))
        order = list(dict.fromkeys(numbers))
        if order != sorted(order):
            yield Finding(Breach.SWAPPED, message_id, _listed(order))
        if sorted(order) != list(range(1, len(order) + 1)):
            yield Finding(Breach.GAP, message_id, _listed(sorted(order)))


def _ids(seen: Seen) -> list[str]:
    """Return each message id once, in the order of sending."""
    return list(dict.fromkeys(m.message_id for m in seen.sent if m.message_id is not None))


def _grouped(items: Iterable[Item], *, by: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[by(item)].append(item)
    return dict(groups)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
