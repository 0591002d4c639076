"""Webhook subscriptions of the simulated Upvest, and which delivery is due when (WHH, WHR, WSREF).

Pure but for its signing keys: it sends nothing. One delivery bundles the events of a while. Until
it is answered by 200 it is sent again and again, without limit, and all later ones of the
subscription wait behind it (WHH)."""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.chance import fraction, uuid
from worker.simulator.clock import instant
from worker.simulator.faults import WEBHOOK_DELAYED, WEBHOOK_DOUBLED, WEBHOOK_LOST, Faults
from worker.simulator.mail import Letter, Outcome, is_url
from worker.simulator.upvest_journal import Notice
from worker.simulator.upvest_problems import Kind, Problem
from worker.simulator.upvest_webhook_keys import WebhookKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.simulator.agenda import Agenda
    from worker.simulator.route import Document

#: The kinds of events that can be subscribed to (S19), as far as there are any here.
ALL: Final = "ALL"
CATEGORIES: Final = (ALL, "WITHDRAWAL", "CASH_BALANCE", "EXECUTION", "ORDER")
#: What the test of a subscription sends; its type is invented.
TEST_TYPE: Final = "WEBHOOK.TEST"
#: Subscriptions of one client; undocumented, but everything has a limit.
SUBSCRIPTIONS_MAX: Final = 100
#: What goes around the events of a package, in bytes.
_WRAPPING: Final = 16
_DELIVERED: Final = 200
#: From 1 to 600 seconds, each the sum of the two before (WHH shows 1, 2, 3, 5, 8 ... 600).
_PAUSES: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpvestWebhookTerms:
    """How webhooks are delivered; ValueError naming the field when a term makes no sense.

    A delivery without a 200 within `timeout` is repeated after each of `retry_delays`, and then
    after the last of them for ever. `bundling` replaces each subscription's own `config.delay`.
    `delay` is by how much a delayed event comes late. `url` is subscribed to everything from the
    start.
    """

    url: str | None = None
    bundling: timedelta | None = None
    retry_delays: tuple[timedelta, ...] = tuple(timedelta(seconds=pause) for pause in _PAUSES)
    timeout: timedelta = timedelta(seconds=30)
    delay: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        """Refuse terms that make no sense."""
        if self.url is not None and not is_url(self.url):
            raise ValueError(f"url: http:// or https:// and a host, not {self.url!r}")
        if not self.retry_delays:
            raise ValueError("retry_delays: at least one, for it is repeated without limit")
        if min((*self.retry_delays, self.delay, self.bundling or self.delay)) < timedelta():
            raise ValueError("retry_delays, delay, bundling: not negative")
        if self.timeout <= timedelta():
            raise ValueError(f"timeout: longer than 0 seconds, not {self.timeout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Whom to tell of what (WSREF, S26). `delay` and `package` are its config, told in bytes."""

    id: str
    title: str
    url: str
    types: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    delay: timedelta = timedelta(seconds=1)
    package: int = 51200
    enabled: bool = False
    created_at: datetime
    updated_at: datetime

    def wants(self, event_type: str) -> bool:
        """Tell whether an event is for this subscription."""
        category = event_type.partition(".")[0]
        if event_type == TEST_TYPE or category in self.types:
            return True
        return ALL in self.types and category not in self.excluded


@dataclass(frozen=True, slots=True)
class Event:
    """One event for one subscription, as its body says."""

    id: str
    notice: Notice
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One body on its way to one subscription. `attempt` counts from 1; `id` is for the record."""

    id: str
    subscription_id: str
    events: tuple[Event, ...]
    attempt: int = 1

    @property
    def lane(self) -> str:
        """One delivery of a subscription at a time."""
        return self.subscription_id

    @property
    def body(self) -> bytes:
        """What is sent (PRX): the events, ascending by their moments."""
        ordered = sorted(self.events, key=lambda event: event.notice.at)
        return ('{"payload":[' + ",".join(event.text for event in ordered) + "]}").encode()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the record: an event, and what became of the delivery that carried it."""

    event: Event
    subscription_id: str
    delivery: Delivery | None
    at: datetime
    outcome: Outcome
    status: int | None = None


class UpvestWebhooks:
    """The subscriptions, and the deliveries that are due.

    `faults` are asked for when a notice comes in. `on_due` is called when something becomes due.
    """

    def __init__(self, terms: UpvestWebhookTerms, agenda: Agenda, *, seed: str) -> None:
        self.due: deque[Delivery] = deque()
        self.on_due: Callable[[], None] | None = None
        self.keys = WebhookKeys(seed=seed)
        self.attempts: list[Attempt] = []
        self.faults: Callable[[], Faults] = Faults
        self._terms = terms
        self._agenda = agenda
        self._seed = seed
        self._subscriptions: dict[str, Subscription] = {}
        self._queues: dict[str, deque[Event]] = {}
        self._under_way: set[str] = set()
        self._numbers: Counter[str] = Counter()

    @property
    def timeout(self) -> timedelta:
        """The time in which a delivery has to be answered."""
        return self._terms.timeout

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return all subscriptions, the oldest first."""
        return tuple(self._subscriptions.values())

    def subscription(self, webhook_id: str) -> Subscription | Problem:
        """Return one subscription, or a 404."""
        if found := self._subscriptions.get(webhook_id):
            return found
        return Problem(Kind.NOT_FOUND, "No such webhook.", "webhook_id")

    def subscribe(self, *, now: datetime, **fields: Any) -> Subscription | Problem:  # noqa: ANN401 - the fields of a subscription
        """Add a subscription, not enabled unless the fields say so; 409 beyond the limit."""
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            return Problem(Kind.CONFLICT, f"There are {SUBSCRIPTIONS_MAX} webhooks already.")
        made = Subscription(id=self._new_id("webhook"), created_at=now, updated_at=now, **fields)
        self._subscriptions[made.id] = made
        self._queues[made.id] = deque()
        return made

    def change(
        self, webhook_id: str, changes: Mapping[str, Any], *, now: datetime
    ) -> Subscription | Problem:
        """Replace some fields of a subscription, by their names."""
        found = self.subscription(webhook_id)
        if isinstance(found, Problem):
            return found
        changed = replace(found, **changes, updated_at=now)
        self._subscriptions[webhook_id] = changed
        return changed

    def unsubscribe(self, webhook_id: str) -> Subscription | Problem:
        """Remove a subscription; what was to be delivered to it is not sent any more."""
        found = self.subscription(webhook_id)
        if isinstance(found, Subscription):
            del self._subscriptions[webhook_id], self._queues[webhook_id]
        return found

    def hear(self, notice: Notice) -> None:
        """Put an event into the queue of everybody who wants it."""
        for subscription in self.subscriptions():
            if subscription.enabled and subscription.wants(notice.type):
                self._queue(notice, subscription)

    def test(self, webhook_id: str, *, now: datetime) -> Problem | None:
        """Send a test event to a subscription, be it enabled or not."""
        found = self.subscription(webhook_id)
        if isinstance(found, Problem):
            return found
        event = self._event(Notice(TEST_TYPE, now, webhook_id, {"id": webhook_id}), found)
        self._due_at(now, self._delivery(found.id, (event,)))
        return None

    def counted(self) -> dict[str, int]:
        """Return how many attempts at events came to which outcome."""
        return dict(Counter(attempt.outcome.value for attempt in self.attempts))

    def letter(self, delivery: Delivery, *, at: int) -> Letter | None:
        """Return a delivery as it is sent `at` (unix seconds); None when nobody is there."""
        found = self._subscriptions.get(delivery.subscription_id)
        is_test = delivery.events[0].notice.type == TEST_TYPE
        if found is None or not (found.enabled or is_test):
            self._under_way.discard(delivery.subscription_id)
            return None
        body = delivery.body
        return Letter(found.url, self.keys.headers(found.url, body, at=at), body)

    def note(self, delivery: Delivery, status: int | None, *, now: datetime) -> None:
        """Write down how an attempt was answered; without a 200 it is repeated (WHH)."""
        outcome = Outcome.of(status)
        if outcome is Outcome.DELIVERED and status != _DELIVERED:
            outcome = Outcome.REFUSED
        self.attempts += [
            Attempt(event, delivery.subscription_id, delivery, now, outcome, status)
            for event in delivery.events
        ]
        # A test is not repeated; that is inferred.
        if delivery.events[0].notice.type == TEST_TYPE:
            return
        if outcome is Outcome.DELIVERED:
            self._under_way.discard(delivery.subscription_id)
            self._dispatch(delivery.subscription_id, now)
            return
        pauses = self._terms.retry_delays
        pause = pauses[min(delivery.attempt, len(pauses)) - 1]
        self._due_at(now + pause, replace(delivery, attempt=delivery.attempt + 1))

    def _queue(self, notice: Notice, subscription: Subscription) -> None:
        event = self._event(notice, subscription)
        if self._strikes(WEBHOOK_LOST, event):
            attempt = Attempt(event, subscription.id, None, notice.at, Outcome.LOST)
            self.attempts.append(attempt)
            return
        late = self._terms.delay if self._strikes(WEBHOOK_DELAYED, event) else timedelta()
        copies = 2 if self._strikes(WEBHOOK_DOUBLED, event) else 1

        def arrive(at: datetime) -> None:
            if (queue := self._queues.get(subscription.id)) is not None:
                queue.extend((event,) * copies)
                bundling = self._terms.bundling
                gathered = subscription.delay if bundling is None else bundling
                self._agenda.plan(at + gathered, lambda now: self._dispatch(subscription.id, now))

        self._agenda.plan(notice.at + late, arrive)

    def _dispatch(self, subscription_id: str, now: datetime) -> None:
        """Bundle what waits into one delivery, unless another is on its way."""
        queue = self._queues.get(subscription_id)
        if not queue or subscription_id in self._under_way:
            return
        package = self._subscriptions[subscription_id].package
        taken = [queue.popleft()]
        size = _WRAPPING + len(taken[0].text)
        # One big event may exceed the size alone (WSREF).
        while queue and size + len(queue[0].text) + 1 <= package:
            taken.append(queue.popleft())
            size += len(taken[-1].text) + 1
        self._under_way.add(subscription_id)
        self._due_at(now, self._delivery(subscription_id, tuple(taken)))

    def _delivery(self, subscription_id: str, events: tuple[Event, ...]) -> Delivery:
        return Delivery(id=self._new_id("delivery"), subscription_id=subscription_id, events=events)

    def _event(self, notice: Notice, subscription: Subscription) -> Event:
        document: Document = {
            "id": self._new_id("event"),
            "created_at": instant(notice.at),
            "type": notice.type,
            "object": notice.object,
            "webhook_id": subscription.id,
        }
        return Event(document["id"], notice, json.dumps(document, separators=(",", ":")))

    def _new_id(self, kind: str) -> str:
        self._numbers[kind] += 1
        return uuid(self._seed, kind, str(self._numbers[kind]))

    def _strikes(self, name: str, event: Event) -> bool:
        return fraction(self._seed, name, event.id) < self.faults().share(name)

    def _due_at(self, at: datetime, delivery: Delivery) -> None:
        def fall_due(_at: datetime) -> None:
            self.due.append(delivery)
            if self.on_due is not None:
                self.on_due()

        self._agenda.plan(at, fall_due)
