"""Reconciliation in the background: when, how slowly, by whom, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.house import PATIENCE, House, open_house
from tests.flows.waiting import until
from worker.core.answers import Denied
from worker.core.reconciliation import Completed, Kind
from worker.flows.ports import LedgerUnavailable
from worker.flows.reconcile import Reconciliation
from worker.flows.reconciler import HELD_FOR, PAUSE, Reconciler

if TYPE_CHECKING:
    from datetime import date

    from worker.core.answers import ListAnswer
    from worker.core.reconciliation import Round
    from worker.flows.reconciler import RoundsLedger
    from worker.ledger.store import Ledger

EVERY: Final = timedelta(hours=24)
#: Short, so that little time passes while one waits.
TICK: Final = timedelta(seconds=0.02)


class Background:
    """One worker's background task over a house, and what it tells.

    Time passes for it when it sleeps. At its `stops_at`th list it stops, until it may `go_on`.
    """

    def __init__(
        self,
        house: House,
        *,
        every: timedelta = EVERY,
        tick: timedelta = TICK,
        ledger: RoundsLedger | None = None,
    ) -> None:
        self.house = house
        self.may_call = True
        self.denied: list[str] = []
        self.told: list[Completed] = []
        self.slept: list[float] = []
        self.read: list[str] = []
        self.beats = 0
        self.stops_at = 0
        self.stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        self.reconciler = Reconciler(
            Reconciliation(
                providers={"bank": self},
                ledger=house.ledger,
                now=house.clock.now,
                settling=PATIENCE.settling,
                is_served=house.ledger.is_served,
            ),
            ledger or house.ledger,
            every=every,
            period=timedelta(days=7),
            now=house.clock.now,
            may_call=lambda _provider: self.may_call,
            denied=self.denied.append,
            told=self.told.append,
            beat=self._beat,
            tick=tick,
            sleep=self._sleep,
        )

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read a list of the house's bank."""
        self.read.append(party_id)
        if len(self.read) == self.stops_at:
            self.stopped.set()
            await self.go_on.wait()
        return await self.house.bank.survey(party_id, since, until)

    async def come_due(self) -> None:
        """Let the next round come due."""
        await self.reconciler.take_turn()
        self.house.clock.at += EVERY

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.house.clock.advance(seconds=seconds)
        await asyncio.sleep(0)

    def _beat(self) -> None:
        self.beats += 1


async def paid_for(house: House, *parties: str) -> None:
    """A withdrawal for each of some parties, that nobody has looked at since it was completed."""
    for number, party in enumerate(parties):
        await house.deliver(f"req-{number}", party=party)


async def test_a_round_compares_every_party_and_tells_what_it_found(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """
    One log line for each finding, by ids alone; the figures are shown by whoever asks later too.
    """
    caplog.set_level(logging.INFO)
    await paid_for(house, "inv_01", "inv_02")
    background = Background(house)
    await background.come_due()
    house.bank.paid[0].is_listed = False
    await background.reconciler.take_turn()
    another = Background(house)
    await another.reconciler.take_turn()

    assert ["inv_01", "inv_02"] == background.read
    assert [{("bank", Kind.MISSING): 1}] == [completed.found for completed in background.told]
    assert background.told == another.told
    (record,) = [record for record in caplog.records if record.message == "reconciliation found"]
    assert ("missing", "inv_01", "req-0", "wd_1", "none") == tuple(
        vars(record)[name] for name in ("kind", "party_id", "message_id", "withdrawal_id", "repair")
    )
    assert "500" not in str(vars(record))


async def test_between_two_rounds_nothing_is_read(house: House) -> None:
    """
    And a round of another replica is left to it.
    """
    await paid_for(house, "inv_01")
    background = Background(house)
    await background.reconciler.take_turn()
    early = list(background.read)
    await background.come_due()
    await background.reconciler.take_turn()
    await background.reconciler.take_turn()

    assert [] == early
    assert ["inv_01"] == background.read


async def test_a_round_goes_on_after_a_restart(ledger_url: str) -> None:
    """
    Behind the last party that was compared, with what was found before.
    """
    async with open_house(ledger_url) as house:
        await paid_for(house, "inv_01", "inv_02", "inv_03")
        house.bank.paid[0].is_listed = house.bank.paid[2].is_listed = False
        background = Background(house)
        await background.come_due()
        await stop_at(background, 2)
        clock, bank = house.clock, house.bank
    clock.at += HELD_FOR
    async with open_house(ledger_url, clock=clock, bank=bank) as house:
        restarted = Background(house)
        await restarted.reconciler.take_turn()

    assert ["inv_02", "inv_03"] == restarted.read
    assert [{("bank", Kind.MISSING): 2}] == [completed.found for completed in restarted.told]


async def stop_at(background: Background, number: int) -> None:
    """Let a worker go through a round until it reads a list, and end it there."""
    background.stops_at = number
    turn = asyncio.create_task(background.reconciler.take_turn())
    async with asyncio.timeout(60):
        await background.stopped.wait()
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)


