"""Which message killed the worker: marks that are left behind, and marks that are taken back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import Saying
from tests.flows.flaky import Line
from tests.flows.house import an_envelope
from tests.ledger import second
from worker.core.burials import identity
from worker.core.messages import DeadReason
from worker.flows.ports import LedgerUnavailable
from worker.flows.settlement import ACCEPT, Bury, Return
from worker.flows.suspicion import DEATHS_NEEDED, Suspicion

if TYPE_CHECKING:
    from tests.flows.house import House
    from worker.core.messages import Envelope

MESSAGE = b"m-1"


class Asleep:
    """Sleeps no time at all, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Remember it."""
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def _again() -> Envelope:
    return replace(an_envelope(), redelivered=True)


async def _die_reading(house: House, identity: bytes = MESSAGE) -> None:
    """Leave a mark as a process does that is killed while it reads."""
    await house.ledger.mark(identity, unmark=())


async def test_a_first_delivery_is_not_marked(house: House) -> None:
    """
    It costs no commit: whatever kills comes again.
    """
    suspicion = Suspicion(house.line)
    house.line.line = Line.CUT_BEFORE
    async with suspicion.reading(MESSAGE, redelivered=False) as mark:
        deaths = await house.ledger.deaths_with(MESSAGE)

    assert mark is not None
    assert 0 == deaths


async def test_one_that_comes_again_is_marked_while_it_is_read(house: House) -> None:
    """
    The mark is committed before, and gone after.
    """
    suspicion = Suspicion(house.line)
    async with suspicion.reading(MESSAGE, redelivered=True):
        during = await house.ledger.deaths_with(MESSAGE)

    assert 1 == during
    assert 0 == await house.ledger.deaths_with(MESSAGE)


async def test_a_mark_goes_also_when_reading_fails(house: House) -> None:
    """
    An exception is no death: whoever counts those counts them.
    """
    suspicion = Suspicion(house.line)
    with pytest.raises(ZeroDivisionError):
        async with suspicion.reading(MESSAGE, redelivered=True):
            raise ZeroDivisionError

    assert 0 == await house.ledger.deaths_with(MESSAGE)


async def test_after_enough_deaths_it_is_poison(house: House) -> None:
    """
    Not before; and what it is charged with is forgotten, so that a mended worker can read a replay.
    """
    verdicts = []
    for deaths in range(DEATHS_NEEDED + 1):
        for _ in range(deaths):
            await _die_reading(house)
        suspicion = Suspicion(house.line, sleep=Asleep())
        async with suspicion.reading(MESSAGE, redelivered=True) as mark:
            verdicts.append(mark is None)

    assert [False] * DEATHS_NEEDED + [True] == verdicts
    assert 0 == await house.ledger.deaths_with(MESSAGE)


async def test_it_waits_the_longer_the_more_it_is_charged_with(house: House) -> None:
    """
    A worker that is killed again and again at once dies before it comes to the mark.
    """
    asleep = Asleep()
    for deaths in range(DEATHS_NEEDED):
        for _ in range(deaths):
            await _die_reading(house)
        async with Suspicion(house.line, sleep=asleep).reading(MESSAGE, redelivered=True):
            pass

    assert [0.5, 1.0, 2.0, 4.0] == asleep.seconds


async def test_suspects_are_read_one_at_a_time(house: House) -> None:
    """
    A death counts for the one that was being read.
    """
    suspicion = Suspicion(house.line)
    reading, most = 0, 0

    async def read(number: int) -> None:
        nonlocal reading, most
        async with suspicion.reading(b"m-%d" % number, redelivered=True):
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0)
            reading -= 1

    await asyncio.gather(*(read(number) for number in range(5)))

    assert 1 == most


async def test_a_lifted_mark_lets_the_next_one_in(house: House) -> None:
    """
    Safely taken in, a request is carried out beside the others; lifting twice changes nothing.
    """
    suspicion = Suspicion(house.line)
    async with suspicion.reading(b"m-1", redelivered=True) as first:
        assert first is not None
        await first.lift()
        async with suspicion.reading(b"m-2", redelivered=True):
            await first.lift()
            deaths = [await house.ledger.deaths_with(b"m-%d" % number) for number in (1, 2)]

    assert [0, 1] == deaths


async def test_a_ledger_that_is_away_is_no_death(house: House) -> None:
    """
    A mark that could not be taken back is taken back with the next, and counts for nothing.
    """
    suspicion = Suspicion(house.line, sleep=(asleep := Asleep()))
    for _ in range(2 * DEATHS_NEEDED):
        with pytest.raises(LedgerUnavailable):
            async with suspicion.reading(MESSAGE, redelivered=True):
                house.line.line = Line.CUT_BEFORE
        house.line.line = Line.WHOLE
    async with suspicion.reading(b"m-2", redelivered=True) as mark:
        deaths = await house.ledger.deaths_with(MESSAGE)
    async with suspicion.reading(MESSAGE, redelivered=True) as again:
        pass

    assert 0 == deaths
    assert mark is not None
    assert again is not None
    assert [] == asleep.seconds


async def test_an_unconfirmed_mark_frees_the_way(house: House) -> None:
    """
    The ledger goes away at the mark itself: the next message is read all the same.
    """
    suspicion = Suspicion(house.line)
    house.line.line = Line.CUT_BEFORE
    with pytest.raises(LedgerUnavailable):
        async with suspicion.reading(MESSAGE, redelivered=True):
            raise AssertionError
    house.line.line = Line.WHOLE
    async with suspicion.reading(b"m-2", redelivered=True) as mark:
        pass

    assert mark is not None


async def test_a_request_that_comes_again_is_carried_out(house: House) -> None:
    """
    Redelivered, it is marked, taken in, paid, and nothing is left of the mark.
    """
    settled = await house.intake(_again())

    assert ACCEPT == settled
    assert ["received", "pending"] == await house.events()
    assert [] == await _marks(house)


async def test_the_mark_is_gone_before_the_provider_is_called(house: House) -> None:
    """
    Killed at the provider, a request is taken up from the ledger: its message did no harm.
    """
    marks: list[object] = []

    async def meanwhile() -> None:
        marks.append(await _marks(house))

    house.bank.says.append(Saying(pays=True, meanwhile=meanwhile))
    await house.intake(_again())

    assert [[]] == marks


async def test_poison_is_buried_unread(house: House) -> None:
    """
    Whatever it says is never looked at again, and nothing of it is recorded.
    """
    envelope = _again()
    for _ in range(DEATHS_NEEDED):
        await _die_reading(house, identity(envelope.message_id, envelope.body))
    settled = await house.intake(envelope)

    assert isinstance(settled, Bury)
    assert DeadReason.POISON is settled.reason
    assert await house.ledger.history("req-1") is None


def test_other_messages_are_not_charged() -> None:
    """
    The same id with other content is another message, and so is one without an id.
    """
    envelopes = [
        an_envelope("req-1"),
        an_envelope("req-1", amount="7.00"),
        an_envelope("req-2"),
        an_envelope(None),
    ]
    identities = {identity(envelope.message_id, envelope.body) for envelope in envelopes}

    assert 4 == len(identities)


async def test_without_a_ledger_it_goes_back(house: House) -> None:
    """
    A message that cannot be marked is not read.
    """
    house.line.line = Line.CUT_BEFORE
    settled = await house.intake(_again())

    assert isinstance(settled, Return)


async def _marks(house: House) -> list[object]:
    return list(await second.read(house.url, "SELECT starts FROM suspects"))
