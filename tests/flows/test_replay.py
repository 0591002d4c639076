"""The steps of a replay and of a drop, in their order, with a graveyard that remembers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from worker.core.burials import identity
from worker.core.messages import Envelope, Misread, Understood, read
from worker.core.replay import Asks, Known, Letter, Plan, Prospect, Selection
from worker.flows.ports import LedgerUnavailable, PublishUnconfirmed
from worker.flows.replay import Outcome, drop, plan, replay
from worker.providers.bluum import BluumRequest

if TYPE_CHECKING:
    from collections.abc import Collection

NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)
GOOD = (
    b'{"investor_id":"inv_1","amount":"5.00","currency":"USD","method":"ach",'
    b'"funding_source_id":"fs_1"}'
)


@dataclass
class Grave:
    """A letter in the graveyard below, which hears of everything."""

    letter: Letter
    said: list[str]
    body: bytes = GOOD
    properties: bytes = b""
    answer: bool | Exception = True
    is_readable: bool = True
    is_gone: bool = False
    is_last: bool = False

    def envelope(self) -> Envelope | None:
        """Be read."""
        if not self.is_readable:
            return None
        return Envelope(body=self.body, message_id=self.letter.message_id)

    async def resend(self) -> bool:
        """Be sent, or not."""
        self.said.append(f"send {self.letter.id}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def remove(self) -> None:
        """Be gone; interrupted in the very moment, if so told."""
        self.said.append(f"remove {self.letter.id}")
        self.is_gone = True
        if self.is_last:
            raise asyncio.CancelledError


@dataclass
class Graveyard:
    """Letters that are fetched once until they are put back; long held after each if so told."""

    graves: list[Grave] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    held: int = 0
    holds_long_after: int = 10**6
    _coming: deque[Grave] | None = None

    def add(self, one: str, **changes: object) -> Grave:
        """Bury a letter; its message id is its id in capitals."""
        letter = Letter(
            id=one,
            message_id=one.upper(),
            reason="poison",
            detail="",
            buried_at=NOW - timedelta(hours=1),
            origin="withdrawals.requests",
            size=len(GOOD),
            asks=Asks.REQUEST,
        )
        grave = Grave(letter, self.said)
        for name, value in changes.items():
            setattr(grave, name, value)
        self.graves.append(grave)
        return grave

    @property
    def has_held_long(self) -> bool:
        """Whether so many are in hand."""
        return self.held >= self.holds_long_after

    async def next(self) -> Grave | None:
        """Hand out what is not in hand."""
        if self._coming is None:
            self._coming = deque(grave for grave in self.graves if not grave.is_gone)
        self.held += 1
        return self._coming.popleft() if self._coming else None

    async def put_back(self) -> None:
        """Have everything back."""
        self.said.append("put back")
        self._coming, self.held = None, 0


@dataclass
class Ledger:
    """Knows nothing, or is away; keeps the books by writing down what it is told."""

    said: list[str]
    asked: list[int] = field(default_factory=list)
    is_away: bool = False

    async def known(self, message_ids: Collection[str]) -> dict[str, Known]:
        """Know none of these."""
        if self.is_away:
            raise LedgerUnavailable("tests")
        self.asked.append(len(message_ids))
        return {}

    async def dead_letter_left(self, one: bytes, how: Literal["replayed", "dropped"]) -> None:
        """Be told."""
        names = [name for name in "ABC" if identity(name, GOOD) == one]
        self.said.append(f"{how} {''.join(names)}")


def understand(envelope: Envelope) -> Understood | Misread:
    """Read as a worker does."""
    return read(envelope, shapes={"bluum": BluumRequest}, default_provider="bluum")


async def _turn() -> None:
    return


def _ignore(_outcome: Outcome) -> None:
    return


async def _planned(graveyard: Graveyard, ledger: Ledger) -> Plan:
    return await plan(
        graveyard,
        ledger,
        selection=Selection(),
        force=False,
        understand=lambda _letter, envelope: understand(envelope),
        now=lambda: NOW,
    )


async def _replayed(graveyard: Graveyard, *letters: str) -> Outcome:
    outcome = Outcome()
    await replay(
        graveyard,
        letters,
        outcome=outcome,
        turn=_turn,
        told=_ignore,
        books=Ledger(graveyard.said),
    )
    return outcome


async def test_a_letter_is_removed_only_once_it_is_sent() -> None:
    """
    The books first, then the message, then the letter; those not meant are put back in the end.
    """
    graveyard = Graveyard()
    for one in "abc":
        graveyard.add(one)

    outcome = await _replayed(graveyard, "a", "c")

    assert Outcome(replayed=2) == outcome
    assert [
        *("replayed A", "send a", "remove a"),
        *("replayed C", "send c", "remove c"),
        "put back",
    ] == graveyard.said


async def test_what_was_not_confirmed_stays() -> None:
    """
    The run ends there, and what was done before is told.
    """
    graveyard = Graveyard()
    graveyard.add("a")
    graveyard.add("b", answer=PublishUnconfirmed("tests"))
    graveyard.add("c")
    outcome = Outcome()

    with pytest.raises(PublishUnconfirmed):
        await replay(graveyard, "abc", outcome=outcome, turn=_turn, told=_ignore, books=None)

    assert Outcome(replayed=1) == outcome
    assert [True, False, False] == [grave.is_gone for grave in graveyard.graves]


async def test_what_was_sent_is_counted_also_if_it_was_the_last() -> None:
    """
    An interruption while the letter is removed takes nothing from the count: it was sent.
    """
    graveyard, outcome = Graveyard(), Outcome()
    graveyard.add("a")
    graveyard.add("b", is_last=True)

    with pytest.raises(asyncio.CancelledError):
        await replay(graveyard, ("a", "b"), outcome=outcome, turn=_turn, told=_ignore, books=None)

    assert Outcome(replayed=2) == outcome


async def test_what_the_broker_refuses_is_tried_once() -> None:
    """
    Also when letters are put back in between; the others go.
    """
    graveyard = Graveyard(holds_long_after=2)
    graveyard.add("a", answer=False)
    graveyard.add("b")

    outcome = await _replayed(graveyard, "a", "b")

    assert Outcome(replayed=1, refused=1) == outcome
    assert 1 == graveyard.said.count("send a")
    assert [False, True] == [grave.is_gone for grave in graveyard.graves]


async def test_letters_that_somebody_else_took_are_not_waited_for() -> None:
    """
    The run ends with what there is.
    """
    graveyard = Graveyard()
    graveyard.add("a")

    assert Outcome(replayed=1) == await _replayed(graveyard, "a", "b")


async def test_nothing_is_held_for_long() -> None:
    """
    Letters are put back now and then, and each is still sent once.
    """
    graveyard = Graveyard(holds_long_after=3)
    for number in range(10):
        graveyard.add(f"letter-{number}")

    outcome = await _replayed(graveyard, *(f"letter-{number}" for number in range(10)))

    assert Outcome(replayed=10) == outcome
    assert 10 == len({said for said in graveyard.said if said.startswith("send")})
    assert 4 <= graveyard.said.count("put back")


async def test_letters_that_are_alike_go_each() -> None:
    """
    They share an id, and each is counted.
    """
    graveyard = Graveyard()
    graveyard.add("a")
    graveyard.add("a")

    assert Outcome(replayed=2) == await _replayed(graveyard, "a", "a")


async def test_a_drop_is_written_down_first() -> None:
    """
    Whatever fails then, a letter is never gone without a word.
    """
    graveyard = Graveyard()
    for one in "abc":
        graveyard.add(one)
    graveyard.add("d", is_readable=False)

    dropped = await drop(
        graveyard,
        ["b", "d", "gone"],
        keep=lambda grave: graveyard.said.append(f"keep {grave.letter.id}"),
        books=Ledger(graveyard.said),
    )

    assert 2 == dropped
    assert [
        *("keep b", "dropped B", "remove b"),
        *("keep d", "dropped ", "remove d"),
        "put back",
    ] == graveyard.said


@pytest.mark.parametrize("how", ["replay", "drop"])
async def test_a_cancellation_is_in_no_books(how: str) -> None:
    """
    It goes without a word to them, and nobody asks the ledger for a request of its id.
    """
    graveyard = Graveyard()
    grave = graveyard.add("a")
    grave.letter = replace(grave.letter, asks=Asks.CANCELLATION)
    ledger = Ledger(graveyard.said)

    if how == "drop":
        await drop(graveyard, ["a"], keep=lambda _grave: None, books=ledger)
    else:
        await _planned(graveyard, ledger)
        await _replayed(graveyard, "a")

    assert not [said for said in graveyard.said if said.startswith(("replayed", "dropped"))]
    assert ledger.asked in ([], [0])
    assert grave.is_gone


async def test_without_books_nobody_is_told() -> None:
    """
    A drop works all the same.
    """
    graveyard = Graveyard()
    graveyard.add("a")

    assert 1 == await drop(graveyard, ["a"], keep=lambda _grave: None, books=None)
    assert ["remove a", "put back"] == graveyard.said


@pytest.mark.parametrize(("count", "asked"), [(0, []), (199, [199]), (401, [200, 200, 1])])
async def test_a_plan_asks_the_ledger_for_many_at_once(count: int, asked: list[int]) -> None:
    """
    However many letters there are, few are in memory with their content.
    """
    graveyard = Graveyard()
    for number in range(count):
        graveyard.add(f"letter-{number}")
    ledger = Ledger(graveyard.said)

    made = await _planned(graveyard, ledger)

    assert asked == ledger.asked
    assert count == len(made.going) == made.by_prospect()[Prospect.SEND]


@pytest.mark.parametrize(
    ("selection", "force", "goes"),
    [
        (Selection(), True, False),
        (Selection(ids=frozenset({"a"})), False, False),
        (Selection(ids=frozenset({"a"})), True, True),
        (Selection(ids=frozenset({"A"})), True, True),
    ],
)
async def test_a_person_decides_by_name_and_force(
    selection: Selection, force: bool, goes: bool
) -> None:
    """
    A letter that cannot be read goes only if it was named, and forced.
    """
    graveyard = Graveyard()
    graveyard.add("a", is_readable=False)

    made = await plan(
        graveyard,
        Ledger(graveyard.said),
        selection=selection,
        force=force,
        understand=lambda _letter, envelope: understand(envelope),
        now=lambda: NOW,
    )

    assert (("a",) if goes else ()) == made.going


async def test_a_plan_needs_the_ledger() -> None:
    """
    No forecast is made up.
    """
    graveyard = Graveyard()
    graveyard.add("a")

    with pytest.raises(LedgerUnavailable):
        await _planned(graveyard, Ledger(graveyard.said, is_away=True))