async def test_a_list_that_takes_long_is_waited_for(house: House) -> None:
    """
    The round is held on meanwhile, however long it takes: no other worker begins it.
    """
    await paid_for(house, "inv_01")
    background = Background(house)
    await background.come_due()
    background.stops_at = 1
    turn = asyncio.create_task(background.reconciler.take_turn())
    async with asyncio.timeout(60):
        await background.stopped.wait()
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        another = Background(other)
        for _ in range(3):
            # Two beats, so that the round was held on in between.
            background.beats = 0
            await until(lambda: background.beats > 1)
            house.clock.at += HELD_FOR / 2
            await another.reconciler.take_turn()
    background.go_on.set()
    await turn

    assert [] == another.read
    assert 1 == len(background.told)


@pytest.mark.parametrize(("every", "pause"), [(EVERY, PAUSE), (timedelta(0), timedelta(0))])
async def test_a_round_is_slow_unless_it_would_take_too_long(
    house: House, every: timedelta, pause: timedelta
) -> None:
    """
    A pause after each party, that shrinks with the time that is left.
    """
    await paid_for(house, "inv_01", "inv_02")
    background = Background(house, every=every)
    await background.come_due()
    await background.reconciler.take_turn()

    assert [pause.total_seconds()] * 2 == background.slept


async def test_refused_credentials_break_a_round_off(house: House) -> None:
    """
    Whoever watches over them is told; the others are compared once they work.
    """
    await paid_for(house, "inv_01", "inv_02")
    background = Background(house)
    await background.come_due()
    house.bank.lists.append(Denied())
    await background.reconciler.take_turn()
    broken_off = list(background.read)
    house.clock.advance(minutes=6)
    await background.reconciler.take_turn()

    assert ["bank"] == background.denied
    assert ["inv_01"] == broken_off
    assert ["inv_01", "inv_01", "inv_02"] == background.read
    assert [{}] == [completed.found for completed in background.told]


async def test_a_provider_that_is_out_is_left_alone(house: House) -> None:
    """
    Before a round, and in the middle of one.
    """
    await paid_for(house, "inv_01", "inv_02")
    background = Background(house)
    await background.come_due()
    background.may_call = False
    await background.reconciler.take_turn()
    before = list(background.read)
    background.may_call, background.stops_at = True, 1
    turn = asyncio.create_task(background.reconciler.take_turn())
    async with asyncio.timeout(60):
        await background.stopped.wait()
    background.may_call = False
    background.go_on.set()
    await turn

    assert [] == before
    assert ["inv_01"] == background.read
    assert [] == background.told


async def test_a_round_that_another_took_over_is_left_to_it(house: House) -> None:
    """
    Nothing of it is told twice.
    """
    await paid_for(house, "inv_01", "inv_02")
    # It shows no sign of life all the while.
    background = Background(house, tick=EVERY)
    await background.come_due()
    background.stops_at = 1
    turn = asyncio.create_task(background.reconciler.take_turn())
    async with asyncio.timeout(60):
        await background.stopped.wait()
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        another = Background(other)
        house.clock.at += HELD_FOR
        await another.reconciler.take_turn()
    background.go_on.set()
    await turn

    assert ["inv_01"] == background.read
    assert ["inv_01", "inv_02"] == another.read
    assert ([], 1) == (background.told, len(another.told))


class AwayAtFirst:
    """The rounds of a ledger that does not answer the first question."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._is_away = True

    async def completed_round(self) -> Completed | None:
        """Answer, but for the first time."""
        if self._is_away:
            self._is_away = False
            raise LedgerUnavailable("away")
        return await self._ledger.completed_round()

    async def take_round(
        self, *, every: timedelta, period: timedelta, held_for: timedelta
    ) -> Round | None:
        """Begin a round."""
        return await self._ledger.take_round(every=every, period=period, held_for=held_for)

    async def keep_round(self, of: Round, *, held_for: timedelta, is_over: bool = False) -> bool:
        """Remember how far it has got."""
        return await self._ledger.keep_round(of, held_for=held_for, is_over=is_over)


async def test_it_goes_on_and_on(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """
    Round after round, showing that it is alive; a ledger that is away is waited for.
    """
    await paid_for(house, "inv_01")
    every = timedelta(minutes=1)
    background = Background(house, every=every, tick=every / 4, ledger=AwayAtFirst(house.ledger))
    running = asyncio.create_task(background.reconciler.run())
    await until(lambda: len(background.read) >= 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert background.beats > len(background.slept) / 2
    assert every.total_seconds() / 4 in background.slept
    assert {"inv_01"} == set(background.read)
    assert "reconciliation interrupted" in caplog.messages
