"""Taking up what is due: what is free, in the order it is due, and never what somebody has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, SECOND, an_order, due, take, take_due, taken_in
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.change import Held
    from worker.ledger.store import Ledger


async def test_the_longest_due_comes_first(ledger: Ledger) -> None:
    """
    Whatever was taken in first, the order is that of the due times, up to the limit.
    """
    now = ledger.now()
    for message_id, ago in (("b", 2), ("d", 0), ("a", 3), ("c", 1)):
        await take_due(ledger, message_id, now - ago * SECOND)
    first = await ledger.claim_due(3, busy=())
    rest = await ledger.claim_due(3, busy=_ids(first))

    assert ["a", "b", "c"] == _ids(first)
    assert ["d"] == _ids(rest)


async def test_nothing_is_taken_up_before_it_is_due(ledger: Ledger) -> None:
    """
    A due time ahead, or none at all, keeps a withdrawal at rest.
    """
    await take_due(ledger, "later", ledger.now() + 60 * SECOND)
    held = await take(ledger, "never")
    await ledger.record(held, due(held, None))

    assert [] == await ledger.claim_due(10, busy=())


async def test_what_is_claimed_is_held(ledger: Ledger, url: str) -> None:
    """
    It is owned, under a new version: who held it before can write nothing any more.
    """
    before = await take_due(ledger, "req-1", ledger.now())
    [held] = await ledger.claim_due(10, busy=())
    stale = await ledger.record(before, due(before, None))
    recorded = await ledger.record(held, due(held, ledger.now()), keep=True)

    assert (before.row, before.version + 1) == (held.row, held.version)
    assert before.withdrawal == held.withdrawal
    assert stale is None
    assert recorded is not None
    assert [(ledger.replica,)] == await second.read(url, "SELECT owner FROM withdrawals")


async def test_what_is_in_hand_is_not_taken_up(ledger: Ledger) -> None:
    """
    One's own rows are taken up again, unless somebody in this process is busy with them.
    """
    for message_id in ("busy", "idle"):
        held = await take(ledger, message_id)
        await ledger.record(held, due(held, ledger.now()), keep=True)
    claimed = await ledger.claim_due(10, busy=["busy", "another"])
    again = await ledger.claim_due(10, busy=["busy"])

    assert ["idle"] == _ids(claimed)
    assert ["idle"] == _ids(again)


async def test_what_is_taken_in_at_this_moment_is_in_hand(ledger: Ledger) -> None:
    """
    A request that shares its transaction with a claim is not claimed, be it due already.
    """
    order = an_order("req-1")
    taken, claimed = await asyncio.gather(
        ledger.take(taken_in(order, now=ledger.now() - SECOND), FINGERPRINT),
        ledger.claim_due(10, busy=()),
    )

    assert taken.is_new
    assert [] == claimed


async def test_of_two_claims_at_once_one_gets_a_row(ledger: Ledger) -> None:
    """
    Also when both share a transaction.
    """
    for number in range(4):
        await take_due(ledger, f"req-{number}", ledger.now())
    one, other = await asyncio.gather(ledger.claim_due(3, busy=()), ledger.claim_due(3, busy=()))

    assert (3, 1) == (len(one), len(other))
    assert 4 == len({*_ids(one), *_ids(other)})


async def test_what_others_own_is_left_to_them(ledger: Ledger, url: str) -> None:
    """
    As long as its owner gives signs of life, nobody else takes a withdrawal up.
    """
    async with open_ledger(url) as other:
        await other.heartbeat()
        held = await take(other, "theirs")
        await other.record(held, due(held, ledger.now()), keep=True)
        await take_due(other, "free", ledger.now())

        assert ["free"] == _ids(await ledger.claim_due(10, busy=()))


async def test_two_replicas_never_get_the_same_row(ledger: Ledger, url: str) -> None:
    """
    Hundreds of due rows, claimed by two at once, round after round: each row goes to one of them.
    """
    number_of_rows, limit, rounds = 300, 40, 3
    async with open_ledger(url) as other:
        await other.heartbeat()
        fresh = await asyncio.gather(
            *(take(ledger, f"req-{number}") for number in range(number_of_rows))
        )
        await _free(ledger, fresh)
        for _ in range(rounds):
            ours, theirs = await asyncio.gather(_claim_all(ledger, limit), _claim_all(other, limit))

            assert number_of_rows == len(ours) + len(theirs)
            assert number_of_rows == len({*_ids(ours), *_ids(theirs)})

            await asyncio.gather(_free(ledger, ours), _free(other, theirs))


def _ids(held: Iterable[Held]) -> list[str]:
    return [h.withdrawal.order.message_id for h in held]


async def _claim_all(ledger: Ledger, limit: int) -> list[Held]:
    """Claim until nothing is left; what was claimed stays in hand."""
    mine: list[Held] = []
    while claimed := await ledger.claim_due(limit, busy=_ids(mine)):
        mine += claimed
    return mine


async def _free(ledger: Ledger, held: Iterable[Held]) -> None:
    now = ledger.now()
    recorded = await asyncio.gather(*(ledger.record(h, due(h, now)) for h in held))

    assert None not in recorded


async def test_what_is_due_of_a_shunned_provider_stays_where_it_is(ledger: Ledger) -> None:
    """
    It is neither owned nor does it take the place of what may be taken up.
    """
    held = await take_due(ledger, "req-1", ledger.now())
    shunned = await ledger.claim_due(10, busy=(), shunned=(held.withdrawal.order.provider or "",))
    others = await ledger.claim_due(10, busy=(), shunned=("another",))

    assert [] == shunned
    assert ["req-1"] == _ids(others)
