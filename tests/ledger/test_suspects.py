"""Marks of messages that are being read: kept over the death of whoever read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ledger import second
from worker.ledger.store import open_ledger

if TYPE_CHECKING:
    from worker.ledger.store import Ledger


async def test_each_mark_that_is_left_behind_counts(ledger: Ledger) -> None:
    """
    One for each time it was read; other messages have their own count.
    """
    counts = [await ledger.deaths_with(b"m-1")]
    for _ in range(3):
        await ledger.mark(b"m-1", unmark=())
        counts.append(await ledger.deaths_with(b"m-1"))

    assert [0, 1, 2, 3] == counts
    assert 0 == await ledger.deaths_with(b"m-2")


async def test_a_mark_that_is_taken_back_leaves_nothing(ledger: Ledger, url: str) -> None:
    """
    The table holds what is being read, and what killed.
    """
    await ledger.mark(b"m-1", unmark=())
    await ledger.mark(b"m-2", unmark=())
    await ledger.mark(b"m-3", unmark=(b"m-1", b"never marked"))
    await ledger.unmark((b"m-2",))

    assert [(b"m-3", 1)] == await second.read(url, "SELECT identity, starts FROM suspects")


async def test_a_mark_stands_in_one_commit_with_what_it_takes_back(ledger: Ledger) -> None:
    """
    Also a mark of the message itself that was left from before: it begins anew.
    """
    await ledger.mark(b"m-1", unmark=())
    await ledger.mark(b"m-1", unmark=(b"m-1",))

    assert 1 == await ledger.deaths_with(b"m-1")


async def test_replicas_count_together(ledger: Ledger, url: str) -> None:
    """
    What killed one replica is known to the one that gets it next.
    """
    async with open_ledger(url) as other:
        await other.heartbeat()
        await ledger.mark(b"m-1", unmark=())
        await other.mark(b"m-1", unmark=())
        seen = {await ledger.deaths_with(b"m-1"), await other.deaths_with(b"m-1")}

    assert {2} == seen
