"""What happens to a withdrawal besides being paid: waiting, cancelled, reversed, woken, surveyed.

The real flows over both ledgers; the cancellation's messages have tests of their own."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tests.flows.fakes import NOW
from tests.flows.house import PATIENCE
from tests.ledger import second
from worker.core.answers import Conflicted, Denied, Refused, Unclear
from worker.core.change import CANCEL_REFUSED
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.ports import Lane

if TYPE_CHECKING:
    from tests.flows.house import House

_SHORT: Final = Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "BLUM-422-001"))
_UNTIL: Final = (NOW + timedelta(hours=2)).isoformat()


async def wake(house: House, message_id: str, *, cancel: bool = False) -> None:
    """Ask from outside to take a withdrawal up, as a webhook or a cancellation does."""
    at = int(house.clock.now().timestamp()) * 1_000_000
    wanted = ", cancel_wanted = true" if cancel else ""
    await second.write(
        house.url,
        f"UPDATE withdrawals SET woken_at = {at}{wanted} WHERE message_id = '{message_id}'",  # noqa: S608
    )


async def step_on(house: House) -> int:
    """Let time pass until the next look is due, and take it."""
    house.clock.at += PATIENCE.looks.cap * 2
    return await house.step()


async def test_a_request_waits_for_its_funds(house: House) -> None:
    """
    That it waits is told once, and it is paid with the same key once the money is there.
    """
    house.bank.say(_SHORT)
    house.bank.say(_SHORT)
    await house.deliver(wait_for_funds_until=_UNTIL)
    house.clock.advance(minutes=1)
    await house.step()
    house.clock.advance(minutes=1)
    await house.step()

    assert ["received", "awaiting_funds", "pending"] == await house.events()
    assert 1 == len({call.key for call in house.bank.calls})
    assert (3, 1) == (len(house.bank.calls), len(house.bank.paid))


async def test_a_wallet_that_is_too_small_saves_the_call(house: House) -> None:
    """
    It is read before each further try; one in four tries is made all the same.
    """
    house.bank.say(_SHORT)
    house.bank.wallet = Decimal("1.00")
    await house.deliver(wait_for_funds_until=_UNTIL)
    for _ in range(3):
        house.clock.advance(minutes=5)
        await house.step()

    assert (1, 3) == (len(house.bank.calls), house.bank.wallets_read)


async def test_a_wait_for_funds_comes_to_its_end(house: House) -> None:
    """
    Then the request is rejected for want of funds.
    """
    for _ in range(20):
        house.bank.say(_SHORT)
    await house.deliver(wait_for_funds_until=_UNTIL)
    while await house.status() is Status.AWAITING_FUNDS:
        house.clock.advance(minutes=10)
        await house.step()

    assert ["received", "awaiting_funds", "rejected"] == await house.events()
    assert house.clock.now() - NOW <= timedelta(hours=2, minutes=10)


async def test_what_is_pending_is_cancelled(house: House) -> None:
    """
    The provider is asked and read again; the event says cancelled, and no second call follows.
    """
    await house.deliver()
    await wake(house, "req-1", cancel=True)
    await house.step()
    await step_on(house)

    assert ["received", "pending", "cancelled"] == await house.events()
    assert ["wd_1"] == house.bank.cancelled


async def test_what_is_too_late_is_said_to_be(house: House) -> None:
    """
    The refusal is an event, and the withdrawal goes on to its end.
    """
    await house.deliver()
    await house.move(Status.PROCESSING)
    await wake(house, "req-1", cancel=True)
    await house.step()
    await house.move(Status.COMPLETED)

    assert ["received", "pending", "processing", CANCEL_REFUSED, "completed"] == (
        await house.events()
    )


async def test_a_cancellation_in_doubt_waits_for_clarity(house: House) -> None:
    """
    The create call is not repeated for its sake: the list is read, and then it is cancelled.
    """
    for _ in range(3):
        house.bank.say(Unclear("timeout"), pays=True)
    await house.deliver()
    calls = len(house.bank.calls)
    await wake(house, "req-1", cancel=True)
    await house.step()
    await house.step()

    assert (calls, ["wd_1"]) == (len(house.bank.calls), house.bank.cancelled)
    assert ["received", "pending", "cancelled"] == await house.events()


async def test_a_cancellation_of_what_never_arrived_sends_nothing(house: House) -> None:
    """
    Three empty look-ups, a settling delay apart, and it is cancelled without any call.
    """
    for _ in range(3):
        house.bank.say(Unclear("timeout"))
    await house.deliver()
    calls = len(house.bank.calls)
    await wake(house, "req-1", cancel=True)
    for _ in range(3):
        await house.step()
        house.clock.at += PATIENCE.settling

    assert ["received", "cancelled"] == await house.events()
    assert (calls, [], []) == (len(house.bank.calls), house.bank.paid, house.bank.cancelled)


async def test_a_cancellation_while_funds_are_awaited_reaches_nobody(house: House) -> None:
    """
    Nothing is at the provider, so nothing is asked of it.
    """
    house.bank.say(_SHORT)
    await house.deliver(wait_for_funds_until=_UNTIL)
    await wake(house, "req-1", cancel=True)
    await house.step()

    assert ["received", "awaiting_funds", "cancelled"] == await house.events()
    assert ([], 1) == (house.bank.cancelled, len(house.bank.calls))


async def test_a_cancellation_of_the_finished_is_answered(house: House) -> None:
    """
    It is answered by an event, and the end stays the end.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    await wake(house, "req-1", cancel=True)
    await house.step()

    assert ["received", "pending", "completed", CANCEL_REFUSED] == await house.events()
    assert Status.COMPLETED is await house.status()
    assert [] == house.bank.cancelled


