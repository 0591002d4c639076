"""A ledger that was restored from a backup: what was paid since is found, and paid once.

Without `distrust_all` each of these would be paid a second time once the provider has forgotten."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.fakes import NOW, FakeProvider, VirtualClock
from tests.flows.house import PATIENCE, House, open_house
from tests.ledger.second import copied
from worker.core.answers import Refused
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.restored import Doubted, distrust_all
from worker.ledger.books import Alteration, audit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NO_FUNDS: Final = Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"))
_UNTIL: Final = (NOW + timedelta(days=9)).isoformat().replace("+00:00", "Z")


@asynccontextmanager
async def _restored(
    url: str, *, paid: bool, after: timedelta
) -> AsyncIterator[tuple[House, FakeProvider]]:
    """A house on the backup, made while a request waited for funds; `after` has passed since."""
    clock = VirtualClock()
    bank = FakeProvider(clock.now)
    async with open_house(url, clock=clock, bank=bank) as house:
        bank.say(_NO_FUNDS)
        await house.deliver(wait_for_funds_until=_UNTIL)
        async with copied(url) as backup:
            if paid:
                clock.advance(minutes=30)
                await house.step()
            clock.at = NOW + after
            async with open_house(backup, clock=clock, bank=bank) as again:
                yield again, bank


@pytest.mark.parametrize("hours", [1, 22, 27, 70])
async def test_what_was_paid_after_the_backup_is_adopted(migrated_url: str, hours: int) -> None:
    """
    With little lost by its key, which the provider remembers; else from the list, before any call.
    """
    after = timedelta(hours=hours)
    async with _restored(migrated_url, paid=True, after=after) as (house, bank):
        calls = len(bank.calls)
        done = await _distrust(house)
        await _go_on(house, hours=96)

        assert Doubted(1, 0, 0) == done
        assert 1 == len(bank.paid)
        assert Status.PENDING == await house.status()
        assert (hours < 23) is (len(bank.calls) > calls)
        found: list[Alteration] = []
        assert (await audit(house.url, found=found.append)).hold, found


@pytest.mark.parametrize(("hours", "waits"), [(1, 0), (27, 25)])
async def test_what_was_not_paid_is_sent_once_that_is_harmless(
    migrated_url: str, hours: int, waits: int
) -> None:
    """
    At once, or a day later: no key can be remembered then that somebody used before.
    """
    after = timedelta(hours=hours)
    async with _restored(migrated_url, paid=False, after=after) as (house, bank):
        await _distrust(house)
        await _go_on(house, hours=96)

        [paid] = bank.paid
        assert timedelta(hours=waits) <= paid.at - NOW - after < timedelta(hours=waits + 2)


@pytest.mark.parametrize("hours", [1, 27])
async def test_what_was_sold_after_the_backup_is_not_sold_again(
    migrated_url: str, hours: int
) -> None:
    """
    The order is found in the list by its own id, and so is the payout that followed it.
    """
    clock = VirtualClock()
    bank = FakeProvider(clock.now)
    async with open_house(migrated_url, clock=clock, bank=bank) as house:
        await house.deliver(sell=[{"symbol": "AAPL", "quantity": "3"}])
        async with copied(migrated_url) as backup:
            await house.step()
            bank.market.fill()
            await _go_on(house, hours=1)
            was_paid = len(bank.paid)
            clock.at = NOW + timedelta(hours=hours)
            async with open_house(backup, clock=clock, bank=bank) as again:
                await _distrust(again)
                await _go_on(again, hours=96)

                assert 1 == was_paid
                assert 1 == bank.market.called.count("sell")
                assert 1 == len(bank.paid)
                assert Status.PENDING == await again.status()


async def test_it_may_be_done_twice(migrated_url: str) -> None:
    """
    Who is not sure whether it was done does it again.
    """
    async with _restored(migrated_url, paid=True, after=timedelta(hours=27)) as (house, bank):
        await _distrust(house)
        done = await _distrust(house)
        await _go_on(house, hours=96)

        assert Doubted(1, 0, 0) == done
        assert 1 == len(bank.paid)


async def test_what_the_provider_has_is_left(migrated_url: str) -> None:
    """
    It is looked at, as ever.
    """
    async with open_house(migrated_url) as house:
        await house.deliver()

        assert Doubted(0, 1, 0) == await _distrust(house)


async def _distrust(house: House) -> Doubted:
    """Put in doubt what may have been called for since the backup, which was made at NOW."""
    return await distrust_all(house.ledger, since=NOW, now=house.clock.now(), patience=PATIENCE)


async def _go_on(house: House, *, hours: int) -> None:
    """Let the worker take its steps for some hours."""
    until = house.clock.at + timedelta(hours=hours)
    while house.clock.at < until:
        await house.step()
        house.clock.advance(minutes=20)
