"""What has been seen so far, from outside, and what was going on meanwhile.

Filled by those who watch, read by those who show; nothing is fetched here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.demo.audit import Seen
from worker.demo.outcome import outcome, standings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.demo.audit import Buried, Delivery, Effect, Executed, Forged, Heard, Sent
    from worker.demo.outcome import Outcome
    from worker.demo.scenario import Scenario


@dataclass(slots=True)
class Story:
    """One run: evidence that grows, and whoever waits for something to become true."""

    scenarios: Sequence[Scenario]
    replays: int = field(init=False, default=0)
    _begun: float = field(init=False, default_factory=time.monotonic)
    _sent: list[Sent] = field(init=False, default_factory=list)
    _cancels: list[Sent] = field(init=False, default_factory=list)
    _heard: list[Heard] = field(init=False, default_factory=list)
    _answers: list[Heard] = field(init=False, default_factory=list)
    _buried: list[Buried] = field(init=False, default_factory=list)
    _forged: list[Forged] = field(init=False, default_factory=list)
    _executed: tuple[Executed, ...] = field(init=False, default=())
    _effects: tuple[Effect, ...] = field(init=False, default=())
    _deliveries: tuple[Delivery, ...] = field(init=False, default=())
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def seconds(self) -> float:
        """How long the run has been going on."""
        return time.monotonic() - self._begun

    @property
    def seen(self) -> Seen:
        """The evidence as it stands."""
        return Seen(
            tuple(self._sent),
            self._executed,
            tuple(self._heard),
            tuple(self._buried),
            tuple(self._cancels),
            self._effects,
            self._deliveries,
            tuple(self._forged),
        )

    @property
    def outcomes(self) -> list[Outcome]:
        """How far each scenario has come."""
        seen = self.seen
        return [outcome(scenario, seen, self._answers) for scenario in self.scenarios]

    @property
    def statuses(self) -> dict[str, str]:
        """The newest status of each request of which an event has come."""
        return {name: event.status for name, event in standings(self._heard).items()}

    def told(self, message_id: str) -> Sequence[Heard]:
        """Return every event of a request that has come."""
        return [event for event in self._heard if event.message_id == message_id]

    def send(self, message: Sent) -> None:
        """A request was published."""
        self._sent.append(message)
        self._changed.set()

    def cancel(self, message: Sent) -> None:
        """A cancellation was published."""
        self._cancels.append(message)
        self._changed.set()

    def forge(self, forged: Forged) -> None:
        """A forged webhook was answered."""
        self._forged.append(forged)
        self._changed.set()

    def hear(self, event: Heard) -> None:
        """An event came."""
        self._heard.append(event)
        self._changed.set()

    def hear_answer(self, event: Heard) -> None:
        """An answer came."""
        self._answers.append(event)
        self._changed.set()

    def bury(self, letter: Buried) -> None:
        """A dead letter came."""
        self._buried.append(letter)
        self._changed.set()

    def look(
        self,
        executed: tuple[Executed, ...],
        effects: tuple[Effect, ...],
        deliveries: tuple[Delivery, ...],
        *,
        replays: int,
    ) -> None:
        """The provider's record was read."""
        self._executed, self._effects, self._deliveries = executed, effects, deliveries
        self.replays = replays
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds` does; it is asked whenever something new was seen."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()
