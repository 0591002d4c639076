"""Misfortune as data: which faults there are, how often each strikes, and whom it strikes.

Pure: what a fault does to a connection stands in the HTTP room. The choice follows from a seed and
the number of the call, so a run that went wrong can be repeated."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.simulator.chance import fraction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Fault(StrEnum):
    """What may go wrong with one call. `before` and `after` mean its effect on money.

    `drop`: the TCP connection is cut. `error`: 500 in the company's own form, or 502 or 503 without
    JSON. `hang`: no answer until the client goes away. `garbage`: a success whose body is truncated
    or not JSON. `late`: the connection is cut at once, and the call takes effect a while later.
    """

    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    GARBAGE_AFTER = "garbage_after"
    LATE = "late"


#: A withdrawal or an order that is read has a status nobody documented. It strikes a document, not
#: a call, and so may meet any of the faults above.
UNKNOWN_STATUS: Final = "unknown_status"
#: What strikes a webhook's delivery: it is never sent, sent twice, or sent after later ones.
WEBHOOK_LOST: Final = "webhook_lost"
WEBHOOK_DOUBLED: Final = "webhook_doubled"
WEBHOOK_DELAYED: Final = "webhook_delayed"
#: The names of all that happens by a share.
SHARES: Final = (*Fault, UNKNOWN_STATUS, WEBHOOK_LOST, WEBHOOK_DOUBLED, WEBHOOK_DELAYED)
#: The faults that strike before anything happened, and after which nothing happens.
BEFORE: Final = frozenset({Fault.DROP_BEFORE, Fault.ERROR_BEFORE, Fault.HANG_BEFORE})


class CallKind(StrEnum):
    """What a call does, as far as faults care."""

    CREATE = "create"
    PLACE = "place"
    CANCEL = "cancel"
    READ = "read"
    OTHER = "other"


class Reach(StrEnum):
    """Which calls the shares are shares of. `creates` are those of withdrawals and of orders."""

    CREATES = "creates"
    WITHDRAWALS = "withdrawals"
    ORDERS = "orders"
    CANCELS = "cancels"
    READS = "reads"
    ALL = "all"


_REACHED: Final[Mapping[Reach, frozenset[CallKind]]] = {
    Reach.CREATES: frozenset({CallKind.CREATE, CallKind.PLACE}),
    Reach.WITHDRAWALS: frozenset({CallKind.CREATE}),
    Reach.ORDERS: frozenset({CallKind.PLACE}),
    Reach.CANCELS: frozenset({CallKind.CANCEL}),
    Reach.READS: frozenset({CallKind.READ}),
    Reach.ALL: frozenset(CallKind),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault strikes, as a share (0 to 1) of the calls that `calls` names.

    `unknown_status` is always a share of the reads of one withdrawal or order, whatever `calls`
    says, and `webhook_lost`, `webhook_doubled` and `webhook_delayed` are shares of the deliveries.
    An `outage` answers every call of the API with 503 until it is switched off. ValueError naming
    the field when a share is out of range, or when those of one call add up to more than 1.
    """

    drop_before: float = 0.0
    drop_after: float = 0.0
    error_before: float = 0.0
    error_after: float = 0.0
    hang_before: float = 0.0
    hang_after: float = 0.0
    garbage_after: float = 0.0
    late: float = 0.0
    unknown_status: float = 0.0
    webhook_lost: float = 0.0
    webhook_doubled: float = 0.0
    webhook_delayed: float = 0.0
    calls: Reach = Reach.CREATES
    outage: bool = False

    def __post_init__(self) -> None:
        """Refuse shares that make no sense."""
        for name in SHARES:
            if not 0 <= self.share(name) <= 1:
                raise ValueError(f"{name}: a share from 0 to 1, not {self.share(name)}")
        # fsum: ten shares of 0.1 are one, not a little more.
        if math.fsum(self.share(fault) for fault in Fault) > 1:
            raise ValueError("the shares of " + ", ".join(Fault) + " add up to more than 1")

    def share(self, name: str) -> float:
        """Return how often one of `SHARES` strikes, from 0 to 1."""
        share: float = getattr(self, name)
        return share


def fault_of_call(faults: Faults, kind: CallKind, *, seed: str, name: str) -> Fault | None:
    """Return the one fault that strikes the call called `name` (unique within a run), if any."""
    if kind not in _REACHED[faults.calls]:
        return None
    drawn = fraction(seed, "fault", name)
    reached = 0.0
    for fault in Fault:
        reached += faults.share(fault)
        if drawn < reached:
            return fault
    return None


def has_unknown_status(faults: Faults, *, seed: str, name: str) -> bool:
    """Tell whether the read called `name` gets a status nobody documented."""
    return fraction(seed, "unknown_status", name) < faults.unknown_status


def faults_document(faults: Faults) -> dict[str, Any]:
    """Return the faults as JSON: one number a fault, `calls` and `outage`."""
    return asdict(faults)


def read_faults(document: Mapping[str, Any]) -> Faults:
    """Read what `faults_document` wrote; a missing field means its default.

    ValueError naming the field when one is unknown or has a wrong type or value.
    """
    for name, value in document.items():
        if name not in _FIELDS:
            raise ValueError(f"{name}: not a fault; there are {', '.join(_FIELDS)}")
        fits, rule = _FIELDS[name]
        if not fits(value):
            raise ValueError(f"{name}: {rule}, not {value!r}")
    read = dict(document)
    if "calls" in read:
        read["calls"] = Reach(read["calls"])
    return Faults(**read)


def _is_share(value: object) -> bool:
    # bool is an int to Python.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_reach(value: object) -> bool:
    return isinstance(value, str) and value in set(Reach)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


#: Every field of the faults: what fits, and the rule in words.
_FIELDS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    **{str(name): (_is_share, "a share from 0 to 1") for name in SHARES},
    "calls": (_is_reach, "one of " + ", ".join(Reach)),
    "outage": (_is_flag, "true or false"),
}
