"""Cancellations in the ledger: each has one effect, and none misses its withdrawal."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.ledger.builders import (
    FINGERPRINT,
    NOW,
    a_cancel,
    an_order,
    answered,
    due,
    moved,
    refused,
    take,
    take_due,
    taken_in,
)
from tests.ledger.test_two_replicas import both_wait, locked
from worker.core.withdrawal import Status
from worker.flows.ports import Copy
from worker.ledger.cancellations import GIVEN_UP_AT_ONCE, Asked
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.core.cancellations import Cancel
    from worker.core.change import Held
    from worker.ledger.store import Ledger

LATER: Final = NOW + timedelta(days=3650)
HOUR: Final = timedelta(hours=1)
WD: Final = ("bluum", "wd_1")


async def ask(ledger: Ledger, cancel: Cancel | None = None, *, wait: timedelta = HOUR) -> Asked:
    """Write a cancellation down that waits for so long."""
    return await ledger.ask(cancel or a_cancel(), waits_until=ledger.now() + wait)


async def claimed(ledger: Ledger) -> dict[str, bool]:
    """Take over what is to be taken up now: by message id, whether it is to be cancelled."""
    held = await ledger.claim_due(10, busy=[])
    return {one.withdrawal.order.message_id: one.withdrawal.cancel_wanted for one in held}


async def told_of(ledger: Ledger, message_id: str = "req-1") -> list[tuple[Any, Any]]:
    """What became of the cancellations of a request, as (id, outcome)."""
    history = await ledger.history(message_id)
    assert history is not None
    return [(row["message_id"], row["outcome"]) for row in history.cancellations]


async def known(ledger: Ledger, message_id: str = "req-1") -> Held:
    """A withdrawal as it stands."""
    history = await ledger.history(message_id)
    assert history is not None
    return history.held


@pytest.mark.parametrize("of", ["req-1", WD], ids=["request", "withdrawal"])
async def test_a_known_withdrawal_is_taken_up_at_once(
    ledger: Ledger, of: str | tuple[str, str]
) -> None:
    """
    However late it is due; its version is untouched, so nobody who works on it is overtaken.
    """
    first = await take(ledger, "req-1")
    pending = moved(first, Status.PENDING, withdrawal_id="wd_1", due_at=LATER)
    held = await ledger.record(first, pending)
    await take_due(ledger, "req-2", LATER)
    assert held is not None

    assert Asked(is_new=True, same=True, row=held.row) == await ask(ledger, a_cancel(of=of))
    assert held.version == (await known(ledger)).version
    assert {"req-1": True} == await claimed(ledger)
    assert [("cancel-1", None)] == await told_of(ledger)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.UNRESOLVED, Status.REJECTED])
async def test_also_one_that_is_at_rest(ledger: Ledger, status: Status) -> None:
    """
    It is taken up all the same, to be answered.
    """
    await ledger.record(await take(ledger, "req-1"), moved(await known(ledger), status))

    await ask(ledger)

    assert {"req-1": True} == await claimed(ledger)


async def test_a_repeated_message_has_one_effect(ledger: Ledger) -> None:
    """
    Also after the first was answered; with other content it is told apart and changes nothing.
    """
    held = await take_due(ledger, "req-1", LATER)
    await ask(ledger)
    (wanted,) = await ledger.claim_due(1, busy=[])
    await ledger.record(wanted, answered(wanted, "cancel_refused", Status.RECEIVED))

    again = await ask(ledger)
    other = await ask(ledger, a_cancel(of="req-2", fingerprint=b"other"))

    assert Asked(is_new=False, same=True, row=held.row) == again
    assert Asked(is_new=False, same=False, row=held.row) == other
    assert {} == await claimed(ledger)
    assert [("cancel-1", "cancel_refused")] == await told_of(ledger)


async def test_two_copies_in_one_group_have_one_effect(ledger: Ledger) -> None:
    """
    The first is new, the second finds it known.
    """
    await take(ledger, "req-1")

    asked = await asyncio.gather(*(ask(ledger) for _ in range(5)))

    assert [True] + [False] * 4 == [one.is_new for one in asked]
    assert [("cancel-1", None)] == await told_of(ledger)


async def test_one_that_came_before_its_request_waits_for_it(ledger: Ledger) -> None:
    """
    The request is to be cancelled from its first moment on; others are not.
    """
    early = await ask(ledger)
    first = await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)
    other = await ledger.take(taken_in(an_order("req-2")), FINGERPRINT)

    assert Asked(is_new=True, same=True, row=None) == early
    assert (True, True) == (first.is_new, first.held.withdrawal.cancel_wanted)
    assert first.held == await known(ledger)
    assert not other.held.withdrawal.cancel_wanted
    assert [("cancel-1", None)] == await told_of(ledger)


async def test_an_invalid_request_is_taken_up_to_answer(ledger: Ledger) -> None:
    """
    It ended at the door, so nothing else would take it up.
    """
    await ask(ledger)
    taken = await ledger.take(refused("req-1"), FINGERPRINT)

    assert taken.held.withdrawal.is_finished
    assert {"req-1": True} == await claimed(ledger)


async def test_one_that_comes_together_with_its_request(ledger: Ledger) -> None:
    """
    In one group, in either order: the request is to be cancelled.
    """
    steps = ledger.take(taken_in(an_order("req-1")), FINGERPRINT), ask(ledger)
    taken, _ = await asyncio.gather(*steps)
    asked, other = await asyncio.gather(
        ask(ledger, a_cancel("cancel-2", of="req-2")),
        ledger.take(taken_in(an_order("req-2")), FINGERPRINT),
    )

    assert [True, True] == [one.held.withdrawal.cancel_wanted for one in (taken, other)]
    assert asked.is_new
    assert [("cancel-2", None)] == await told_of(ledger, "req-2")


async def test_one_that_names_an_id_before_it_is_known_waits_for_it(ledger: Ledger) -> None:
    """
    Whoever writes the id down learns of it, and once released it is taken up at once.
    """
    held = await take(ledger, "req-1")
    early = await ask(ledger, a_cancel(of=WD))
    await ask(ledger, a_cancel("cancel-2", of=("upvest", "wd_1")))
    adopted = await ledger.record(
        held, moved(held, Status.PENDING, withdrawal_id="wd_1", due_at=LATER)
    )

    assert early.row is None
    assert adopted is not None
    assert adopted.withdrawal.cancel_wanted
    assert {"req-1": True} == await claimed(ledger)
    assert [("cancel-1", None)] == await told_of(ledger)


async def test_an_id_learned_in_hand_wakes_once_released(ledger: Ledger) -> None:
    """
    Also when it was woken before, by whoever has it in hand.
    """
    await take_due(ledger, "req-1", LATER)
    await ask(ledger, a_cancel("cancel-0", of="req-1"))
    (held,) = await ledger.claim_due(1, busy=[])
    await ask(ledger, a_cancel(of=WD))
    learned = answered(held, "cancel_refused", Status.PENDING, withdrawal_id="wd_1")
    kept = await ledger.record(held, learned, keep=True)
    assert kept is not None
    await ledger.record(kept, due(kept, LATER))

    assert kept.withdrawal.cancel_wanted
    assert {"req-1": True} == await claimed(ledger)
    assert [("cancel-0", "cancel_refused"), ("cancel-1", None)] == await told_of(ledger)


async def test_who_has_it_in_hand_hears_of_it(ledger: Ledger) -> None:
    """
    With its next record, which leaves the cancellation as it is.
    """
    held = await take(ledger, "req-1")
    await ask(ledger)
    kept = await ledger.record(held, due(held, LATER), keep=True)

    assert kept is not None
    assert kept.withdrawal.cancel_wanted
    assert (await known(ledger)).withdrawal.cancel_wanted
    assert [("cancel-1", None)] == await told_of(ledger)


@pytest.mark.parametrize(
    ("word", "status", "outcome"),
    [
        ("cancelled", Status.CANCELLED, "cancelled"),
        ("cancel_refused", Status.COMPLETED, "cancel_refused"),
    ],
)
async def test_the_answer_settles_all_that_wait(
    ledger: Ledger, word: str, status: Status, outcome: str
) -> None:
    """
    The event that answers goes as a copy to each who asked for one, under the id of its message.
    """
    await take_due(ledger, "req-1", LATER)
    await ask(ledger, a_cancel(reply_to="one", correlation_id="c-1"))
    await ask(ledger, a_cancel("cancel-2", reply_to="two"))
    await ask(ledger, a_cancel("cancel-3"))
    (held,) = await ledger.claim_due(1, busy=[])
    after = await ledger.record(held, answered(held, word, status))
    events = await ledger.unannounced([held.row])

    assert after is not None
    assert not after.withdrawal.cancel_wanted
    assert after == await known(ledger)
    assert [(f"cancel-{n}", outcome) for n in (1, 2, 3)] == await told_of(ledger)
    assert {} == await claimed(ledger)
    assert [(), _copies(("one", "c-1"), ("two", "cancel-2"))] == [one.copies for one in events]


async def test_a_later_one_is_answered_by_an_event_of_its_own(ledger: Ledger) -> None:
    """
    What was told before is not told again to whoever asks afterwards.
    """
    row = (await take_due(ledger, "req-1", LATER)).row
    for number in (1, 2):
        await ask(ledger, a_cancel(f"cancel-{number}", reply_to=f"queue-{number}"))
        (held,) = await ledger.claim_due(1, busy=[])
        await ledger.record(held, answered(held, "cancel_refused", Status.RECEIVED))
    events = await ledger.unannounced([row])

    assert [
        (),
        _copies(("queue-1", "cancel-1")),
        _copies(("queue-2", "cancel-2")),
    ] == [one.copies for one in events]


async def test_a_change_that_was_overtaken_settles_nothing(ledger: Ledger) -> None:
    """
    Its cancellation still waits for whoever holds it now.
    """
    await take_due(ledger, "req-1", LATER)
    await ask(ledger)
    (held,) = await ledger.claim_due(1, busy=[])
    await ledger.record(held, due(held, LATER))

    assert await ledger.record(held, answered(held, "cancelled", Status.CANCELLED)) is None
    assert [("cancel-1", None)] == await told_of(ledger)
    assert (await known(ledger)).withdrawal.cancel_wanted


async def test_what_waits_in_vain_is_given_up(ledger: Ledger) -> None:
    """
    Not before its time, not when its withdrawal has come, and it is answered once.
    """
    await take(ledger, "req-1")
    await ask(ledger, wait=-HOUR)
    await ask(ledger, a_cancel("cancel-2", of="req-2"))
    assert not await ledger.any_overdue()
    vain = a_cancel("cancel-3", of="req-3", reply_to="q", correlation_id="c-3")
    await ask(ledger, vain, wait=-HOUR)

    overdue = await ledger.any_overdue()
    (given_up,) = await ledger.give_up()
    unanswered = await ledger.unanswered(before=ledger.now())
    await ledger.mark_answered(["cancel-3"])

    assert overdue
    assert vain == given_up.cancel
    assert [given_up] == unanswered
    assert [] == await ledger.unanswered(before=ledger.now())
    assert [] == await ledger.give_up()
    assert not await ledger.any_overdue()


async def test_a_request_that_comes_after_the_answer_is_processed(ledger: Ledger) -> None:
    """
    Whoever was told that there is no such request was told that nothing is cancelled.
    """
    await ask(ledger, wait=-HOUR)
    await ask(ledger, a_cancel("cancel-2", of=WD), wait=-HOUR)
    await ledger.give_up()
    taken = await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)
    after = await ledger.record(
        taken.held, moved(taken.held, Status.PENDING, withdrawal_id="wd_1", due_at=LATER)
    )

    assert after is not None
    assert [False, False] == [one.withdrawal.cancel_wanted for one in (taken.held, after)]
    assert [] == await told_of(ledger)
    assert ["unknown_request"] == [row["outcome"] for row in await ledger.cancellations_of("req-1")]


async def test_one_that_was_given_up_stays_so(ledger: Ledger) -> None:
    """
    Its answer is still owed when the request comes after all, for another one that waits.
    """
    await ask(ledger, wait=-HOUR)
    await ask(ledger, a_cancel("cancel-2"))
    given_up = await ledger.give_up()
    taken = await ledger.take(taken_in(an_order("req-1")), FINGERPRINT)

    assert taken.held.withdrawal.cancel_wanted
    assert given_up == await ledger.unanswered(before=ledger.now())
    assert [("cancel-2", None)] == await told_of(ledger)


async def test_a_request_that_comes_at_the_last_moment_has_come(ledger: Ledger) -> None:
    """
    In the very group that would give its cancellation up.
    """
    await ask(ledger, wait=-HOUR)

    given_up, taken = await asyncio.gather(
        ledger.give_up(), ledger.take(taken_in(an_order("req-1")), FINGERPRINT)
    )

    assert [] == given_up
    assert taken.held.withdrawal.cancel_wanted


async def test_a_flood_is_given_up_piece_by_piece(ledger: Ledger) -> None:
    """
    So that a step stays short.
    """
    count = GIVEN_UP_AT_ONCE + 1
    cancels = [a_cancel(f"cancel-{number}", of=f"none-{number}") for number in range(count)]
    await asyncio.gather(*(ask(ledger, one, wait=-HOUR) for one in cancels))

    assert [GIVEN_UP_AT_ONCE, 1, 0] == [len(await ledger.give_up()) for _ in range(3)]
    assert GIVEN_UP_AT_ONCE == len(await ledger.unanswered(before=ledger.now()))


async def test_a_request_in_the_making_is_waited_for(postgres_url: str) -> None:
    """
    While one replica writes a request down, another one cannot overlook it.
    """
    async with open_ledger(postgres_url) as one, open_ledger(postgres_url) as other:
        async with locked(postgres_url, _TAKE_REQ_9):
            taking = asyncio.gather(
                *(one.take(taken_in(an_order(name)), FINGERPRINT) for name in ("req-1", "req-9"))
            )
            await both_wait(postgres_url, 1)
            asking = asyncio.create_task(ask(other))
            await both_wait(postgres_url, 2)
        (taken, _), asked = await taking, await asking

        assert taken.held.row == asked.row
        assert (await known(other)).withdrawal.cancel_wanted


async def test_a_cancellation_in_the_making_is_waited_for(postgres_url: str) -> None:
    """
    While one replica writes it down, another that takes its request, or learns its id, sees it.
    """
    async with open_ledger(postgres_url) as one, open_ledger(postgres_url) as other:
        await take(one, "req-0")
        held = await take(other, "req-2")
        async with locked(postgres_url, _HOLD_REQ_0):
            asking = asyncio.gather(
                ask(one, a_cancel("cancel-0", of="req-0")),
                ask(one),
                ask(one, a_cancel("cancel-2", of=WD)),
            )
            await both_wait(postgres_url, 1)
            learning = asyncio.gather(
                other.take(taken_in(an_order("req-1")), FINGERPRINT),
                other.record(held, moved(held, Status.PENDING, withdrawal_id="wd_1")),
            )
            await both_wait(postgres_url, 2)
        await asking
        taken, recorded = await learning

        assert recorded is not None
        assert taken.held.withdrawal.cancel_wanted
        assert recorded.withdrawal.cancel_wanted


_HOLD_REQ_0: Final = "SELECT id FROM withdrawals WHERE message_id = 'req-0' FOR UPDATE"
_TAKE_REQ_9: Final = """
INSERT INTO withdrawals (
    message_id, fingerprint, idempotency_key, body, request, metadata, taken_at, version, status,
    sequence, in_doubt, attempts, empty_lookups, looks, changed_at, origin, head, seal, errand,
    cancel_wanted
)
VALUES (
    'req-9', '', 'wd-9', '', '{}', '{}', 0, 1, 'received', 1, false, 0, 0, 0, 0, '', '', '', 0,
    false
)
"""


def _copies(*named: tuple[str, str]) -> tuple[Copy, ...]:
    return tuple(
        Copy(reply_to=queue, correlation_id=correlation_id, traceparent=None)
        for queue, correlation_id in named
    )