async def test_a_cancel_call_without_an_answer_is_repeated_soon(house: House) -> None:
    """
    A repeated cancel call harms nobody; the wish survives until there is a clear word.
    """
    await house.deliver()
    house.bank.cancels.extend([Unclear("timeout"), Denied(), Conflicted()])
    await wake(house, "req-1", cancel=True)
    for _ in range(3):
        await house.step()
        house.clock.advance(minutes=1)

    assert 3 == len(house.bank.cancelled)
    assert ["received", "pending", CANCEL_REFUSED] == await house.events()


async def test_a_reversal_is_heard_after_the_end(house: House) -> None:
    """
    Woken by a webhook, a finished withdrawal is looked at, and what the bank took back is told.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    house.bank.paid[0].status = Status.FAILED
    house.clock.advance(hours=24 * 40)
    await wake(house, "req-1")
    await house.step()

    history = await house.known()
    assert ["received", "pending", "completed", "failed"] == await house.events()
    assert history.transitions[-1]["reversal"]


async def test_a_reversal_that_is_shown_later_than_it_is_told_of(house: House) -> None:
    """
    A webhook may come before reads show what it is about: it is looked for once more, soon.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    house.clock.advance(hours=24 * 40)
    await wake(house, "req-1")
    await house.step()
    house.bank.paid[0].status = Status.FAILED
    house.clock.at += PATIENCE.settling
    await house.step()

    assert ["received", "pending", "completed", "failed"] == await house.events()


async def test_an_end_that_was_taken_back_before_it_could_be_read(house: House) -> None:
    """
    A webhook tells of the reversal, and the read behind it still shows the end that it reverses.
    """
    await house.deliver()
    house.bank.paid[0].status = Status.COMPLETED
    await wake(house, "req-1")
    await house.step()
    house.bank.paid[0].status = Status.FAILED
    house.clock.at += PATIENCE.settling
    await house.step()

    assert ["received", "pending", "completed", "failed"] == await house.events()


async def test_an_end_of_which_nothing_new_was_told_is_left_alone(house: House) -> None:
    """
    It is looked at once more after a webhook, and not a third time.
    """
    await house.deliver()
    await house.move(Status.COMPLETED)
    house.clock.advance(hours=24 * 40)
    house.bank.looked.clear()
    await wake(house, "req-1")
    for _ in range(3):
        await house.step()
        house.clock.at += PATIENCE.settling

    assert 2 == len(house.bank.looked)


async def test_who_is_woken_is_taken_up_once(house: House) -> None:
    """
    A hint brings one look forward, and no more.
    """
    await house.deliver()
    await wake(house, "req-1")

    assert [1, 0] == [await house.step(), await house.step()]
    assert ["wd_1"] == house.bank.looked


async def test_a_hint_is_not_lost_with_the_worker_that_took_it(house: House) -> None:
    """
    Claimed and never recorded, it is claimed again.
    """
    await house.deliver()
    await wake(house, "req-1")
    await house.ledger.claim_due(10, busy=())

    assert 1 == await house.step()


async def test_looks_do_not_keep_the_urgent_waiting(house: House) -> None:
    """
    Each lane is taken up by itself: what is to be sent, and what is only to be looked at.
    """
    await house.deliver("looked-at")
    house.bank.say(_SHORT)
    await house.deliver("waiting", wait_for_funds_until=_UNTIL)
    house.clock.advance(minutes=1)
    urgent = await house.ledger.claim_due(10, busy=(), lanes=[Lane.URGENT])
    looks = await house.ledger.claim_due(10, busy=(), lanes=[Lane.LOOKS])

    assert [["waiting"], ["looked-at"]] == [
        [held.withdrawal.order.message_id for held in lane] for lane in (urgent, looks)
    ]


async def test_many_of_one_party_are_looked_at_with_one_call(house: House) -> None:
    """
    One that the list does not show yet is looked at by itself; of another party nothing is read.
    """
    for number in range(4):
        await house.deliver(f"req-{number}", party="inv_1")
    await house.deliver("other", party="inv_2")
    for paid in house.bank.paid:
        paid.status = Status.COMPLETED
    house.bank.paid[2].is_listed = False
    house.clock.at += PATIENCE.looks.cap
    await house.step_together()

    assert (["inv_1"], ["wd_3", "wd_5"]) == (
        [party for party, _, _ in house.bank.listings],
        sorted(house.bank.looked),
    )
    for number in range(4):
        assert Status.COMPLETED is await house.status(f"req-{number}")


async def test_a_list_that_is_too_long_is_not_read(house: House) -> None:
    """
    For two that are due it would take more pages than looks.
    """
    for number in range(200):
        await house.deliver(f"req-{number}", party="inv_1")
        house.bank.paid[number].status = Status.COMPLETED
    house.clock.at += PATIENCE.looks.cap
    await house.step_together()
    for number in range(2):
        await house.deliver(f"late-{number}", party="inv_1")
    house.clock.at += PATIENCE.looks.cap
    await house.step_together()

    assert (1, ["wd_201", "wd_202"]) == (len(house.bank.listings), sorted(house.bank.looked))


async def test_a_list_that_cannot_be_read_tells_nothing(house: House) -> None:
    """
    All of the group are due again later, by the same growing schedule.
    """
    for number in range(2):
        await house.deliver(f"req-{number}", party="inv_1")
    house.bank.lists.append(Unclear("timeout"))
    house.clock.at += PATIENCE.looks.cap
    await house.step_together()

    assert [] == house.bank.looked
    assert 0 == await house.step()
