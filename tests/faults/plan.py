"""What a run consists of, drawn from its seed: the parts, the messages, the faults and their times.

Pure: the same seed gives the same plan on every machine. Nothing is started or broken here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

from tests.faults.messages import (
    Message,
    a_bad_message,
    a_limited_request,
    a_request,
    a_special_request,
    another_content,
)
from worker.simulator.bluum_terms import ReplayAnswer
from worker.simulator.faults import Faults, Reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The workers' time limits. The window is the span in which a key is sent again, so the provider
#: has to be unreachable for as long before its keys are made to expire.
WINDOW: Final = timedelta(seconds=3)
#: Longer than a call can be on its way through a proxy that delays.
SETTLING: Final = timedelta(seconds=1.2)
CALL_TIMEOUT: Final = timedelta(seconds=1)
#: The simulator's memory of a key. It runs out by putting the simulator's clock forward alone: a
#: call that a stopped process sends late must not meet a key that has expired by itself.
KEY_LIFETIME: Final = timedelta(hours=1)
#: Above the lifetime of a replica (`worker.ledger.store.REPLICA_LIFETIME`, 10 s): its work is
#: taken over before it wakes up.
LONG_PAUSE: Final = 12.5

#: The time in which messages are sent and faults begin.
_SPAN: Final = 7.0
#: The same where nodes of a cluster come and go one after the other.
_CLUSTER_SPAN: Final = 25.0
#: Proxies delay each piece by less than the settling delay, in both directions together.
_DELAY_MAX: Final = 0.4


class Ledger(StrEnum):
    """The database of a run."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Link(StrEnum):
    """The connections that go through a proxy."""

    BROKER = "broker"
    PROVIDER = "provider"
    LEDGER = "ledger"


class Fault(StrEnum):
    """What the nemesis does; the words stand in the table of figures."""

    KILL = "worker killed (SIGKILL)"
    TERMINATE = "worker restarted (SIGTERM)"
    PAUSE = "worker stopped (SIGSTOP)"
    LONG_PAUSE = "worker stopped beyond its lifetime"
    BROKER_KILL = "broker killed"
    LEDGER_KILL = "PostgreSQL killed"
    CUT = "connections cut"
    REFUSE = "connections refused"
    HOLE = "connections silent"
    DELAY = "connections delayed"
    OUTAGE = "provider out of order"
    REVOKE = "credentials refused"
    REPLAY = "all messages again"
    EXPIRY_DEAD = "keys expired, workers dead"
    EXPIRY_CUT = "keys expired, provider unreachable"
    EXPIRY_END = "keys expired, all messages again"
    LEADER_KILL = "leader of the request queue killed"


