"""A withdrawal of which nobody knows whether it was paid: the list decides, and only the list."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import FakeProvider, Paid, VirtualClock
from tests.flows.flaky import Line
from tests.flows.house import PATIENCE, House, die, open_house
from worker.core.answers import Conflicted, Denied, Listed, Refused, Throttled, Unclear
from worker.core.limits import EMPTY_LOOKUPS_NEEDED, LOOKUPS_GIVEN_UP_AFTER
from worker.core.withdrawal import Reason, ReasonCode, Status

if TYPE_CHECKING:
    from datetime import date

    from worker.core.answers import ListAnswer

SILENCE = Unclear("timeout")
NO_FUNDS = Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1"))
NOTHING = Listed(())


@dataclass
class _SlowBank(FakeProvider):
    """A bank whose list takes its time, in which the clock goes on."""

    clock: VirtualClock | None = None
    takes: timedelta = timedelta(0)

    async def listed(self, party_id: str, since: date, until: date) -> ListAnswer:
        """List what was there when it was asked."""
        answer = await super().listed(party_id, since, until)
        if self.clock is not None:
            self.clock.at += self.takes
        return answer


async def _refused_after_silence(
    house: House, message_id: str = "req-1", *, is_paid: bool = False
) -> None:
    """The first try is silent, paid or not; the second is refused."""
    house.bank.say(SILENCE, pays=is_paid)
    house.bank.say(NO_FUNDS)
    await house.deliver(message_id)


async def _look_up(house: House) -> None:
    """Let the next look-up become due, and do it."""
    house.clock.at += PATIENCE.settling
    assert await house.step()


async def test_it_is_rejected_once_the_list_has_shown_nothing_often_enough(house: House) -> None:
    """
    The refusal is kept until then, and its reason is the one that is told; nothing more is sent.
    """
    await _refused_after_silence(house)
    statuses = [await house.status()]
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        await _look_up(house)
        statuses.append(await house.status())

    assert [Status.RECEIVED] * EMPTY_LOOKUPS_NEEDED + [Status.REJECTED] == statuses
    assert ["received", "rejected"] == await house.events()
    assert NO_FUNDS.reason == (await house.known()).held.withdrawal.reason
    assert 2 == len(house.bank.calls)
    assert EMPTY_LOOKUPS_NEEDED == len(house.bank.listings)


async def test_two_look_ups_are_a_settling_delay_apart(house: House) -> None:
    """
    The list may lag behind: what it does not show now it may show then.
    """
    await _refused_after_silence(house)
    await _look_up(house)
    house.clock.at += PATIENCE.settling - timedelta(seconds=1)
    too_early = await house.step()

    assert 0 == too_early
    assert 1 == len(house.bank.listings)


@pytest.mark.parametrize("failure", [SILENCE, Throttled(), Denied()], ids=repr)
async def test_cancellations_and_failures_bring_no_look_up_nearer(
    house: House, failure: ListAnswer
) -> None:
    """
    What is not listed yet is not told as cancelled while it may have been paid.
    """
    house.bank.say(SILENCE, pays=True)
    await _refused_after_silence(house)
    house.bank.paid[0].is_listed = False
    counted_at = []
    for number in range(EMPTY_LOOKUPS_NEEDED):
        await house.cancel(f"cancel-{number}")
        house.bank.lists.extend([failure] if number else [])
        await house.step()
        for _ in range(60):
            house.clock.at += timedelta(seconds=1)
            await house.step()
        counted_at.append((await house.known()).held.withdrawal.empty_lookups)
    house.bank.paid[0].is_listed = True
    await _look_up(house)

    assert [1, 1, 1] == counted_at
    assert Status.PENDING is await house.status()
    assert 1 == len(house.bank.paid)


async def test_what_is_left_alone_for_a_while_is_looked_up_no_sooner(house: House) -> None:
    """
    Its provider was taken out of the settings in between: that is a minute, less than a list lags.
    """
    await _refused_after_silence(house)
    await _look_up(house)
    due_at = (await house.known()).held.withdrawal.due_at
    bank = house.providers.pop("bank")
    await house.cancel()
    await house.step()
    house.providers["bank"] = bank

    assert due_at == (await house.known()).held.withdrawal.due_at


async def test_a_list_counts_from_when_it_was_asked_for(ledger_url: str) -> None:
    """
    Asked for too early, it says too little, however long its answer took.
    """
    clock = VirtualClock()
    bank = _SlowBank(clock.now)
    async with open_house(ledger_url, clock=clock, bank=bank) as house:
        bank.clock = clock
        await _refused_after_silence(house)
        await _look_up(house)
        house.clock.at += PATIENCE.settling - timedelta(seconds=30)
        bank.takes = timedelta(seconds=60)
        await house.cancel()
        await house.step()
        early = (await house.known()).held.withdrawal.empty_lookups
        await house.step()
        late = (await house.known()).held.withdrawal.empty_lookups

    assert (1, 2) == (early, late)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_empty_look_ups_are_a_settling_delay_apart(
    house: House, seed: int
) -> None:
    """
    Cancelled, failed, throttled, denied, left alone, in any order.
    """
    random = Random(seed)  # noqa: S311 - no secret
    await _refused_after_silence(house)
    counted_at = []
    count = 0
    for number in range(300):
        house.clock.at += timedelta(seconds=random.choice([1, 15, 40, 61, 120]))
        # Not for ever: a failure that was woken puts off what falls due.
        if number < 40 and random.random() < 0.5:
            await house.cancel(f"cancel-{number}")
        is_enabled = random.random() < 0.8
        if not is_enabled:
            del house.providers["bank"]
        failure = random.choice([None, None, SILENCE, NO_FUNDS, Throttled(), Denied()])
        house.bank.lists.extend([] if failure is None else [failure])
        await house.step_together()
        house.bank.lists.clear()
        house.providers["bank"] = house.bank
        withdrawal = (await house.known()).held.withdrawal
        if withdrawal.empty_lookups > count:
            count = withdrawal.empty_lookups
            counted_at.append(house.clock.at)
        if withdrawal.is_at_rest:
            break

    apart = [later - earlier for earlier, later in pairwise(counted_at)]
    assert EMPTY_LOOKUPS_NEEDED == len(counted_at)
    assert min(apart) >= PATIENCE.settling


async def test_it_is_adopted_when_the_list_has_it(house: House) -> None:
    """
    The silent attempt had succeeded: the refusal is void, and the withdrawal is followed.
    """
    await _refused_after_silence(house, is_paid=True)
    house.told.rows.clear()
    await _look_up(house)
    told = list(house.told.rows)
    known = await house.known()
    adopted = known.held.withdrawal
    house.bank.paid[0].status = Status.COMPLETED
    house.clock.at += PATIENCE.looks.first_delay
    await house.step()

    assert [known.held.row] == told
    assert (Status.PENDING, "wd_1", None) == (
        adopted.status,
        adopted.withdrawal_id,
        adopted.held_refusal,
    )
    assert ["received", "pending", "completed"] == await house.events()
    assert 1 == len(house.bank.paid)


async def test_it_is_adopted_when_the_list_shows_it_late(house: House) -> None:
    """
    Looking once is not enough.
    """
    await _refused_after_silence(house, is_paid=True)
    house.bank.paid[0].is_listed = False
    for _ in range(EMPTY_LOOKUPS_NEEDED - 1):
        await _look_up(house)
    house.bank.paid[0].is_listed = True
    await _look_up(house)

    assert Status.PENDING is await house.status()


async def test_several_that_could_be_it_need_a_person(house: House) -> None:
    """
    Nothing more is done by itself, and nothing is told as failed.
    """
    await _refused_after_silence(house, is_paid=True)
    one = house.bank.paid[0]
    house.bank.paid.append(Paid("wd_2", "another", one.party, one.amount, one.text, house.clock.at))
    await _look_up(house)

    assert ["received", "unresolved"] == await house.events()
    assert (await house.known()).held.withdrawal.due_at is None
    assert 2 == len(house.bank.calls)


async def test_likeness_alone_needs_a_person(house: House) -> None:
    """
    An entry without our reference that agrees in all else is neither adopted nor passed over.
    """
    await _refused_after_silence(house, is_paid=True)
    house.bank.paid[0].text = "cut off on the way"
    await _look_up(house)

    assert Status.UNRESOLVED is await house.status()


@pytest.mark.parametrize(
    "answer", [SILENCE, NO_FUNDS, Throttled(), Denied()], ids=lambda answer: type(answer).__name__
)
async def test_a_look_up_that_failed_is_repeated(house: House, answer: ListAnswer) -> None:
    """
    It says nothing about the money: however often it fails, nothing is decided and nothing sent.
    """
    await _refused_after_silence(house)
    house.bank.lists.extend([answer] * 6)
    for _ in range(6):
        house.clock.at += PATIENCE.looks.cap * 2
        await house.step()
    withdrawal = (await house.known()).held.withdrawal

    assert 6 == len(house.bank.listings)
    assert (Status.RECEIVED, True) == (withdrawal.status, withdrawal.in_doubt)
    assert withdrawal.due_at is not None
    assert 2 == len(house.bank.calls)
    assert (["bank"] * 6 if isinstance(answer, Denied) else []) == house.denied


async def test_failed_look_ups_do_not_count_as_empty_ones(house: House) -> None:
    """
    Only lists that were read count.
    """
    await _refused_after_silence(house)
    failures = [SILENCE] * (EMPTY_LOOKUPS_NEEDED + 1)
    house.bank.lists.extend([NOTHING, *failures])
    for _ in range(1 + len(failures)):
        house.clock.at += PATIENCE.looks.cap * 2
        await house.step()

    assert Status.RECEIVED is await house.status()


async def test_a_conflict_is_looked_up_and_adopted(house: House) -> None:
    """
    The provider knows the key: the list tells which withdrawal it means.
    """
    house.bank.say(Conflicted(), pays=True)
    await house.deliver()
    await _look_up(house)

    assert ["received", "pending"] == await house.events()
    assert 1 == len(house.bank.calls)


async def test_a_conflict_without_an_entry_needs_a_person(house: House) -> None:
    """
    The key is known and nothing is listed: it is never taken for a failure.
    """
    house.bank.say(Conflicted())
    await house.deliver()
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        await _look_up(house)

    assert ["received", "unresolved"] == await house.events()


async def test_what_belongs_to_another_request_is_not_a_candidate(house: House) -> None:
    """
    Two requests alike in all, one of them paid: the other is not taken for it.
    """
    house.bank.takes_references = False
    await house.deliver("req-1")
    await _refused_after_silence(house, "req-2")
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        await _look_up(house)

    assert Status.REJECTED is await house.status("req-2")
    assert "wd_1" == (await house.known("req-1")).held.withdrawal.withdrawal_id


async def test_of_two_that_find_the_same_only_one_adopts_it(house: House) -> None:
    """
    Both look at the same moment, and neither owns it yet: the second to write needs a person.
    """
    house.bank.takes_references = False
    await _refused_after_silence(house, "req-1", is_paid=True)
    await _refused_after_silence(house, "req-2")
    house.clock.at += PATIENCE.settling
    due = await house.ledger.claim_due(2, busy=())
    house.line.meeting = asyncio.Barrier(2)
    await asyncio.gather(*(house.follow.take_step(held) for held in due))
    statuses = [await house.status(name) for name in ("req-1", "req-2")]

    assert [Status.PENDING, Status.UNRESOLVED] == sorted(statuses)


@pytest.mark.parametrize("paid", [0, 1, 2])
async def test_two_alike_in_doubt_at_once_are_paid_or_rejected_once_each(
    house: House, paid: int
) -> None:
    """
    Without a reference, none, one or both of them paid: none is adopted twice, none is lost.
    """
    house.bank.takes_references = False
    for number, message_id in enumerate(("req-1", "req-2")):
        await _refused_after_silence(house, message_id, is_paid=number < paid)
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        house.clock.at += PATIENCE.settling
        await house.step()
    known = [(await house.known(name)).held.withdrawal for name in ("req-1", "req-2")]

    outcomes = {
        0: [Status.REJECTED, Status.REJECTED],
        1: [Status.PENDING, Status.REJECTED],
        # Which of the two is whose nobody can tell.
        2: [Status.UNRESOLVED, Status.UNRESOLVED],
    }
    assert outcomes[paid] == sorted(one.status for one in known)
    ids = [one.withdrawal_id for one in known if one.withdrawal_id]
    assert len(ids) == len(set(ids)) == (1 if paid == 1 else 0)


@pytest.mark.parametrize("hours", [25, 23], ids=["forgotten", "still remembered"])
async def test_of_two_alike_the_paid_one_is_adopted_by_the_other(house: House, hours: int) -> None:
    """
    Without a reference nobody can tell which is whose: one is adopted, the other paid anew, once.

    Not before the provider has forgotten its key: it would answer with what the other has adopted.
    """
    house.bank.takes_references = False
    for message_id in ("req-1", "req-2"):
        house.bank.say(SILENCE, pays=message_id == "req-2")
        for _ in range(2):
            house.bank.say(SILENCE)
        await house.deliver(message_id)
    house.clock.advance(hours=hours)
    for _ in range(EMPTY_LOOKUPS_NEEDED + 1):
        await house.step()
        house.clock.at += PATIENCE.settling
    house.clock.advance(hours=48 - hours)
    await house.step()
    known = [(await house.known(name)).held.withdrawal for name in ("req-1", "req-2")]
    ids = [one.withdrawal_id for one in known if one.withdrawal_id]

    assert [Status.PENDING] * 2 == [one.status for one in known]
    assert sorted(set(ids)) == sorted(ids) == [paid.withdrawal_id for paid in house.bank.paid]


async def test_a_list_that_is_silent_for_ever_calls_a_person(house: House) -> None:
    """
    Days of look-ups that tell nothing: nothing is sent, and it is left to somebody who can ask.
    """
    await _refused_after_silence(house)
    house.bank.lists.extend([Unclear("list_moved")] * 500)
    while not (await house.known()).held.withdrawal.is_at_rest:
        assert house.bank.lists
        house.clock.at += PATIENCE.looks.cap
        await house.step()
    withdrawal = (await house.known()).held.withdrawal

    assert ["received", "unresolved"] == await house.events()
    assert Reason(ReasonCode.OUTCOME_UNKNOWN) == withdrawal.reason
    given_up_after = PATIENCE.window + LOOKUPS_GIVEN_UP_AFTER
    waited = house.clock.at - withdrawal.order.taken_at
    assert given_up_after <= waited <= given_up_after + PATIENCE.looks.cap * 2
    assert 2 == len(house.bank.calls)


async def test_a_look_up_that_was_not_recorded_is_repeated(house: House) -> None:
    """
    It is still due, and nothing was told of it.
    """
    await _refused_after_silence(house, is_paid=True)
    house.clock.at += PATIENCE.settling
    (held,) = await house.ledger.claim_due(1, busy=())
    house.line.line = Line.CUT_BEFORE
    with pytest.raises(Exception, match="ConnectionReset"):
        await house.follow.take_step(held)
    house.line.line = Line.WHOLE
    await house.step()

    assert ["received", "pending"] == await house.events()
    assert [("req-1", "received"), ("req-1", "pending")] == house.counted.changes


async def test_a_look_up_recorded_by_another_is_told_by_the_other(house: House) -> None:
    """
    Two replicas look the same one up: a single event comes of it.
    """
    await _refused_after_silence(house, is_paid=True)
    house.clock.at += PATIENCE.settling
    (held,) = await house.ledger.claim_due(1, busy=())
    await die(house)
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        await other.step()
        await house.follow.take_step(held)

    assert ["received", "pending"] == await house.events()
    assert [("req-1", "pending")] == other.counted.changes
    assert [("req-1", "received")] == house.counted.changes
