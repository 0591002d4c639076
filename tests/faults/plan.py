"""What a run consists of, drawn from its seed: the parts, the messages, the faults and their times.

Pure: the same seed gives the same plan on every machine. Nothing is started or broken here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

from tests.faults.messages import (
    NOBODYS,
    Message,
    a_bad_message,
    a_cancellation,
    a_limited_request,
    a_patient_request,
    a_request,
    a_sale,
    a_special_request,
    an_alike_request,
    another_content,
)
from tests.faults.tongues import BLUUM, TONGUES
from worker.simulator.bluum_generation import AnswerShape
from worker.simulator.bluum_terms import ReplayAnswer
from worker.simulator.faults import Faults, Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.faults.tongues import Tongue

#: The workers' time limits. The window is the span in which a key is sent again, so the provider
#: has to be unreachable for as long before its keys are made to expire.
WINDOW: Final = timedelta(seconds=3)
#: Longer than a call can be on its way through a proxy that delays.
SETTLING: Final = timedelta(seconds=1.2)
CALL_TIMEOUT: Final = timedelta(seconds=1)
#: By how much the provider carries out late what it calls late, and lists lag behind. Either, and
#: the way through a proxy as well, fits into one settling delay.
LATENESS: Final = timedelta(seconds=0.3)
LIST_LAG: Final = timedelta(seconds=0.6)
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
    TOKENS = "tokens revoked"
    KEYS = "keys of webhooks changed"


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
    #: The only one that has this temper; None for all.
    provider: str | None = None
    rate_limit: int = 0
    replay_answer: ReplayAnswer = ReplayAnswer.ORIGINAL
    answer_shape: AnswerShape = AnswerShape.BARE
    list_lag: timedelta = timedelta(0)
    orders_honour_keys: bool = True
    #: Whether the worker marks withdrawals where that is a setting that is off by default.
    references: bool = False
    token_lifetime: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a seed decides. Messages and actions are sorted by time."""

    seed: int
    scenario: str
    provider: str
    ledger: Ledger
    workers: int
    temper: Temper
    messages: tuple[Message, ...]
    actions: tuple[Action, ...]
    #: Of the broker.
    nodes: int = 1

    @property
    def tongue(self) -> Tongue:
        """How the provider is spoken to."""
        return TONGUES[self.provider]

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
            f"seed {self.seed}, scenario {self.scenario}, provider {self.provider}",
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
        faults=Faults(
            drop_after=0.1, error_after=0.1, hang_after=0.05, garbage_after=0.05, webhook_lost=0.3
        ),
        orders_honour_keys=False,
    ),
    Temper(
        name="late and lagging",
        faults=Faults(
            late=0.15,
            drop_after=0.1,
            webhook_lost=0.1,
            webhook_doubled=0.3,
            webhook_delayed=0.3,
        ),
        list_lag=LIST_LAG,
        orders_honour_keys=False,
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
            webhook_lost=0.1,
            webhook_doubled=0.1,
            webhook_delayed=0.2,
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
    Temper(
        name="enveloped",
        provider="bluum_accounts",
        faults=Faults(drop_after=0.1, error_before=0.1, unknown_status=0.1),
        answer_shape=AnswerShape.STATUS,
    ),
    Temper(
        name="marked",
        provider="upvest",
        faults=Faults(late=0.1, drop_after=0.15, error_after=0.05, webhook_lost=0.2),
        list_lag=LIST_LAG,
        references=True,
    ),
    Temper(
        name="forgetful of tokens",
        provider="upvest",
        faults=Faults(drop_after=0.1, error_before=0.05, calls=Reach.ALL),
        token_lifetime=timedelta(seconds=2),
    ),
)


def draw(seed: int, *, scenario: str = "random", provider: str = BLUUM.provider) -> Plan:
    """Draw the plan of a seed; ValueError when there is no such scenario or provider."""
    if scenario not in _SCENARIOS:
        raise ValueError(f"scenario: one of {', '.join(SCENARIOS)}, not {scenario!r}")
    if provider not in TONGUES:
        raise ValueError(f"provider: one of {', '.join(TONGUES)}, not {provider!r}")
    # By a text: the numbers that belong to neighbouring seeds have nothing in common then.
    random = Random(f"{provider} {scenario} {seed}")  # noqa: S311 - no secret
    return _SCENARIOS[scenario](random, seed, TONGUES[provider])


def _random_plan(random: Random, seed: int, tongue: Tongue) -> Plan:
    ledger = random.choice(list(Ledger))
    workers = 1 if ledger is Ledger.SQLITE else random.choice([2, 2, 3])
    temper = random.choice(_tempers(tongue))
    actions = list(_actions(random, tongue, temper, ledger, workers))
    return Plan(
        seed=seed,
        scenario="random",
        provider=tongue.provider,
        ledger=ledger,
        workers=workers,
        temper=temper,
        messages=_all_messages(random, tongue, temper, random.randint(20, 60)),
        actions=tuple(sorted(actions, key=lambda action: action.at)),
    )


def _cluster_plan(random: Random, seed: int, tongue: Tongue) -> Plan:
    """Draw a run over three nodes: the leader of the requests is killed, and then the next one."""
    workers = 2
    temper = random.choice(_tempers(tongue))
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
        provider=tongue.provider,
        ledger=Ledger.POSTGRESQL,
        workers=workers,
        nodes=3,
        temper=temper,
        messages=_all_messages(random, tongue, temper, 50, span=_CLUSTER_SPAN),
        actions=tuple(sorted([*kills, *others], key=lambda action: action.at)),
    )