#: Before these the nemesis waits until every other fault is over: what puts the provider's clock
#: forward must not overtake a call on its way.
EXPIRIES: Final = frozenset({Fault.EXPIRY_DEAD, Fault.EXPIRY_CUT})
#: While these are prepared, no create call gets an answer: half of them are carried out all the
#: same.
SILENCE: Final = Faults(
    hang_before=0.25, drop_before=0.25, hang_after=0.2, drop_after=0.2, error_after=0.1
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One deed of the nemesis, `at` so many seconds after the start of the run.

    `worker` None means all of them, `seconds` is how long it lasts, `by` the delay of a piece,
    `messages` are those that it sends itself.
    """

    at: float
    fault: Fault
    worker: int | None = None
    link: Link | None = None
    seconds: float = 0.0
    by: float = 0.0
    messages: tuple[Message, ...] = ()

    @property
    def kind(self) -> str:
        """Under which word it is counted."""
        return self.fault if self.link is None else f"{self.fault}: {self.link}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Temper:
    """How the provider behaves while nobody breaks it on purpose; `rate_limit` 0 is none."""

    name: str
    faults: Faults = field(default_factory=Faults)
    rate_limit: int = 0
    replay_answer: ReplayAnswer = ReplayAnswer.ORIGINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a seed decides. Messages and actions are sorted by time."""

    seed: int
    scenario: str
    ledger: Ledger
    workers: int
    temper: Temper
    messages: tuple[Message, ...]
    actions: tuple[Action, ...]
    #: Of the broker.
    nodes: int = 1

    @property
    def all_messages(self) -> tuple[Message, ...]:
        """Return every message, also those that the nemesis sends."""
        return (*self.messages, *(m for action in self.actions for m in action.messages))

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of fault that the nemesis carries out."""
        return frozenset(action.kind for action in self.actions)

    def __str__(self) -> str:
        """Return all of it, one line a part."""
        faults = {name: share for name, share in asdict(self.temper.faults).items() if share}
        lines = [
            f"seed {self.seed}, scenario {self.scenario}",
            f"ledger {self.ledger}, {self.workers} worker(s)",
            f"provider {self.temper.name}: {faults}",
            f"rate limit {self.temper.rate_limit}, repeated keys: {self.temper.replay_answer}",
            *(f"{m.at:7.2f} s  message {m.message_id}: {m.what}" for m in self.messages),
            *(f"{a.at:7.2f} s  {_described(a)}" for a in self.actions),
        ]
        return "\n".join(lines)


TEMPERS: Final = (
    Temper(name="calm"),
    Temper(
        name="failing before", faults=Faults(drop_before=0.1, error_before=0.1, hang_before=0.05)
    ),
    Temper(
        name="failing after",
        faults=Faults(drop_after=0.1, error_after=0.1, hang_after=0.05, garbage_after=0.05),
    ),
    Temper(
        name="failing everywhere",
        faults=Faults(
            drop_before=0.05,
            drop_after=0.05,
            error_before=0.05,
            error_after=0.05,
            garbage_after=0.05,
            unknown_status=0.2,
            calls=Reach.ALL,
        ),
    ),
    Temper(name="narrow", rate_limit=12),
    Temper(
        name="narrow and failing",
        faults=Faults(drop_after=0.1, error_before=0.1),
        rate_limit=15,
    ),
    Temper(
        name="conflicting",
        faults=Faults(drop_after=0.15, hang_after=0.05),
        replay_answer=ReplayAnswer.CONFLICT,
    ),
)


def draw(seed: int, *, scenario: str = "random") -> Plan:
    """Draw the plan of a seed; ValueError when there is no such scenario."""
    if scenario not in _SCENARIOS:
        raise ValueError(f"scenario: one of {', '.join(SCENARIOS)}, not {scenario!r}")
    # By a text: the numbers that belong to neighbouring seeds have nothing in common then.
    return _SCENARIOS[scenario](Random(f"{scenario} {seed}"), seed)  # noqa: S311 - no secret


def _random_plan(random: Random, seed: int) -> Plan:
    ledger = random.choice(list(Ledger))
    workers = 1 if ledger is Ledger.SQLITE else random.choice([2, 2, 3])
    actions = list(_actions(random, ledger, workers))
    messages = list(_messages(random, random.randint(20, 60)))
    return Plan(
        seed=seed,
        scenario="random",
        ledger=ledger,
        workers=workers,
        temper=random.choice(TEMPERS),
        messages=_sorted(messages),
        actions=tuple(sorted(actions, key=lambda action: action.at)),
    )


def _cluster_plan(random: Random, seed: int) -> Plan:
    """Draw a run over three nodes: the leader of the requests is killed, and then the next one."""
    workers = 2
    kills = [
        Action(at=at, fault=Fault.LEADER_KILL, seconds=random.uniform(0.5, 2.0))
        for at in (1.0, 2.0)
    ]
    others = [
        _action(random, fault, Ledger.POSTGRESQL, workers)
        for fault in random.choices([Fault.KILL, Fault.CUT, Fault.PAUSE], k=2)
    ]
    return Plan(
        seed=seed,
        scenario="cluster",
        ledger=Ledger.POSTGRESQL,
        workers=workers,
        nodes=3,
        temper=random.choice(TEMPERS),
        messages=_sorted(_messages(random, 50, span=_CLUSTER_SPAN)),
        actions=tuple(sorted([*kills, *others], key=lambda action: action.at)),
    )


_SCENARIOS: Final = {"random": _random_plan, "cluster": _cluster_plan}
#: The names that `draw` knows.
SCENARIOS: Final = tuple(_SCENARIOS)


#: How often each fault is drawn.
_WEIGHTS: Final[Mapping[Fault, int]] = {
    Fault.KILL: 8,
    Fault.TERMINATE: 3,
    Fault.PAUSE: 4,
    Fault.CUT: 6,
    Fault.REFUSE: 3,
    Fault.HOLE: 4,
    Fault.DELAY: 4,
    Fault.OUTAGE: 3,
    Fault.REVOKE: 1,
    Fault.REPLAY: 3,
    Fault.LEDGER_KILL: 4,
}


def _actions(random: Random, ledger: Ledger, workers: int) -> Iterator[Action]:
    drawn = random.choices(
        [fault for fault in _WEIGHTS if _fits(fault, ledger)],
        [weight for fault, weight in _WEIGHTS.items() if _fits(fault, ledger)],
        k=random.randint(3, 7),
    )
    for fault in drawn:
        yield _action(random, fault, ledger, workers)
    if random.random() < 0.4:
        yield _strike_at_the_intake(random, ledger)
    if random.random() < 0.3:
        yield Action(at=_moment(random), fault=Fault.BROKER_KILL, seconds=random.uniform(0.0, 1.0))
    if ledger is Ledger.POSTGRESQL and random.random() < 0.2:
        yield Action(
            at=_moment(random),
            fault=Fault.LONG_PAUSE,
            worker=random.randrange(workers),
            seconds=LONG_PAUSE,
        )
    if random.random() < 0.45:
        # Before the others or behind them, for it waits until they are over.
        at = random.choice([0.1, _SPAN])
        yield Action(
            at=at,
            fault=random.choice(sorted(EXPIRIES)),
            seconds=WINDOW.total_seconds() + 0.8,
            messages=tuple(_burst(random, at)),
        )
    if random.random() < 0.6:
        yield Action(at=_SPAN, fault=Fault.EXPIRY_END)


def _strike_at_the_intake(random: Random, ledger: Ledger) -> Action:
    """Hit everybody while the first messages are being written down."""
    at = random.uniform(0.03, 0.2)
    if ledger is Ledger.POSTGRESQL and random.random() < 0.5:
        return Action(at=at, fault=Fault.HOLE, link=Link.LEDGER, seconds=1.0)
    return Action(at=at, fault=Fault.KILL, seconds=0.2)


def _action(random: Random, fault: Fault, ledger: Ledger, workers: int) -> Action:
    links = [link for link in Link if link is not Link.LEDGER or ledger is Ledger.POSTGRESQL]
    on_link = fault in {Fault.CUT, Fault.REFUSE, Fault.HOLE, Fault.DELAY}
    on_worker = on_link or fault in {Fault.KILL, Fault.TERMINATE, Fault.PAUSE}
    return Action(
        at=_moment(random),
        fault=fault,
        worker=random.choice([None, *range(workers)]) if on_worker else None,
        link=random.choice(links) if on_link else None,
        seconds=random.uniform(0.2, 3.5),
        by=random.uniform(0.05, _DELAY_MAX) if fault is Fault.DELAY else 0.0,
    )


def _fits(fault: Fault, ledger: Ledger) -> bool:
    return fault is not Fault.LEDGER_KILL or ledger is Ledger.POSTGRESQL


def _moment(random: Random) -> float:
    return random.uniform(0.2, _SPAN)


def _messages(random: Random, count: int, *, span: float = _SPAN) -> Iterator[Message]:
    """Draw messages: many at once at the start, the others one by one."""
    at_once = random.uniform(0.2, 0.6)
    made: list[Message] = []
    for number in range(count):
        at = 0.0 if random.random() < at_once else random.uniform(0.0, span)
        message = _message(random, made, at=at, message_id=f"req-{number}")
        made.append(message)
        yield message


def _message(random: Random, made: list[Message], *, at: float, message_id: str) -> Message:
    valid = [message for message in made if message.what == "valid"]
    match random.random():
        case drawn if drawn < 0.10 and valid:
            again = random.choice(valid)
            return _copied(again, at=max(at, again.at))
        case drawn if drawn < 0.14 and valid:
            original = random.choice(valid)
            return another_content(random, original, at=max(at, original.at))
        case drawn if drawn < 0.28:
            return a_bad_message(random, at=at, message_id=message_id)
        case drawn if drawn < 0.36:
            return a_special_request(random, at=at, message_id=message_id)
        case drawn if drawn < 0.44:
            return a_limited_request(random, at=at, message_id=message_id)
        case _:
            return a_request(random, at=at, message_id=message_id)


def _copied(message: Message, *, at: float) -> Message:
    return Message(
        at=at,
        message_id=message.message_id,
        body=message.body,
        ends=message.ends,
        what="the same again",
    )


def _burst(random: Random, at: float) -> Iterator[Message]:
    """Requests that come while the provider is silent."""
    for number in range(8):
        yield a_request(random, at=at, message_id=f"silent-{number}")


def _sorted(messages: Iterator[Message] | list[Message]) -> tuple[Message, ...]:
    return tuple(sorted(messages, key=lambda message: message.at))


def _described(action: Action) -> str:
    whom = "" if action.worker is None else f", worker {action.worker}"
    lasts = f" for {action.seconds:.1f} s" if action.seconds else ""
    by = f", {action.by:.2f} s a piece" if action.by else ""
    sends = f", amid {len(action.messages)} requests" if action.messages else ""
    return f"{action.kind}{whom}{lasts}{by}{sends}"
