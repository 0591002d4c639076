"""A person settles what is unresolved: what the provider is asked, what is written, who is first.

The ruling is made over connections of its own, as the command makes it, beside the worker's."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from tests.flows.fakes import FakeOutbox, Paid
from tests.flows.house import PATIENCE, House
from worker.core.answers import Conflicted, Entry, Listed, Refused, Reported, Unclear
from worker.core.change import Held
from worker.core.limits import EMPTY_LOOKUPS_NEEDED
from worker.core.ruling import Adopt, Inadmissible, NotCreated
from worker.core.withdrawal import Reason, ReasonCode, Status
from worker.flows.rulings import Rulings
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from worker.core.ruling import Ruling

SILENCE: Final = Unclear("timeout")
NO_FUNDS: Final = Refused(Reason(ReasonCode.INSUFFICIENT_FUNDS, "B-1"))
NOT_CREATED: Final = NotCreated("Ada", "not on the statement")


def adopt(withdrawal_id: str = "wd_1") -> Adopt:
    """Ada's ruling that this is the one."""
    return Adopt(withdrawal_id, "Ada", "on the statement")


@asynccontextmanager
async def a_desk(house: House) -> AsyncIterator[Rulings]:
    """A person's access to the same ledger and provider, beside the worker's."""
    async with open_ledger(house.url, clock=house.clock) as ledger:
        yield Rulings(provider=house.bank, ledger=ledger, now=house.clock.now, patience=PATIENCE)


async def _unresolved(house: House, message_id: str = "req-1", *, is_paid: bool = True) -> Held:
    """The provider claims the key, and lists what it may have made too late."""
    house.bank.say(Conflicted(), pays=is_paid)
    await house.deliver(message_id)
    hidden = house.bank.paid[-1:] if is_paid else []
    for paid in hidden:
        paid.is_listed = False
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        house.clock.at += PATIENCE.settling
        await house.step()
    for paid in hidden:
        paid.is_listed = True
    assert Status.UNRESOLVED is await house.status(message_id)
    return (await house.known(message_id)).held


def _lookalike(house: House, withdrawal_id: str) -> None:
    """The customer has withdrawn the same amount by another way."""
    other = Paid(withdrawal_id, withdrawal_id, "inv_01", "500.00", "rent", house.clock.at)
    house.bank.paid.append(other)


def _made(house: House) -> list[Paid]:
    """What the provider made for requests of ours."""
    return [paid for paid in house.bank.paid if paid.key.startswith("wd-")]


async def _settle(
    house: House, ruling: Ruling, message_id: str = "req-1", *, last_call_at: datetime | None = None
) -> Held | Inadmissible:
    held = (await house.known(message_id)).held
    async with a_desk(house) as rulings:
        return await rulings.settle(held, ruling, last_call_at=last_call_at)


async def test_what_was_adopted_is_followed_to_its_end(house: House) -> None:
    """
    The worker looks at it without being told, and nothing is sent any more.
    """
    await _unresolved(house)
    calls = len(house.bank.calls)
    settled = await _settle(house, adopt())
    house.bank.paid[0].status = Status.COMPLETED
    await house.step()

    assert isinstance(settled, Held)
    assert ["received", "unresolved", "pending", "completed"] == await house.events()
    assert calls == len(house.bank.calls)
    assert ["wd_1"] == house.bank.looked


async def test_a_fresh_attempt_is_sent_by_the_worker(house: House) -> None:
    """
    Nothing was made: the worker sends the same key and bytes again, by a permit of its own.
    """
    await _unresolved(house, is_paid=False)
    settled = await _settle(house, NOT_CREATED)
    calls_before = len(house.bank.calls)
    await house.step()

    assert isinstance(settled, Held)
    assert ["received", "unresolved", "received", "pending"] == await house.events()
    assert calls_before + 1 == len(house.bank.calls)
    assert 1 == len({(call.key, call.body) for call in house.bank.calls})
    assert 1 == len(_made(house))


async def test_a_wrong_word_pays_nobody_twice_while_the_key_is_known(house: House) -> None:
    """
    The list hid what was made, and a person trusted it: the same key finds it again.
    """
    await _unresolved(house, is_paid=True)
    house.bank.paid[0].is_listed = False
    settled = await _settle(house, NOT_CREATED)
    await house.step()

    assert isinstance(settled, Held)
    assert "wd_1" == (await house.known()).held.withdrawal.withdrawal_id
    assert 1 == len(_made(house))


