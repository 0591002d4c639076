"""One running simulator: its options, and everything that changes while it runs.

Values and their container, the same for every company; it speaks no HTTP. The API serves it, the
control calls turn it, and a test may look into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from worker.simulator.clock import Clock, instant
from worker.simulator.faults import Faults
from worker.simulator.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.simulator.agenda import Agenda
    from worker.simulator.mail import Mail
    from worker.simulator.route import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be turned when a simulator starts, whose ever it is; ValueError naming the field.

    `port` 0 picks a free port. `latency` passes before every authorised call takes effect,
    `lateness` before one does that the fault `late` strikes. `rate_limit` is in calls a second for
    all clients together, 0 for none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    rate_limit: int = 0
    latency: timedelta = timedelta(milliseconds=20)
    lateness: timedelta = timedelta(milliseconds=500)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse options that make no sense."""
        if self.rate_limit < 0:
            raise ValueError(f"rate_limit: not negative, but {self.rate_limit}")
        for name in ("latency", "lateness"):
            if getattr(self, name) < timedelta():
                raise ValueError(f"{name}: not negative, but {getattr(self, name)}")


class Inhabited(Protocol):
    """What a simulation needs of a company's house."""

    @property
    def agenda(self) -> Agenda:
        """What is going to happen in it."""
        ...

    @property
    def seed(self) -> str:
        """The seed of all chance."""
        ...

    @property
    def mail(self) -> Mail[Any]:
        """Its webhooks."""
        ...

    def effects(self, now: datetime) -> list[Document]:
        """Return every effect on money, in order."""
        ...

    def attempts(self) -> list[Document]:
        """Return every attempt at a webhook delivery, in order."""
        ...

    def counters(self) -> Document:
        """Return what it counted beside the traffic."""
        ...


House = TypeVar("House", bound=Inhabited)


@dataclass(slots=True)
class Simulation(Generic[House]):
    """The state of a run. `faults` and `revoked` (credentials) may be replaced at any time."""

    options: Options
    house: House
    faults: Faults
    clock: Clock = field(default_factory=Clock)
    traffic: Traffic = field(default_factory=Traffic)
    revoked: bool = False
    #: Set when the server closes: whoever hangs is let go.
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self) -> Mapping[str, Any]:
        """Return what happened so far: `now`, `effects` in order, `webhooks` and `counters`."""
        now = self.clock.now()
        self.house.agenda.run(now)
        return {
            "now": instant(now),
            "effects": self.house.effects(now),
            "webhooks": self.house.attempts(),
            "counters": self.traffic.document() | self.house.counters(),
        }
