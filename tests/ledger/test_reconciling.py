"""What reconciliation reads of the ledger: each party of a period once, and all rows of one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.ledger.builders import FINGERPRINT, NOW, an_order, due, moved, taken_in
from worker.core.reconciliation import Party, Period
from worker.core.withdrawal import Status, reference_token
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.core.change import Held
    from worker.core.reconciliation import Booked
    from worker.ledger.store import Ledger

DAY: Final = timedelta(days=1)
PERIOD: Final = Period(NOW - 7 * DAY, NOW)


async def written(
    ledger: Ledger,
    message_id: str,
    status: Status = Status.PENDING,
    *,
    days_ago: float = 1,
    **order: Any,  # noqa: ANN401 - any field of an order
) -> Held:
    """A request that was taken in some days ago; its withdrawal is `wd-<message id>`."""
    at = NOW - days_ago * DAY
    held = (
        await ledger.take(taken_in(an_order(message_id, taken_at=at, **order)), FINGERPRINT)
    ).held
    if status is Status.RECEIVED:
        return held
    known = await ledger.record(held, moved(held, status, withdrawal_id=f"wd-{message_id}"))
    assert known is not None
    return known


async def all_parties(ledger: Ledger, **which: Any) -> list[Party]:  # noqa: ANN401
    """Every party of the period, page by page."""
    found: list[Party] = []
    place, last = await ledger.span(PERIOD)
    while place < last:
        # A party's rows lie on several pages.
        page = await ledger.parties(PERIOD, after=place, last=last, at_once=2, **which)
        found += page.parties
        assert page.place > place
        place = page.place
    return found


def ids(rows: list[Booked]) -> set[str]:
    """The message ids of rows."""
    return {row.message_id for row in rows}


async def test_each_party_of_a_period_comes_once(
    ledger: Ledger,
) -> None:
    """
    At its first row there, whatever else it has; of all providers, or of one.
    """
    await written(ledger, "old", days_ago=8, party_id="inv_old")
    await written(ledger, "early", days_ago=8, party_id="inv_a")
    first = await written(ledger, "a1", party_id="inv_a")
    await written(ledger, "a2", party_id="inv_a")
    other = await written(ledger, "b", party_id="inv_b")
    same = await written(ledger, "c", party_id="inv_a", provider="upvest")
    await written(ledger, "a3", party_id="inv_a")
    await written(ledger, "none", Status.REJECTED, provider=None, party_id=None)

    upvest = Party("upvest", "inv_a", same.row)
    expected = [Party("bluum", "inv_a", first.row), Party("bluum", "inv_b", other.row), upvest]
    assert expected == await all_parties(ledger)
    assert [upvest] == await all_parties(ledger, provider="upvest")


async def test_all_rows_of_a_party_are_read(ledger: Ledger) -> None:
    """
    Those of the period, finished or not, and of before it those that are open; nobody else's.
    """
    for number in range(5):
        # Two at the same moment, on either side of a page's end.
        await written(ledger, f"new-{number}", Status.COMPLETED, days_ago=number // 2)
    await written(ledger, "old-done", Status.COMPLETED, days_ago=8)
    await written(ledger, "old-open", Status.UNRESOLVED, days_ago=8)
    await written(ledger, "another", party_id="inv_02")
    await written(ledger, "elsewhere", provider="upvest")

    rows = await ledger.booked("bluum", "inv_01", PERIOD, at_once=2)

    assert ["new-0", "new-1", "new-2", "new-3", "new-4", "old-open"] == sorted(
        row.message_id for row in rows
    )


async def test_a_row_is_told_as_it_stands(ledger: Ledger) -> None:
    """
    With all that is compared.
    """
    held = await written(ledger, "req-1")
    (row,) = await ledger.booked("bluum", "inv_01", PERIOD)

    order, withdrawal = held.withdrawal.order, held.withdrawal
    assert (held.row, "req-1", "wd-req-1", Status.PENDING) == (
        row.row,
        row.message_id,
        row.withdrawal_id,
        row.status,
    )
    assert (order.amount, order.currency, order.taken_at) == (
        row.amount,
        row.currency,
        row.taken_at,
    )
    assert (withdrawal.first_attempt_at, withdrawal.changed_at, withdrawal.in_doubt) == (
        row.first_attempt_at,
        row.changed_at,
        row.in_doubt,
    )
    assert reference_token(order.idempotency_key) == row.reference


async def test_old_rows_are_found_by_what_is_listed(ledger: Ledger) -> None:
    """
    By the provider's id, whosever it is; by our reference, of that party alone.
    """
    await written(ledger, "by-id", Status.COMPLETED, days_ago=30, party_id="inv_02")
    marked = await written(ledger, "by-mark", Status.COMPLETED, days_ago=30)
    stranger = await written(ledger, "not-theirs", Status.COMPLETED, party_id="inv_02")
    await written(ledger, "not-asked-for", Status.COMPLETED)
    keys = [held.withdrawal.order.idempotency_key for held in (marked, stranger)]

    found = await ledger.explaining(
        "bluum",
        "inv_01",
        ids=["wd-by-id", "wd-unknown"],
        references=[reference_token(key) for key in keys],
    )

    assert {"by-id", "by-mark"} == ids(found)
    assert [] == await ledger.explaining("bluum", "inv_01", ids=[], references=[])


async def test_a_woken_row_is_claimed_at_once(ledger: Ledger) -> None:
    """
    Though it is not due; another that is not due either is left alone.
    """
    for message_id in ("req-1", "req-2"):
        held = await written(ledger, message_id)
        freed = await ledger.record(held, due(held, ledger.now() + DAY))
        assert freed is not None
        if message_id == "req-1":
            await ledger.wake([freed.row])

    claimed = await ledger.claim_due(10, busy=[])

    assert ["req-1"] == [held.withdrawal.order.message_id for held in claimed]


async def test_a_ledger_is_served_while_a_worker_gives_signs_of_life(url: str) -> None:
    """
    Whoever only reads its clock is no worker.
    """
    async with open_ledger(url) as visitor:
        await visitor.read_clock()
        before = await visitor.is_served()
        async with open_ledger(url) as worker:
            await worker.heartbeat()
            during = await visitor.is_served()
            await worker.leave()
        after = await visitor.is_served()

    assert (False, True, False) == (before, during, after)
