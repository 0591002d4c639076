"""Going through the provider's lists: what is found, what is repaired, and how it is read."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.fakes import Paid
from tests.flows.house import PATIENCE
from worker.core.answers import Denied, Refused, Throttled, Unclear
from worker.core.reconciliation import Kind, Period
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.ports import LedgerUnavailable
from worker.flows.reconcile import Reconciliation, Repair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import date

    from tests.flows.house import House
    from worker.core.answers import ListAnswer
    from worker.flows.reconcile import Compared, Surveyor

DAY: Final = timedelta(days=1)
SECOND: Final = timedelta(seconds=1)
NOBODY: Final = Refused(Reason(ReasonCode.NOT_FOUND))


class Interrupted:
    """A provider's list that something happens before, and after, it is read."""

    def __init__(
        self, bank: Surveyor, before: Callable[[], Awaitable[object]], after: Callable[[], object]
    ) -> None:
        self._bank = bank
        self._before = before
        self._after = after

    async def survey(self, party_id: str, since: date, until: date) -> ListAnswer:
        """Read the list."""
        await self._before()
        answer = await self._bank.survey(party_id, since, until)
        after = self._after()
        if isinstance(after, Exception):
            raise after
        return answer


def reconciliation(
    house: House, *, is_served: bool = True, bank: Surveyor | None = None
) -> Reconciliation:
    """What compares the house's bank with its ledger."""

    async def served() -> bool:
        return is_served

    async def sleep(seconds: float) -> None:
        house.slept.append(seconds)
        await asyncio.sleep(0)

    return Reconciliation(
        providers={"bank": bank or house.bank},
        ledger=house.ledger,
        now=house.clock.now,
        settling=PATIENCE.settling,
        is_served=served,
        sleep=sleep,
    )


def period(house: House) -> Period:
    """The last week."""
    return Period(house.clock.now() - 7 * DAY, house.clock.now())


async def compared(house: House, of: Reconciliation | None = None) -> list[Compared]:
    """Everything that a walk over the last week yields."""
    after, last = await house.ledger.span(period(house))
    walk = (of or reconciliation(house)).walk(period(house), after=after, last=last)
    return [one async for one in walk]


def kinds(walk: list[Compared]) -> Counter[Kind]:
    """What was found, by kind."""
    return Counter(found.finding.kind for one in walk for found in one.found)


def elsewhere(house: House, party: str = "inv_01") -> Paid:
    """A withdrawal that the customer made by another way."""
    paid = Paid("wd_x", "another-key", party, "7.00", "my own", house.clock.now())
    house.bank.paid.append(paid)
    return paid


async def test_drift_is_repaired_by_a_look(house: House) -> None:
    """
    The row is woken; the worker looks, moves it, and tells of it. Then nothing is found any more.
    """
    await house.deliver()
    house.clock.advance(minutes=10)
    house.bank.paid[0].status = Status.COMPLETED
    (party,) = await compared(house)
    await house.step()
    again = await compared(house)

    assert [(Kind.STATUS_DRIFT, Repair.WILL_BE_LOOKED_AT)] == [
        (found.finding.kind, found.repair) for found in party.found
    ]
    assert ("bank", "inv_01", 1, 1) == (party.provider, party.party_id, party.rows, party.listed)
    assert ["received", "pending", "completed"] == await house.events()
    assert Counter() == kinds(again)