async def test_the_ruling_is_kept_with_who_and_why(house: House) -> None:
    """
    In the history, beside the move that it made, and in no event.
    """
    await _unresolved(house)
    await _settle(house, adopt())
    known = await house.known()
    unannounced = await house.ledger.unannounced([known.held.row])

    assert [(None, None), (None, None), ("Ada", "on the statement")] == [
        (row["operator"], row["note"]) for row in known.transitions
    ]
    assert "ruling" == known.transitions[-1]["cause"]
    for event in unannounced:
        assert b"Ada" not in event.body
        assert b"statement" not in event.body


@pytest.mark.parametrize("ruling", [adopt(), NOT_CREATED], ids=["adopt", "not created"])
async def test_the_worker_tells_of_a_ruling_with_its_next_step(
    house: House, ruling: Ruling
) -> None:
    """
    The ruling's event is published by the worker that takes the withdrawal up, in order.
    """
    await _unresolved(house, is_paid=isinstance(ruling, Adopt))
    outbox = FakeOutbox()
    announce = house.announcer(outbox)
    task = asyncio.create_task(announce.run())
    await _settle(house, ruling)
    await house.step()
    announce.stop()
    async with asyncio.timeout(60):
        await task

    between = [] if isinstance(ruling, Adopt) else ["received"]
    assert ["received", "unresolved", *between, "pending"] == outbox.told()


async def test_what_carries_our_reference_is_not_sent_again(house: House) -> None:
    """
    Whatever the person says: the list holds it, and nothing is written.
    """
    before = await _unresolved(house)
    settled = await _settle(house, NOT_CREATED)

    assert isinstance(settled, Inadmissible)
    assert "wd_1" in settled.why
    assert before == (await house.known()).held


@pytest.mark.parametrize("answer", [SILENCE, NO_FUNDS, Unclear("list_moved")], ids=repr)
async def test_without_the_list_nothing_is_begun_anew(
    house: House, answer: Unclear | Refused
) -> None:
    """
    Nothing is written, and the person is told why.
    """
    before = await _unresolved(house, is_paid=False)
    house.bank.lists.append(answer)
    settled = await _settle(house, NOT_CREATED)

    assert isinstance(settled, Inadmissible)
    assert "could not be read" in settled.why
    assert before == (await house.known()).held


async def test_a_ruling_right_after_a_call_has_to_wait(house: House) -> None:
    """
    The call may still execute; a settling delay later the same word is taken.
    """
    await _unresolved(house, is_paid=False)
    called_at = house.clock.at
    early = await _settle(house, NOT_CREATED, last_call_at=called_at)
    house.clock.at += PATIENCE.settling
    late = await _settle(house, NOT_CREATED, last_call_at=called_at)

    assert isinstance(early, Inadmissible)
    assert isinstance(late, Held)


@pytest.mark.parametrize("withdrawal_id", ["wd_9", "wd_other"])
async def test_what_is_not_this_partys_is_not_adopted(house: House, withdrawal_id: str) -> None:
    """
    The provider shows a party its own withdrawals alone.
    """
    await _unresolved(house)
    house.bank.paid.append(Paid("wd_other", "k", "inv_02", "500.00", "rent", house.clock.at))
    settled = await _settle(house, adopt(withdrawal_id))

    assert (
        Inadmissible(f"{withdrawal_id} could not be read: the provider does not know it") == settled
    )


async def test_what_another_request_owns_is_not_adopted(house: House) -> None:
    """
    One withdrawal at the provider serves one request of the ledger.
    """
    await _unresolved(house)
    await house.deliver("req-2")
    owned = (await house.known("req-2")).held.withdrawal.withdrawal_id or ""
    house.bank.paid[-1].text = "rent"
    settled = await _settle(house, adopt(owned))

    assert Inadmissible(f"{owned} belongs to another request") == settled


async def test_two_persons_who_adopt_the_same_exclude_each_other(house: House) -> None:
    """
    For two requests, at the same moment: the ledger knows one owner, the other is told.
    """
    await _unresolved(house, "req-1", is_paid=False)
    await _unresolved(house, "req-2", is_paid=False)
    _lookalike(house, "wd_x")
    first = (await house.known("req-1")).held
    second = (await house.known("req-2")).held
    async with a_desk(house) as one, a_desk(house) as other:
        settled = await asyncio.gather(
            one.settle(first, adopt("wd_x"), last_call_at=None),
            other.settle(second, adopt("wd_x"), last_call_at=None),
        )
    statuses = sorted([await house.status("req-1"), await house.status("req-2")])

    assert [Held, Inadmissible] == sorted((type(one) for one in settled), key=lambda t: t.__name__)
    assert [Status.PENDING, Status.UNRESOLVED] == statuses


