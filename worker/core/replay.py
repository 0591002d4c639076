"""What a replay of a dead letter would lead to, and which dead letters are meant.

Pure. A forecast is for the person who decides: nothing here protects from paying twice, the ledger
does that when the message comes in again, whatever was forecast."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from worker.core.cancellations import Cancel
from worker.core.messages import DeadReason, Misread, Understood
from worker.core.withdrawal import ReasonCode, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from worker.core.withdrawal import Withdrawal


#: How a worker reads a message again.
Reading: TypeAlias = Understood | Cancel | Misread

#: The reason of a letter that the broker dead-lettered by itself; the detail holds its word.
BY_THE_BROKER: Final = "broker"
REASONS: Final = (*(reason.value for reason in DeadReason), BY_THE_BROKER)


class Asks(StrEnum):
    """What a message asks for, told by the queue from which it came."""

    REQUEST = "request"
    CANCELLATION = "cancellation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter as its properties tell of it; the body is not in here.

    `id` is the same whenever the letter is read, and another once it was replayed and buried anew.
    `message_id` is as the producer wrote it, for people: odd bytes are lone surrogates. `size` is
    the body's, in bytes. `asks` is None when nobody can tell where the message came from.
    """

    id: str
    message_id: str | None
    reason: str
    detail: str
    buried_at: datetime | None
    origin: str | None
    size: int
    asks: Asks | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a message id: the withdrawal, and of which content it was made."""

    withdrawal: Withdrawal
    fingerprint: bytes = field(repr=False)


class Prospect(StrEnum):
    """Who acts when a letter is replayed: the provider, the ledger, or first a person."""

    SEND = "safe to send"
    LOOK_UP = "look-up only"
    PERSON = "needs a person"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a replay leads to; `calls` are the create calls at `provider` that it costs."""

    prospect: Prospect
    why: str
    provider: str | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are meant: those that fit every condition that is given.

    `ids` holds ids of letters and of messages; either kind fits. A letter without a known age fits
    no age.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    def takes(self, letter: Letter, *, now: datetime) -> bool:
        """Tell whether a letter is meant."""
        if self.ids and not self.names(letter):
            return False
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.older_than is None and self.newer_than is None:
            return True
        if letter.buried_at is None:
            return False
        age = now - letter.buried_at
        return (self.older_than is None or age >= self.older_than) and (
            self.newer_than is None or age <= self.newer_than
        )

    def names(self, letter: Letter) -> bool:
        """Tell whether a letter is meant by its id or its message's id."""
        return letter.id in self.ids or letter.message_id in self.ids


@dataclass(frozen=True, slots=True)
class Planned:
    """One letter of a plan; `goes` tells whether it will be replayed."""

    letter: Letter
    forecast: Forecast
    goes: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay will do, letter by letter."""

    letters: tuple[Planned, ...]

    @property
    def going(self) -> tuple[str, ...]:
        """The ids of the letters that will be replayed; letters that are alike have one id."""
        return tuple(planned.letter.id for planned in self.letters if planned.goes)

    def by_prospect(self) -> dict[Prospect, int]:
        """Count the letters by what a replay of them leads to; each word is there."""
        counts = Counter(planned.forecast.prospect for planned in self.letters)
        return {prospect: counts[prospect] for prospect in Prospect}

    def by_why(self) -> dict[tuple[Prospect, str, bool], int]:
        """Count the letters by prospect, its why, and whether they go; the order is the words'."""
        counts = Counter((p.forecast.prospect, p.forecast.why, p.goes) for p in self.letters)
        order = list(Prospect)
        return dict(sorted(counts.items(), key=lambda pair: (order.index(pair[0][0]), pair[0])))

    def calls(self) -> dict[str, int]:
        """Count the create calls by provider that the replay costs."""
        calls: Counter[str] = Counter()
        for planned in self.letters:
            if planned.goes and planned.forecast.provider is not None:
                calls[planned.forecast.provider] += planned.forecast.calls
        return dict(sorted((+calls).items()))

    def seconds(self, limits: Mapping[str, float]) -> float:
        """Return how long these calls take at the providers' limits, in requests a second each."""
        return max((calls / limits[name] for name, calls in self.calls().items()), default=0.0)


class Forecaster:
    """Forecasts letters in the order in which they will be replayed: the first may spend an id."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[Letter, bytes]] = {}

    def __call__(
        self,
        letter: Letter,
        message: Reading | None,
        known: Known | None,
        *,
        now: datetime,
    ) -> Forecast:
        """Forecast one letter.

        `message` is how a worker will read it, None when its properties cannot be read. `known` is
        what the ledger says of its id, where it asks for a withdrawal.
        """
        match letter.asks:
            case None:
                return _person("it came from a queue that is not the worker's")
            case Asks.CANCELLATION:
                return _cancellation(letter, message)
            case Asks.REQUEST:
                return self._request(letter, message, known, now)
            case _:  # pragma: no cover
                assert_never(letter.asks)

    def _request(
        self,
        letter: Letter,
        message: Reading | None,
        known: Known | None,
        now: datetime,
    ) -> Forecast:
        if not isinstance(message, Understood | Misread):
            return _unreadable()
        if known is not None:
            return _known(message, known)
        if letter.reason == DeadReason.MESSAGE_ID_REUSED:
            return _person("its id was used for other content, the request needs a new id")
        if isinstance(message, Misread):
            return _person(f"{message.reason}, a worker would bury it again")
        sent = self._sent.setdefault(message.message_id, (letter, message.fingerprint))
        if sent[1] != message.fingerprint:
            return _person("another dead letter has its id and other content")
        if sent[0] is not letter:
            return Forecast(Prospect.LOOK_UP, "the same message goes out just before it")
        not_after = message.request.not_after
        if not_after is not None and now > not_after:
            why = "unknown to the ledger and too late: it is recorded as rejected, nothing is sent"
            return Forecast(Prospect.SEND, why, message.provider)
        why = "unknown to the ledger: it is taken in as new"
        return Forecast(Prospect.SEND, why, message.provider, calls=1)


def _known(message: Understood | Misread, known: Known) -> Forecast:
    withdrawal = known.withdrawal
    reason = withdrawal.reason
    if reason is not None and reason.code is ReasonCode.INVALID_REQUEST:
        return _person("rejected as invalid, its id is spent: a corrected request needs a new id")
    if known.fingerprint != message.fingerprint:
        return _person("its id was used for other content, the request needs a new id")
    if withdrawal.status is Status.UNRESOLVED:
        return _person("unresolved, a person has to settle it: withdrawals-worker resolve")
    provider = withdrawal.order.provider
    if withdrawal.in_doubt:
        why = "in doubt: it is looked up at the provider before anything is sent"
    elif withdrawal.is_finished:
        why = "finished: at most its events are published"
    else:
        why = "in flight: the ledger already follows it"
    return Forecast(Prospect.LOOK_UP, why, provider)


def _cancellation(letter: Letter, message: Reading | None) -> Forecast:
    if letter.reason == DeadReason.MESSAGE_ID_REUSED:
        return _person("its id was used for another cancellation, it needs a new id")
    if isinstance(message, Misread):
        return _person(f"a cancellation, {message.reason}: a worker would bury it again")
    if message is None:
        return _unreadable()
    return Forecast(Prospect.SEND, "a cancellation: it is tried again, and has one effect")


def _unreadable() -> Forecast:
    return _person("its properties cannot be read, a worker would bury it again")


def _person(why: str) -> Forecast:
    return Forecast(Prospect.PERSON, why)
