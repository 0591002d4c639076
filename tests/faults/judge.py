"""The auditor: what became of every request, in Jepsen's words, by what was seen from outside.

Pure. It is given the simulator's record, the events and the dead letters; the worker's ledger is
never asked, for it would be wrong in the same way as the worker."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tests.faults.plan import Fault
from worker.demo.audit import ENDS, Breach, Seen, audit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tests.faults.messages import Message
    from tests.faults.nemesis import Deed

_UNRESOLVED: Final = "unresolved"


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
    Breach.ENDED_TWICE: Fate.DUPLICATED,
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
    process that ended by itself, a message that stayed in the queue.
    """

    seen: Seen
    foreseen: tuple[Message, ...]
    sent_at: Mapping[str, float]
    ended_at: Mapping[str, float]
    deeds: tuple[Deed, ...]
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
    """Return what became of every request; `key_of` derives the key of a message id."""
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
    found += [("", Fate.UNEXPECTED, line) for line in evidence.others]
    return Verdict(
        _fates(evidence, open_ids, found), tuple(f"{fate}: {line}" for _, fate, line in found)
    )


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
