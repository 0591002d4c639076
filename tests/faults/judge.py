"""The auditor: what became of every request, in Jepsen's words, by what was seen from outside.

Pure. It is given the simulator's record, the events and the dead letters; the worker's ledger is
never asked, for it would be wrong in the same way as the worker."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from tests.faults.plan import Fault
from tests.faults.tongues import BLUUM, PAID
from worker.demo.audit import ENDS, Breach, Heard, Seen, audit, once

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tests.faults.messages import Message
    from tests.faults.nemesis import Deed
    from tests.faults.tongues import Tongue

_UNRESOLVED: Final = "unresolved"
_CANCELLED: Final = "cancelled"
#: Tells of a cancellation, not of where a withdrawal stands.
_ASIDE: Final = "cancel_refused"
_ANSWERS: Final = frozenset({_CANCELLED, _ASIDE})


class Fate(StrEnum):
    """What became of one request. All but the first three break a promise."""

    OK = "ok"
    #: It ended as it had to, and a fault of the nemesis struck while it was under way.
    RECOVERED = "recovered"
    #: Left to a person where nobody could know, which the plan foresaw.
    UNRESOLVED = "unresolved"
    LOST = "lost"
    DUPLICATED = "duplicated"
    #: Something happened that nobody asked for.
    UNEXPECTED = "unexpected"
    OUT_OF_ORDER = "out of order"


#: The fates that break a promise; of several the first is told.
BROKEN: Final = (Fate.DUPLICATED, Fate.LOST, Fate.UNEXPECTED, Fate.OUT_OF_ORDER)

_FATES: Final[Mapping[Breach, Fate]] = {
    Breach.DOUBLED: Fate.DUPLICATED,
    Breach.SOLD_TWICE: Fate.DUPLICATED,
    Breach.ENDED_TWICE: Fate.DUPLICATED,
    Breach.SOLD_UNTOLD: Fate.LOST,
    Breach.LOST: Fate.LOST,
    Breach.UNTOLD: Fate.LOST,
    Breach.UNASKED: Fate.UNEXPECTED,
    Breach.UNPAID: Fate.UNEXPECTED,
    Breach.MISNAMED: Fate.UNEXPECTED,
    Breach.ENDED_AND_BURIED: Fate.UNEXPECTED,
    Breach.RESUMED: Fate.UNEXPECTED,
    Breach.STRANGE: Fate.UNEXPECTED,
    Breach.GAP: Fate.OUT_OF_ORDER,
    Breach.SWAPPED: Fate.OUT_OF_ORDER,
    Breach.RENAMED: Fate.OUT_OF_ORDER,
    Breach.ALTERED: Fate.OUT_OF_ORDER,
}
#: Repeated messages hit nothing that is under way.
_REPEATS: Final = frozenset({Fault.REPLAY, Fault.EXPIRY_END})
#: What an unresolved request may look like without breaking anything: it may have been executed or
#: not, and no event tells which.
_OPEN_ENDS: Final = frozenset({Breach.LOST, Breach.UNTOLD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was seen of a run, and when (`time.monotonic`) things happened to a request.

    `foreseen` are the planned messages, `others` lines about what else went wrong in the open: a
    process that ended by itself, a message that stayed in the queue. `answers` are those to
    cancellations, by the message id of the cancellation; `record` is the simulator's, as JSON.
    """

    seen: Seen
    foreseen: tuple[Message, ...]
    sent_at: Mapping[str, float] = field(default_factory=dict)
    ended_at: Mapping[str, float] = field(default_factory=dict)
    deeds: tuple[Deed, ...] = ()
    answers: Mapping[str, Sequence[Heard]] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    tongue: Tongue = BLUUM
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run: the fate of each request, and a line for each breach."""

    fates: Mapping[str, Fate]
    breaches: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> Counter[Fate]:
        """How many requests had each fate."""
        return Counter(self.fates.values())


def judge(evidence: Evidence, *, key_of: Callable[[str], str]) -> Verdict:
    """Return what became of every request; `key_of` derives the key of a message id.

    Of requests that ask for the same, and that nothing tells apart at the provider, it counts that
    each was paid at most once, not by which call.
    """
    evidence = _told_apart(evidence, key_of)
    open_ids = _open_ids(evidence.seen)
    allowed = {m.message_id for m in evidence.foreseen if m.may_stay_open}
    found: list[tuple[str, Fate, str]] = [
        (finding.subject, _FATES[finding.breach], str(finding))
        for finding in audit(evidence.seen, key_of=key_of)
        if not (finding.subject in open_ids and finding.breach in _OPEN_ENDS)
    ]
    found += [
        (message_id, Fate.UNEXPECTED, f"{message_id} is left to a person, for no known reason")
        for message_id in sorted(open_ids - allowed)
    ]
    found += _unforeseen(evidence)
    found += _answered_otherwise(evidence, open_ids)
    found += [
        (name, Fate.UNEXPECTED, line)
        for name, line in untold(evidence, key_of=key_of)
        if name not in open_ids
    ]
    found += _refused_and_done(evidence)
    found += [("", Fate.UNEXPECTED, line) for line in evidence.others]
    return Verdict(
        _fates(evidence, open_ids, found), tuple(f"{fate}: {line}" for _, fate, line in found)
    )


def untold(evidence: Evidence, *, key_of: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Find what stands otherwise at the provider than was told, as (message id, line).

    Of withdrawals and of orders, fills and reversals too; what nobody told at all is not our
    business here.
    """
    evidence = _told_apart(evidence, key_of)
    record, seen, tongue = evidence.record, evidence.seen, evidence.tongue
    asker = {key_of(name): name for name in {event.message_id for event in seen.heard}}
    newest = {event.message_id: event for event in _in_order(seen) if event.status != _ASIDE}
    orders = {order.key: (event, order) for event in _in_order(seen) for order in event.orders}
    lost = {
        attempt["id"]
        for attempt in record.get("webhooks", ())
        if (attempt["event"], attempt["outcome"]) == (tongue.reversal, "lost")
    }
    for effect in record.get("effects", ()):
        match effect["effect"]:
            case "withdrawal" if effect["idempotency_key"] in asker:
                name = asker[effect["idempotency_key"]]
                stands = tongue.told.get(effect["status"], effect["status"])
                told = newest[name].status
                is_unheard = told in PAID and stands not in PAID and effect["id"] in lost
                if told != stands and not is_unheard:
                    yield name, f"{name} was last told to be {told}, and is {stands}"
            case "order" if effect["client_order_id"] in orders:
                event, order = orders[effect["client_order_id"]]
                if effect["filled_quantity"] != order.filled:
                    sold = effect["filled_quantity"]
                    yield event.message_id, f"{effect['id']} sold {sold}, told {order.filled}"
                if effect["status"] in tongue.resting:
                    yield event.message_id, f"{effect['id']} is {effect['status']} for ever"
            case _:
                pass


