"""Webhook subscriptions of the simulated Bluum, and which delivery is due when.

Pure: it sends nothing. What is due waits here until it is taken, so that the one
who sends may be slow; deliveries of one resource keep their order unless a fault or a retry breaks
it. Bluum promises neither order nor single delivery (CW, PW)."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.bluum_refusals import Code, Refusal
from worker.simulator.chance import fraction, token
from worker.simulator.clock import instant
from worker.simulator.faults import WEBHOOK_DELAYED, WEBHOOK_DOUBLED, WEBHOOK_LOST, Faults
from worker.simulator.mail import Letter, Outcome, is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.simulator.agenda import Agenda
    from worker.simulator.bluum_notices import Notice

#: Subscriptions of one tenant; undocumented, but everything has a limit.
SUBSCRIPTIONS_MAX: Final = 100


class Activity(StrEnum):
    """Whether a subscription is served (WHR)."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class EventKey(StrEnum):
    """Under which key a body names its event: `event` (PW, WS) or `event_type` (NB)."""

    EVENT = "event"
    EVENT_TYPE = "event_type"


class WebhookShape(StrEnum):
    """How the management calls answer: `{status, data}` in camelCase (WHR), or flat (JH)."""

    WRAPPED = "wrapped"
    FLAT = "flat"


class Algorithm(StrEnum):
    """The hash under a signature's HMAC."""

    SHA256 = "sha256"
    SHA512 = "sha512"


class Encoding(StrEnum):
    """How a signature is written."""

    HEX = "hex"
    BASE64 = "base64"


