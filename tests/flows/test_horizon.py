"""The provider forgets a key after a day and would pay again: no create call leaves after that.

On no path: not when a retry is due, nor after a restart, nor for a redelivery, nor when the time
runs out between two steps. The list decides."""

from __future__ import annotations

import itertools
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.flows.fakes import Saying
from tests.flows.flaky import Line
from tests.flows.house import PATIENCE, House, die, open_house
from worker.core.answers import Conflicted, Denied, Refused, Unclear
from worker.core.events import moment
from worker.core.limits import EMPTY_LOOKUPS_NEEDED, FRESH_ATTEMPTS_END_AFTER
from worker.core.ruling import NotCreated
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.rulings import Rulings
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

SILENCE = Unclear("timeout")
#: How many calls one delivery makes that hears nothing.
TRIES = 3


async def _silent(house: House, *, is_paid: bool = False) -> None:
    """Deliver a request whose calls are all answered by silence; the first pays or does not."""
    house.bank.say(SILENCE, pays=is_paid)
    for _ in range(TRIES - 1):
        house.bank.say(SILENCE)
    await house.deliver()


async def test_before_the_horizon_a_due_retry_calls_with_the_same_key(house: House) -> None:
    """
    The provider, which has paid and remembers the key, repeats its answer.
    """
    await _silent(house, is_paid=True)
    house.clock.at += PATIENCE.window - timedelta(minutes=1)
    await house.step()

    assert TRIES + 1 == len(house.bank.calls)
    assert 1 == len({(call.key, call.body) for call in house.bank.calls})
    assert ["received", "pending"] == await house.events()
    assert 1 == len(house.bank.paid)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("redelivered", [False, True])
async def test_after_the_horizon_the_list_decides(
    ledger_url: str, *, restarted: bool, redelivered: bool
) -> None:
    """
    What had been paid is adopted, without any further call.
    """
    async with open_house(ledger_url) as house:
        await _silent(house, is_paid=True)
        if not restarted:
            await _a_day_later(house, redelivered=redelivered)
    if restarted:
        async with open_house(ledger_url, clock=house.clock, bank=house.bank) as later:
            await _a_day_later(later, redelivered=redelivered)


async def _a_day_later(house: House, *, redelivered: bool) -> None:
    house.clock.advance(hours=25)
    if redelivered:
        await house.deliver()
    await house.step()

    assert TRIES == len(house.bank.calls)
    assert 1 == len(house.bank.paid)
    assert Status.PENDING is await house.status()


