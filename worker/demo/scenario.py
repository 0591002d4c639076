"""What a scenario is: messages, what is done on their way, and how all of it has to end.

Types only. The scenarios themselves stand in `scenarios`, and who carries them out in `play`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

JSON: Final = "application/json"
#: In `Scenario.told`, an event of any type that says that an end was taken back.
REVERSAL: Final = "reversal"


class Start(StrEnum):
    """When the messages of a scenario are published."""

    AT_ONCE = "at once"
    #: Once the worker is back after it was killed.
    RESTARTED = "restarted"
    #: Once everything else has ended.
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it is published.

    `name` is the id the worker goes by, None when there is none. It travels as the AMQP property
    unless `is_property` says that it stands elsewhere (CloudEvents). `cancels` is the request that
    it wants cancelled, None when it is a request itself.
    """

    name: str | None
    body: bytes = field(repr=False)
    is_property: bool = True
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    wants_answer: bool = False
    cancels: str | None = None


@dataclass(frozen=True, slots=True)
class Deposit:
    """Cash comes into an investor's wallet."""

    investor_id: str
    amount: str


@dataclass(frozen=True, slots=True)
class Return:
    """The bank takes back what was paid to the scenario's request."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """Somebody without the secret posts a webhook: the scenario's withdrawal has failed."""


Deed: TypeAlias = Message | Deposit | Return | Forgery


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that is done once one of these words was told of the scenario's first request."""

    after: frozenset[str]
    does: Deed


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Some messages with one point to make.

    `ends` are the statuses in which each of its requests may end, `withdrawals` how many the
    provider has to hold then, `dead_letters` the reasons under which something of it has to lie
    among the dead letters. `told` counts the events that are out of the ordinary, `effects` what
    happens at the provider besides withdrawals: neither more nor less of them may come. `filled` is
    what its last event has to say of its sell orders. `refusals` are the HTTP statuses with which
    its forgeries have to be answered. With `unlooked_for` each end has to be told sooner than that
    after the status before it: no look is due by then, so only a webhook can have told the worker.
    """

    title: str
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...] = ()
    start: Start = Start.AT_ONCE
    ends: frozenset[str] = frozenset({"rejected"})
    withdrawals: int = 0
    dead_letters: tuple[str, ...] = ()
    told: Mapping[str, int] = field(default_factory=dict)
    effects: Mapping[str, int] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    unlooked_for: timedelta | None = None

    @property
    def ids(self) -> frozenset[str]:
        """The message ids of its requests."""
        return frozenset(
            message.name
            for message in self.messages
            if message.name is not None and message.cancels is None
        )

    @property
    def subjects(self) -> frozenset[str]:
        """The ids under which events of it come: also of a request that never was."""
        return self.ids | {message.cancels for message in self.published if message.cancels}

    @property
    def published(self) -> tuple[Message, ...]:
        """Every message, once for each time it is published."""
        return (*self.messages, *(t.does for t in self.turns if isinstance(t.does, Message)))

    @property
    def wants_answers(self) -> bool:
        """Whether its events are to come to the asker's own queue as well."""
        return any(message.wants_answer for message in self.messages)


def interleaved(scenarios: Iterable[Scenario]) -> list[Message]:
    """Deal the messages out, one of each scenario in turn: as mixed as they come in real life."""
    rounds = zip_longest(*(scenario.messages for scenario in scenarios))
    return [message for message in chain.from_iterable(rounds) if message is not None]