@pytest.mark.parametrize("other", [adopt("wd_x"), NOT_CREATED], ids=["adopt", "not created"])
async def test_two_persons_exclude_each_other(house: House, other: Ruling) -> None:
    """
    Both judge by the same version: one ruling stands, the other overwrites nothing.
    """
    held = await _unresolved(house, is_paid=False)
    for withdrawal_id in ("wd_x", "wd_y"):
        _lookalike(house, withdrawal_id)
    async with a_desk(house) as rulings, a_desk(house) as others:
        settled = await asyncio.gather(
            rulings.settle(held, adopt("wd_y"), last_call_at=None),
            others.settle(held, other, last_call_at=None),
        )
    known = await house.known()

    assert 1 == len([one for one in settled if isinstance(one, Inadmissible)])
    assert 3 == len(known.transitions)
    assert held.version + 1 == known.held.version


async def test_a_change_of_the_workers_comes_first(house: House) -> None:
    """
    Somebody settled it, and the worker went on, while a person was still reading.
    """
    shown = await _unresolved(house)
    _lookalike(house, "wd_x")
    await _settle(house, adopt())
    await house.step()
    before = (await house.known()).held
    async with a_desk(house) as rulings:
        late = await rulings.settle(shown, adopt("wd_x"), last_call_at=None)

    assert isinstance(late, Inadmissible)
    assert "changed by somebody else" in late.why
    assert before == (await house.known()).held


async def test_a_person_is_shown_what_could_be_it(house: House) -> None:
    """
    Ours, likenesses and what another request owns, each with its sign; not another amount.
    """
    held = await _unresolved(house)
    _lookalike(house, "wd_x")
    await house.deliver("req-2")
    house.bank.paid[-1].text = "rent"
    await house.deliver("req-3", amount="99.00")
    owned = (await house.known("req-2")).held.withdrawal.withdrawal_id
    async with a_desk(house) as rulings:
        findings = await rulings.find(held)

    assert isinstance(findings.answer, Listed)
    assert [("wd_1", False, True), ("wd_x", False, False), (owned, True, False)] == [
        (found.entry.reported.withdrawal_id, found.is_owned, found.is_marked)
        for found in findings.candidates
    ]


async def test_a_list_that_cannot_be_read_is_shown_as_such(house: House) -> None:
    """
    Nothing is made up: no candidates, and the answer tells why.
    """
    held = await _unresolved(house)
    house.bank.lists.append(SILENCE)
    async with a_desk(house) as rulings:
        findings = await rulings.find(held)

    assert (SILENCE, ()) == (findings.answer, findings.candidates)


async def test_a_key_that_was_forgotten_is_paid_once(house: House) -> None:
    """
    The person rules days later: the fresh attempt has a window of its own, and pays.
    """
    await _unresolved(house, is_paid=False)
    house.clock.at += timedelta(days=2)
    await _settle(house, NOT_CREATED)
    ruled_at = house.clock.at
    await house.step()
    withdrawal = (await house.known()).held.withdrawal

    assert (Status.PENDING, ruled_at) == (withdrawal.status, withdrawal.first_attempt_at)
    assert 1 == len(_made(house))


async def test_what_is_too_late_is_rejected_by_the_ruling(house: House) -> None:
    """
    The request's own time limit has passed: nothing is sent, and the customer is told.
    """
    not_after = house.clock.at + timedelta(hours=1)
    house.bank.say(Conflicted())
    await house.deliver(not_after=not_after.isoformat())
    for _ in range(EMPTY_LOOKUPS_NEEDED):
        house.clock.at += PATIENCE.settling
        await house.step()
    house.clock.at = not_after + timedelta(seconds=1)
    await _settle(house, NOT_CREATED)
    await house.step()

    assert ["received", "unresolved", "rejected"] == await house.events()
    assert 1 == len(house.bank.calls)


async def test_a_word_that_nobody_documented_is_adopted_and_followed(house: House) -> None:
    """
    The id is known, and the worker looks until the provider says something that is understood.
    """
    await _unresolved(house)
    entry = await house.bank.entry("inv_01", "wd_1")
    assert isinstance(entry, Entry)
    odd = Reported("wd_1", None, "on_hold")
    house.bank.entries.append(replace(entry, reported=odd))
    await _settle(house, adopt())
    adopted = (await house.known()).held.withdrawal
    await house.step()

    assert (Status.RECEIVED, "wd_1", "on_hold") == (
        adopted.status,
        adopted.withdrawal_id,
        adopted.provider_status,
    )
    assert ["received", "unresolved", "received", "pending"] == await house.events()