async def test_a_reversal_is_found_long_after_the_end(house: House) -> None:
    """
    Though nobody would look at a finished withdrawal so soon.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    house.clock.advance(minutes=10)
    house.bank.paid[0].status = Status.FAILED
    walk = await compared(house)
    await house.step()

    assert Counter({Kind.STATUS_DRIFT: 1}) == kinds(walk)
    assert ["received", "pending", "completed", "failed"] == await house.events()


async def test_without_a_worker_drift_waits_for_one(house: House) -> None:
    """
    It is woken all the same.
    """
    await house.deliver()
    house.clock.advance(minutes=10)
    house.bank.paid[0].status = Status.FAILED
    (party,) = await compared(house, reconciliation(house, is_served=False))
    taken_up = await house.step()

    assert [Repair.NEEDS_A_WORKER] == [found.repair for found in party.found]
    assert 1 == taken_up


async def test_each_party_is_read_once_and_in_order(house: House) -> None:
    """
    The days are wider than the period; places lead from the first row to the last.
    """
    for number, party in enumerate(["inv_01", "inv_02", "inv_01", "inv_03"]):
        await house.deliver(f"req-{number}", party=party)
    after, last = await house.ledger.span(period(house))
    walk = await compared(house)

    since, until = period(house).days
    assert [(party, since, until) for party in ("inv_01", "inv_02", "inv_03")] == (
        house.bank.listings
    )
    places = [one.place for one in walk]
    assert sorted(places) == places
    assert after < places[0]
    assert last == places[-1]


async def test_what_is_left_out_is_not_read(house: House) -> None:
    """
    Parties that were compared already, and those of providers that are not enabled.
    """
    await house.deliver("req-1", party="inv_01")
    await house.deliver("req-2", party="inv_02")
    of = reconciliation(house)
    after, last = await house.ledger.span(period(house))
    besides = [("bank", "inv_01")]
    walk = of.walk(period(house), after=after, last=last, besides=besides)
    read = [one.party_id async for one in walk]
    nobody = Reconciliation(
        providers={},
        ledger=house.ledger,
        now=house.clock.now,
        settling=PATIENCE.settling,
        is_served=house.ledger.is_served,
    )

    assert ["inv_02"] == read
    assert [] == await compared(house, nobody)


async def test_what_nobody_asked_for_is_reported(house: House) -> None:
    """
    And what is gone; a request of another party explains what is its own.
    """
    await house.deliver("req-1")
    await house.deliver("req-2", party="inv_02")
    elsewhere(house)
    house.clock.advance(minutes=10)
    house.bank.paid[1].is_listed = False
    walk = await compared(house)

    assert Counter({Kind.UNEXPLAINED: 1, Kind.MISSING: 1}) == kinds(walk)


async def test_what_is_created_meanwhile_explains_itself(house: House) -> None:
    """
    Its row was not there when the list was asked for, and is once it was read.
    """
    await house.deliver("req-1")
    house.clock.advance(minutes=10)
    bank = Interrupted(house.bank, lambda: house.deliver("req-2"), lambda: None)

    assert Counter() == kinds(await compared(house, reconciliation(house, bank=bank)))


async def test_what_is_in_doubt_is_left_to_the_worker(house: House) -> None:
    """
    Its answer was lost: listed with our reference, or likely to be listed soon.
    """
    for _ in range(3):
        house.bank.say(Unclear("timeout"), pays=True)
    await house.deliver()
    house.clock.advance(minutes=10)

    assert Counter() == kinds(await compared(house))
    house.bank.paid[0].is_listed = False
    assert Counter() == kinds(await compared(house))


async def test_old_requests_explain_what_is_listed_now(house: House) -> None:
    """
    One that was taken in before the period and carried out in it.
    """
    await house.deliver("old")
    house.clock.advance(days=8)
    await house.deliver("new")
    house.bank.paid[0] = replace(house.bank.paid[0], at=house.clock.now())
    house.clock.advance(minutes=10)

    assert Counter() == kinds(await compared(house))


@pytest.mark.parametrize(
    ("answers", "pauses"),
    [
        ([Unclear("timeout"), Unclear("http_503", 7 * SECOND)], [1, 7]),
        ([Throttled(), Throttled(9 * SECOND), Throttled(90 * SECOND)], [1, 9, 60]),
    ],
    ids=["silent", "throttled"],
)
async def test_a_list_is_asked_for_patiently(
    house: House, answers: list[ListAnswer], pauses: list[float]
) -> None:
    """
    As long as the provider asks for, but for a minute at most each time.
    """
    await house.deliver()
    house.slept.clear()
    house.bank.lists.extend(answers)

    assert Counter() == kinds(await compared(house))
    assert pauses == house.slept


@pytest.mark.parametrize(
    ("answer", "count", "why"),
    [
        (Unclear("timeout"), 3, "no usable answer (timeout), try again later"),
        (Throttled(), 21, "the provider is asked too often at this moment, try again later"),
        (Denied(), 1, "the provider does not accept the credentials"),
        (NOBODY, 1, "the provider does not know it"),
    ],
    ids=["silent", "throttled", "denied", "unknown"],
)
async def test_a_list_that_cannot_be_read_is_a_finding(
    house: House, answer: ListAnswer, count: int, why: str
) -> None:
    """
    Not for ever is it asked for; that credentials are refused is told apart.
    """
    await house.deliver()
    house.bank.lists.extend([answer] * count)
    (party,) = await compared(house)

    assert [(Kind.UNREADABLE, why)] == [(f.finding.kind, f.finding.why) for f in party.found]
    assert isinstance(answer, Denied) is party.is_denied
    assert count == len(house.bank.listings)


async def test_a_party_that_the_provider_never_knew_agrees(house: House) -> None:
    """
    Its request was rejected for that very reason; given by hand it may be a slip.
    """
    house.bank.say(NOBODY)
    await house.deliver()
    house.bank.lists.extend([NOBODY, NOBODY])
    slip = await reconciliation(house).party("bank", "inv_99", period(house))

    assert Status.REJECTED is await house.status()
    assert [Kind.UNREADABLE] == [found.finding.kind for found in slip.found]
    assert Counter() == kinds(await compared(house))


async def test_a_fault_with_one_party_does_not_hide_the_others(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is a finding, and the next one is compared.
    """
    await house.deliver("req-1", party="inv_01")
    await house.deliver("req-2", party="inv_02")
    elsewhere(house, "inv_02")
    faults: list[object] = [RuntimeError("a bug"), None]
    bank = Interrupted(house.bank, _nothing, lambda: faults.pop(0))
    walk = await compared(house, reconciliation(house, bank=bank))

    assert Counter({Kind.UNREADABLE: 1, Kind.UNEXPLAINED: 1}) == kinds(walk)
    assert ["party not compared"] == [record.message for record in caplog.records]


async def test_a_ledger_that_goes_away_ends_the_walk(house: House) -> None:
    """
    That is no finding about a party.
    """
    await house.deliver()
    bank = Interrupted(house.bank, _nothing, lambda: LedgerUnavailable("away"))

    with pytest.raises(LedgerUnavailable):
        await compared(house, reconciliation(house, bank=bank))


async def _nothing() -> None: ...