class SignedContent(StrEnum):
    """What is signed: the body, or the timestamp's text, a dot, and the body."""

    BODY = "body"
    TIMESTAMP_AND_BODY = "timestamp.body"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTerms:
    """How webhooks are delivered; ValueError naming the field when a term makes no sense.

    The signature is `prefix` and the HMAC under the subscription's secret, in `header`; no page
    documents it. A `timestamp_header` carries the real time in unix seconds. `secret` is that of
    all subscriptions, else each has its own. A delivery without a 2xx within `timeout` is repeated
    after each of `retry_delays` (Bluum's own are about 1 min, 5 min, 30 min, 2 h, 8 h),
    and then given up. `delay` is by how much a delayed one comes late. `url` is subscribed to
    everything from the start.
    """

    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    header: str = "X-Bluum-Signature"
    algorithm: Algorithm = Algorithm.SHA256
    encoding: Encoding = Encoding.HEX
    prefix: str = ""
    timestamp_header: str | None = None
    signed_content: SignedContent = SignedContent.BODY
    event_key: EventKey = EventKey.EVENT
    shape: WebhookShape = WebhookShape.WRAPPED
    retry_delays: tuple[timedelta, ...] = tuple(timedelta(seconds=2**n) for n in range(5))
    timeout: timedelta = timedelta(seconds=30)
    delay: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        """Refuse terms that make no sense."""
        if not self.header or self.timestamp_header == "" or self.secret == "":
            raise ValueError("header, timestamp_header, secret: not empty")
        if self.timestamp_header is None and self.signed_content is not SignedContent.BODY:
            raise ValueError("signed_content: timestamp.body needs a timestamp_header")
        if self.url is not None and not is_url(self.url):
            raise ValueError(f"url: http:// or https:// and a host, not {self.url!r}")
        if min((*self.retry_delays, self.delay)) < timedelta():
            raise ValueError("retry_delays, delay: not negative")
        if self.timeout <= timedelta():
            raise ValueError(f"timeout: longer than 0 seconds, not {self.timeout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Whom to tell of what (WHR)."""

    id: str
    url: str
    event_types: tuple[str, ...]
    name: str
    description: str | None
    secret: str = field(repr=False)
    activity: Activity = Activity.ACTIVE
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One body on its way to one subscription. `attempt` counts from 1; `id` is for the record.

    Nothing of it but the body is sent: Bluum documents no id of a delivery or an event.
    """

    id: str
    subscription_id: str
    event: str
    resource_id: str
    body: bytes
    attempt: int = 1

    @property
    def lane(self) -> str:
        """The deliveries of one resource to one subscription keep their order."""
        return f"{self.subscription_id} {self.resource_id}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the record; `status` is the HTTP status, if there was one."""

    delivery: Delivery
    at: datetime
    outcome: Outcome
    status: int | None = None


class Webhooks:
    """The subscriptions, and the deliveries that are due.

    `faults` are asked for when a notice comes in. `on_due` is called when something becomes due.
    """

    def __init__(self, terms: WebhookTerms, agenda: Agenda, *, seed: str) -> None:
        self.terms = terms
        self.due: deque[Delivery] = deque()
        self.attempts: list[Attempt] = []
        self.faults: Callable[[], Faults] = Faults
        self.on_due: Callable[[], None] | None = None
        self._agenda = agenda
        self._seed = seed
        self._subscriptions: dict[str, Subscription] = {}
        self._made = 0
        self._heard = 0

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return all subscriptions, the oldest first."""
        return tuple(self._subscriptions.values())

    def subscription(self, webhook_id: str) -> Subscription | Refusal:
        """Return one subscription, or a 404-001."""
        if found := self._subscriptions.get(webhook_id):
            return found
        return Refusal(Code.NOT_FOUND, "No such webhook.", "webhook_id")

    def subscribe(
        self,
        url: str,
        event_types: tuple[str, ...],
        *,
        name: str,
        description: str | None = None,
        now: datetime,
    ) -> Subscription | Refusal:
        """Add a subscription, also to a URL that has one already; 409-003 beyond the limit."""
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            return Refusal(Code.STATE_FORBIDS, f"There are {SUBSCRIPTIONS_MAX} webhooks already.")
        self._made += 1
        number = str(self._made)
        made = Subscription(
            id="wh_" + token(self._seed, "webhook", number),
            url=url,
            event_types=event_types,
            name=name,
            description=description,
            secret=self.terms.secret or "whsec_" + token(self._seed, "secret", number),
            created_at=now,
        )
        self._subscriptions[made.id] = made
        return made

    def change(self, webhook_id: str, changes: Mapping[str, Any]) -> Subscription | Refusal:
        """Replace some fields of a subscription, by their names; the secret stays as it is."""
        found = self.subscription(webhook_id)
        if isinstance(found, Refusal):
            return found
        self._subscriptions[webhook_id] = replace(found, **changes)
        return self._subscriptions[webhook_id]

    def unsubscribe(self, webhook_id: str) -> Subscription | Refusal:
        """Remove a subscription; what was to be delivered to it is not sent any more."""
        found = self.subscription(webhook_id)
        if isinstance(found, Subscription):
            del self._subscriptions[webhook_id]
        return found

    def hear(self, notice: Notice) -> None:
        """Plan the deliveries of a notice to everybody who wants it."""
        for subscription in self._subscriptions.values():
            is_active = subscription.activity is Activity.ACTIVE
            if is_active and notice.is_wanted(subscription.event_types):
                self._send(notice, subscription)

    def counted(self) -> dict[str, int]:
        """Return how many attempts came to which outcome."""
        return dict(Counter(attempt.outcome.value for attempt in self.attempts))

    @property
    def timeout(self) -> timedelta:
        """The time in which a delivery has to be answered."""
        return self.terms.timeout

    def letter(self, delivery: Delivery, *, at: int) -> Letter | None:
        """Return a delivery as it is sent `at` (unix seconds); None when nobody is there."""
        found = self._subscriptions.get(delivery.subscription_id)
        if found is None or found.activity is not Activity.ACTIVE:
            return None
        headers = {"Content-Type": "application/json"}
        if self.terms.timestamp_header is not None:
            headers[self.terms.timestamp_header] = str(at)
        headers[self.terms.header] = _signature(
            self.terms, secret=found.secret, body=delivery.body, timestamp=str(at)
        )
        return Letter(found.url, headers, delivery.body)

    def note(self, delivery: Delivery, status: int | None, *, now: datetime) -> None:
        """Write down how an attempt was answered, and plan the next one unless by a 2xx (PW).

        None: it was not answered at all.
        """
        outcome = Outcome.of(status)
        self.attempts.append(Attempt(delivery, now, outcome, status))
        if outcome is Outcome.DELIVERED or delivery.attempt > len(self.terms.retry_delays):
            return
        again = replace(delivery, attempt=delivery.attempt + 1)
        self._plan(again, now + self.terms.retry_delays[delivery.attempt - 1])

    def _send(self, notice: Notice, subscription: Subscription) -> None:
        self._heard += 1
        number = str(self._heard)
        delivery = Delivery(
            id="dlv_" + token(self._seed, "delivery", number),
            subscription_id=subscription.id,
            event=notice.event,
            resource_id=notice.data["id"] or "",
            body=self._body(notice),
        )
        if self._strikes(WEBHOOK_LOST, number):
            self.attempts.append(Attempt(delivery, notice.at, Outcome.LOST))
            return
        late = self.terms.delay if self._strikes(WEBHOOK_DELAYED, number) else timedelta()
        self._plan(delivery, notice.at + late)
        if self._strikes(WEBHOOK_DOUBLED, number):
            self._plan(delivery, notice.at + late)

    def _body(self, notice: Notice) -> bytes:
        document = {
            self.terms.event_key.value: notice.event,
            "timestamp": instant(notice.at),
            "data": dict(notice.data),
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def _strikes(self, name: str, number: str) -> bool:
        return fraction(self._seed, name, number) < self.faults().share(name)

    def _plan(self, delivery: Delivery, at: datetime) -> None:
        def fall_due(_at: datetime) -> None:
            self.due.append(delivery)
            if self.on_due is not None:
                self.on_due()

        self._agenda.plan(at, fall_due)


def _signature(terms: WebhookTerms, *, secret: str, body: bytes, timestamp: str) -> str:
    """Return the signature of a body as its header carries it."""
    with_time = terms.signed_content is SignedContent.TIMESTAMP_AND_BODY
    signed = timestamp.encode() + b"." + body if with_time else body
    digest = hmac.digest(secret.encode(), signed, terms.algorithm.value)
    hexadecimal = terms.encoding is Encoding.HEX
    return terms.prefix + (digest.hex() if hexadecimal else b64encode(digest).decode())