_SCENARIOS: Final[Mapping[str, Callable[[Random, int, Tongue], Plan]]] = {
    "random": _random_plan,
    "cluster": _cluster_plan,
}
#: The names that `draw` knows.
SCENARIOS: Final = tuple(_SCENARIOS)


def _tempers(tongue: Tongue) -> tuple[Temper, ...]:
    return tuple(temper for temper in TEMPERS if temper.provider in {None, tongue.provider})


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
    Fault.TOKENS: 4,
    Fault.KEYS: 4,
}


def _actions(
    random: Random, tongue: Tongue, temper: Temper, ledger: Ledger, workers: int
) -> Iterator[Action]:
    fitting = {fault: weight for fault, weight in _WEIGHTS.items() if _fits(fault, tongue, ledger)}
    drawn = random.choices([*fitting], [*fitting.values()], k=random.randint(3, 7))
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
            messages=tuple(_left_open(list(_burst(tongue, random, at)), tongue, temper)),
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


def _fits(fault: Fault, tongue: Tongue, ledger: Ledger) -> bool:
    match fault:
        case Fault.LEDGER_KILL:
            return ledger is Ledger.POSTGRESQL
        case Fault.TOKENS | Fault.KEYS:
            return tongue.has_tokens
        case _:
            return True


def _moment(random: Random) -> float:
    return random.uniform(0.2, _SPAN)


def _all_messages(
    random: Random, tongue: Tongue, temper: Temper, count: int, *, span: float = _SPAN
) -> tuple[Message, ...]:
    messages = _left_open(list(_messages(tongue, random, count, span=span)), tongue, temper)
    messages += _cancellations(random, messages)
    return tuple(sorted(messages, key=lambda message: message.at))


def _messages(tongue: Tongue, random: Random, count: int, *, span: float) -> Iterator[Message]:
    """Draw messages: many at once at the start, the others one by one."""
    at_once = random.uniform(0.2, 0.6)
    made: list[Message] = []
    for number in range(count):
        at = 0.0 if random.random() < at_once else random.uniform(0.0, span)
        message = _message(tongue, random, made, at=at, message_id=f"req-{number}")
        made.append(message)
        yield message


def _message(
    tongue: Tongue, random: Random, made: list[Message], *, at: float, message_id: str
) -> Message:
    valid = [message for message in made if message.what == "valid"]
    match random.random():
        case drawn if drawn < 0.10 and valid:
            again = random.choice(valid)
            return replace(again, at=max(at, again.at), what="the same again")
        case drawn if drawn < 0.14 and valid:
            original = random.choice(valid)
            return another_content(tongue, random, original, at=max(at, original.at))
        case drawn if drawn < 0.18 and valid:
            return an_alike_request(random.choice(valid), at=at, message_id=message_id)
        case drawn if drawn < 0.60:
            return random.choices(*_MAKERS)[0](tongue, random, at=at, message_id=message_id)
        case _:
            return a_request(tongue, random, at=at, message_id=message_id)


#: Who makes what is out of the ordinary, and how often.
_MAKERS: Final = (
    (a_bad_message, a_special_request, a_limited_request, a_sale, a_patient_request),
    (14, 8, 8, 12, 6),
)


def _left_open(messages: list[Message], tongue: Tongue, temper: Temper) -> list[Message]:
    """Allow a request to be left to a person where nothing tells it from one that is like it."""
    if tongue.has_references or temper.references:
        return messages
    alike = {name for message in messages for name in _alike(message)}
    return [replace(m, may_stay_open=True) if m.message_id in alike else m for m in messages]


def _alike(message: Message) -> tuple[str | None, ...]:
    return () if message.like is None else (message.like, message.message_id)


def _cancellations(random: Random, messages: list[Message]) -> Iterator[Message]:
    """Cancel some, before they come, at once, or later; some more than once, and one of nobody."""
    names = dict.fromkeys(m.message_id for m in messages if m.message_id is not None)
    chosen = [name for name in names if random.random() < 0.25]
    for number, name in enumerate([*chosen, NOBODYS]):
        first = min((m.at for m in messages if m.message_id == name), default=0.0)
        at = max(0.0, first + random.choice([-0.3, 0.0, 0.1, 0.5, 2.0, 6.0]))
        message_id = f"cancel-{number}"
        yield a_cancellation(at=at, message_id=message_id, of=name)
        if random.random() < 0.3:
            again = random.choice([message_id, f"{message_id}-again"])
            later = at + random.uniform(0.0, 3.0)
            yield a_cancellation(at=later, message_id=again, of=name)


def _burst(tongue: Tongue, random: Random, at: float) -> Iterator[Message]:
    """Requests that come while the provider is silent, two of them alike."""
    requests = [
        a_request(tongue, random, at=at, message_id=f"silent-{number}") for number in range(8)
    ]
    yield from requests
    yield an_alike_request(requests[0], at=at, message_id="silent-alike")
    for number in range(2):
        yield a_sale(tongue, random, at=at, message_id=f"silent-sale-{number}")


def _described(action: Action) -> str:
    whom = "" if action.worker is None else f", worker {action.worker}"
    lasts = f" for {action.seconds:.1f} s" if action.seconds else ""
    by = f", {action.by:.2f} s a piece" if action.by else ""
    sends = f", amid {len(action.messages)} requests" if action.messages else ""
    return f"{action.kind}{whom}{lasts}{by}{sends}"
