"""How far a scenario has come, and whether it came out as it has to.

Pure: a scenario and what was seen in, a row of the table out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from worker.core.sale import sale_key
from worker.core.withdrawal import idempotency_key
from worker.demo.audit import ENDS, HELD, Heard, once
from worker.demo.evidence import content_of
from worker.demo.scenario import REVERSAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.demo.audit import Buried, Seen
    from worker.demo.scenario import Scenario

#: Where a request stands of which no event has come.
SENT: Final = "sent"
DEAD_LETTER: Final = "dead letter"
TAKEN_BACK: Final = "taken back"
#: Tells of a cancellation, not of where its request stands.
CANCEL_REFUSED: Final = "cancel_refused"
#: The events that are no step on everybody's way.
_SPECIAL: Final = frozenset({"raising_cash", "awaiting_funds", CANCEL_REFUSED, REVERSAL})
_WITHDRAWAL: Final = "withdrawal"
#: The cash of a sale comes in; where it is settled, only with that.
_SOLD: Final = frozenset({"fill", "settlement"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One scenario as it stands.

    `standing` counts its requests by where they stand, `answers` the events that came to the
    asker's own queue as well. `told` counts the events out of the ordinary, `filled` is what was
    sold, `refusals` are the answers to its forgeries, and `hastened` is after how many seconds a
    webhook told of the end, None where it may have been a look. `is_settled` says that all that has
    to come has come, `is_right` that it is what had to come.
    """

    title: str
    sent: int
    withdrawals: int
    events: int
    answers: int
    standing: Mapping[str, int]
    told: Mapping[str, int]
    filled: tuple[str, ...]
    refusals: tuple[int, ...]
    hastened: float | None
    is_settled: bool
    is_right: bool


def outcome(scenario: Scenario, seen: Seen, answers: Iterable[Heard] = ()) -> Outcome:
    """Tell how far a scenario has come."""
    events = [event for event in once(seen.heard) if event.message_id in scenario.subjects]
    newest = standings(events)
    told = Counter(word for word in map(_word, events) if word in _SPECIAL)
    keys = _keys(scenario)
    withdrawals = sum(executed.key in keys for executed in seen.executed)
    course = [effect.kind for effect in seen.effects if effect.key in keys]
    effects = Counter(kind for kind in course if kind != _WITHDRAWAL)
    sent = _sent(scenario, seen)
    reasons = Counter(letter.reason for letter in _dead_letters(scenario, seen))
    answered = once(answer for answer in answers if answer.message_id in scenario.ids)
    filled = _filled(events)
    refusals = tuple(each.http_status for each in seen.forged if each.message_id in scenario.ids)
    hastened = _hastened(scenario, events)
    is_settled = (
        sent == len(scenario.published)
        and scenario.ids == {name for name, event in newest.items() if event.status in ENDS}
        and reasons.total() >= len(scenario.dead_letters)
        and len(answered) >= (len(events) if scenario.wants_answers else 0)
        and told >= Counter(scenario.told)
        and effects >= Counter(scenario.effects)
        and len(refusals) >= len(scenario.refusals)
    )
    return Outcome(
        title=scenario.title,
        sent=sent,
        withdrawals=withdrawals,
        events=len(events),
        answers=len(answered),
        standing=_standing(scenario, seen, newest) | _labelled(reasons),
        told=told,
        filled=filled,
        refusals=refusals,
        hastened=hastened,
        is_settled=is_settled,
        is_right=is_settled
        and withdrawals == scenario.withdrawals
        and reasons == Counter(scenario.dead_letters)
        and all(event.status in scenario.ends for event in newest.values())
        and told == Counter(scenario.told)
        and effects == Counter(scenario.effects)
        and filled == scenario.filled
        and _is_sold_first(course)
        and refusals == scenario.refusals
        and (hastened is not None or scenario.unlooked_for is None),
    )


def standings(events: Iterable[Heard]) -> dict[str, Heard]:
    """Return for each request the newest event that tells where it stands."""
    return {event.message_id: event for event in once(events) if event.status != CANCEL_REFUSED}


def _word(event: Heard) -> str:
    return REVERSAL if event.reversal else event.status


def _keys(scenario: Scenario) -> set[str]:
    """Return the keys under which something may happen at the provider for a scenario."""
    sales = {
        sale_key(name, index) for name in scenario.ids for index in range(len(scenario.filled))
    }
    return sales | {idempotency_key(name) for name in scenario.ids}


def _filled(events: Sequence[Heard]) -> tuple[str, ...]:
    """Return how much of each order is sold, as the newest event that knows of orders says."""
    told = [event.orders for event in events if event.orders]
    return tuple(order.filled for order in told[-1]) if told else ()


def _is_sold_first(course: Sequence[str]) -> bool:
    """Tell whether nothing was withdrawn before all was sold."""
    return _SOLD.isdisjoint(dropwhile(lambda kind: kind != _WITHDRAWAL, course))


def _hastened(scenario: Scenario, events: Sequence[Heard]) -> float | None:
    """Return the seconds from the last status to the end, if no look can have told of the end."""
    match [event for event in events if event.status in HELD][-2:]:
        case [Heard(at=datetime() as last), Heard(at=datetime() as ended, status=status)]:
            passed, limit = ended - last, scenario.unlooked_for
            is_sure = limit is not None and passed < limit and status in scenario.ends
            return passed.total_seconds() if is_sure else None
        case _:
            return None


def _sent(scenario: Scenario, seen: Seen) -> int:
    messages = _messages(scenario)
    published = (*seen.sent, *seen.cancels)
    return sum((message.message_id, message.content) in messages for message in published)


def _dead_letters(scenario: Scenario, seen: Seen) -> set[Buried]:
    """Return the different dead letters of a scenario: a crash may bury one message twice."""
    messages = _messages(scenario)
    return {letter for letter in seen.buried if (letter.message_id, letter.content) in messages}


def _messages(scenario: Scenario) -> set[tuple[str | None, str]]:
    return {(message.name, content_of(message.body)) for message in scenario.published}


def _standing(scenario: Scenario, seen: Seen, newest: Mapping[str, Heard]) -> Counter[str]:
    sent = scenario.ids & {message.message_id for message in seen.sent}
    return Counter(_place(newest[name]) if name in newest else SENT for name in sent)


def _place(event: Heard) -> str:
    if event.reversal:
        return TAKEN_BACK
    if event.status == "rejected" and event.reason:
        return f"rejected: {_words(event.reason)}"
    return event.status


def _words(code: str) -> str:
    return code.replace("_", " ")


def _labelled(reasons: Counter[str]) -> Counter[str]:
    return Counter({f"{DEAD_LETTER}: {_words(reason)}": count for reason, count in reasons.items()})
