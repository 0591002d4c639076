"""The books balance after whatever happens, in whatever order, at whatever replica."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.builders import FINGERPRINT, an_attempt, an_order, moved, refused, taken_in
from tests.ledger.stories import a_burial, audited, unbalanced
from worker.core.withdrawal import MOVES, TERMINAL, Status
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.burials import Burial
    from worker.core.change import Held
    from worker.ledger.store import Ledger

_NAMES: Final = st.sampled_from("abc")
_ACTIONS: Final = st.one_of(
    st.tuples(st.just("take"), _NAMES),
    st.tuples(st.just("refuse"), _NAMES),
    st.tuples(st.just("move"), _NAMES, st.sampled_from(Status)),
    st.tuples(st.just("bury"), _NAMES | st.none(), st.booleans()),
    st.tuples(st.just("replay"), _NAMES | st.none()),
    st.tuples(st.just("drop"), _NAMES | st.none()),
    st.tuples(st.just("beat")),
    st.tuples(st.just("leave")),
)
_NUMBERS: Final = count()


@dataclass(slots=True)
class Model:
    """What should be in the books, by the rules alone."""

    held: dict[str, Held] = field(default_factory=dict)
    copies: Counter[str | None] = field(default_factory=Counter)
    dropped: Counter[str | None] = field(default_factory=Counter)

    @property
    def figures(self) -> dict[str, int]:
        """How many were taken, and where they are."""
        statuses = [held.withdrawal.status for held in self.held.values()]
        buried = self.copies.total()
        return {
            "taken": len(statuses) + buried,
            "finished": sum(status in TERMINAL for status in statuses),
            "unresolved": statuses.count(Status.UNRESOLVED),
            "dead_lettered": buried,
        }


class Life:
    """Carries actions out at a ledger and a model; ids are those of this one example."""

    def __init__(self, ledgers: tuple[Ledger, Ledger]) -> None:
        self._ledgers = ledgers
        self._prefix = f"{next(_NUMBERS)}/"
        self.model = Model()

    async def act(self, replica: int, action: tuple[object, ...]) -> None:
        """Do one thing at one of the replicas."""
        kind, *given_with = action
        await getattr(self, f"_{kind}")(self._ledgers[replica], *given_with)

    def _id(self, name: str) -> str:
        return f"{self._prefix}{name}"

    async def _take(self, ledger: Ledger, name: str) -> None:
        decision = taken_in(an_order(self._id(name)))
        taken = await ledger.take(decision, FINGERPRINT, (an_attempt(),))
        self.model.held.setdefault(name, taken.held)

    async def _refuse(self, ledger: Ledger, name: str) -> None:
        taken = await ledger.take(refused(self._id(name)), FINGERPRINT)
        self.model.held.setdefault(name, taken.held)

    async def _move(self, ledger: Ledger, name: str, status: Status) -> None:
        held = self.model.held.get(name)
        if held is None or status not in MOVES[held.withdrawal.status]:
            return
        recorded = await ledger.record(held, moved(held, status))
        assert recorded is not None
        self.model.held[name] = recorded

    async def _bury(self, ledger: Ledger, name: str | None, redelivered: bool) -> None:
        await ledger.note_burial(self._burial(name, redelivered=redelivered))
        known = self.model.copies[name]
        if name in self.model.held or (known and (name is not None or redelivered)):
            return
        self.model.copies[name] += 1

    async def _replay(self, ledger: Ledger, name: str | None) -> None:
        await ledger.dead_letter_left(self._burial(name).identity, "replayed")
        if self.model.copies[name] > self.model.dropped[name]:
            self.model.copies[name] -= 1

    async def _drop(self, ledger: Ledger, name: str | None) -> None:
        await ledger.dead_letter_left(self._burial(name).identity, "dropped")
        if self.model.copies[name] > self.model.dropped[name]:
            self.model.dropped[name] += 1

    async def _beat(self, ledger: Ledger) -> None:
        await ledger.heartbeat()

    async def _leave(self, ledger: Ledger) -> None:
        await ledger.leave()

    def _burial(self, name: str | None, *, redelivered: bool = False) -> Burial:
        return a_burial(
            None if name is None else self._id(name),
            body=self._prefix.encode(),
            redelivered=redelivered,
            fingerprint=FINGERPRINT,
            amount=Decimal(1),
        )


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two that share a ledger."""
    async with open_ledger(url) as one, open_ledger(url) as other:
        await one.heartbeat()
        await other.heartbeat()
        yield one, other


# One ledger serves all examples of a test: each brings ids of its own, and adds to the figures.
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.tuples(st.integers(0, 1), _ACTIONS), max_size=25))
async def test_the_books_balance_after_whatever_happens(
    replicas: tuple[Ledger, Ledger], url: str, actions: list[tuple[int, tuple[object, ...]]]
) -> None:
    """
    The figures are those of the rules, nothing is missing, and no honest row looks altered.
    """
    before = await _figures(url)
    life = Life(replicas)
    for replica, action in actions:
        await life.act(replica, action)
    after = await _figures(url)

    expected = life.model.figures
    assert expected == {name: after[name] - before[name] for name in expected}
    assert [] == await unbalanced(replicas[0])


async def _figures(url: str) -> Counter[str]:
    books, found = await audited(url)
    assert [] == found
    assert books.hold
    figures: Counter[str] = Counter()
    for balance in books.balances:
        figures["taken"] += balance.taken.count
        figures["finished"] += sum(total.count for total in balance.finished.values())
        figures["unresolved"] += balance.unresolved.count
        figures["dead_lettered"] += balance.dead_lettered.count
    return figures
