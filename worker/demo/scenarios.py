"""What the demo asks for, and how each of it has to end.

Data only: messages and expectations. When and how they are published is not said here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_JSON: Final = "application/json"
_PAID: Final = frozenset({"completed", "failed"})
_REJECTED: Final = frozenset({"rejected"})


class Again(StrEnum):
    """When the first message of a scenario is sent once more, exactly as it was."""

    IN_FLIGHT = "in flight"
    AFTER_THE_END = "after the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it is published.

    `name` is the id the worker goes by, None when there is none. It travels as the AMQP property
    unless `is_property` says that it stands elsewhere (CloudEvents).
    """

    name: str | None
    body: bytes = field(repr=False)
    is_property: bool = True
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    wants_answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Some messages with one point to make.

    `ends` are the statuses in which each of its requests may end, `withdrawals` how many the
    provider has to hold then, `dead_letters` the reasons under which something of it has to lie
    among the dead letters. `is_last` holds it back until all others have ended.
    """

    title: str
    messages: tuple[Message, ...]
    ends: frozenset[str] = _REJECTED
    withdrawals: int = 0
    dead_letters: tuple[str, ...] = ()
    again: Again | None = None
    is_last: bool = False

    @property
    def ids(self) -> frozenset[str]:
        """The message ids in it."""
        return frozenset(m.name for m in self.messages if m.name is not None)

    @property
    def wants_answers(self) -> bool:
        """Whether its events are to come to the asker's own queue as well."""
        return any(message.wants_answer for message in self.messages)

    @property
    def publications(self) -> int:
        """How many messages are published for it in all."""
        return len(self.messages) + (self.again is not None)


def interleaved(scenarios: Iterable[Scenario]) -> list[Message]:
    """Deal the messages out, one of each scenario in turn: as mixed as they come in real life."""
    rounds = zip_longest(*(scenario.messages for scenario in scenarios))
    return [message for message in chain.from_iterable(rounds) if message is not None]


def _request(number: int, **changes: object) -> dict[str, Any]:
    return {
        "provider": "bluum",
        "investor_id": f"inv_{number % 8 + 1:02}",
        "amount": f"{25 + 17 * number}.{number % 4 * 25:02}",
        "currency": "USD",
        "method": "ach",
        "funding_source_id": f"fs_{number % 8 + 1:02}",
        "description": "Monthly withdrawal",
    } | changes


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _message(name: str | None, number: int = 1, **changes: object) -> Message:
    return Message(name=name, body=_written(_request(number, **changes)))


def _method(title: str, method: str) -> Scenario:
    messages = tuple(
        _message(f"{method}-{number:02}", number, method=method) for number in range(1, 11)
    )
    return Scenario(title=title, messages=messages, ends=_PAID, withdrawals=len(messages))


def _cloud_events() -> Scenario:
    binary = Message(
        name="cloud-event-binary",
        is_property=False,
        body=_written(_request(3)),
        headers={
            "cloudEvents:specversion": "1.0",
            "cloudEvents:id": "cloud-event-binary",
            "cloudEvents:type": "com.example.withdrawal.requested",
            "cloudEvents:source": "/demo",
        },
    )
    structured = Message(
        name="cloud-event-structured",
        is_property=False,
        content_type="application/cloudevents+json",
        body=_written(
            {
                "specversion": "1.0",
                "id": "cloud-event-structured",
                "type": "com.example.withdrawal.requested",
                "source": "/demo",
                "datacontenttype": _JSON,
                "data": _request(4),
            }
        ),
    )
    title = "CloudEvents, both modes"
    return Scenario(title=title, messages=(binary, structured), ends=_PAID, withdrawals=2)


def _answered() -> Scenario:
    message = Message(name="answered", body=_written(_request(5)), wants_answer=True)
    return Scenario(
        title="Wants answers (reply_to)", messages=(message,), ends=_PAID, withdrawals=1
    )


def _repeated(title: str, name: str, again: Again) -> Scenario:
    return Scenario(
        title=title, messages=(_message(name, 6),), ends=_PAID, withdrawals=1, again=again
    )


def _refused(title: str, investor_id: str) -> Scenario:
    message = _message(investor_id.removeprefix("inv_"), investor_id=investor_id)
    return Scenario(title=title, messages=(message,))


UNKNOWN: Final = _refused("Unknown investor", "inv_unknown_01")
SCENARIOS: Final = (
    _method("ACH", "ach"),
    _method("Wire", "wire"),
    _method("International wire", "international_wire"),
    _method("Manual bank transfer", "manual_bank_transfer"),
    _cloud_events(),
    _answered(),
    _repeated("Sent again in flight", "again-in-flight", Again.IN_FLIGHT),
    _repeated("Sent again after its end", "again-after-the-end", Again.AFTER_THE_END),
    Scenario(
        title="Same id, another amount",
        messages=(_message("reused", amount="10.00"), _message("reused", amount="99.00")),
        ends=_PAID,
        withdrawals=1,
        dead_letters=("message_id_reused",),
    ),
    Scenario(
        title="Fails at the provider",
        messages=(_message("failing", investor_id="inv_failing_01"),),
        ends=frozenset({"failed"}),
        withdrawals=1,
    ),
    _refused("More than there is", "inv_poor_01"),
    UNKNOWN,
    _refused("Blocked investor", "inv_blocked_01"),
    Scenario(
        title="Amount not a string",
        messages=(_message("number", amount=500.0),),
        dead_letters=("invalid",),
    ),
    Scenario(
        title="No message id",
        messages=(_message(None, 7),),
        dead_letters=("missing_message_id",),
    ),
    Scenario(
        title="Not JSON, after all that",
        messages=(Message(name="malformed", body=b'{"provider":"bluum","amount":'),),
        dead_letters=("malformed",),
        is_last=True,
    ),
)
