"""How far a scenario has come, and whether it came out as it has to.

Pure: a scenario and what was seen in, a row of the table out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.withdrawal import idempotency_key
from worker.demo.audit import ENDS, once
from worker.demo.evidence import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.demo.audit import Buried, Heard, Seen
    from worker.demo.scenarios import Scenario

#: Where a request stands of which no event has come.
SENT: Final = "sent"
DEAD_LETTER: Final = "dead letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scenario as it stands.

    `standing` counts its requests by where they stand, `answers` the events that came to the
    asker's own queue as well. `is_settled` says that all that has to come has come, `is_right` that
    it is what had to come.
    """

    title: str
    sent: int
    withdrawals: int
    events: int
    answers: int
    standing: Mapping[str, int]
    is_settled: bool
    is_right: bool


def outcome(scenario: Scenario, seen: Seen, answers: Iterable[Heard] = ()) -> Outcome:
    """Tell how far a scenario has come."""
    events = [event for event in once(seen.heard) if event.message_id in scenario.ids]
    newest = {event.message_id: event for event in events}
    keys = {idempotency_key(message_id) for message_id in scenario.ids}
    withdrawals = sum(executed.key in keys for executed in seen.executed)
    sent = _sent(scenario, seen)
    reasons = Counter(letter.reason for letter in _dead_letters(scenario, seen))
    answered = once(answer for answer in answers if answer.message_id in scenario.ids)
    is_settled = (
        sent == scenario.publications
        and scenario.ids == {name for name, event in newest.items() if event.status in ENDS}
        and reasons.total() >= len(scenario.dead_letters)
        and len(answered) >= (len(events) if scenario.wants_answers else 0)
    )
    return Outcome(
        title=scenario.title,
        sent=sent,
        withdrawals=withdrawals,
        events=len(events),
        answers=len(answered),
        standing=_standing(scenario, seen, newest) | _labelled(reasons),
        is_settled=is_settled,
        is_right=is_settled
        and withdrawals == scenario.withdrawals
        and reasons == Counter(scenario.dead_letters)
        and all(event.status in scenario.ends for event in newest.values()),
    )


def _sent(scenario: Scenario, seen: Seen) -> int:
    messages = _messages(scenario)
    return sum((message.message_id, message.content) in messages for message in seen.sent)


def _dead_letters(scenario: Scenario, seen: Seen) -> set[Buried]:
    """Return the different dead letters of a scenario: a crash may bury one message twice."""
    messages = _messages(scenario)
    return {letter for letter in seen.buried if (letter.message_id, letter.content) in messages}


def _messages(scenario: Scenario) -> set[tuple[str | None, str]]:
    return {(message.name, content_of(message.body)) for message in scenario.messages}


def _standing(scenario: Scenario, seen: Seen, newest: Mapping[str, Heard]) -> Counter[str]:
    sent = scenario.ids & {message.message_id for message in seen.sent}
    return Counter(_place(newest[name]) if name in newest else SENT for name in sent)


def _place(event: Heard) -> str:
    if event.status == "rejected" and event.reason:
        return f"rejected: {_words(event.reason)}"
    return event.status


def _words(code: str) -> str:
    return code.replace("_", " ")


def _labelled(reasons: Counter[str]) -> Counter[str]:
    return Counter({f"{DEAD_LETTER}: {_words(reason)}": count for reason, count in reasons.items()})
