"""Events that wait to be published: in order, none forgotten, none twice once confirmed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.ledger import second
from tests.ledger.builders import FINGERPRINT, NOW, SECOND, an_order, moved, take, taken_in
from worker.core.events import event
from worker.core.withdrawal import Status
from worker.flows.ports import OpenCount, Outgoing
from worker.ledger.rows import micros

if TYPE_CHECKING:
    from worker.core.change import Held
    from worker.ledger.store import Ledger


async def test_an_event_comes_with_all_its_publication_needs(ledger: Ledger) -> None:
    """
    The very bytes that were committed, and the request's own properties.
    """
    order = an_order(correlation_id="corr-1", reply_to="answers", traceparent="00-1-2-01")
    decision = taken_in(order)
    held = (await ledger.take(decision, FINGERPRINT)).held
    told = event(decision.withdrawal, decision.changes[0])

    assert [
        Outgoing(
            row=held.row,
            sequence=1,
            event_id=told.event_id,
            type="withdrawal.received",
            body=told.body,
            created_at=NOW,
            message_id="req-1",
            correlation_id="corr-1",
            reply_to="answers",
            traceparent="00-1-2-01",
        )
    ] == await ledger.unannounced([held.row])


async def test_each_rows_events_are_in_the_order_of_their_sequence(ledger: Ledger) -> None:
    """
    Whatever the order in which rows are asked for; and of rows not asked for there is nothing.
    """
    held = [await take(ledger, f"req-{number}") for number in range(3)]
    for h in reversed(held):
        pending = await ledger.record(h, moved(h, Status.PENDING))
        assert pending is not None
        await ledger.record(pending, moved(pending, Status.COMPLETED))
    first, _, last = (h.row for h in held)
    found = await ledger.unannounced([last, first])

    assert [(row, sequence) for row in (first, last) for sequence in (1, 2, 3)] == [
        (told.row, told.sequence) for told in found
    ]


async def test_of_no_rows_there_are_no_events(ledger: Ledger) -> None:
    """
    Asking for nothing finds nothing.
    """
    await take(ledger, "req-1")

    assert [] == await ledger.unannounced([])


async def test_a_confirmed_event_waits_no_more(ledger: Ledger, url: str) -> None:
    """
    What was marked is not found again, what was not marked is; and when, is written down.
    """
    row = await _with_three_events(ledger)
    before = ledger.now()
    await ledger.mark_announced([(row, 2), (row, 1)])
    after = ledger.now()
    published = await second.read(url, "SELECT published_at FROM events ORDER BY sequence")

    assert [3] == [told.sequence for told in await ledger.unannounced([row])]
    assert [True, True, False] == [at is not None for (at,) in published]
    assert micros(before) <= published[0][0] <= micros(after)


async def test_marking_nothing_is_harmless(ledger: Ledger) -> None:
    """
    Neither an empty mark nor one of an event that does not exist hinders a real one beside it.
    """
    row = await _with_three_events(ledger)
    await asyncio.gather(
        ledger.mark_announced([]),
        ledger.mark_announced([(row, 99), (row + 1, 1)]),
        ledger.mark_announced([(row, 1)]),
    )

    assert 2 == await ledger.count_unannounced()


async def test_rows_are_found_oldest_first(ledger: Ledger) -> None:
    """
    Each row once, those whose events have waited longest first, up to the limit.
    """
    held: dict[str, Held] = {}
    for message_id, ago in (("b", 2), ("c", 1), ("a", 3)):
        held[message_id] = await take(ledger, message_id, now=NOW - ago * SECOND)
    later = moved(held["a"], Status.PENDING, now=NOW - 2.5 * SECOND)
    await ledger.record(held["a"], later)

    assert [held[i].row for i in "abc"] == await ledger.rows_unannounced(before=NOW, limit=10)
    assert [held["a"].row] == await ledger.rows_unannounced(before=NOW, limit=1)


async def test_only_rows_that_have_waited_are_found(ledger: Ledger) -> None:
    """
    Events younger than the given time are still their own replica's to publish.
    """
    old = await take(ledger, "old", now=NOW - 10 * SECOND)
    young = await take(ledger, "young", now=NOW)
    await take(ledger, "youngest", now=NOW + SECOND)

    assert [old.row] == await ledger.rows_unannounced(before=NOW - SECOND, limit=10)
    assert [old.row, young.row] == await ledger.rows_unannounced(before=NOW, limit=10)


async def test_a_row_whose_events_are_confirmed_is_not_found(ledger: Ledger) -> None:
    """
    Nothing is published twice by the sweep.
    """
    row = await _with_three_events(ledger)
    await ledger.mark_announced([(row, number) for number in (1, 2, 3)])

    assert [] == await ledger.rows_unannounced(before=NOW + SECOND, limit=10)
    assert 0 == await ledger.count_unannounced()


async def test_unconfirmed_events_are_counted(ledger: Ledger) -> None:
    """
    Events, not withdrawals.
    """
    before = await ledger.count_unannounced()
    await _with_three_events(ledger)
    await take(ledger, "req-2")

    assert 0 == before
    assert 4 == await ledger.count_unannounced()


async def test_unfinished_withdrawals_are_counted(ledger: Ledger) -> None:
    """
    By provider and status, with the time since when the oldest waits; finished ones do not count.
    """
    empty = await ledger.count_open()
    orders = [an_order(f"req-{n}", taken_at=NOW + n * SECOND) for n in range(4)]
    held = [(await ledger.take(taken_in(order), FINGERPRINT)).held for order in orders]
    await ledger.record(held[0], moved(held[0], Status.COMPLETED))
    await ledger.record(held[3], moved(held[3], Status.UNRESOLVED))

    assert [] == empty
    assert [
        OpenCount("bluum", "received", 2, NOW + SECOND),
        OpenCount("bluum", "unresolved", 1, NOW + 3 * SECOND),
    ] == sorted(await ledger.count_open(), key=lambda found: found.status)


async def test_ids_that_belong_to_others_are_told(ledger: Ledger) -> None:
    """
    Of the ids asked for, those of another row of the same provider; one's own and free ones not.
    """
    held = [await take(ledger, f"req-{number}") for number in range(3)]
    for h, withdrawal_id in zip(held, ("wd_01", "wd_02", "wd_03"), strict=True):
        await ledger.record(h, moved(h, Status.PENDING, withdrawal_id=withdrawal_id))
    asked = ["wd_01", "wd_02", "wd_09"]

    assert {"wd_02"} == await ledger.owned_by_others("bluum", asked, row=held[0].row)
    assert set() == await ledger.owned_by_others("upvest", asked, row=held[0].row)
    assert set() == await ledger.owned_by_others("bluum", [], row=held[0].row)


async def _with_three_events(ledger: Ledger) -> int:
    held = await take(ledger, "req-1")
    pending = await ledger.record(held, moved(held, Status.PENDING))
    assert pending is not None
    await ledger.record(pending, moved(pending, Status.COMPLETED))
    return held.row
