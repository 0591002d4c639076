"""A run in numbers, for the summary. Pure; whether the numbers are good is the audit's business."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.demo.audit import ENDS, once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.demo.audit import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was seen, counted.

    `requests` are the different messages, so that `messages` less `requests` are copies; of them
    `ended` came to an end that an event told, `buried` lie among the dead letters and have no other
    end, and `lost` have neither. `cancels` are all messages that ask for a cancellation. `effects`
    counts what happened at the provider besides withdrawals, by kind, `webhooks` its attempts to
    tell of it, by outcome. `events` counts each event once by its status, `repeats` is what came
    more than once.
    """

    messages: int
    requests: int
    ended: int
    buried: int
    lost: int
    cancels: int
    withdrawals: int
    effects: Mapping[str, int]
    webhooks: Mapping[str, int]
    events: Mapping[str, int]
    repeats: int
    dead_letters: Mapping[str, int]


def tally(seen: Seen) -> Tally:
    """Count what was seen."""
    events = once(seen.heard)
    ended = {event.message_id for event in events if event.status in ENDS}
    requests = _numbers(seen)
    unburied = requests - Counter((letter.message_id, letter.content) for letter in seen.buried)
    open_of: defaultdict[str | None, int] = defaultdict(int)
    for (message_id, _), count in unburied.items():
        open_of[message_id] += count
    lost = sum(count - (message_id in ended) for message_id, count in open_of.items())
    return Tally(
        messages=len(seen.sent),
        requests=requests.total(),
        ended=len(ended),
        buried=requests.total() - len(ended) - lost,
        lost=lost,
        cancels=len(seen.cancels),
        withdrawals=len(seen.executed),
        effects=Counter(each.kind for each in seen.effects if each.kind != "withdrawal"),
        webhooks=Counter(delivery.outcome for delivery in seen.deliveries),
        events=Counter(event.status for event in events),
        repeats=len(seen.heard) - len(events),
        dead_letters=Counter(letter.reason for letter in seen.buried),
    )


def _numbers(seen: Seen) -> Counter[tuple[str | None, str]]:
    """Count the different messages. Only an id makes a second one a copy of the first."""
    sent = Counter((message.message_id, message.content) for message in seen.sent)
    return Counter({key: count if key[0] is None else 1 for key, count in sent.items()})