def _told_apart(evidence: Evidence, key_of: Callable[[str], str]) -> Evidence:
    """Give each withdrawal of requests that are alike the key of the one whose events name it."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for message in evidence.foreseen:
        if message.like is not None and message.may_stay_open:
            groups[message.like] |= {message.like, message.message_id or ""}
    keys: dict[str, str] = {}
    for names in groups.values():
        keys |= _keys(names, evidence.seen, key_of)
    return replace(
        evidence,
        seen=replace(
            evidence.seen,
            executed=tuple(
                replace(one, key=keys.get(one.withdrawal_id, one.key))
                for one in evidence.seen.executed
            ),
        ),
        record={
            **evidence.record,
            "effects": [
                {**effect, "idempotency_key": keys[effect["id"]]}
                if effect["effect"] == "withdrawal" and effect["id"] in keys
                else effect
                for effect in evidence.record.get("effects", ())
            ],
        },
    )


def _keys(names: set[str], seen: Seen, key_of: Callable[[str], str]) -> dict[str, str]:
    """Return a key for each withdrawal of a group of requests, by the provider's id.

    What no event names goes to those of whom no event names any; what is left over keeps its key.
    """
    own = {key_of(name) for name in names}
    theirs = [one.withdrawal_id for one in seen.executed if one.key in own]
    told = {
        event.withdrawal_id: event.message_id
        for event in seen.heard
        if event.message_id in names and event.withdrawal_id in theirs
    }
    nameless = sorted(names - set(told.values()))
    rest = zip((one for one in theirs if one not in told), nameless, strict=False)
    return {one: key_of(name) for one, name in [*told.items(), *rest]}


def _in_order(seen: Seen) -> list[Heard]:
    return sorted(once(seen.heard), key=lambda event: event.sequence)


def _answered_otherwise(
    evidence: Evidence, open_ids: Collection[str]
) -> Iterator[tuple[str, Fate, str]]:
    """Find cancellations that were not answered by exactly one event."""
    for name, of in {m.message_id: m.cancels for m in evidence.foreseen if m.cancels}.items():
        answers = once(evidence.answers.get(name or "", ()))
        told = ", ".join(f"{answer.status} ({answer.sequence})" for answer in answers)
        # What waits for a person keeps whoever wants to cancel it waiting too.
        if not answers and of not in open_ids:
            yield name or "", Fate.LOST, f"{name}, which cancels {of}, has no answer"
        if len(answers) > 1:
            yield name or "", Fate.DUPLICATED, f"{name} has several answers: {told}"
        if {answer.status for answer in answers} - _ANSWERS:
            yield name or "", Fate.UNEXPECTED, f"{name} was answered by {told}"


def _refused_and_done(evidence: Evidence) -> Iterator[tuple[str, Fate, str]]:
    """Find those who were told that a cancellation is not possible, and later that it was done.

    Not those that the provider cancels of its own accord.
    """
    of_itself = {m.message_id for m in evidence.foreseen if _CANCELLED in m.ends}
    refused = set()
    for event in _in_order(evidence.seen):
        # Without a number it says that there is no such request, which may come later.
        if event.status == _ASIDE and event.sequence:
            refused.add(event.message_id)
        if (
            event.status == _CANCELLED
            and not event.reversal
            and event.message_id in refused - of_itself
        ):
            name = event.message_id
            yield name, Fate.UNEXPECTED, f"{name} was refused its cancellation, then cancelled"


def _fates(
    evidence: Evidence, open_ids: Collection[str], found: Iterable[tuple[str, Fate, str]]
) -> dict[str, Fate]:
    broken: defaultdict[str, set[Fate]] = defaultdict(set)
    for subject, fate, _ in found:
        broken[subject].add(fate)
    ids = dict.fromkeys(m.message_id for m in evidence.seen.sent if m.message_id is not None)
    fates: dict[str, Fate] = {}
    for message_id in ids:
        if fates_of := broken.pop(message_id, set()):
            fates[message_id] = next(fate for fate in BROKEN if fate in fates_of)
        elif message_id in open_ids:
            fates[message_id] = Fate.UNRESOLVED
        else:
            fates[message_id] = Fate.RECOVERED if _was_hit(evidence, message_id) else Fate.OK
    # What belongs to no request that was sent has a fate of its own.
    for subject, fates_of in broken.items():
        fates[subject] = next(fate for fate in BROKEN if fate in fates_of)
    return fates


def _was_hit(evidence: Evidence, message_id: str) -> bool:
    """Tell whether a fault struck between the first sending of a request and its end."""
    sent_at = evidence.sent_at.get(message_id)
    ended_at = evidence.ended_at.get(message_id)
    if sent_at is None or ended_at is None:
        return False
    return any(
        sent_at < deed.began_at < ended_at for deed in evidence.deeds if deed.kind not in _REPEATS
    )


def _open_ids(seen: Seen) -> frozenset[str]:
    """Return the requests that were left to a person and have had no end since."""
    left = {event.message_id for event in seen.heard if event.status == _UNRESOLVED}
    return frozenset(left - {event.message_id for event in seen.heard if event.status in ENDS})


def _unforeseen(evidence: Evidence) -> Iterator[tuple[str, Fate, str]]:
    """Find ends and dead letters that no message of the plan accounts for."""
    ends: defaultdict[str, set[str]] = defaultdict(set)
    reasons: defaultdict[str | None, set[str]] = defaultdict(set)
    for message in evidence.foreseen:
        if message.message_id is not None:
            ends[message.message_id] |= message.ends
        if message.cancels is not None:
            ends[message.cancels].add(_CANCELLED)
        if message.letter is not None:
            reasons[message.message_id].add(message.letter)
    for event in evidence.seen.heard:
        name, word = event.message_id, event.status
        if word in ENDS and name in ends and word not in ends[name]:
            yield name, Fate.UNEXPECTED, f"{name} ended as {word}, which it must not"
    for letter in evidence.seen.buried:
        if letter.reason not in reasons[letter.message_id]:
            yield (
                letter.message_id or "",
                Fate.UNEXPECTED,
                f"{letter.message_id} is a dead letter for {letter.reason}",
            )