async def test_a_fresh_attempt_begins_only_after_enough_empty_look_ups(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What the list does not show, a settling delay apart, was not made: then it is paid, once.

    Its calls may have been heard and failed: it rests until the last of them is surely forgotten,
    by its due time, and says so.
    """
    caplog.set_level(logging.INFO)
    await _silent(house)
    begun_at = (await house.known()).held.withdrawal.first_attempt_at
    assert begun_at is not None
    house.clock.at += PATIENCE.window
    calls = []
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        await house.step()
        calls.append(len(house.bank.calls))
        house.clock.at += PATIENCE.settling
    await house.step()
    resting = (await house.known()).held.withdrawal
    assert resting.due_at is not None
    house.clock.at = resting.due_at
    await house.step()
    known = await house.known()

    assert begun_at + PATIENCE.window + PATIENCE.forgotten == resting.due_at
    assert [(resting.order.message_id, moment(resting.due_at))] == [
        (vars(line)["message_id"], vars(line)["due_at"])
        for line in caplog.records
        if line.message == "fresh attempt waits"
    ]
    assert [TRIES] * EMPTY_LOOKUPS_NEEDED == calls
    assert TRIES + 1 == len(house.bank.calls)
    assert 1 == len(house.bank.paid)
    assert ["received", "pending"] == await house.events()
    assert known.held.withdrawal.first_attempt_at == house.bank.calls[-1].at


async def test_the_fresh_attempt_has_a_horizon_of_its_own(house: House) -> None:
    """
    It counts from the fresh attempt, which the provider remembers for a day again.
    """
    await _silent(house)
    house.clock.at += PATIENCE.window
    for _ in range(TRIES):
        house.bank.say(SILENCE)
    for _ in range(EMPTY_LOOKUPS_NEEDED + 1):
        await house.step()
        house.clock.at += PATIENCE.settling
    house.clock.at += PATIENCE.forgotten
    await house.step()
    after_fresh = len(house.bank.calls)
    house.clock.at += PATIENCE.window - PATIENCE.settling
    await house.step()
    before_horizon = len(house.bank.calls)

    assert 2 * TRIES == after_fresh
    assert 2 * TRIES + 1 == before_horizon
    assert Status.PENDING is await house.status()


async def test_look_ups_that_fail_begin_no_fresh_attempt(house: House) -> None:
    """
    An outage of the list, however long, sends nothing.
    """
    await _silent(house)
    house.clock.at += PATIENCE.window
    house.bank.lists.extend([SILENCE] * 8)
    for _ in range(8):
        await house.step()
        house.clock.advance(hours=1)

    assert TRIES == len(house.bank.calls)
    assert 8 == len(house.bank.listings)


async def test_a_list_that_stays_closed_calls_a_person(house: House) -> None:
    """
    Refused before the horizon it is asked again; refused after it, nobody can tell any more.
    """
    await _silent(house)
    house.clock.at += PATIENCE.window
    house.bank.lists.append(Refused(Reason(ReasonCode.NOT_FOUND)))
    await house.step()

    assert Status.UNRESOLVED is await house.status()
    assert TRIES == len(house.bank.calls)


async def test_the_horizon_passes_between_intent_and_call(house: House) -> None:
    """
    A machine that sleeps for a day in that very moment: the call that was intended stays unsent.
    """
    await _silent(house, is_paid=True)
    house.clock.at += PATIENCE.window - timedelta(minutes=1)

    def sleep_for_a_day() -> None:
        if house.bank.calls[TRIES:] == []:
            house.clock.advance(hours=25)

    (held,) = await house.ledger.claim_due(1, busy=())
    house.line.then = sleep_for_a_day
    await house.follow.take_step(held)
    house.line.then = lambda: None
    calls_after_sleep = len(house.bank.calls)
    house.clock.at += PATIENCE.settling
    await house.step()

    assert TRIES == calls_after_sleep
    assert TRIES == len(house.bank.calls)
    assert Status.PENDING is await house.status()
    assert 1 == len(house.bank.paid)


async def test_the_horizon_passes_while_a_wallet_is_read(house: House) -> None:
    """
    Between the choice of the step and the intent: the key stays as old as it is, and it rests.

    Made young there, a call without an answer would be repeated when the key is forgotten.
    """
    house.bank.say(Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS)))
    until = house.clock.at + timedelta(days=3)
    await house.deliver(wait_for_funds_until=until.isoformat())
    house.clock.at += PATIENCE.window - timedelta(seconds=1)
    house.bank.wallet_read = lambda: house.clock.advance(seconds=2)
    house.bank.say(SILENCE, pays=True)
    (held,) = await house.line.claim_due(1, busy=())
    await house.follow.take_step(held)
    known = (await house.known()).held.withdrawal

    assert (1, 1) == (house.bank.wallets_read, len(house.bank.calls))
    assert (False, held.withdrawal.first_attempt_at) == (known.in_doubt, known.first_attempt_at)
    house.clock.advance(seconds=2)
    await house.step()
    resting = (await house.known()).held.withdrawal
    assert known.first_attempt_at is not None
    assert known.first_attempt_at + PATIENCE.window + PATIENCE.forgotten == resting.due_at


async def test_the_horizon_passes_between_two_tries(house: House) -> None:
    """
    The pause between two calls of one run leads past it: the second stays unsent.
    """
    await _silent(house)
    house.clock.at += PATIENCE.window - timedelta(seconds=2)
    house.bank.say(SILENCE)
    await house.step()

    assert TRIES + 1 == len(house.bank.calls)
    assert Status.RECEIVED is await house.status()


async def test_a_clock_that_went_back_makes_no_old_key_young(house: House) -> None:
    """
    The age of the key is not known then: the list is asked, and nothing is sent.
    """
    await _silent(house, is_paid=True)
    house.clock.advance(minutes=1)
    (held,) = await house.ledger.claim_due(1, busy=())
    house.clock.advance(hours=-1)
    await house.follow.take_step(held)

    assert TRIES == len(house.bank.calls)
    assert 1 == len(house.bank.listings)
    assert Status.PENDING is await house.status()


async def test_a_clock_that_is_corrected_a_little_changes_nothing(house: House) -> None:
    """
    A second back is a correction, not an unknown age.
    """
    await _silent(house, is_paid=True)
    house.clock.advance(seconds=3)
    (held,) = await house.ledger.claim_due(1, busy=())
    house.clock.advance(seconds=-6)
    await house.follow.take_step(held)

    assert TRIES + 1 == len(house.bank.calls)
    assert 1 == len(house.bank.paid)


@pytest.mark.parametrize("is_paid", [True, False])
async def test_the_time_limit_of_the_request_passes_while_it_is_in_doubt(
    house: House, *, is_paid: bool
) -> None:
    """
    Nothing is sent any more; it has expired only if the list never shows it.
    """
    not_after = house.clock.at + timedelta(minutes=10)
    house.bank.say(SILENCE, pays=is_paid)
    for _ in range(TRIES - 1):
        house.bank.say(SILENCE)
    await house.deliver(not_after=not_after.isoformat())
    house.clock.at = not_after
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        house.clock.at += PATIENCE.settling
        await house.step()

    assert TRIES == len(house.bank.calls)
    assert ["received", "pending" if is_paid else "rejected"] == await house.events()


async def test_what_never_left_expires_without_a_look_up(house: House) -> None:
    """
    Turned away unexecuted until its time was over: nothing can have been paid.
    """
    not_after = house.clock.at + timedelta(seconds=30)
    house.bank.say(Denied())
    await house.deliver(not_after=not_after.isoformat())
    house.clock.advance(minutes=1)
    await house.step()

    assert ["received", "rejected"] == await house.events()
    assert Reason(ReasonCode.EXPIRED) == (await house.known()).held.withdrawal.reason
    assert [] == house.bank.listings


async def test_a_replay_of_what_is_finished_calls_nobody(house: House) -> None:
    """
    The same message days after its end, from the dead letters or an archive: it changes nothing.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    house.clock.advance(hours=60)
    await house.deliver()
    await house.step()

    assert 1 == len(house.bank.calls)
    assert 1 == len(house.bank.paid)
    assert ["received", "pending", "completed"] == await house.events()


@pytest.mark.parametrize("days", [2, 9, 400])
async def test_a_start_after_a_long_downtime_looks_before_it_pays(
    ledger_url: str, days: int
) -> None:
    """
    The worker died with calls under way: what was paid is adopted, nothing is sent before a look.
    """
    requests = [f"req-{number}" for number in range(6)]
    async with open_house(ledger_url) as house:
        for number, message_id in enumerate(requests):
            for turn in range(TRIES):
                house.bank.say(SILENCE, pays=turn == 0 and number % 2 == 0)
            house.line.then = _cut_after(house, 1)
            await house.deliver(message_id)
            house.line.line, house.line.then = Line.WHOLE, _nothing
        await die(house)
    house.clock.advance(days=days)
    async with open_house(ledger_url, clock=house.clock, bank=house.bank) as later:
        calls_before = len(later.bank.calls)
        await later.step()
        calls_after_looks = len(later.bank.calls)
        for _ in range(EMPTY_LOOKUPS_NEEDED):
            later.clock.at += PATIENCE.settling
            await later.step()
        statuses = [await later.status(message_id) for message_id in requests]

    assert calls_before == calls_after_looks
    assert len(later.bank.paid) == len({paid.key for paid in later.bank.paid})
    # What is too old to be begun anew by itself is left to a person.
    unpaid = Status.UNRESOLVED if days > FRESH_ATTEMPTS_END_AFTER.days else Status.PENDING
    assert [Status.PENDING, unpaid] * 3 == statuses


async def test_a_ruling_does_not_move_the_horizon(house: House) -> None:
    """
    The fresh attempt on a person's word stays silent: after the key's window the list decides.
    """
    house.bank.say(Conflicted())
    await house.deliver()
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        house.clock.at += PATIENCE.settling
        await house.step()
    held = (await house.known()).held
    async with open_ledger(house.url, clock=house.clock) as ledger:
        rulings = Rulings(
            provider=house.bank, ledger=ledger, now=house.clock.now, patience=PATIENCE
        )
        await rulings.settle(held, NotCreated("Ada", "not there"), last_call_at=None)
    for number in range(TRIES):
        house.bank.say(SILENCE, pays=number == TRIES - 1)
    await house.step()
    calls = len(house.bank.calls)
    known = (await house.known()).held.withdrawal
    house.clock.advance(hours=25)
    await house.step()

    assert held.withdrawal.first_attempt_at == known.first_attempt_at
    assert 1 + TRIES == calls == len(house.bank.calls)
    assert ["received", "unresolved", "received", "pending"] == await house.events()
    assert 1 == len(house.bank.paid)


async def test_a_replica_that_slept_past_the_horizon_sends_nothing(house: House) -> None:
    """
    Another one took its work over, looked, and paid anew: the sleeper's step changes nothing.
    """
    await _silent(house)
    house.clock.at += PATIENCE.window - timedelta(minutes=1)
    (asleep,) = await house.ledger.claim_due(1, busy=())
    await die(house)
    house.clock.advance(minutes=1)
    async with open_house(house.url, clock=house.clock, bank=house.bank) as other:
        for _ in range(EMPTY_LOOKUPS_NEEDED + 1):
            await other.step()
            other.clock.at += PATIENCE.settling
        other.clock.at += PATIENCE.forgotten
        await other.step()
        calls = len(other.bank.calls)
        await house.follow.take_step(asleep)

    assert TRIES + 1 == calls == len(house.bank.calls)
    assert 1 == len(house.bank.paid)
    assert ["received", "pending"] == await house.events()


@pytest.mark.parametrize("hours", [25, -25], ids=["forward", "back"])
async def test_the_clock_jumps_while_a_call_is_under_way(house: House, hours: int) -> None:
    """
    Between permit and answer: the call was rightful, and the next step is to look, not to pay.
    """

    async def jump() -> None:
        house.clock.advance(hours=hours)

    house.bank.says.append(Saying(SILENCE, pays=True, meanwhile=jump))
    await house.deliver()
    calls = len(house.bank.calls)
    house.clock.at += PATIENCE.settling
    await house.step()

    assert 1 == calls == len(house.bank.calls)
    assert 1 == len(house.bank.paid)
    assert Status.PENDING is await house.status()


@pytest.mark.parametrize("hours", [25, 24 * 30], ids=["a day", "a month"])
async def test_the_clock_jumps_forward_between_two_look_ups(house: House, hours: int) -> None:
    """
    The list lags behind, and one settling delay seems over at once: the other one is waited for.
    """
    await _silent(house, is_paid=True)
    house.bank.paid[0].is_listed = False
    house.clock.at += PATIENCE.window
    await house.step()
    house.clock.advance(hours=hours)
    await house.step()
    calls = len(house.bank.calls)
    house.bank.paid[0].is_listed = True
    house.clock.at += PATIENCE.settling
    await house.step()

    assert TRIES == calls == len(house.bank.calls)
    assert Status.PENDING is await house.status()


@pytest.mark.parametrize("days", [1, 3])
async def test_the_clock_goes_back_between_two_look_ups(house: House, days: int) -> None:
    """
    What was made by the old time is still within the days that are read, and it is found.
    """
    await _silent(house, is_paid=True)
    house.bank.paid[0].is_listed = False
    house.clock.at += PATIENCE.window
    await house.step()
    house.clock.advance(days=-days)
    early = await house.step()
    house.bank.paid[0].is_listed = True
    house.clock.advance(days=days)
    house.clock.at += PATIENCE.settling
    await house.step()

    assert 0 == early
    assert TRIES == len(house.bank.calls)
    assert Status.PENDING is await house.status()


async def test_a_clock_that_went_back_hides_nothing_from_the_list(house: House) -> None:
    """
    The provider shows only the days it is asked for; the payout's day lies ahead of our clock.
    """
    house.bank.keeps_to_days = True
    await _silent(house, is_paid=True)
    house.clock.advance(minutes=1)
    (held,) = await house.ledger.claim_due(1, busy=())
    house.clock.advance(days=-3)
    await house.follow.take_step(held)

    assert TRIES == len(house.bank.calls)
    assert Status.PENDING is await house.status()


def _cut_after(house: House, steps: int) -> Callable[[], None]:
    """The ledger is away for good once so many steps are written."""
    written = itertools.count(1)

    def cut() -> None:
        if next(written) == steps:
            house.line.line = Line.CUT_BEFORE

    return cut


def _nothing() -> None: ...
